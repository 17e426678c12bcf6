"""Tables as people keep them, row by row into paragraphs: for XLSX and CSV alike. Rules only, no I/O."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from archiver.incidents.document import Paragraph, Run, squeeze
from archiver.incidents.drafting import month_at_start
from archiver.incidents.rows import MAX_COLUMNS, Unreadable
from archiver.incidents.wording import ROLES, months, phrases

MAX_HEADER_ROWS = 20
"""Above the header people write titles and dates; so many rows are looked through for it."""
_URL = re.compile(r"https?://[^\s,;<>\"]+(?:[,;][^\s,;<>\"]+)*", re.IGNORECASE)
_DATE = re.compile(
    r"(?:(?P<y>20\d\d)[-./](?P<m>\d\d?)(?:[-./]\d\d?)?|(?:\d\d?[-./])?(?P<m2>\d\d?)[-./](?P<y2>20\d\d))\b.*"
)
_NUMBERED_HEADING = re.compile(r"(\w[\w ]{0,20}?)\s*(?:№\s*)?\d{1,2}")


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell: what it shows, and where its hyperlink leads, if it has one."""

    text: str
    target: str | None = None


Table = Sequence[tuple[int, Sequence[Cell]]]
"""Line or row number, 1 the first, and cells of each row."""


def table_paragraphs(table: Table) -> Iterator[Paragraph]:
    """Yield headings and incidents of a table.

    Raises:
        Unreadable: No header that names a column for links or for text.
    """
    columns, rest = _header(table)
    before = _Place("", "")
    text_before: tuple[str, str] | None = None
    for _, cells in rest:
        row = _Row(columns, cells)
        place = _Place(row.text("section") or before.section, row.month())
        if not row.text("section") and not place.month and not (row.text("title") or row.text("text")):
            place = before
        if place != before:
            yield from place.headings()
            before, text_before = place, None
        words = (row.text("title"), row.text("text"))
        goes_on = text_before is not None and words in {("", ""), text_before}
        if not goes_on:
            text_before = words
        if runs := tuple(row.runs(with_text=not goes_on)):
            yield Paragraph(runs, begins=not goes_on, title=words[0])


@dataclass(frozen=True, slots=True)
class _Place:
    section: str
    month: str

    def headings(self) -> Iterator[Paragraph]:
        yield Paragraph((Run(self.section or "0"),), heading=1)
        if self.month:
            yield Paragraph((Run(self.month),), heading=2)


class _Row:
    """The cells of a row by what their column is for."""

    def __init__(self, columns: dict[str, list[int]], cells: Sequence[Cell]) -> None:
        self._cells = {
            name: [cells[place] for place in places if place < len(cells)] for name, places in columns.items()
        }

    def text(self, name: str) -> str:
        return squeeze(" ".join(cell.text for cell in self._cells.get(name, ()))).strip()

    def month(self) -> str:
        """Return the month as ``2026-01``, as its name, or as nothing."""
        for name in ("month", "date"):
            if text := self.text(name):
                return _month(text)
        return ""

    def runs(self, *, with_text: bool) -> Iterator[Run]:
        links = list(self._links())
        shown = self._cells.get("text") or self._cells.get("title", [])
        for cell in shown:
            if cell.text.strip() and (with_text or cell.target):
                yield from _with_links(cell, links, shown=with_text)
        yield from links

    def _links(self) -> Iterator[Run]:
        anchors = [cell.text for cell in self._cells.get("anchor", ()) if cell.text.strip()]
        role = self.text("role").casefold()
        role = role if role in ROLES else ""
        for cell in self._cells.get("anchor", ()):
            if cell.target and not self._cells.get("url"):
                yield Run(cell.text, cell.target, shown=False, role=role)
        found = [pair for cell in self._cells.get("url", ()) for pair in _targets(cell)]
        for number, (text, target) in enumerate(found):
            anchor = anchors[min(number, len(anchors) - 1)] if anchors else text
            yield Run(anchor, target, shown=False, role=role)
        if not found and anchors and self._cells.get("url"):
            yield Run(anchors[0], "", shown=False, role=role)


def _with_links(cell: Cell, links: list[Run], *, shown: bool) -> Iterator[Run]:
    """Yield the text of a cell, each link at the place of its anchor; those found are taken from *links*."""
    if cell.target is not None:
        yield Run(cell.text, cell.target, shown=shown)
        return
    place = 0
    while links and shown and links[0].text.strip():
        at = cell.text.find(links[0].text, place)
        if at < 0:
            break
        link = links.pop(0)
        yield Run(cell.text[place:at])
        yield Run(link.text, link.target, role=link.role)
        place = at + len(link.text)
    yield Run(cell.text[place:])


def _targets(cell: Cell) -> Iterator[tuple[str, str]]:
    """Yield anchor and target of each link of a cell: its hyperlink, else every address that it shows."""
    if cell.target is not None:
        yield cell.text.strip() or cell.target, cell.target
        return
    found = [match[0].rstrip(".,;") for match in _URL.finditer(cell.text)]
    if not found and (words := cell.text.strip()):
        yield words, "" if not words.startswith("#") else words
    for url in found:
        yield url, url


def _month(text: str) -> str:
    if found := _DATE.fullmatch(text):
        year, month = int(found["y"] or found["y2"]), int(found["m"] or found["m2"])
        return f"{year}-{month:02d}" if 1 <= month <= 12 else text
    if month_at_start(text):
        return text
    names = months()
    words = re.findall(r"[^\W\d_]+|20\d\d", text)
    name = next((word for word in words if word.casefold() in names), "")
    told = next((word for word in words if word.isdigit()), "")
    return f"{name} {told}".strip() if name else text


def _header(table: Table) -> tuple[dict[str, list[int]], Table]:
    for place, (_, cells) in enumerate(table[:MAX_HEADER_ROWS]):
        columns = known_columns(cells)
        if "url" in columns or "text" in columns or ("title" in columns and len(columns) > 1):
            return columns, table[place + 1 :]
    got = ", ".join(cell.text for _, cells in table[:1] for cell in cells)[:80] or "none"
    raise Unreadable(
        f"header: expected columns such as section, month, text, url, got {got!a}",
        "name the columns in the first row; docs/registers.md lists their names",
    )


def known_columns(cells: Iterable[Cell]) -> dict[str, list[int]]:
    """Return the places of the columns whose headings are known, by what they are for."""
    known = {name: key for key, names in phrases()["columns"].items() for name in names}
    found: dict[str, list[int]] = {}
    for place, cell in enumerate(cells):
        if place >= MAX_COLUMNS:
            break
        heading = squeeze(cell.text).strip().casefold().replace("_", " ").rstrip(":.")
        numbered = _NUMBERED_HEADING.fullmatch(heading)
        key = known.get(heading) or (known.get(numbered[1]) if numbered else None)
        if key:
            found.setdefault(key, []).append(place)
    return found
