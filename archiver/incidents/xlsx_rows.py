"""Registers as XLSX: the first sheet, its first row that is not blank the header."""

from __future__ import annotations

import io
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from datetime import date, datetime, time
from typing import Any

from archiver.incidents.rows import KIB, MAX_ROWS, BrokenRow, Row, Unreadable, check_headings, table_row

MAX_UNPACKED_BYTES = 256 * KIB * KIB
MAX_SHARED_BYTES = 32 * KIB * KIB
"""openpyxl holds the table of shared strings in memory, at some ten times its size."""


def read_rows(data: bytes) -> tuple[str, Iterator[Row | BrokenRow]]:
    """Return ``xlsx`` and the rows of a workbook's first sheet.

    Formulas are taken as their text, not computed: what they would show depends on who opens them.

    Raises:
        Unreadable: Not a workbook, or no header that has the columns.
    """
    import openpyxl  # noqa: PLC0415  # a third of the time that every other command takes to start

    try:
        _check_size(data)
        with warnings.catch_warnings(action="ignore"):
            book = openpyxl.load_workbook(io.BytesIO(data), read_only=True, keep_links=False)
        sheet = book.worksheets[0]
        sheet.reset_dimensions()
        numbered = enumerate(sheet.iter_rows(values_only=True), 1)
        lines = [(number, list(map(_text, cells))) for number, cells in _bounded(numbered)]
    except Unreadable:
        raise
    except Exception as error:  # openpyxl raises whatever its parsers meet in a broken file
        raise Unreadable(
            f"expected an XLSX workbook: {type(error).__name__}", "save it again as XLSX or CSV"
        ) from error
    filled = [(number, cells) for number, cells in lines if any(cell.strip() for cell in cells)]
    headings = check_headings(filled[0][1] if filled else [])
    rows = (table_row(number, headings, cells) for number, cells in filled[1:])
    return "xlsx", (row for row in rows if row is not None)


def _check_size(data: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = archive.infolist()
    total = sum(member.file_size for member in members)
    shared = sum(member.file_size for member in members if "sharedstrings" in member.filename.lower())
    if total > MAX_UNPACKED_BYTES or shared > MAX_SHARED_BYTES:
        raise Unreadable(
            f"unpacked size: expected at most {MAX_UNPACKED_BYTES} bytes, got {total}", "save it as CSV"
        )


def _bounded(numbered: Iterator[tuple[int, Sequence[Any]]]) -> Iterator[tuple[int, Sequence[Any]]]:
    filled = 0
    for number, cells in numbered:
        if any(cell is not None for cell in cells):
            filled += 1
            yield number, cells
        if filled > MAX_ROWS + 1 or number > 10 * MAX_ROWS:
            raise Unreadable(f"rows: expected at most {MAX_ROWS}, got more", "split it")


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)
