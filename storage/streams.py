"""Sources in chunks, digests on the way, and objects as seekable streams."""

from __future__ import annotations

import hashlib
import io
import re
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from storage.errors import DigestMismatch, InvalidRange, ObjectConflict, SourceUnreadable, StoreRefused
from storage.keys import shown

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

KIB = 1024
MIB = 1024 * KIB
CHUNK_BYTES = 1 * MIB
READ_BUFFER_BYTES = 256 * KIB
MAX_MUTABLE_BYTES = 1 * MIB
"""Largest object that ``replace`` writes; a pointer, never evidence."""

_ETAG = re.compile(r'"?[^\s",*]+"?')
_SHA256 = re.compile(r"[0-9a-f]{64}")


def chunks(source: bytes | Path | BinaryIO, size_bytes: int = CHUNK_BYTES) -> Iterator[bytes]:
    """Yield *source* in chunks of exactly *size_bytes*, the last one shorter; nothing when it is empty.

    Raises:
        SourceUnreadable: The file or stream fails, or gives something other than bytes.
    """
    try:
        with _opened(source) as stream:
            while chunk := _filled(stream, size_bytes):
                yield chunk
    except OSError as exc:
        raise _unreadable(source, exc.strerror or type(exc).__name__) from exc


def digest_of(source: bytes | Path | BinaryIO) -> tuple[int, str]:
    """Read *source* to its end and return its size in bytes and its hex SHA-256."""
    digest = hashlib.sha256()
    size_bytes = 0
    for chunk in chunks(source):
        digest.update(chunk)
        size_bytes += len(chunk)
    return size_bytes, digest.hexdigest()


def check_announced(key: str, sha256: str | None) -> None:
    """Refuse an announced digest that is not 64 lower-case hex digits, before any byte is read."""
    if sha256 is not None and not _SHA256.fullmatch(sha256):
        raise DigestMismatch(
            f"object {shown(key)}: announced sha256 is malformed: expected 64 lower-case hex digits, "
            f"got {shown(sha256)}",
            code="E604",
            hint="give the digest in lower-case hex",
        )


def require_announced(key: str, announced: str | None, computed: str) -> None:
    """Refuse bytes that do not have the announced SHA-256 (None: nothing was announced)."""
    if announced is not None and announced != computed:
        raise DigestMismatch(
            f"object {shown(key)}: sha256 of the bytes: expected {announced}, got {computed}",
            code="E605",
            hint="the source changed or was damaged; nothing was stored, make it again",
        )


def require_same(key: str, stored: tuple[int, str], offered: tuple[int, str]) -> None:
    """Refuse *offered* (size and SHA-256) for a key that already holds other bytes."""
    if stored != offered:
        raise ObjectConflict(
            f"object {shown(key)}: exists with other bytes: expected sha256 {stored[1]} ({stored[0]} bytes), "
            f"got {offered[1]} ({offered[0]} bytes)",
            code="E603",
            hint="stored objects never change; store the new bytes under another key",
        )


def check_range(key: str, offset: int, length: int | None) -> None:
    """Refuse a negative *offset* or *length*."""
    if offset < 0 or (length is not None and length < 0):
        raise InvalidRange(
            f"object {shown(key)}: no such range: expected an offset and a length of 0 or more bytes, "
            f"got {offset} and {length}",
            code="E606",
            hint="give an offset and a length that are not negative",
        )


class WindowReader(io.RawIOBase):
    """A window of an object as a seekable raw stream.

    Args:
        size_bytes: Length of the object; the window is all of it until ``narrowed``.
    """

    def __init__(self, size_bytes: int) -> None:
        super().__init__()
        self._start = 0
        self._size = size_bytes
        self._position = 0

    def narrowed(self, offset: int, length: int | None) -> io.BufferedReader:
        """Return this window cut to *length* bytes from *offset*, as far as the object goes, buffered."""
        rest = max(0, self._size - offset)
        self._start = offset
        self._size = rest if length is None else min(rest, length)
        return io.BufferedReader(self, READ_BUFFER_BYTES)

    @abstractmethod
    def _read_into(self, view: memoryview, position: int) -> int:
        """Fill *view* from byte *position* of the object; return how many bytes, at least one, or raise."""

    def readable(self) -> bool:
        """A window can be read."""
        return True

    def seekable(self) -> bool:
        """A window can be sought in."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move within the window; positions past its end read as empty."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise InvalidRange(
                f"object: seek before its start: expected 0 or more, got {base + offset}", code="E606"
            )
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        """Position within the window."""
        return self._position

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Read into *buffer*; 0 at the end of the window."""
        view = memoryview(buffer).cast("B")
        wanted = min(len(view), self._size - self._position)
        if wanted <= 0:
            return 0
        count = self._read_into(view[:wanted], self._start + self._position)
        self._position += count
        return count


def _opened(source: bytes | Path | BinaryIO) -> AbstractContextManager[BinaryIO]:
    if isinstance(source, bytes):
        return io.BytesIO(source)
    if isinstance(source, Path):
        return source.open("rb", buffering=0)
    return nullcontext(source)


def _filled(stream: BinaryIO, size_bytes: int) -> bytes:
    first = _read(stream, size_bytes)
    if len(first) in {0, size_bytes}:
        return first
    parts = [first]
    missing = size_bytes - len(first)
    while missing and (part := _read(stream, missing)):
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)


def _read(stream: BinaryIO, size_bytes: int) -> bytes:
    try:
        chunk = stream.read(size_bytes)
    except ValueError as exc:
        raise _unreadable(stream, "a closed stream") from exc
    if not isinstance(chunk, bytes) or len(chunk) > size_bytes:
        raise _unreadable(stream, f"{type(chunk).__name__} from a read of {size_bytes} bytes")
    return chunk


def _unreadable(source: bytes | Path | BinaryIO, got: str) -> SourceUnreadable:
    name = str(source) if isinstance(source, Path) else type(source).__name__
    return SourceUnreadable(
        f"source {shown(name)}: cannot be read: expected bytes to its end, got {shown(got)}",
        code="E607",
        hint="check that the file is there and readable",
    )


def check_replacement(key: str, data: bytes, etag: str | None) -> None:
    """Refuse a replacement of more than ``MAX_MUTABLE_BYTES``, and an etag that is not one etag.

    S3 servers take an empty If-Match for none at all and overwrite; ``*`` and lists match more than one.
    """
    if etag is not None and not _ETAG.fullmatch(etag):
        require_etag(key, shown(etag), "an etag that is of no state of it")
    if len(data) > MAX_MUTABLE_BYTES:
        raise StoreRefused(
            f"object {shown(key)}: too large to be replaced: expected at most {MAX_MUTABLE_BYTES} bytes, "
            f"got {len(data)} bytes",
            code="E617",
            hint="put large objects under keys of their own and replace only a pointer to them",
        )


def require_etag(key: str, expected: str | None, found: str | None) -> None:
    """Refuse to replace an object that is no longer the one the caller read (None: absent)."""
    if expected != found:
        raise ObjectConflict(
            f"object {shown(key)}: changed by somebody else: expected etag {expected}, got {found}",
            code="E622",
            hint="read it again and repeat the change",
        )
