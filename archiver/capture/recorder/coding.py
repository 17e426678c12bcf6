"""Content codings undone in pieces of bounded size: a few bytes can stand for gigabytes."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import brotli

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PIECE_BYTES = 256 * 1024
GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS
RAW_DEFLATE = -zlib.MAX_WBITS


class CodingError(ValueError):
    """A body that is not in the coding it names."""


def decoded(pieces: Iterable[bytes], coding: str) -> Iterator[bytes]:
    """Yield the decoded bytes of *pieces*, at most about ``PIECE_BYTES`` at a time.

    Args:
        pieces: The payload as sent.
        coding: ``gzip``, ``deflate``, ``br``, or one that leaves the bytes as they are: empty, ``identity``.

    Raises:
        CodingError: The bytes or the name are no such coding, or the bytes end early.
    """
    if coding in ("", "identity"):
        yield from pieces
    elif coding in ("gzip", "x-gzip", "deflate"):
        yield from _inflated(pieces)
    elif coding == "br":
        yield from _unbrotlied(pieces)
    else:
        raise CodingError(f"content coding {coding!r} is not read here")


def _inflated(pieces: Iterable[bytes]) -> Iterator[bytes]:
    inflater = None
    try:
        for piece in pieces:
            if inflater is None and piece:
                # Servers send "deflate" with and without the zlib header that RFC 9110, 8.4.1.2 asks for.
                has_header = piece[0] == 0x1F or piece[0] & 0x0F == zlib.DEFLATED
                inflater = zlib.decompressobj(GZIP_OR_ZLIB if has_header else RAW_DEFLATE)
            pending = piece
            while inflater is not None and pending and not inflater.eof:
                yield inflater.decompress(pending, PIECE_BYTES)
                pending = inflater.unconsumed_tail
        while inflater is not None and (rest := inflater.decompress(b"", PIECE_BYTES)):
            yield rest
    except zlib.error as error:
        raise CodingError(f"not deflate: {error}") from error
    if inflater is None or not inflater.eof:
        raise CodingError("the deflate stream ends early")


def _unbrotlied(pieces: Iterable[bytes]) -> Iterator[bytes]:
    decompressor = brotli.Decompressor()
    try:
        for piece in pieces:
            pending = piece
            while output := decompressor.process(pending, output_buffer_limit=PIECE_BYTES):
                yield output
                pending = b""
    except brotli.error as error:
        raise CodingError(f"not brotli: {error}") from error
    if not decompressor.is_finished():
        raise CodingError("the brotli stream ends early")
