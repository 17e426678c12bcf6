"""What every importer yields, and what every register is held to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

KIB = 1024
MAX_REGISTER_BYTES = 64 * KIB * KIB
MAX_ROWS = 100_000
MAX_COLUMNS = 200
MAX_CELL_CHARS = 32 * KIB
MAX_HEADING_CHARS = 200


@dataclass(frozen=True, slots=True)
class Row:
    """One row: its line, and the cells by heading as written, in order."""

    line: int
    cells: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class BrokenRow:
    """A row that could not be taken apart: its line, expected against got, and what to do."""

    line: int
    what: str
    hint: str


class Unreadable(Exception):
    """A register, or one row of it, that cannot be read. Never leaves ``archiver.incidents``.

    Args:
        what: Where, expected against got.
        hint: One thing to do.
    """

    def __init__(self, what: str, hint: str) -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint


@lru_cache(maxsize=MAX_COLUMNS)  # asked for each cell
def column_key(heading: str) -> str:
    """Return a heading as it is compared: case, spaces and hyphens make no difference."""
    return heading.strip().casefold().replace(" ", "_").replace("-", "_")


def check_headings(headings: Sequence[str]) -> list[str]:
    """Return the headings of a table, blank ones numbered, trailing blank ones dropped.

    Raises:
        Unreadable: A required column is missing, one comes twice, or there are too many.
    """
    named = [heading.strip() for heading in headings]
    while named and not named[-1]:
        named.pop()
    if len(named) > MAX_COLUMNS or any(len(name) > MAX_HEADING_CHARS for name in named):
        raise Unreadable(
            f"header: expected at most {MAX_COLUMNS} columns of {MAX_HEADING_CHARS} characters, got more",
            "check that the first line is the header",
        )
    keys = [column_key(name) for name in named]
    for wanted in ("incident_id", "url"):
        if wanted not in keys:
            got = ", ".join(named)[:80] or "none"
            raise Unreadable(
                f"header: expected the columns incident_id and url, got {got!a}",
                "make the first line incident_id,url,role,note",
            )
    for name, key in zip(named, keys, strict=True):
        if key and keys.count(key) > 1:
            raise Unreadable(f"header: expected each column once, got {name!a} twice", "rename one")
    return [name or f"column {number}" for number, name in enumerate(named, 1)]


def table_row(line: int, headings: Sequence[str], cells: Sequence[str]) -> Row | BrokenRow | None:
    """Return the row under *headings*, or None when it is blank. Cells missing at its end are blank."""
    if not any(cell.strip() for cell in cells):
        return None
    if any(cell.strip() for cell in cells[len(headings) :]):
        return BrokenRow(
            line,
            f"row: expected at most {len(headings)} cells, got {len(cells)}",
            "put cells that hold the separator into quotes",
        )
    padded = [*cells[: len(headings)], *[""] * (len(headings) - len(cells))]
    return Row(line, dict(zip(headings, padded, strict=True)))
