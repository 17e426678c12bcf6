r"""Building blocks of the evidence record: constrained strings and integers, and the base of its parts.

Patterns end in ``$(?!\n)`` because Python's ``$`` also matches before a final newline; the form means
the same in ECMA 262, which JSON Schema uses.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

MAX_INTEGER = 2**53 - 1
MAX_URL_CHARS = 2 * 1024 * 1024
MAX_LINE_CHARS = 4_096
MAX_TEXT_CHARS = 256 * 1024

Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$", max_length=64)]
Blake3 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$", max_length=64)]
CaptureId = Annotated[
    str, Meta(pattern="^[0-9]{8}t[0-9]{6}z-[0-9abcdefghjkmnpqrstvwxyz]{10}$", min_length=27, max_length=27)
]
IncidentId = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$(?!\n)", max_length=100)]
Timestamp = Annotated[
    str,
    Meta(
        pattern="^[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-6][0-9][.][0-9]{3}Z$",
        max_length=24,
    ),
]
Token = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$(?!\n)", max_length=64)]
Path = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,199}$(?!\n)", max_length=200)]
MediaType = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9.+-]*/[a-z0-9][a-z0-9.+-]*$(?!\n)", max_length=127)]
Url = Annotated[str, Meta(min_length=1, max_length=MAX_URL_CHARS)]
Line = Annotated[str, Meta(min_length=1, max_length=MAX_LINE_CHARS)]
Text = Annotated[str, Meta(min_length=1, max_length=MAX_TEXT_CHARS)]
Count = Annotated[int, Meta(ge=0, le=MAX_INTEGER)]
Number = Annotated[int, Meta(ge=-MAX_INTEGER, le=MAX_INTEGER)]
Percent = Annotated[int, Meta(ge=0, le=100)]
Port = Annotated[int, Meta(ge=0, le=65_535)]
HttpStatus = Annotated[int, Meta(ge=0, le=999)]


class Part(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of the evidence record: frozen, without unknown fields, every field written."""


def as_line(text: str) -> str | None:
    """Fit foreign text, such as a page's words, into a ``Line``; None when it is empty."""
    return _fitted(text, MAX_LINE_CHARS)


def as_text(text: str) -> str | None:
    """Fit foreign text, such as a page's title, into a ``Text``; None when it is empty."""
    return _fitted(text, MAX_TEXT_CHARS)


def _fitted(text: str, limit: int) -> str | None:
    # Scripts can hand out halves of surrogate pairs, which no JSON of ours may hold.
    whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if len(whole) <= limit:
        return whole or None
    mark = f" [cut: {len(whole)} characters]"
    return whole[: limit - len(mark)] + mark
