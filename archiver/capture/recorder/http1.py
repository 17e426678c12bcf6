"""Split one HTTP/1 connection into exchanges, as forgivingly as browsers do.

What it follows: interim responses, HEAD, 204 and 304, all three framings, pipelining, a response that comes
before its request has ended, upgrades and tunnels. What is no HTTP is kept as the body of a response with an
empty head. What belongs to no response is noted on the exchange before it.

Source: RFC 9112; Chromium's net/http where servers leave the standard.
"""

from __future__ import annotations

import contextlib
import re
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from archiver.capture.recorder.body import BodyWriter
from archiver.capture.recorder.http1_framing import ChunkedFraming, Framing, LengthFraming, OpenFraming
from archiver.capture.recorder.http1_head import (
    SLOP_BYTES,
    Fields,
    awaits_answer,
    content_length,
    fields_of,
    first_value,
    head_end,
    is_chunked,
    length_oddity,
    read_request_line,
    read_status,
    shown,
    status_line_offset,
)
from archiver.capture.recorder.splitter import CLIENT, SERVER, DecodeLimits, Draft, Origin, SplitError
from archiver.capture.recorder.upgrade import Upgraded
from archiver.capture.recorder.websocket import is_upgrade

if TYPE_CHECKING:
    from collections.abc import Callable

    from archiver.capture.recorder.exchange import Exchange, Truncation

MAX_INTERIM_HEADS = 100

_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


class _Transfer(NamedTuple):
    """A body on its way."""

    draft: Draft
    framing: Framing


class Http1Splitter:
    """One HTTP/1 connection; see ``splitter.Splitter`` for how it is driven.

    Args:
        origin: The connection.
        emit: Takes each exchange when the next one begins or the connection ends: until then bytes can come
            that are to be noted on it.
        limits: What it may hold.
    """

    def __init__(self, origin: Origin, emit: Callable[[Exchange], None], limits: DecodeLimits) -> None:
        self._origin = origin
        self._emit = emit
        self._limits = limits
        self._buffers = (bytearray(), bytearray())
        self._scanned = [0, 0]
        self._now = 0
        self._head_at_ns = 0
        self._sending: _Transfer | None = None
        self._receiving: _Transfer | None = None
        self._waiting: deque[Draft] = deque()
        self._answered: Draft | None = None
        self._upgraded: Upgraded | None = None
        self._undecided = False
        self._stray = _Stray()
        self._junk = _Stray()
        self.notes: list[str] = []

    def feed(self, direction: int, data: bytes, time_ns: int) -> None:
        """Take plaintext of one direction, or raise ``SplitError``."""
        self._now = time_ns
        buffer = self._buffers[direction]
        if direction == CLIENT and not buffer:
            self._head_at_ns = time_ns
        buffer += data
        while self._take_client() or self._take_server():
            pass
        if len(buffer) > self._limits.max_waiting_bytes:
            raise SplitError(f"more than {self._limits.max_waiting_bytes} bytes wait for the other side")

    def end(self, direction: int, remark: str) -> None:
        """Take the orderly end of one direction; *remark*, if any, is noted on what it ends."""
        if direction != SERVER:
            return
        if self._upgraded is not None:
            self._upgraded.end()
        buffer = self._buffers[SERVER]
        if buffer and self._waiting and self._receiving is None and status_line_offset(buffer) < 0:
            self._begin_garbage(self._waiting[0])
            self._take_server()
        if self._receiving is not None and self._receiving.framing.ends_with_connection:
            if remark:
                self._receiving.draft.note(remark)
            self._end_response()

    def close(self, truncated: Truncation, why: str) -> None:
        """Hand over whatever is unfinished, marked *truncated*; *why* is a clause for its notes."""
        client = self._buffers[CLIENT]
        if client and self._upgraded is None and self._sending is None and not self._undecided:
            self._begin_request(_cut(client, len(client)))
            self._waiting[-1].note(f"the request head is not whole: {why}")
            with contextlib.suppress(SplitError):
                while self._take_server():
                    pass
        elif client and self._undecided and self._sending is None:
            self._waiting[-1].note(f"{len(client)} bytes of the client's waited for the answer: {why}")
        if self._sending is not None:
            self._sending.framing.take_rest(client)
            self._sending.draft.note(f"request: {self._sending.framing.missing}: {why}")
        self._flush()
        if self._upgraded is not None:
            self._emit(self._upgraded.finish(truncated, why).finish())
        elif self._waiting:
            self._cut_short(self._waiting[0], truncated, why)
        for draft in self._waiting:
            if draft.response_head is None:
                draft.note(f"no response arrived: {why}")
            self._emit(draft.finish())
        self._waiting.clear()

    # The client's side

    def _take_client(self) -> bool:
        """Take one step with the client's bytes; False when there is nothing to do but wait."""
        buffer = self._buffers[CLIENT]
        if not buffer:
            return False
        if self._upgraded is not None:
            self._upgraded.feed(CLIENT, _cut(buffer, len(buffer)), self._now)
            return True
        if self._sending is not None:
            self._sending.draft.touch(self._now)
            if self._sending.framing.take(buffer):
                self._end_request()
            return not buffer or self._sending is None
        if self._undecided:
            return False
        if buffer[0] in b"\r\n":
            self._junk.add(_cut(buffer, len(buffer) - len(buffer.lstrip(b"\r\n"))))
            return True
        head = self._cut_head(CLIENT, 0, 0)
        if head is None:
            return False
        if len(self._waiting) >= self._limits.max_queued_requests:
            raise SplitError(f"more than {self._limits.max_queued_requests} requests without an answer")
        self._begin_request(head)
        return True

    def _begin_request(self, head: bytes) -> None:
        self._flush()
        fields = fields_of(head)
        method, target, version = read_request_line(head)
        draft = Draft(
            self._origin, "http/1.0" if version == "http/1.0" else "http/1.1", self._head_at_ns, self._now
        )
        draft.method = method
        draft.url = self._url(method, target, fields)
        draft.request_head = head
        if self._junk.words:
            draft.note(f"before the request, {self._junk.words}")
            self._junk = _Stray()
        self._waiting.append(draft)
        self._undecided = awaits_answer(method, fields)
        self._head_at_ns = self._now
        self._begin_request_body(draft, fields)

    def _begin_request_body(self, draft: Draft, fields: Fields) -> None:
        length = content_length(fields)
        if is_chunked(fields):
            draft.request_body = BodyWriter(self._origin.folder, chunked=True)
            self._sending = _Transfer(draft, ChunkedFraming(draft.request_body))
        elif length is not None:
            draft.request_body = BodyWriter(self._origin.folder)
            if length:
                self._sending = _Transfer(draft, LengthFraming(draft.request_body, length))
        if oddity := length_oddity(fields):
            draft.note(f"request: {oddity}")

    def _end_request(self) -> None:
        self._sending = None
        self._head_at_ns = self._now

    def _url(self, method: str, target: str, fields: Fields) -> str:
        if method == "CONNECT" or _ABSOLUTE.match(target):
            return target
        target = "" if target == "*" else target  # RFC 9112 section 3.3: an asterisk stands for no path
        host = first_value(fields, b"host").decode("latin-1")
        return self._origin.url(host, target, websocket=is_upgrade(fields))

    # The server's side

    def _take_server(self) -> bool:
        """Take one step with the server's bytes; False when there is nothing to do but wait."""
        buffer = self._buffers[SERVER]
        if not buffer:
            return False
        if self._upgraded is not None:
            self._upgraded.feed(SERVER, _cut(buffer, len(buffer)), self._now)
            return True
        if self._receiving is not None:
            self._receiving.draft.touch(self._now)
            if self._receiving.framing.take(buffer):
                self._end_response()
            return not buffer or self._receiving is None
        if self._waiting:
            return self._take_response_head(self._waiting[0], buffer)
        if self._buffers[CLIENT] and self._sending is None:
            return False  # the request that this answers is still arriving
        self._stray.add(_cut(buffer, len(buffer)))
        return True

    def _take_response_head(self, draft: Draft, buffer: bytearray) -> bool:
        draft.response_at_ns = draft.response_at_ns or self._now
        draft.touch(self._now)
        if len(buffer) < SLOP_BYTES + 4:
            return False
        junk = status_line_offset(buffer)
        if junk < 0:
            self._begin_garbage(draft)
            return True
        head = self._cut_head(SERVER, junk, sum(map(len, draft.interim_heads)))
        if head is None:
            return False
        if junk:
            draft.note(f"left out before the status line: {shown(head[:junk])}")
        self._begin_response(draft, head[junk:])
        return True

    def _begin_garbage(self, draft: Draft) -> None:
        draft.note("the response has no HTTP head: all that came is kept as its body")
        draft.response_head = b""
        draft.response_body = BodyWriter(self._origin.folder)
        self._receiving = _Transfer(draft, OpenFraming(draft.response_body))
        self._decide(draft)

    def _begin_response(self, draft: Draft, head: bytes) -> None:
        start = read_status(head)
        if 100 <= start.status < 200 and start.status != 101:
            draft.interim_heads.append(head)
            if len(draft.interim_heads) > MAX_INTERIM_HEADS:
                raise SplitError(f"more than {MAX_INTERIM_HEADS} interim responses to one request")
            return
        fields = fields_of(head)
        draft.response_head = head
        draft.protocol = "http/1.0" if start.version < (1, 1) else draft.protocol
        asked = self._undecided and draft is self._waiting[-1]
        self._decide(draft)
        if asked and (start.status == 101 or (draft.method == "CONNECT" and 200 <= start.status < 300)):
            self._waiting.popleft()
            self._upgraded = Upgraded(draft, websocket=is_upgrade(fields))
            return
        framing = self._response_framing(draft, start.status, start.version, fields)
        if framing is None:
            self._end_response()
        else:
            self._receiving = _Transfer(draft, framing)

    def _response_framing(
        self, draft: Draft, status: int, version: tuple[int, int], fields: Fields
    ) -> Framing | None:
        """Return how the body ends, None when there is none; note what is odd. RFC 9112 section 6.3."""
        length = content_length(fields)
        chunked = is_chunked(fields) and version >= (1, 1)
        if oddity := length_oddity(fields):
            draft.note(oddity)
        if is_chunked(fields) and not chunked:
            draft.note("Transfer-Encoding in an HTTP/1.0 response is ignored, as browsers do")
        elif chunked and length is not None:
            draft.note(f"Content-Length {length} is overruled by Transfer-Encoding")
        bodyless = draft.method == "HEAD" or status in (204, 304)
        draft.response_body = body = BodyWriter(self._origin.folder, chunked=chunked and not bodyless)
        if bodyless:
            return None
        if chunked:
            return ChunkedFraming(body)
        if length is None and status != 205:
            return OpenFraming(body)
        return LengthFraming(body, length) if length else None

    def _decide(self, draft: Draft) -> None:
        """Let the client's bytes go on where they waited for the answer to *draft*."""
        if draft is self._waiting[-1]:
            self._undecided = False

    def _end_response(self) -> None:
        draft = self._waiting.popleft()
        if self._receiving is not None:
            if isinstance(self._receiving.framing, ChunkedFraming) and self._receiving.framing.broken:
                draft.note(self._receiving.framing.broken)
            self._receiving = None
        self._flush()
        self._answered = draft

    # What is unfinished, and what belongs to nothing

    def _cut_head(self, direction: int, begin: int, spent_bytes: int) -> bytes | None:
        """Cut a head that begins at *begin*, blank line included, or return None while it is not whole.

        *spent_bytes* count against the limit.
        """
        buffer = self._buffers[direction]
        end = head_end(buffer, max(self._scanned[direction] - 2, begin))
        limit = self._limits.max_head_bytes
        if (end if end >= 0 else len(buffer)) + spent_bytes > limit:
            side = ("request", "response")[direction]
            raise SplitError(f"a {side} head of more than {limit} bytes")
        self._scanned[direction] = 0 if end >= 0 else len(buffer)
        return _cut(buffer, end) if end >= 0 else None

    def _cut_short(self, draft: Draft, truncated: Truncation, why: str) -> None:
        """Finish the response that the end of the connection interrupts."""
        rest = self._buffers[SERVER]
        if self._receiving is not None:
            self._receiving.framing.take_rest(rest)
            draft.truncated = truncated
            draft.note(f"response: {self._receiving.framing.missing}: {why}")
        elif rest:
            draft.truncated = truncated
            draft.note(f"the response head is not whole: {why}")
            draft.response_head = _cut(rest, len(rest))
            draft.response_body = BodyWriter(self._origin.folder)

    def _flush(self) -> None:
        """Hand over the answered exchange; bytes that came after it and answer nothing are noted on it."""
        draft, self._answered = self._answered, None
        words, self._stray = self._stray.words, _Stray()
        if draft is None:
            if words:
                self.notes.append(f"before any request was answered, {words}")
            return
        if words:
            draft.note(f"after the response, {words}")
        self._emit(draft.finish())


class _Stray:
    """Bytes from the server that answer no request: how many, and how they begin."""

    def __init__(self) -> None:
        self._count = 0
        self._begin = b""

    def add(self, data: bytes) -> None:
        self._count += len(data)
        self._begin += data[: 64 - len(self._begin)]

    @property
    def words(self) -> str:
        if not self._count:
            return ""
        return f"{self._count} bytes came that belong to no message, beginning {shown(self._begin)}"


def _cut(buffer: bytearray, length: int) -> bytes:
    piece = bytes(buffer[:length])
    del buffer[:length]
    return piece
