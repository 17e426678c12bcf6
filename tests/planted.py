"""Looking for values that were planted, in whatever way they are written and packed."""

from __future__ import annotations

import base64
import io
import json
import re
import zipfile
import zlib
from collections.abc import Iterator
from urllib.parse import unquote_to_bytes

import brotli


def written(value: str) -> set[bytes]:
    """The value as somebody would write it."""
    raw = value.encode()
    found = {raw, raw.hex().encode(), json.dumps(value)[1:-1].encode()}
    for offset in range(3):
        coded = base64.b64encode(b"\0" * offset + raw)
        found.add(coded[4 if offset else 0 : len(coded) // 4 * 4 - 4])
    return found


def opened(data: bytes, depth: int = 0) -> Iterator[bytes]:
    """Yield bytes and all that they unpack to: ZIP, gzip members, PDF streams, brotli, percent-encoding."""
    yield data
    if depth > 4:
        return
    if data[:2] == b"PK":
        with zipfile.ZipFile(io.BytesIO(data)) as package:
            for name in package.namelist():
                yield from opened(package.read(name), depth + 1)
    for start in [found.start() for found in re.finditer(rb"\x1f\x8b\x08", data)]:
        try:
            yield from opened(zlib.decompressobj(31).decompress(data[start:]), depth + 1)
        except zlib.error:
            continue
    for found in re.finditer(rb"stream\r?\n", data) if data[:5] == b"%PDF-" else ():
        try:
            yield zlib.decompressobj().decompress(data[found.end() :])
        except zlib.error:
            continue
    for found in re.finditer(rb"\r\n\r\n", data[:1_000_000]):
        try:
            yield brotli.decompress(data[found.end() :].removesuffix(b"\r\n\r\n"))
        except brotli.error:
            continue
    if b"%" in data and len(data) < 5_000_000:
        yield unquote_to_bytes(data)
