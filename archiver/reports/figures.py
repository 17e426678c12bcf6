"""Figures as SVG: what became of links, and when; readable with and without colours, and read out.

The colours are those of Okabe and Ito, told apart by people who see colours differently; each fate has a
pattern and a letter too, so that a black and white print says the same. Text in a figure is escaped.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from html import escape

from archiver.reports.report_model import FATES, Link, Tally
from archiver.reports.words import Words

COLOURS = {
    "present": "#009e73",
    "gone": "#d55e00",
    "barred": "#e69f00",
    "unreachable": "#0072b2",
    "unclear": "#999999",
    "not-captured": "#ffffff",
    "lost": "#ffffff",
}
_LINES = {
    "present": "",
    "gone": "M0 0L8 8M0 8L8 0",
    "barred": "M0 8L8 0",
    "unreachable": "M0 4H8",
    "unclear": "M4 0V8",
    "not-captured": "M3 4H5",
    "lost": "",
}
"""Strokes of each fate's pattern, on a tile of 8 by 8."""

LABEL_PX = 300
WIDTH_PX = 1_000
ROW_PX = 26
GAP_PX = 8
AXIS_PX = 30
MAX_LABEL_CHARS = 36


def bars(tallies: Sequence[Tally], title: str, words: Words) -> str:
    """Draw one bar a tally, divided by fate, each part with its number.

    Args:
        tallies: From top to bottom.
        title: What is counted; read out by a screen reader.
        words: Of the document's language.
    """
    largest = max((one.total for one in tallies), default=0) or 1
    room = WIDTH_PX - LABEL_PX - 60
    parts = []
    for row, one in enumerate(tallies):
        top = row * (ROW_PX + GAP_PX)
        parts.append(_label(one.name, top + ROW_PX - 8))
        left = float(LABEL_PX)
        for fate in FATES:
            count = one.counts[fate]
            if not count:
                continue
            width = room * count / largest
            what = f"{one.name}: {words.named('fate', fate)}: {count}"
            parts.append(_box(left, top, width, fate, what))
            if width >= 16:
                parts.append(_number(left + width / 2, top + ROW_PX - 8, str(count)))
            left += width
        parts.append(f'<text x="{left + 8:.1f}" y="{top + ROW_PX - 8}" font-size="12">{one.total}</text>')
    height = len(tallies) * (ROW_PX + GAP_PX)
    return _figure("".join(parts), title, height, words)


def timeline(links: Sequence[Link], title: str, words: Words) -> str:
    """Draw one row a link over time: a bar from each capture to the next one, in the state that was seen.

    Between two captures nothing was seen: the bar says what the earlier of them saw, and ends where the later
    one saw something else. A link that was never captured has an empty row.
    """
    moments = [_at(sight.at) for link in links for sight in link.sights]
    if not moments:
        return ""
    begin, end = min(moments), max(moments)
    span = (end - begin).total_seconds() or 1.0
    room = WIDTH_PX - LABEL_PX - 20

    def x_of(moment: datetime) -> float:
        return LABEL_PX + room * (moment - begin).total_seconds() / span

    parts = []
    for row, link in enumerate(links):
        top = row * (ROW_PX + GAP_PX)
        parts.append(_label(link.title if link.sights else link.url or link.anchor, top + ROW_PX - 8))
        sights = link.sights
        for number, sight in enumerate(sights):
            left = x_of(_at(sight.at))
            right = (
                x_of(_at(sights[number + 1].at)) if number + 1 < len(sights) else min(left + 12, WIDTH_PX - 2)
            )
            what = f"{sight.at}: {words.named('fate', sight.fate)} ({words.named('outcome', sight.outcome)})"
            parts.append(_box(left, top, max(right - left, 6), sight.fate, what))
    bottom = len(links) * (ROW_PX + GAP_PX)
    parts.append(f'<text x="{LABEL_PX}" y="{bottom + 18}" font-size="12">{begin:%Y-%m-%d %H:%M}</text>')
    parts.append(
        f'<text x="{WIDTH_PX - 20}" y="{bottom + 18}" font-size="12" text-anchor="end">'
        f"{end:%Y-%m-%d %H:%M} UTC</text>"
    )
    return _figure("".join(parts), title, bottom + AXIS_PX, words)


def _figure(content: str, title: str, height: float, words: Words) -> str:
    used = [fate for fate in FATES if f"url(#{fate})" in content]
    legend = []
    left = 0
    for fate in used:
        name = words.named("fate", fate)
        legend.append(_box(left, height + 10, 22, fate, name))
        legend.append(f'<text x="{left + 28}" y="{height + 28}">{escape(name)}</text>')
        left += 44 + 8 * len(name)
    patterns = "".join(_pattern(fate) for fate in used)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH_PX} {height + 44:.0f}" role="img" '
        f'font-family="Noto Sans, sans-serif" font-size="13" fill="#1b1f24" '
        f'aria-label="{escape(title)}"><title>{escape(title)}</title><defs>{patterns}</defs>'
        f"{content}{''.join(legend)}</svg>"
    )


def _pattern(fate: str) -> str:
    return (
        f'<pattern id="{fate}" width="8" height="8" patternUnits="userSpaceOnUse">'
        f'<rect width="8" height="8" fill="{COLOURS[fate]}"/>'
        f'<path d="{_LINES[fate]}" stroke="#1b1f24" stroke-opacity=".45" fill="none"/></pattern>'
    )


def _box(left: float, top: float, width: float, fate: str, what: str) -> str:
    return (
        f'<rect x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" height="{ROW_PX}" fill="url(#{fate})" '
        f'stroke="#1b1f24" stroke-width=".7"><title>{escape(what)}</title></rect>'
    )


def _number(x: float, y: float, text: str) -> str:
    halo = 'paint-order="stroke" stroke="#fff" stroke-width="3"'
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="12" text-anchor="middle" {halo}>{text}</text>'


def _label(text: str, y: float) -> str:
    shown = text if len(text) <= MAX_LABEL_CHARS else f"{text[: MAX_LABEL_CHARS - 1]}…"
    full = f"<title>{escape(text)}</title>"
    return f'<text x="{LABEL_PX - 10}" y="{y:.1f}" text-anchor="end">{full}{escape(shown)}</text>'


def _at(text: str) -> datetime:
    return datetime.fromisoformat(text)
