"""Canonical JSON (RFC 8785), and a reader that takes only JSON every reader reads alike.

No floats: sizes and times are integers, so that no two programs can round a value differently.
A stored document is proven canonical by writing it again and comparing; it is never "repaired".
"""

from __future__ import annotations

import json
from typing import Any

import rfc8785

from manifests.errors import MalformedJson
from manifests.findings import Code

MAX_JSON_BYTES = 16 * 1024 * 1024
MAX_DEPTH = 64
MAX_INTEGER = 2**53 - 1
MAX_INTEGER_DIGITS = 16


def canonical_bytes(value: Any) -> bytes:
    """Write *value* in canonical form.

    Args:
        value: Dicts with string keys, lists, strings, integers, booleans and None, at most
            ``MAX_DEPTH`` deep.

    Raises:
        MalformedJson: *value* holds something else, a float among it.
    """
    _check_values(value)
    try:
        return rfc8785.dumps(value)
    except rfc8785.CanonicalizationError as error:
        raise MalformedJson(Code.RECORD_NOT_JSON, f"value: {error}") from error


def read_strict(data: bytes) -> Any:
    """Read JSON that is not necessarily canonical but unambiguous.

    Refuses a byte order mark, duplicate keys, floats, NaN and Infinity, integers beyond 2^53 - 1,
    lone surrogates, more than ``MAX_DEPTH`` levels and more than ``MAX_JSON_BYTES`` bytes.

    Raises:
        MalformedJson: With the finding in ``kind``.

    Source: RFC 8259; RFC 7493 (I-JSON) section 2.
    """
    if len(data) > MAX_JSON_BYTES:
        raise MalformedJson(
            Code.RECORD_TOO_LARGE,
            f"JSON: size: expected at most {MAX_JSON_BYTES} bytes, got {len(data)} bytes",
        )
    if data.startswith(b"\xef\xbb\xbf"):
        raise MalformedJson(Code.RECORD_BYTE_ORDER_MARK, "JSON: expected no byte order mark, got one")
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_object,
            parse_int=_integer,
            parse_float=_refuse_number,
            parse_constant=_refuse_number,
        )
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise MalformedJson(Code.RECORD_NOT_JSON, f"JSON: {error}") from error
    except RecursionError as error:
        raise _too_deep() from error
    _check_values(value)
    return value


def parse_canonical(data: bytes) -> Any:
    """Read JSON and demand that *data* is its canonical form, byte for byte.

    Raises:
        MalformedJson: As ``read_strict``, or ``record-not-canonical``.
    """
    value = read_strict(data)
    canonical = canonical_bytes(value)
    if canonical != data:
        at = next(
            (i for i, (a, b) in enumerate(zip(canonical, data, strict=False)) if a != b), len(canonical)
        )
        raise MalformedJson(
            Code.RECORD_NOT_CANONICAL,
            f"JSON: byte {at}: expected {canonical[at : at + 12]!r}, got {data[at : at + 12]!r}",
        )
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) == len(pairs):
        return result
    seen: set[str] = set()
    double = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
    raise MalformedJson(Code.RECORD_DUPLICATE_KEY, f"JSON: key {double[:80]!r}: expected once, got twice")


def _integer(text: str) -> int:
    # The length is looked at first: Python refuses to convert very long digit strings by raising.
    if len(text.lstrip("-")) > MAX_INTEGER_DIGITS or abs(int(text)) > MAX_INTEGER:
        raise MalformedJson(
            Code.RECORD_NUMBER_NOT_EXACT, f"JSON: integer: expected at most {MAX_INTEGER}, got {text[:40]}"
        )
    return int(text)


def _refuse_number(text: str) -> Any:
    raise MalformedJson(Code.RECORD_NUMBER_NOT_EXACT, f"JSON: number: expected an integer, got {text[:40]}")


def _too_deep() -> MalformedJson:
    return MalformedJson(
        Code.RECORD_TOO_DEEP, f"JSON: nesting: expected at most {MAX_DEPTH} levels, got more"
    )


def _check_values(value: Any) -> None:
    """Walk *value* level by level, without recursion: kinds, depth, text."""
    level = [value]
    for depth in range(MAX_DEPTH + 1):
        below: list[Any] = []
        for item in level:
            if depth == MAX_DEPTH and isinstance(item, (dict, list, tuple)):
                raise _too_deep()
            if isinstance(item, dict):
                below.extend(item.keys())
                below.extend(item.values())
            elif isinstance(item, (list, tuple)):
                below.extend(item)
            else:
                _check_scalar(item)
        if not below:
            return
        level = below


def _check_scalar(item: Any) -> None:
    if isinstance(item, str):
        # A surrogate is the only thing a Python string can hold that UTF-8 cannot.
        if not item.isascii() and any("\ud800" <= char <= "\udfff" for char in item):
            raise MalformedJson(
                Code.RECORD_LONE_SURROGATE, "JSON: string: expected Unicode text, got a lone surrogate"
            )
    elif isinstance(item, int):
        if abs(item) > MAX_INTEGER:
            _integer(str(item))
    elif item is not None:
        raise MalformedJson(
            Code.RECORD_NUMBER_NOT_EXACT,
            f"JSON: value: expected text, integer, boolean or null, got {type(item).__name__}",
        )
