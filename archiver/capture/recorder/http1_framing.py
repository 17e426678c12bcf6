"""How the body of an HTTP/1 message ends: by length, by chunks, with the connection (RFC 9112, 6.3)."""

from __future__ import annotations

import re
from typing import Protocol

from archiver.capture.recorder.http1_head import shown

KIB = 1024

MAX_LINE_BYTES = 16 * KIB
"""Of one chunk-size or trailer line; Chromium's own limit."""
MAX_TRAILER_BYTES = 256 * KIB

_CHUNK_SIZE = re.compile(rb"(0*[0-9A-Fa-f]{1,15})[ \t]*(?:;|\r?\n\Z)")


class Writer(Protocol):
    """Where a body goes: see ``body.BodyWriter``."""

    @property
    def size_bytes(self) -> int:
        """Bytes written so far, framing included."""
        ...

    def write(self, data: bytes) -> None:
        """Append payload bytes."""
        ...

    def write_framed(self, data: bytes, payload: bytes) -> None:
        """Append *data* as on the wire, of which *payload* is what is left without the framing."""
        ...

    def mark_broken(self) -> None:
        """Say that the framing does not tell what the payload is."""
        ...


class Framing(Protocol):
    """Moves the bytes of one body from a buffer into its writer."""

    @property
    def missing(self) -> str:
        """What has not arrived yet, as a clause; empty when the body is whole."""
        ...

    @property
    def ends_with_connection(self) -> bool:
        """True when an orderly end of the connection makes the body whole."""
        ...

    def take(self, buffer: bytearray) -> bool:
        """Move what belongs to the body out of *buffer*; True when the body has ended."""
        ...

    def take_rest(self, buffer: bytearray) -> None:
        """Move all of *buffer* into the body: nothing follows that could tell what it is."""
        ...


class LengthFraming:
    """A body of *length* bytes."""

    ends_with_connection = False

    def __init__(self, body: Writer, length: int) -> None:
        self._body = body
        self._length = length

    @property
    def missing(self) -> str:
        """See ``Framing``."""
        got = self._body.size_bytes
        return "" if got == self._length else f"{got} of {self._length} bytes of the body arrived"

    def take(self, buffer: bytearray) -> bool:
        """See ``Framing``."""
        _move(buffer, self._length - self._body.size_bytes, self._body)
        return self._body.size_bytes == self._length

    def take_rest(self, buffer: bytearray) -> None:
        """See ``Framing``; an unfinished body of known length has taken everything already."""


class OpenFraming:
    """A body that lasts as long as the connection."""

    ends_with_connection = True
    missing = "the body ends with the connection, which was cut"

    def __init__(self, body: Writer) -> None:
        self._body = body

    def take(self, buffer: bytearray) -> bool:
        """See ``Framing``."""
        self.take_rest(buffer)
        return False

    def take_rest(self, buffer: bytearray) -> None:
        """See ``Framing``."""
        _move(buffer, len(buffer), self._body)


class ChunkedFraming:
    """A chunked body (RFC 9112 section 7.1), framing and trailers kept.

    Where the framing breaks, everything up to the end of the connection is kept and ``broken`` says why: the
    browser stops reading there, and nobody can tell what belongs to the body.
    """

    def __init__(self, body: Writer) -> None:
        self._body = body
        self._chunk_left = 0
        self._after_chunk = False
        self._trailer_bytes = -1
        self.broken = ""

    @property
    def ends_with_connection(self) -> bool:
        """See ``Framing``."""
        return bool(self.broken)

    @property
    def missing(self) -> str:
        """See ``Framing``."""
        return self.broken or f"the last chunk did not arrive, {self._body.size_bytes} bytes with framing did"

    def take(self, buffer: bytearray) -> bool:
        """See ``Framing``; small chunks are written together, not one by one."""
        payload: list[bytes] = []
        position, ended = 0, False
        while position < len(buffer) and not ended:
            if self.broken:
                position = len(buffer)
            elif self._chunk_left:
                piece = bytes(buffer[position : position + self._chunk_left])
                payload.append(piece)
                position += len(piece)
                self._chunk_left -= len(piece)
                self._after_chunk = not self._chunk_left
            elif end := self._line_end(buffer, position):
                ended = self._line(bytes(buffer[position:end]), position)
                position = end
            elif not self.broken:
                break
        self._body.write_framed(bytes(buffer[:position]), b"".join(payload))
        del buffer[:position]
        return ended

    def take_rest(self, buffer: bytearray) -> None:
        """See ``Framing``."""
        self._body.write_framed(bytes(buffer), b"")
        buffer.clear()

    def _line_end(self, buffer: bytearray, position: int) -> int:
        """Return where the line that begins at *position* ends, 0 when it is not whole yet or too long."""
        end = buffer.find(b"\n", position, position + MAX_LINE_BYTES) + 1
        if not end and len(buffer) - position >= MAX_LINE_BYTES:
            self._break(f"a line of more than {MAX_LINE_BYTES} bytes", position)
        return end

    def _line(self, line: bytes, position: int) -> bool:
        """Take one line of framing; True when it was the last."""
        after = position + len(line)
        blank = line in (b"\r\n", b"\n")
        if self._trailer_bytes >= 0:
            self._trailer_bytes += len(line)
            if self._trailer_bytes > MAX_TRAILER_BYTES:
                self._break(f"trailers of more than {MAX_TRAILER_BYTES} bytes", after)
            return blank and not self.broken
        if self._after_chunk:
            self._after_chunk = False
            if not blank:
                self._break(f"no line end after a chunk: {shown(line)}", after)
            return False
        found = _CHUNK_SIZE.match(line)
        if found is None:
            self._break(f"no chunk size: {shown(line)}", after)
            return False
        self._chunk_left = int(found[1], 16)
        if not self._chunk_left:
            self._trailer_bytes = 0
        return False

    def _break(self, why: str, position: int) -> None:
        self.broken = f"the chunk framing breaks at byte {self._body.size_bytes + position}: {why}"
        self._body.mark_broken()


def _move(buffer: bytearray, limit: int, body: Writer) -> int:
    piece = bytes(buffer[:limit])
    body.write(piece)
    del buffer[:limit]
    return len(piece)
