"""The failure sheet: one page that states what is known of a load that failed.

The browser's own error page says less than the relay knows, so this sheet gives the address asked for,
the times, the resolver's and the server's exact errors and the browser's verdict, each with its source.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import jinja2

from archiver.capture.recorder.wire import Kind, WireReader
from archiver.spool import Spool, utc_text

if TYPE_CHECKING:
    from playwright.async_api import Browser

MAX_LINES = 200
"""Network events listed on the sheet; the wire file holds all of them."""

_ENVIRONMENT = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
_TEMPLATE = _ENVIRONMENT.from_string("""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Failure sheet {{ capture_id }}</title>
<style>
body { font: 16px/1.45 "Noto Sans", "DejaVu Sans", sans-serif; margin: 40px; color: #111; background: #fff; }
h1 { font-size: 26px; margin: 0 0 4px; } p.lead { margin: 0 0 24px; color: #444; }
table { border-collapse: collapse; width: 100%; margin-bottom: 24px; table-layout: fixed; }
th, td { text-align: left; vertical-align: top; padding: 6px 10px; border: 1px solid #bbb;
  overflow-wrap: anywhere; }
th { width: 220px; background: #f2f2f2; }
td.mono { font-family: "DejaVu Sans Mono", monospace; font-size: 13px; }
</style></head><body>
<h1>The page did not load</h1>
<p class="lead">What this collector observed. It does not say why the other side behaved so.</p>
<table>
<tr><th>Capture</th><td class="mono">{{ capture_id }}</td></tr>
<tr><th>Incident</th><td>{{ incidents }}</td></tr>
<tr><th>Address asked for</th><td class="mono">{{ url }}</td></tr>
<tr><th>Asked at (UTC)</th><td>{{ started_at }}</td></tr>
<tr><th>Gave up at (UTC)</th><td>{{ finished_at }}</td></tr>
<tr><th>The browser's error</th><td class="mono">{{ load_error }}</td></tr>
{% if security.certificate_error %}
<tr><th>The browser's verdict on the certificate</th>
<td class="mono">{{ security.certificate_error }}</td></tr>
{% endif %}
</table>
<table>
<tr><th>Time (UTC)</th><th>Event</th><td>As the recorder saw it</td></tr>
{% for line in lines %}
<tr><td class="mono">{{ line.at }}</td><td>{{ line.kind }}</td><td class="mono">{{ line.facts }}</td></tr>
{% endfor %}
</table>
</body></html>
""")


async def render_sheet(
    browser: Browser, spool: Spool, url: str, seen: dict[str, Any]
) -> list[dict[str, Any]]:
    """Write ``failure.html`` and its picture into the exhibits; return their facts.

    Args:
        browser: Used in a context without network.
        spool: Of the capture; its wire file is read.
        url: As asked for.
        seen: ``started_at``, ``finished_at``, ``load_error``, ``security``.
    """
    markup = _TEMPLATE.render(
        capture_id=spool.capture_id,
        incidents=", ".join(spool.request.get("incident_ids", [])),
        url=url,
        started_at=seen["started_at"],
        finished_at=seen["finished_at"],
        load_error=seen["load_error"],
        security=seen.get("security", {}),
        lines=_network_lines(spool),
    )
    (spool.exhibits / "failure.html").write_text(markup, encoding="utf-8")
    context = await browser.new_context(viewport={"width": 1000, "height": 700}, offline=True)
    try:
        page = await context.new_page()
        await page.set_content(markup)
        picture = await page.screenshot(full_page=True)
    finally:
        await context.close()
    (spool.exhibits / "failure.png").write_bytes(picture)
    facts = {"role": "failure-sheet", "taken_at": utc_text(datetime.now(UTC))}
    return [
        {**facts, "path": "failure.html", "media_type": "text/html"},
        {
            **facts,
            "path": "failure.png",
            "media_type": "image/png",
            "width_px": int.from_bytes(picture[16:20]),
            "height_px": int.from_bytes(picture[20:24]),
            "scale_percent": 100,
        },
    ]


def _network_lines(spool: Spool) -> list[dict[str, str]]:
    lines = []
    for frame in WireReader(spool.wire):
        if frame.kind not in {Kind.OPENED, Kind.CLOSED, Kind.REFUSED}:
            continue
        facts = frame.facts()
        lines.append(
            {
                "at": utc_text(datetime.fromtimestamp(frame.at_ns / 1e9, UTC)),
                "kind": frame.kind.name.lower(),
                "facts": ", ".join(f"{key} {value}" for key, value in facts.items() if value),
            }
        )
        if len(lines) >= MAX_LINES:
            break
    return lines
