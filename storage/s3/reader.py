"""One S3 object as a seekable stream that survives a cut connection."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from storage.errors import StoreUnavailable
from storage.keys import shown
from storage.s3.errors import s3_errors
from storage.streams import WindowReader

Fetch = Callable[[int], Any]
"""Opens a body that begins at this byte of the same object, or raises a store error."""


class S3Reader(WindowReader):
    """Reads one object as it was when it was opened.

    A read that fails is tried once more on a new connection from where it stopped. An object read
    from its first byte to its last in one go is compared with the checksum that S3 keeps for it,
    where it keeps one of the whole.

    Args:
        key: For messages.
        size_bytes: Length of the object.
        body: What ``get_object`` answered, beginning at byte *position*.
        position: Where *body* begins.
        fetch: Opens another body of the same version of the object.
    """

    def __init__(self, key: str, size_bytes: int, body: Any, position: int, fetch: Fetch) -> None:
        super().__init__(size_bytes)
        self._key = key
        self._end = size_bytes
        self._body = body
        self._body_position = position
        self._fetch = fetch

    def _read_into(self, view: memoryview, position: int) -> int:
        if position != self._body_position:
            self._reopen(position)
        try:
            data = self._take(len(view))
        except StoreUnavailable:
            self._reopen(position)
            data = self._take(len(view))
        view[: len(data)] = data
        self._body_position = position + len(data)
        if self._body_position == self._end:
            with s3_errors(f"object {shown(self._key)}"):
                self._body.read(1)  # botocore compares the checksum when it meets the end
        return len(data)

    def _take(self, size_bytes: int) -> bytes:
        with s3_errors(f"object {shown(self._key)}"):
            data: bytes = self._body.read(size_bytes)
        if not data:
            raise StoreUnavailable(
                f"object {shown(self._key)}: ended early: expected {self._end} bytes, "
                f"got {self._body_position} bytes",
                code="E643",
                hint="check the network, then run it again",
            )
        return data

    def _reopen(self, position: int) -> None:
        self._body.close()
        self._body = self._fetch(position)
        self._body_position = position

    def close(self) -> None:
        """Give the connection back."""
        if not self.closed:
            self._body.close()
        super().close()
