"""Decompression in bounded pieces: a small input cannot become a large piece of memory."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Iterator
from typing import Protocol

from manifests.findings import Code
from manifests.proof import ProofError

PIECE_BYTES = 1024 * 1024
FIRST_SLICE_BYTES = 16 * 1024
LATER_SLICE_BYTES = 256 * 1024
PLAIN_GZIP = bytes.fromhex("1f8b0800")


class Inflater(Protocol):
    """What ``zlib.decompressobj`` returns."""

    @property
    def eof(self) -> bool:
        """Whether the stream has ended."""
        ...

    @property
    def unused_data(self) -> bytes:
        """What followed the end."""
        ...

    @property
    def unconsumed_tail(self) -> bytes:
        """Input not looked at yet."""
        ...

    def decompress(self, data: bytes | memoryview, max_length: int, /) -> bytes:
        """Decompress at most *max_length* bytes."""
        ...


def drained(inflater: Inflater, packed: bytes | memoryview) -> Iterator[bytes]:
    """Yield what *inflater* makes of *packed* in pieces of at most ``PIECE_BYTES``.

    Raises:
        zlib.error: The bytes are not of its format.
    """
    pending: bytes | memoryview = packed
    while True:
        piece = inflater.decompress(pending, PIECE_BYTES)
        pending = inflater.unconsumed_tail
        if piece:
            yield piece
        if not pending and len(piece) < PIECE_BYTES:
            return


class GzipMembers:
    """Reads a stream of gzip members one by one, from pieces of any size.

    Args:
        pieces: The stream.
        subject: What it is, for the findings.
    """

    def __init__(self, pieces: Iterable[bytes], subject: str) -> None:
        self._pieces = iter(pieces)
        self._pending = memoryview(b"")
        self._subject = subject
        self.offset = 0
        """Where the member last begun begins, bytes."""
        self.length = 0
        """Its bytes so far."""
        self.sha256 = hashlib.sha256()
        """Over its bytes so far."""

    def more(self) -> bool:
        """Whether any byte is left."""
        while not self._pending:
            piece = next(self._pieces, None)
            if piece is None:
                return False
            self._pending = memoryview(piece)
        return True

    def skip_rest(self) -> None:
        """Use up what is left."""
        self._pending = memoryview(b"")
        for _ in self._pieces:
            pass

    def member(self) -> Iterator[bytes]:
        """Yield the unpacked bytes of the next member; offset, length and digest are whole at its end.

        Raises:
            ProofError: ``warc-trailing-data`` when no plain gzip member begins here, ``warc-malformed``,
                ``warc-truncated``.
        """
        self.offset += self.length
        self.length = 0
        self.sha256 = hashlib.sha256()
        self._expect_header()
        inflater = zlib.decompressobj(zlib.MAX_WBITS + 16)
        slice_bytes = FIRST_SLICE_BYTES
        while not inflater.eof:
            if not self.more():
                raise self._wrong(Code.WARC_TRUNCATED, "the end of the gzip member", "the end of the file")
            packed = self._pending[:slice_bytes]
            try:
                yield from drained(inflater, packed)
            except zlib.error as error:
                raise self._wrong(Code.WARC_MALFORMED, "a sound gzip member", str(error)) from error
            used = packed[: len(packed) - len(inflater.unused_data)]
            self.sha256.update(used)
            self.length += len(used)
            self._pending = self._pending[len(used) :]
            slice_bytes = LATER_SLICE_BYTES

    def _expect_header(self) -> None:
        """Demand a gzip header without optional fields, in which bytes could hide (RFC 1952 section 2.3)."""
        while len(self._pending) < len(PLAIN_GZIP):
            piece = next(self._pieces, None)
            if piece is None:
                break
            self._pending = memoryview(bytes(self._pending) + piece)
        start = bytes(self._pending[: len(PLAIN_GZIP)])
        if start != PLAIN_GZIP:
            raise self._wrong(Code.WARC_TRAILING_DATA, f"a gzip member {PLAIN_GZIP.hex()}", start.hex())

    def _wrong(self, code: Code, expected: str, got: str) -> ProofError:
        return ProofError(code, f"{self._subject} at byte {self.offset}", expected, got)
