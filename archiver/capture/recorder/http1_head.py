"""Heads of HTTP/1 messages, read as forgivingly as browsers read them. Bytes in, facts out.

Source: RFC 9112 sections 2 to 6; where servers break it, the rules of Chromium's net/http are followed, for
the record must hold what the browser took the bytes to be.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

Fields = list[tuple[bytes, bytes]]

SLOP_BYTES = 4
"""Bytes of junk that browsers skip before a status line."""
MAX_LENGTH_DIGITS = 18
"""More digits than this in a Content-Length are no length."""

_HEAD_END = re.compile(rb"\n\r?\n")
_STATUS_LINE = re.compile(rb"http(?:/([0-9]{1,4})\.([0-9]{1,4}))?[ \t]*([0-9]{3})?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ResponseStart:
    """What a status line says: version as (major, minor), and the code; 200 where there is none."""

    version: tuple[int, int]
    status: int


def head_end(data: bytearray, start: int) -> int:
    """Return where the first blank line after *start* ends, or -1."""
    found = _HEAD_END.search(data, start)
    return found.end() if found else -1


def status_line_offset(data: bytes | bytearray) -> int:
    """Return where the status line begins, at most ``SLOP_BYTES`` in, or -1 when this is no HTTP."""
    return data[: SLOP_BYTES + 4].lower().find(b"http")


def fields_of(head: bytes) -> Fields:
    """Return the header fields of *head* in order, names as sent, values without outer blanks.

    Folded lines (RFC 9112 section 5.2) are joined with one blank; lines without a colon are passed over.
    """
    fields: Fields = []
    for line in head.split(b"\n")[1:]:
        if line[:1] in (b" ", b"\t") and fields and line.strip():
            fields[-1] = (fields[-1][0], fields[-1][1] + b" " + line.strip())
            continue
        name, colon, value = line.partition(b":")
        if colon and name.strip():
            fields.append((name.strip(), value.strip()))
    return fields


def values_of(fields: Fields, name: bytes) -> list[bytes]:
    """Return the comma-separated values of every field called *name* (lower case), in order."""
    lists = (value for key, value in fields if key.lower() == name)
    return [item.strip() for value in lists for item in value.split(b",")]


def first_value(fields: Fields, name: bytes) -> bytes:
    """Return the first field called *name* (lower case), or nothing."""
    return next((value for key, value in fields if key.lower() == name), b"")


def read_status(head: bytes) -> ResponseStart:
    """Read the status line of *head*, which begins with ``HTTP`` in any case."""
    found = _STATUS_LINE.match(head.partition(b"\n")[0])
    if found is None:
        return ResponseStart((1, 0), 200)
    major, minor, status = found.groups()
    version = (1, 0) if major is None else (int(major), int(minor))
    return ResponseStart(version, int(status) if status else 200)


def read_request_line(head: bytes) -> tuple[str, str, str]:
    """Return method, target and version of a request head (latin-1); empty where the line has none."""
    line = head.partition(b"\n")[0].rstrip(b"\r").decode("latin-1")
    method, _, rest = line.partition(" ")
    target, blank, version = rest.rpartition(" ")
    if blank and version.upper().startswith("HTTP/"):
        return method, target, version.lower()
    return method, rest, ""


def is_chunked(fields: Fields) -> bool:
    """Tell whether Transfer-Encoding names ``chunked`` (RFC 9112 section 7.1)."""
    return any(value.lower() == b"chunked" for value in values_of(fields, b"transfer-encoding"))


def content_length(fields: Fields) -> int | None:
    """Return the one Content-Length of *fields*; None when there is none, or they are no one number."""
    values = set(values_of(fields, b"content-length"))
    return _length(values.pop()) if len(values) == 1 else None


def length_oddity(fields: Fields) -> str:
    """Say in words what is odd about the Content-Length fields, or return an empty string."""
    values = values_of(fields, b"content-length")
    if not values:
        return ""
    if content_length(fields) is None:
        return f"Content-Length is no one number: {shown(b', '.join(values))}"
    return "Content-Length is given more than once, with one value" if len(values) > 1 else ""


def awaits_answer(method: str, fields: Fields) -> bool:
    """Tell whether what follows a request depends on its answer: CONNECT and Upgrade (RFC 9110, 7.8)."""
    return method == "CONNECT" or bool(first_value(fields, b"upgrade"))


def shown(data: bytes | Sequence[int], limit: int = 64) -> str:
    """Return *data* as printable ASCII for a note, clipped to *limit* bytes."""
    clipped = bytes(data[:limit])
    return ascii(clipped)[1:] + ("..." if len(data) > limit else "")


def _length(value: bytes) -> int | None:
    return int(value) if value.isdigit() and len(value) <= MAX_LENGTH_DIGITS else None
