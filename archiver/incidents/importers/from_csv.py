"""Tables as CSV, by commas, semicolons or tabs. Source: RFC 4180."""

from __future__ import annotations

import csv
import io

from archiver.incidents.csv_rows import SEPARATORS
from archiver.incidents.document import Document
from archiver.incidents.importers.tables import MAX_HEADER_ROWS, Cell, known_columns, table_paragraphs
from archiver.incidents.rows import MAX_ROWS, Unreadable
from archiver.incidents.safe_cells import unguarded
from archiver.incidents.text import decode_text

MAX_FIELD_CHARS = 1024 * 1024


def read(data: bytes) -> Document:
    """Return the incidents of a CSV table as paragraphs.

    Raises:
        Unreadable: Not text, quotes that do not close, or no header that names the columns.
    """
    text, encoding = decode_text(data)
    csv.field_size_limit(MAX_FIELD_CHARS)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_separator(text), strict=True)
    table: list[tuple[int, list[Cell]]] = []
    line = 1
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                table.append((line, [Cell(unguarded(cell)) for cell in cells]))
            line = reader.line_num + 1
            if len(table) > MAX_ROWS:
                raise Unreadable(f"rows: expected at most {MAX_ROWS}, got more", "split it")
    except csv.Error as error:
        raise Unreadable(
            f"line {line}: expected a row of CSV: {error}", "check the quotes of this row"
        ) from error
    notes = ("read as Windows-1251, since it is not UTF-8",) if encoding == "windows-1251" else ()
    return Document("csv", tuple(table_paragraphs(table)), notes)


def _separator(text: str) -> str:
    """Return the separator by which one of the first lines is most of a header."""
    first = text[: 64 * 1024].splitlines()[:MAX_HEADER_ROWS]

    def headings(separator: str) -> int:
        lines = (next(csv.reader([line], delimiter=separator), []) for line in first)
        return max((len(known_columns(map(Cell, cells))) for cells in lines), default=0)

    return max(SEPARATORS, key=headings)
