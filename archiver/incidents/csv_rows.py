"""Registers as CSV: commas, semicolons or tabs; the first line is the header. Source: RFC 4180."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import TYPE_CHECKING

from archiver.incidents.rows import BrokenRow, Row, Unreadable, check_headings, column_key, table_row
from archiver.incidents.text import decode_text

if TYPE_CHECKING:
    from _csv import Reader

SEPARATORS = ",;\t"


def read_rows(data: bytes) -> tuple[str, Iterator[Row | BrokenRow]]:
    """Return the encoding and the rows of a CSV file. Every cell is plain text, whatever it begins with.

    Raises:
        Unreadable: Not text, or no header that has the columns.
    """
    text, encoding = decode_text(data)
    separator = _separator(text)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    headings = check_headings(_header(reader))
    return encoding, _rows(reader, headings)


def _separator(text: str) -> str:
    """Return the separator by which the first line has a column ``url``, or a comma."""
    first = text[: 64 * 1024].lstrip("\r\n").splitlines()[:1]
    for separator in SEPARATORS:
        cells = next(csv.reader(first, delimiter=separator), [])
        if "url" in map(column_key, cells):
            return separator
    return ","


def _header(reader: Iterator[list[str]]) -> list[str]:
    try:
        return next((cells for cells in reader if any(cell.strip() for cell in cells)), [])
    except csv.Error as error:
        raise Unreadable(f"header: expected a line of CSV: {error}", "check its quotes") from error


def _rows(reader: Reader, headings: list[str]) -> Iterator[Row | BrokenRow]:
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            lines = f"lines {line} to {reader.line_num}" if reader.line_num > line else f"line {line}"
            yield BrokenRow(line, f"{lines}: expected a row of CSV: {error}", "check the quotes")
            continue
        row = table_row(line, headings, cells)
        if row is not None:
            yield row
