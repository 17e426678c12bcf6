"""One self-contained HTML page on which captures can be looked at, grouped by incident.

The page asks nothing of any network, runs no script, and shows the addresses of captured pages as text:
a click on one would tell its server that somebody is looking. Files that a browser would run as a page
are named with their digests and not linked, since a captured page's own scripts would run in them.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from importlib import resources
from pathlib import Path, PurePosixPath
from urllib.parse import quote, urlsplit

import jinja2
from markupsafe import Markup

from archiver.errors import ArchiverError
from archiver.reports.figures import MAX_LABEL_CHARS, timeline
from archiver.reports.report_model import Link, Sight
from archiver.reports.words import words_of
from archiver.summary import CaptureSummary
from manifests.findings import shown

MAX_URL_CHARS = 2_000
MAX_TEXT_CHARS = 400
KIB = 1024

PICTURE_ROLES = ("failure-sheet", "screenshot-viewport", "screenshot-full")
"""Which picture stands for a capture, best first: a failure sheet says more than a browser's error page."""
SAFE_TO_OPEN = frozenset(
    {
        "image/png",
        "image/jpeg",
        "application/pdf",
        "text/plain",
        "application/x-pem-file",
        "application/json",
    },
)
SAFE_TO_SAVE = frozenset({"application/wacz+zip", "application/x-pcapng"})
"""A browser saves these; it has no way to run them."""
NO_INCIDENT = "without incident"

_PATH = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*")
_NUMBERS = re.compile(r"(\d+)")


class IndexNotWritten(ArchiverError):
    """The page could not be written where it was asked for."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """One row of a capture's table of files; *href* is empty where a link would be unwise."""

    path: str
    role: str
    size: str
    sha256: str
    href: str


@dataclass(frozen=True, slots=True)
class Further:
    """What the page leads to besides the files of captures, as pairs of words and link.

    Args:
        page: For the whole page.
        captures: By capture ID.
    """

    page: Sequence[tuple[str, str]] = ()
    captures: Mapping[str, Sequence[tuple[str, str]]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Entry:
    """One capture as the template shows it."""

    summary: CaptureSummary
    url: str
    final_url: str
    title: str
    reason: str
    started_utc: str
    started_local: str
    finished_utc: str
    picture: str
    picture_large: str
    artifacts: list[Artifact]


def render_index(captures: Iterable[CaptureSummary], out_path: Path, link_base: str) -> None:
    """Write the page for *captures* to *out_path*, replacing what is there.

    Args:
        captures: In any order.
        out_path: The HTML file; its folder must exist.
        link_base: What leads from the page to the root of the store: a relative path or an http(s) URL.

    Raises:
        IndexNotWritten: E290.
    """
    html = index_html(list(captures), link_base, made_at=datetime.now(UTC))
    part = out_path.with_name(out_path.name + ".part")
    try:
        part.write_text(html, encoding="utf-8")
        part.replace(out_path)
    except OSError as error:
        raise IndexNotWritten(
            f"index {shown(out_path.name)}: not written: expected a writable folder, got {error.strerror}",
            code="E290",
            hint="name another place for the page",
        ) from error


def index_html(
    captures: Sequence[CaptureSummary],
    link_base: str,
    *,
    made_at: datetime,
    zone: tzinfo | None = None,
    further: Further = Further(),
) -> str:
    """Return the page.

    Args:
        captures: In any order.
        link_base: As of ``render_index``.
        made_at: When the page is made, aware.
        zone: For local times; None for this machine's.
        further: Links of the caller's own, put beside those to the files.
    """
    groups: dict[str, list[Entry]] = {}
    of_incident: dict[str, list[CaptureSummary]] = {}
    for summary in sorted(captures, key=lambda one: (one.started_at, one.capture_id)):
        entry = _entry(summary, link_base.rstrip("/"), zone)
        for incident in summary.incident_ids or (NO_INCIDENT,):
            groups.setdefault(shown(incident), []).append(entry)
            of_incident.setdefault(shown(incident), []).append(summary)
    style = (resources.files("archiver.reports") / "templates" / "index.css").read_text("utf-8")
    return _template().render(
        groups=sorted(groups.items(), key=lambda group: _natural(group[0])),
        outcomes=Counter(shown(one.outcome) for one in captures).most_common(),
        states=Counter(shown(one.state) for one in captures).most_common(),
        count=len(captures),
        made_at=_utc(made_at.isoformat()),
        further=further,
        timelines={name: Markup(_timeline(name, of_one)) for name, of_one in of_incident.items()},  # noqa: S704  escaped there
        # Both are our own text, and the policy names the style by the digest of exactly these bytes.
        style=Markup(style),  # noqa: S704
        policy=_policy(style, link_base),
    )


def _timeline(incident: str, captures: Sequence[CaptureSummary]) -> str:
    """Draw what became of each page, one row a URL and vantage; empty when nothing was seen twice.

    Args:
        incident: Its ID, as shown.
        captures: Oldest first.
    """
    rows: dict[tuple[str, str], list[Sight]] = {}
    for one in captures:
        moment = _moment(one.started_at)
        if moment is not None and moment.tzinfo is not None:
            at = moment.astimezone(UTC).isoformat()
            sight = Sight(one.capture_id, at, one.outcome, vantage=one.vantage)
            rows.setdefault((one.url, one.vantage), []).append(sight)
    if all(len(sights) < 2 for sights in rows.values()):
        return ""
    has_places = len({vantage for _, vantage in rows}) > 1
    links = [
        Link(url, _row_name(url, vantage if has_places else ""), sights=tuple(sights))
        for (url, vantage), sights in sorted(rows.items(), key=lambda row: _natural("\0".join(row[0])))
    ]
    return timeline(links, f"{incident}: what became of each page", words_of("en"))


def _row_name(url: str, vantage: str) -> str:
    """Name a row by the end of its address, which tells the posts of one page apart."""
    place = f" ({shown(vantage, 12)})" if vantage else ""
    address = shown(url.partition("://")[2] or url, MAX_URL_CHARS)
    room = MAX_LABEL_CHARS - len(place)
    return (address if len(address) <= room else f"…{address[-(room - 1) :]}") + place


@functools.cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("archiver.reports"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("index.html")


def _policy(style: str, link_base: str) -> str:
    """Return the Content-Security-Policy: pictures from the store, this style, and nothing else.

    Source: CSP Level 3, sections 6.1 and 6.7; ``file:`` stands beside ``'self'`` since a page opened
    from disk has an opaque origin.
    """
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    parts = urlsplit(link_base)
    pictures = f"{parts.scheme}://{parts.netloc}" if parts.scheme in {"http", "https"} else "'self' file:"
    return (
        f"default-src 'none'; img-src {pictures}; style-src 'sha256-{digest}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _entry(summary: CaptureSummary, link_base: str, zone: tzinfo | None) -> Entry:
    base = f"{link_base}/captures/{quote(summary.capture_id, safe='')}"
    pictures = [one for one in summary.artifacts if one["media_type"] == "image/png"]
    by_role = {role: [one for one in pictures if one["role"] == role] for role in PICTURE_ROLES}
    best = next((found[0]["path"] for found in by_role.values() if found), "")
    large = by_role["screenshot-full"][0]["path"] if by_role["screenshot-full"] else best
    return Entry(
        summary=summary,
        url=shown(summary.url, MAX_URL_CHARS),
        final_url=shown(summary.final_url, MAX_URL_CHARS) if summary.final_url != summary.url else "",
        title=shown(summary.title, MAX_TEXT_CHARS),
        reason=shown(summary.outcome_reason, MAX_TEXT_CHARS),
        started_utc=_utc(summary.started_at),
        started_local=_local(summary.started_at, zone),
        finished_utc=_utc(summary.finished_at),
        picture=_href(base, best),
        picture_large=_href(base, large),
        artifacts=[
            Artifact(
                path=shown(one["path"]),
                role=shown(one["role"]),
                size=_size(one["bytes"]),
                sha256=shown(one["sha256"]),
                href=_href(base, one["path"]) if _openable(one) else "",
            )
            for one in summary.artifacts
        ],
    )


def _openable(artifact: dict[str, object]) -> bool:
    """Whether a browser can be sent to the file: no page, or the failure sheet that we wrote ourselves."""
    return artifact["media_type"] in SAFE_TO_OPEN | SAFE_TO_SAVE or artifact["role"] == "failure-sheet"


def _href(base: str, path: str) -> str:
    """Return the link to an artifact, or nothing for a path that no packer of ours writes."""
    if not _PATH.fullmatch(path) or ".." in PurePosixPath(path).parts:
        return ""
    return f"{base}/{path}"


def _moment(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def _utc(text: str) -> str:
    moment = _moment(text)
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC") if moment else shown(text)


def _local(text: str, zone: tzinfo | None) -> str:
    moment = _moment(text)
    if moment is None:
        return ""
    return f"{moment.astimezone(zone).isoformat(' ', 'seconds')} local"


def _size(count: int) -> str:
    if count < KIB:
        return f"{count} bytes"
    return f"{count / KIB:,.1f} KiB" if count < KIB * KIB else f"{count / KIB / KIB:,.1f} MiB"


def _natural(text: str) -> list[tuple[int, int | str]]:
    """Return a sort key under which 4.9 comes before 4.10."""
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in _NUMBERS.split(text) if part]
