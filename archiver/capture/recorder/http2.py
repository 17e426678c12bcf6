"""Split one HTTP/2 connection into exchanges.

Each stream is one exchange: heads in the form that ``http2_head`` gives them, bodies the DATA of its frames.
Streams that a side resets, or that the end of the connection interrupts, are handed over as they stand.

Source: RFC 9113; RFC 8441 for WebSocket.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from archiver.capture.recorder import http2_frames as h2f
from archiver.capture.recorder.body import BodyWriter
from archiver.capture.recorder.http1_head import content_length, shown
from archiver.capture.recorder.http2_head import (
    HeaderList,
    header_list,
    request_head,
    response_head,
    status_of,
    url_of,
)
from archiver.capture.recorder.splitter import CLIENT, SERVER, DecodeLimits, Draft, Origin, SplitError
from archiver.capture.recorder.upgrade import Upgraded

if TYPE_CHECKING:
    from collections.abc import Callable

    from archiver.capture.recorder.exchange import Exchange, Truncation

ERRORS = (
    "NO_ERROR",
    "PROTOCOL_ERROR",
    "INTERNAL_ERROR",
    "FLOW_CONTROL_ERROR",
    "SETTINGS_TIMEOUT",
    "STREAM_CLOSED",
    "FRAME_SIZE_ERROR",
    "REFUSED_STREAM",
    "CANCEL",
    "COMPRESSION_ERROR",
    "CONNECT_ERROR",
    "ENHANCE_YOUR_CALM",
    "INADEQUATE_SECURITY",
    "HTTP_1_1_REQUIRED",
)
"""RFC 9113 section 7, by number."""
MAX_GOAWAYS = 5
MAX_GIVEN_UP = 100
"""Streams that the client reset and that are kept open for what is still on its way."""


@dataclass(slots=True)
class _Stream:
    """One stream that has begun and not ended."""

    draft: Draft
    websocket: bool = False
    upgraded: Upgraded | None = None
    length: int | None = None
    request_ended: bool = False
    response_ended: bool = False
    reset: str = ""


class Http2Splitter:
    """One HTTP/2 connection; see ``splitter.Splitter`` for how it is driven.

    Args:
        origin: The connection.
        emit: Takes each exchange when its stream has ended.
        limits: What it may hold.
    """

    def __init__(self, origin: Origin, emit: Callable[[Exchange], None], limits: DecodeLimits) -> None:
        self._origin = origin
        self._emit = emit
        self._limits = limits
        self._readers = (
            h2f.FrameReader(preface=True, limits=limits),
            h2f.FrameReader(preface=False, limits=limits),
        )
        self._streams: dict[int, _Stream] = {}
        self._given_up: deque[int] = deque()
        self._now = 0
        self._late_bytes = 0
        self.notes: list[str] = []

    def feed(self, direction: int, data: bytes, time_ns: int) -> None:
        """Take plaintext of one direction, or raise ``SplitError``."""
        self._now = time_ns
        for frame in self._readers[direction].feed(data):
            self._take(direction, frame)

    def end(self, direction: int, remark: str) -> None:
        """Take the orderly end of one direction; in HTTP/2 it ends no stream."""

    def close(self, truncated: Truncation, why: str) -> None:
        """Hand over whatever is unfinished, marked *truncated*; *why* is a clause for its notes."""
        for number in list(self._streams):
            self._cut_short(number, truncated, why)
        if self._late_bytes:
            self.notes.append(f"{self._late_bytes} bytes of DATA came for streams that had ended")

    def _take(self, direction: int, frame: h2f.Frame) -> None:
        if frame.kind == h2f.PUSH_PROMISE and frame.fields is not None:
            self._begin(frame.promised, header_list(frame.fields), pushed=True)
        elif frame.kind == h2f.HEADERS and frame.fields is not None:
            self._headers(direction, frame.stream, header_list(frame.fields))
        elif frame.kind == h2f.DATA:
            self._data(direction, frame)
        elif frame.kind == h2f.RST_STREAM:
            self._reset(direction, frame)
        elif frame.kind == h2f.GOAWAY:
            self._goaway(direction, frame.payload)
        if frame.end_stream:
            self._end_stream(direction, frame.stream)

    # Streams begin

    def _begin(self, number: int, headers: HeaderList, *, pushed: bool) -> None:
        if number in self._streams:
            raise SplitError(f"HTTP/2 stream {number} begins twice")
        if len(self._streams) >= self._limits.max_open_streams:
            raise SplitError(f"more than {self._limits.max_open_streams} open HTTP/2 streams")
        websocket = headers.text(b":protocol").lower() == "websocket"
        draft = Draft(self._origin, "h2", self._now, self._now, stream=number)
        draft.method = headers.text(b":method")
        draft.url = url_of(headers, websocket=websocket)
        draft.request_head = request_head(headers)
        for note in headers.notes:
            draft.note(f"request: {note}")
        if pushed:
            draft.note("pushed by the server: the browser never sent this request")
        if b":protocol" in headers.pseudo:
            draft.note(f"extended CONNECT, :protocol {shown(headers.pseudo[b':protocol'])} (RFC 8441)")
        self._streams[number] = _Stream(draft, websocket, request_ended=pushed)

    def _headers(self, direction: int, number: int, headers: HeaderList) -> None:
        stream = self._streams.get(number)
        if direction == CLIENT:
            if stream is None:
                self._begin(number, headers, pushed=False)
            else:
                self._trailers(stream.draft, "request", headers)
        elif stream is not None:
            self._response_headers(stream, headers)

    def _response_headers(self, stream: _Stream, headers: HeaderList) -> None:
        draft = stream.draft
        draft.touch(self._now)
        draft.response_at_ns = draft.response_at_ns or self._now
        if draft.response_head is not None:
            self._trailers(draft, "response", headers)
            return
        status = status_of(headers)
        head = response_head(headers)
        for note in headers.notes:
            draft.note(f"response: {note}")
        if 100 <= status < 200:
            draft.interim_heads.append(head)
            if sum(map(len, draft.interim_heads)) > self._limits.max_head_bytes:
                raise SplitError(f"interim heads of more than {self._limits.max_head_bytes} bytes")
            return
        draft.response_head = head
        if draft.method == "CONNECT" and 200 <= status < 300:
            stream.upgraded = Upgraded(draft, websocket=stream.websocket)
        else:
            draft.response_body = BodyWriter(self._origin.folder)
            if draft.method != "HEAD" and status not in (204, 304):
                stream.length = content_length(headers.plain)

    def _trailers(self, draft: Draft, side: str, headers: HeaderList) -> None:
        draft.touch(self._now)
        words = "; ".join(f"{shown(name, 200)}: {shown(value, 500)}" for name, value in headers.plain[:50])
        draft.note(f"{side} trailers: {words}")

    # Streams go on

    def _data(self, direction: int, frame: h2f.Frame) -> None:
        stream = self._streams.get(frame.stream)
        if stream is None:
            self._late_bytes += len(frame.payload)
            return
        draft = stream.draft
        draft.touch(self._now)
        if stream.upgraded is not None:
            stream.upgraded.feed(direction, frame.payload, self._now)
        elif direction == CLIENT:
            draft.request_body = draft.request_body or BodyWriter(self._origin.folder)
            draft.request_body.write(frame.payload)
        else:
            if draft.response_body is None:
                draft.note("the response has no head: DATA came first")
                draft.response_head = b""
                draft.response_body = BodyWriter(self._origin.folder)
            draft.response_body.write(frame.payload)

    # Streams end

    def _end_stream(self, direction: int, number: int) -> None:
        stream = self._streams.get(number)
        if stream is None:
            return
        if direction == CLIENT:
            stream.request_ended = True
        else:
            stream.response_ended = True
            if stream.upgraded is not None:
                stream.upgraded.end()
        if (stream.request_ended or stream.reset) and stream.response_ended:
            self._finish(number)

    def _finish(self, number: int) -> None:
        stream = self._streams.pop(number)
        draft = stream.draft
        if stream.reset:
            draft.note(f"{stream.reset}; the response came whole all the same")
        if stream.upgraded is not None:
            stream.upgraded.finish("disconnect", "the stream ended without a close frame")
        elif draft.response_head is None:
            draft.note("the stream ended without a response head")
        elif stream.length is not None and draft.response_body is not None:
            got = draft.response_body.size_bytes
            if got != stream.length:
                draft.note(f"content-length says {stream.length} bytes, {got} arrived")
        self._emit(draft.finish())

    def _reset(self, direction: int, frame: h2f.Frame) -> None:
        code = int.from_bytes(frame.payload[:4], "big")
        side = ("client", "server")[direction]
        why = f"the {side} reset the stream: {_error(code)}"
        stream = self._streams.get(frame.stream)
        if direction == SERVER or stream is None or stream.upgraded is not None or stream.response_ended:
            self._cut_short(frame.stream, "disconnect", why)
            return
        # What the server had sent by then still comes, and reaches the browser's socket.
        stream.reset = stream.reset or why
        self._given_up.append(frame.stream)
        if len(self._given_up) > MAX_GIVEN_UP:
            self._cut_short(self._given_up.popleft(), "disconnect", why)

    def _cut_short(self, number: int, truncated: Truncation, why: str) -> None:
        """Hand over a stream that did not end by itself."""
        stream = self._streams.pop(number, None)
        if stream is None:
            return
        if stream.reset:
            truncated, why = "disconnect", stream.reset
        draft = stream.draft
        draft.touch(self._now)
        if stream.upgraded is not None:
            stream.upgraded.finish(truncated, why)
        elif draft.response_head is None:
            draft.note(f"no response arrived: {why}")
        elif not stream.response_ended:
            draft.truncated = truncated
            draft.note(f"the response is not whole: {why}")
        if not stream.request_ended and stream.upgraded is None:
            draft.note(f"the request is not whole: {why}")
        self._emit(draft.finish())

    def _goaway(self, direction: int, payload: bytes) -> None:
        last = int.from_bytes(payload[:4], "big") & 0x7FFFFFFF
        side = ("client", "server")[direction]
        words = f"{side} said GOAWAY: {_error(int.from_bytes(payload[4:8], 'big'))}, last stream {last}"
        text = f"{words}, {shown(payload[8:])}" if payload[8:] else words
        if len(self.notes) < MAX_GOAWAYS:
            self.notes.append(text)


def _error(code: int) -> str:
    return ERRORS[code] if code < len(ERRORS) else f"error {code}"
