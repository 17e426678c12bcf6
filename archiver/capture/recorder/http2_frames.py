"""HTTP/2 frames and header blocks, taken out of one direction of a connection.

Frames are cut by hand: of the ten types only five matter to an observer, ``hyperframe`` builds an object with
parsed flags for each, copies every payload twice, and refuses frames that browsers let pass.

Source: RFC 9113 sections 4 and 6; RFC 7541 for header compression, done by ``hpack``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from hpack import Decoder, HPACKError

from archiver.capture.recorder.splitter import DecodeLimits, SplitError

if TYPE_CHECKING:
    from collections.abc import Iterator

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
FRAME_HEAD_BYTES = 9

DATA = 0
HEADERS = 1
RST_STREAM = 3
PUSH_PROMISE = 5
GOAWAY = 7
CONTINUATION = 9

END_STREAM = 0x1
END_HEADERS = 0x4
PADDED = 0x8
PRIORITY = 0x20

MAX_BLOCK_BYTES = 256 * 1024
"""Of one compressed header block, over all its CONTINUATION frames."""

Fields = list[tuple[bytes, bytes]]


class Frame(NamedTuple):
    """One frame, padding and priority removed; *fields* are set where a header block ended."""

    kind: int
    stream: int
    payload: bytes
    end_stream: bool
    fields: Fields | None
    promised: int


class FrameReader:
    """Cuts the bytes of one direction into frames and decodes its header blocks, each one, in order.

    Args:
        preface: True for the client's side, which begins with the connection preface.
        limits: What it may hold.
    """

    def __init__(self, *, preface: bool, limits: DecodeLimits) -> None:
        self._buffer = bytearray()
        self._preface = preface
        self._limits = limits
        self._decoder = Decoder(max_header_list_size=limits.max_header_list_bytes)
        # An observer sees the table grow before it sees the setting that allows it, so the bound is its own.
        self._decoder.max_allowed_table_size = limits.max_table_bytes
        self._open: Frame | None = None
        self._block = bytearray()

    @property
    def waiting_bytes(self) -> int:
        """Bytes of a frame that is not whole."""
        return len(self._buffer)

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Take bytes and yield the frames that they complete.

        Raises:
            SplitError: This is not HTTP/2, or passes a limit.
        """
        self._buffer += data
        if self._preface:
            if not PREFACE.startswith(self._buffer[: len(PREFACE)]):
                raise SplitError("the connection does not begin with the HTTP/2 preface")
            if len(self._buffer) < len(PREFACE):
                return
            del self._buffer[: len(PREFACE)]
            self._preface = False
        while (frame := self._cut()) is not None:
            yield from self._gather(frame)

    def _cut(self) -> tuple[int, int, int, bytes] | None:
        """Cut kind, flags, stream and payload of one whole frame."""
        buffer = self._buffer
        if len(buffer) < FRAME_HEAD_BYTES:
            return None
        length = int.from_bytes(buffer[:3], "big")
        if length > self._limits.max_frame_bytes:
            raise SplitError(
                f"an HTTP/2 frame of {length} bytes, at most {self._limits.max_frame_bytes} are read"
            )
        end = FRAME_HEAD_BYTES + length
        if len(buffer) < end:
            return None
        kind, flags = buffer[3], buffer[4]
        stream = int.from_bytes(buffer[5:9], "big") & 0x7FFFFFFF
        payload = bytes(buffer[FRAME_HEAD_BYTES:end])
        del buffer[:end]
        return kind, flags, stream, payload

    def _gather(self, cut: tuple[int, int, int, bytes]) -> Iterator[Frame]:
        kind, flags, stream, payload = cut
        if self._open is not None and (kind != CONTINUATION or stream != self._open.stream):
            raise SplitError(f"an HTTP/2 frame of type {kind} inside a header block")
        if kind == CONTINUATION:
            if self._open is None:
                raise SplitError("an HTTP/2 CONTINUATION frame without a header block")
            yield from self._add_block(payload, flags)
            return
        promised = 0
        if kind in (DATA, HEADERS, PUSH_PROMISE):
            payload = _unpadded(payload) if flags & PADDED else payload
        if kind == HEADERS and flags & PRIORITY:
            payload = payload[5:]
        if kind == PUSH_PROMISE:
            promised = int.from_bytes(payload[:4], "big") & 0x7FFFFFFF
            payload = payload[4:]
        end_stream = kind in (DATA, HEADERS) and bool(flags & END_STREAM)
        if kind not in (HEADERS, PUSH_PROMISE):
            yield Frame(kind, stream, payload, end_stream, None, promised)
            return
        self._open = Frame(kind, stream, b"", end_stream, None, promised)
        yield from self._add_block(payload, flags)

    def _add_block(self, fragment: bytes, flags: int) -> Iterator[Frame]:
        self._block += fragment
        if len(self._block) > MAX_BLOCK_BYTES:
            raise SplitError(f"an HTTP/2 header block of more than {MAX_BLOCK_BYTES} bytes")
        if flags & END_HEADERS and self._open is not None:
            frame, self._open = self._open, None
            block, self._block = bytes(self._block), bytearray()
            yield frame._replace(fields=self._decode(block))

    def _decode(self, block: bytes) -> Fields:
        try:
            return [(bytes(name), bytes(value)) for name, value in self._decoder.decode(block, raw=True)]
        except HPACKError as error:
            raise SplitError(f"an HTTP/2 header block that does not decode: {error}"[:300]) from error


def _unpadded(payload: bytes) -> bytes:
    if not payload or payload[0] >= len(payload):
        raise SplitError("an HTTP/2 frame with more padding than payload")
    return payload[1 : len(payload) - payload[0]]
