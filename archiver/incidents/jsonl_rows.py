"""Registers as JSON Lines: one object a line, its keys the columns."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from archiver.incidents.rows import MAX_COLUMNS, MAX_HEADING_CHARS, BrokenRow, Row, Unreadable, column_key
from archiver.incidents.text import decode_text


def read_rows(data: bytes) -> tuple[str, Iterator[Row | BrokenRow]]:
    """Return the encoding and the rows of a JSON Lines file.

    Numbers, booleans, lists and objects are kept as their JSON text, null as nothing.

    Raises:
        Unreadable: Not text.
    """
    text, encoding = decode_text(data)
    lines = enumerate(text.split("\n"), 1)
    return encoding, (_row(number, line) for number, line in lines if line.strip())


def _row(number: int, line: str) -> Row | BrokenRow:
    try:
        value = json.loads(line, object_pairs_hook=_object)
        if not isinstance(value, dict):
            return BrokenRow(number, "row: expected a JSON object, got something else", "write {...}")
        return Row(number, {key: _text(cell) for key, cell in value.items()})
    except Unreadable as error:
        return BrokenRow(number, error.what, error.hint)
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        return BrokenRow(number, f"row: expected one JSON object: {reason}", "check the line")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = [column_key(name) for name, _ in pairs]
    if len(set(keys)) < len(keys):
        raise Unreadable("row: expected each key once, got one twice", "rename one")
    if len(pairs) > MAX_COLUMNS or any(len(name) > MAX_HEADING_CHARS for name, _ in pairs):
        what = f"row: expected at most {MAX_COLUMNS} keys of {MAX_HEADING_CHARS} characters, got more"
        raise Unreadable(what, "split the row")
    return dict(pairs)


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
