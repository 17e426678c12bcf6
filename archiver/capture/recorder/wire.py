"""The wire file: every byte the relay received, as ciphertext, with times, in the order it arrived.

Layout, all integers little-endian:

- 16 bytes of header: the ASCII text ``archiver wire 1`` and a line feed.
- Then frames, each a 17-byte head and its data: u32 connection number (from 1), u8 kind,
  u64 Unix time in nanoseconds, u32 data length (at most ``MAX_FRAME_BYTES``).

Data of OPENED, CLOSED and REFUSED frames is a UTF-8 JSON object:

- OPENED: ``host`` and ``port`` as asked for; ``ip`` and ``dialled_port`` as dialled (``ip`` is null when an
  upstream proxy resolved the name); ``dns`` (answers in order), ``dns_ms``, ``dns_cached``; ``connect_ms``;
  ``local`` (our address and port); ``tried`` (addresses that came before: ``ip``, ``error``, ``errno``);
  ``rule`` (the resolve rule applied, or null); ``upstream`` (proxy URL without credentials, or null);
  ``guard`` (``checked``, ``address not seen by the guard``, or null while nothing was connected).
- REFUSED: ``stage`` (``peer``, ``socks``, ``resolve``, ``guard``, ``connect``); ``error`` (exact text);
  ``errno`` (name, or null); once a host was asked for also all of OPENED but ``local``, as far as it got.
- CLOSED: ``by`` (``client``, ``server``, ``relay``); ``why``; ``client_bytes`` and ``server_bytes``
  (received from each and recorded as CLIENT_DATA and SERVER_DATA); ``client_bytes_unsent`` and
  ``server_bytes_unsent`` (how many of those, at the end, the other side's kernel never acknowledged).

A frame is written before its bytes are forwarded. A process that is killed leaves at most one torn frame,
at the end.
"""

from __future__ import annotations

import enum
import json
import os
import struct
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from archiver.errors import ArchiverError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from typing import BinaryIO

KIB = 1024
MAX_FRAME_BYTES = 256 * KIB
MAX_FACTS_BYTES = 64 * KIB
READ_BUFFER_BYTES = 1024 * KIB

HEADER = b"archiver wire 1\n"
_HEAD = struct.Struct("<IBQI")


class Kind(enum.IntEnum):
    """What a frame holds."""

    CLIENT_DATA = 1
    SERVER_DATA = 2
    OPENED = 3
    CLOSED = 4
    REFUSED = 5
    CLIENT_EOF = 6
    SERVER_EOF = 7
    NOT_DELIVERED_TO_CLIENT = 8
    """The server sent this after the client had closed: received here, delivered to nobody."""
    NOT_DELIVERED_TO_SERVER = 9


_KINDS = {int(kind): kind for kind in Kind}
_FACTS = (Kind.OPENED, Kind.CLOSED, Kind.REFUSED)


class MalformedWire(ArchiverError):
    """The wire file says something that our writer never writes."""


class WireWriteFailed(ArchiverError):
    """The wire file cannot be created or written; nothing more may be forwarded.

    Args:
        reason: The operating system's words, such as ``no space left on device``.
    """

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(
            f"wire file {path.name}: write failed: expected room for the next frame, got {reason}",
            code="E211",
            hint="free space in the spool folder, then capture again",
        )
        self.reason = reason


class Frame(NamedTuple):
    """One frame.

    Args:
        connection: From 1, in the order in which connections arrived at the relay.
        kind: What *data* is.
        at_ns: Unix time of arrival, nanoseconds, by the relay's clock.
        data: At most ``MAX_FRAME_BYTES``.
        offset: Where the frame's head begins in the file.
    """

    connection: int
    kind: Kind
    at_ns: int
    data: bytes
    offset: int

    def facts(self) -> dict[str, Any]:
        """Return the JSON object of an OPENED, CLOSED or REFUSED frame.

        Raises:
            MalformedWire: Another kind, or not a JSON object.
        """
        try:
            value = json.loads(self.data) if self.kind in _FACTS else None
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            raise _malformed(self.offset, "a JSON object", f"{self.kind.name} {self.data[:40]!r}")
        return value


class WireWriter:
    """Appends frames to a new file, mode 0600.

    Args:
        path: Must not exist.

    Raises:
        WireWriteFailed: It exists, or cannot be created or written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size_bytes = 0
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_NOFOLLOW
        try:
            self._fd = os.open(path, flags, 0o600)
        except OSError as error:
            raise WireWriteFailed(path, _words(error)) from error
        try:
            self._write_all([HEADER])
        except WireWriteFailed:
            os.close(self._fd)
            raise

    def write(self, connection: int, kind: Kind, data: bytes | memoryview = b"") -> int:
        """Append one frame with the present time and return that time, Unix nanoseconds.

        Raises:
            WireWriteFailed: The frame is not, or not wholly, in the file.
        """
        at_ns = time.time_ns()
        self._write_all([_HEAD.pack(connection, kind, at_ns, len(data)), data])
        return at_ns

    def _write_all(self, parts: list[bytes | memoryview]) -> None:
        wanted = sum(map(len, parts))
        try:
            written = os.writev(self._fd, parts)
            self.size_bytes += written
            if written == wanted:
                return
            # A short write carries no reason; asking again for the rest yields the errno, or finishes it.
            rest = memoryview(b"".join(parts))[written:]
            while rest:
                written = os.write(self._fd, rest)
                self.size_bytes += written
                rest = rest[written:]
        except OSError as error:
            raise WireWriteFailed(self.path, _words(error)) from error

    def sync(self) -> None:
        """Make what was written survive a power cut. May take seconds.

        Raises:
            WireWriteFailed: The device refused.
        """
        try:
            os.fsync(self._fd)
        except OSError as error:
            raise WireWriteFailed(self.path, _words(error)) from error

    def close(self) -> None:
        """Close the file, without syncing it."""
        os.close(self._fd)


class WireReader:
    """Yields the frames of a wire file in one pass, with at most one frame in memory.

    Args:
        path: The file; may be still growing, then it is read up to its present end.

    Attributes:
        torn_bytes: After the pass, the length of an incomplete last frame, else 0.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.torn_bytes = 0

    def __iter__(self) -> Iterator[Frame]:
        """Yield each whole frame.

        Raises:
            MalformedWire: Another file format, an unknown kind, connection 0, or a length over the limit.
            OSError: The file cannot be read.
        """
        with self.path.open("rb", buffering=READ_BUFFER_BYTES) as stream:
            if self._begins_whole(stream):
                yield from self._frames(stream)

    def _begins_whole(self, stream: BinaryIO) -> bool:
        begin = stream.read(len(HEADER))
        if not HEADER.startswith(begin):
            raise _malformed(0, repr(HEADER), repr(begin))
        self.torn_bytes = len(begin) % len(HEADER)
        return begin == HEADER

    def _frames(self, stream: BinaryIO) -> Iterator[Frame]:
        offset = len(HEADER)
        while len(head := stream.read(_HEAD.size)) == _HEAD.size:
            connection, kind_number, at_ns, length = _HEAD.unpack(head)
            kind = _KINDS.get(kind_number)
            if kind is None or connection == 0:
                raise _malformed(
                    offset, "a known kind and a connection from 1", f"{kind_number}, {connection}"
                )
            limit = MAX_FACTS_BYTES if kind in _FACTS else MAX_FRAME_BYTES
            if length > limit:
                raise _malformed(offset, f"a frame of at most {limit} bytes", f"{length} bytes")
            data = stream.read(length)
            if len(data) < length:
                self.torn_bytes = len(head) + len(data)
                return
            yield Frame(connection, kind, at_ns, data, offset)
            offset += len(head) + length
        self.torn_bytes = len(head)


def encode_facts(facts: Mapping[str, Any]) -> bytes:
    """Return the data of an OPENED, CLOSED or REFUSED frame."""
    return json.dumps(facts, separators=(",", ":")).encode()


def frames(path: Path) -> Iterator[Frame]:
    """Yield the whole frames of *path*; a torn last frame is left out. See ``WireReader``."""
    return iter(WireReader(path))


def _words(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


def _malformed(offset: int, expected: str, got: str) -> MalformedWire:
    return MalformedWire(
        f"wire file: frame at byte {offset}: expected {expected}, got {got}",
        code="E210",
        hint="keep the file as it is and compare its digest with the one in the evidence record",
    )
