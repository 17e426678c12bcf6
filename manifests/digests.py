"""SHA-256 and BLAKE3 of a stream in one pass.

Both functions release the interpreter lock on large pieces; on streams longer than one piece they run
side by side, so the pass takes as long as the slower of the two.
"""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import BinaryIO

from blake3 import blake3

PIECE_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Digests:
    """Length and digests of one byte sequence.

    Args:
        sha256: Lower-case hex, 64 characters.
        blake3: Lower-case hex, 64 characters (256 bit).
        bytes: Length.
    """

    sha256: str
    blake3: str
    bytes: int


class Digester:
    """Takes bytes in pieces and gives their ``Digests``."""

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()
        self._blake3 = blake3()
        self._bytes = 0

    def update(self, data: bytes | bytearray | memoryview) -> None:
        """Take the next piece."""
        self._sha256.update(data)
        self._blake3.update(data)
        self._bytes += memoryview(data).nbytes

    def update_with(self, pool: ThreadPoolExecutor, data: bytes | bytearray | memoryview) -> None:
        """Take the next piece, with BLAKE3 computed in *pool* meanwhile; returns when both are done."""
        other = pool.submit(self._blake3.update, data)
        self._sha256.update(data)
        self._bytes += memoryview(data).nbytes
        other.result()

    def digests(self) -> Digests:
        """The digests of what came so far."""
        return Digests(self._sha256.hexdigest(), self._blake3.hexdigest(), self._bytes)


def digest_bytes(data: bytes) -> Digests:
    """Digest *data*."""
    digester = Digester()
    digester.update(data)
    return digester.digests()


def digest_stream(stream: BinaryIO) -> Digests:
    """Digest *stream* from its position to its end, in flat memory.

    Raises:
        OSError: The stream could not be read.
    """
    digester = Digester()
    piece = stream.read(PIECE_BYTES)
    if len(piece) < PIECE_BYTES:
        while piece:
            digester.update(piece)
            piece = stream.read(PIECE_BYTES)
        return digester.digests()
    with ThreadPoolExecutor(1) as pool:
        while piece:
            digester.update_with(pool, piece)
            piece = stream.read(PIECE_BYTES)
    return digester.digests()
