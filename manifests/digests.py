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


class DigestingWriter:
    """Passes what is written on to *sink* and digests it on the way.

    Args:
        sink: Where the bytes go; neither flushed nor closed here.
    """

    def __init__(self, sink: BinaryIO) -> None:
        self._sink = sink
        self._digester = Digester()

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Write all of *data* and return its length in bytes."""
        view = memoryview(data).cast("B")
        done = 0
        while done < view.nbytes:
            done += self._sink.write(view[done:])
        self._digester.update(view)
        return done

    def flush(self) -> None:
        """Flush the sink."""
        self._sink.flush()

    def digests(self) -> Digests:
        """The digests of what was written so far."""
        return self._digester.digests()


class DigestingReader:
    """Digests what is read from *source* on the way.

    Args:
        source: Read from its position on; not closed here.
    """

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self._digester = Digester()

    def read(self, size: int = -1) -> bytes:
        """Read at most *size* bytes, or all when it is negative."""
        data = self._source.read(size)
        self._digester.update(data)
        return data

    def digests(self) -> Digests:
        """The digests of what was read so far."""
        return self._digester.digests()


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
