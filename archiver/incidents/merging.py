"""The rows of a register from its incidents, what people changed in them kept. Rules only, no I/O.

Three are compared, cell by cell: what the last import wrote, what stands in the register now, and what this
import would write. A cell that a person has changed stays as it is.
"""

from __future__ import annotations

import contextlib
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from archiver.incidents.rows import column_key
from archiver.incidents.sidecar import KeptIncident, Sidecar

COLUMNS = (
    "incident_id",
    "section",
    "month",
    "title",
    "anchor",
    "url",
    "role",
    "outlets",
    "platforms",
    "note",
)
SEPARATOR = "; "
"""Between outlets, and between platforms, in one cell."""
_MONTH = re.compile(r"(20\d\d-(0[1-9]|1[0-2]))?")
_FIXED = frozenset({"incident_id", "anchor"})

Cells = Mapping[str, str]


def rows_of(incident: KeptIncident) -> list[dict[str, str]]:
    """Return a row for each link of an incident."""
    return [
        {
            "incident_id": incident.incident_id,
            "section": str(incident.section),
            "month": incident.month,
            "title": incident.title,
            "anchor": link.anchor,
            "url": link.url,
            "role": link.role,
            "outlets": SEPARATOR.join(incident.outlets),
            "platforms": SEPARATOR.join(incident.platforms),
            "note": link.note,
        }
        for link in incident.links
    ]


def merged_rows(
    sidecar: Sidecar, before: Sidecar | None, register: Sequence[Cells]
) -> tuple[list[str], list[dict[str, str]]]:
    """Return the columns and rows of the register.

    Args:
        sidecar: Of this import.
        before: Of the last one, or None.
        register: Rows as they stand in the register now, by heading.
    """
    columns = [*COLUMNS, *_columns_of_others(register)]
    now: dict[str, list[dict[str, str]]] = defaultdict(list)
    for cells in register:
        row = {column_key(name): value for name, value in cells.items()}
        now[row.get("incident_id", "").strip()].append(row)
    then = {one.incident_id: rows_of(one) for one in before.incidents} if before else {}
    rows: list[dict[str, str]] = []
    for incident in sidecar.incidents:
        mine, base = now.get(incident.incident_id, []), then.get(incident.incident_id, [])
        rows += _merge_incident(rows_of(incident), base, mine)
    return columns, [{name: row.get(column_key(name), "") for name in columns} for row in rows]


def _merge_incident(
    fresh: list[dict[str, str]], base: list[dict[str, str]], mine: list[dict[str, str]]
) -> Iterator[dict[str, str]]:
    before = _pairs(fresh, base)
    by_hand = list(mine)
    for place, row in enumerate(fresh):
        old = base[before[place]] if place in before else None
        current = _take(by_hand, row, old)
        yield _merge(row, old, current) if current is not None else row
    written = list(base)
    for row in by_hand:
        # What is left is a link that the document lost, unless a person wrote or completed the row.
        old = _take(written, row, None)
        if old is None or (row.get("url", "").strip() and not old["url"]):
            yield row


def _pairs(fresh: list[dict[str, str]], base: list[dict[str, str]]) -> dict[int, int]:
    """Pair links of one incident, new to old: by anchor in their order, then by URL."""
    found: dict[int, int] = {}
    for name in ("anchor", "url"):
        for here, row in enumerate(fresh):
            for there, old in enumerate(base):
                if here in found or there in found.values() or not row[name]:
                    continue
                if row[name] == old[name]:
                    found[here] = there
    return found


def _take(rows: list[dict[str, str]], row: Cells, old: Cells | None) -> dict[str, str] | None:
    """Take the row of the same link out of *rows*."""
    wanted = [one.get("anchor", "") for one in (row, old) if one]
    for place, one in enumerate(rows):
        if any(_same(one.get("anchor", ""), anchor) for anchor in wanted):
            return rows.pop(place)
    return None


def _merge(fresh: Cells, old: Cells | None, current: Cells) -> dict[str, str]:
    merged = dict(current) | {name: fresh[name] for name in _FIXED}
    for name in COLUMNS:
        if name in _FIXED:
            continue
        changed = old is not None and name in current and not _same(current[name], old[name])
        if name == "month" and changed and not _MONTH.fullmatch(current[name].strip()):
            changed = False  # a spreadsheet took it for a date
        if not changed:
            merged[name] = fresh[name]
    if merged["url"].strip() and not fresh["url"] and merged["note"] == fresh["note"]:
        merged["note"] = ""  # the target was found, so that it is lost no more
    return merged


def _same(current: str, old: str) -> bool:
    """Whether a cell is what was written, though a spreadsheet may have taken its UTF-8 for a code page."""
    return _plain(old) in {_plain(current), *(_plain(one) for one in _ungarbled(current))}


def _ungarbled(text: str) -> Iterator[str]:
    for code_page in ("windows-1252", "windows-1251"):
        with contextlib.suppress(UnicodeError):
            yield text.encode(code_page).decode("utf-8")


def _plain(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


def _columns_of_others(register: Sequence[Cells]) -> list[str]:
    found = {column_key(name): name for cells in register[:1] for name in cells}
    return [name for key, name in found.items() if key not in COLUMNS]
