"""The rules for object keys: one set that every store, disk and S3 server can hold."""

from __future__ import annotations

import unicodedata

from storage.errors import InvalidKey

MAX_KEY_BYTES = 1024
MAX_SEGMENT_BYTES = 200
_MAX_SHOWN_CHARACTERS = 120

# Cc: control characters; Cs: lone surrogates, which have no UTF-8; Zl, Zp: line breaks in disguise.
_BANNED_CATEGORIES = frozenset({"Cc", "Cs", "Zl", "Zp"})
# XML 1.0 section 2.2 has no way to write these, and S3 lists keys as XML.
_BANNED_CHARACTERS = frozenset("\\\ufffe\uffff")


def check_key(key: str) -> str:
    """Return *key* when every store can hold it.

    A key is segments joined by ``/``: each 1 to ``MAX_SEGMENT_BYTES`` bytes of NFC UTF-8 without
    control characters or backslash, none of them ``.`` or ``..``, the first not beginning with a
    dot (such names are the store's own), at most ``MAX_KEY_BYTES`` bytes in all.

    Raises:
        InvalidKey: With the first rule that the key breaks.
    """
    problem = _problem(key)
    if problem:
        raise InvalidKey(
            f"key {shown(key)}: not usable in every store: {problem}",
            code="E601",
            hint="use short names of letters, digits, dot, hyphen and underscore, joined by /",
        )
    return key


def is_key(key: str) -> bool:
    """Tell whether ``check_key`` would accept *key*."""
    return _problem(key) is None


def check_prefix(prefix: str) -> str:
    """Return *prefix* when keys can begin with it; empty and a partial last segment are allowed.

    Raises:
        InvalidKey: No key can begin like this.
    """
    # One more letter makes a key of every true beginning; a whole key may have no room for it.
    if prefix and not is_key(prefix):
        check_key(f"{prefix}x")
    return prefix


def check_folder(prefix: str) -> str:
    """Return *prefix* when it is empty or ends in ``/`` and keys can begin with it.

    Raises:
        InvalidKey: It is neither.
    """
    if prefix and not prefix.endswith("/"):
        raise InvalidKey(
            f"key {shown(prefix)}: not a folder: expected a final /, got none",
            code="E601",
            hint="end the prefix with /",
        )
    return check_prefix(prefix)


def shown(text: str) -> str:
    """Return *text* fit for a message: printable, on one line, clipped."""
    clean = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text[:_MAX_SHOWN_CHARACTERS])
    return clean + ("..." if len(text) > _MAX_SHOWN_CHARACTERS else "") or "(empty)"


def _problem(key: str) -> str | None:
    plain = key.isascii() and key.isprintable() and "\\" not in key  # as nearly all are: listings ask often
    if not plain and (problem := _unfit_character(key)):
        return problem
    size_bytes = len(key.encode())
    if size_bytes > MAX_KEY_BYTES:
        return f"expected at most {MAX_KEY_BYTES} bytes, got {size_bytes} bytes"
    if key.startswith("."):
        return "expected a first segment without a leading dot, got one"
    return next(filter(None, map(_segment_problem, key.split("/"))), None)


def _unfit_character(key: str) -> str | None:
    for character in key:
        if character in _BANNED_CHARACTERS or unicodedata.category(character) in _BANNED_CATEGORIES:
            return f"expected printable characters without backslash, got U+{ord(character):04X}"
    if not unicodedata.is_normalized("NFC", key):
        return "expected Unicode form NFC, got another spelling"
    return None


def _segment_problem(segment: str) -> str | None:
    if segment in {".", ".."}:
        return f"expected named segments, got {segment}"
    size_bytes = len(segment.encode())
    if not 1 <= size_bytes <= MAX_SEGMENT_BYTES:
        return f"expected segments of 1 to {MAX_SEGMENT_BYTES} bytes, got {size_bytes} bytes"
    return None
