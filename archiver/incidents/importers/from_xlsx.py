"""Tables as XLSX: every visible sheet that has a header, cells with their hyperlinks."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from datetime import date, datetime
from typing import Any

from archiver.incidents.document import Document, Paragraph
from archiver.incidents.importers.packages import check_package
from archiver.incidents.importers.tables import Cell, table_paragraphs
from archiver.incidents.rows import MAX_COLUMNS, MAX_ROWS, Unreadable

_FORMULA_LINK = re.compile(r'=\s*HYPERLINK\(\s*"([^"]*)"\s*(?:[,;]\s*"((?:[^"]|"")*)")?\s*\)', re.IGNORECASE)


def read(data: bytes) -> Document:
    """Return the incidents of a workbook as paragraphs. Formulas are not computed, but HYPERLINK is a link.

    Raises:
        Unreadable: No workbook, damaged, protected, or without a header that names the columns.
    """
    import openpyxl  # noqa: PLC0415  # slow to import, and other formats do without it

    check_package(data, "XLSX", "xl/workbook.xml")
    try:
        with warnings.catch_warnings(action="ignore"):
            book = openpyxl.load_workbook(io.BytesIO(data), keep_links=False)
        tables = [
            (sheet.title, list(_rows(sheet))) for sheet in book.worksheets if sheet.sheet_state == "visible"
        ]
    except Unreadable:
        raise
    except Exception as error:  # openpyxl raises whatever its parsers meet in a broken file
        raise Unreadable(
            f"expected an XLSX file: {type(error).__name__}", "open it and save it again"
        ) from error
    paragraphs: list[Paragraph] = []
    notes: list[str] = []
    refused: list[Unreadable] = []
    for name, table in tables:
        if not table:
            continue
        try:
            paragraphs += table_paragraphs(table)
        except Unreadable as error:
            refused.append(error)
            notes.append(f"sheet {name!r} left out: {error.what}")
    if refused and not paragraphs:
        raise refused[0]
    return Document("xlsx", tuple(paragraphs), tuple(notes))


def _rows(sheet: Any) -> Iterator[tuple[int, list[Cell]]]:
    if sheet.max_row > MAX_ROWS + 1 or sheet.max_column > 10 * MAX_COLUMNS:
        raise Unreadable(
            f"sheet: expected at most {MAX_ROWS} rows and {10 * MAX_COLUMNS} columns, "
            f"got {sheet.max_row} and {sheet.max_column}",
            "split it, or delete the empty rows and columns",
        )
    for number, row in enumerate(sheet.iter_rows(), 1):
        cells = [_cell(cell) for cell in row]
        if any(cell.text.strip() or cell.target for cell in cells):
            yield number, cells


def _cell(cell: Any) -> Cell:
    value = cell.value
    text = value.isoformat() if isinstance(value, (datetime, date)) else "" if value is None else str(value)
    if isinstance(value, float) and value.is_integer():
        text = str(int(value))
    if found := _FORMULA_LINK.fullmatch(text):
        return Cell((found[2] or found[1]).replace('""', '"'), found[1])
    link = cell.hyperlink
    if link is None:
        return Cell(text)
    inside = f"#{link.location}" if link.location else ""
    return Cell(text, (link.target or "") + inside)
