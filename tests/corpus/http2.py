"""HTTP/2 over asyncio with the ``h2`` library as its rules."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    RequestReceived,
    StreamEnded,
    StreamReset,
)
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes

from tests.corpus.answers import Answer, Fields, Request, Site
from tests.corpus.delivery import Gone, deliver
from tests.corpus.http1 import Handler, _reset
from tests.corpus.log import ID_FIELD, Log, Served
from tests.corpus.sockets import converse

READ_BYTES = 65536


class _Connection:
    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, site: Site, log: Log
    ) -> None:
        configuration = H2Configuration(
            client_side=False,
            header_encoding=None,
            # Bytes as they come and as we give them: that is the point.
            validate_inbound_headers=False,
            normalize_inbound_headers=False,
            validate_outbound_headers=False,
            normalize_outbound_headers=False,
        )
        self.h2 = H2Connection(configuration)
        self.h2.local_settings[SettingCodes.ENABLE_CONNECT_PROTOCOL] = 1
        self._reader = reader
        self.writer = writer
        self._site = site
        self._log = log
        self._served: dict[int, Served] = {}
        self._requests: dict[int, Fields] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self.inbox: defaultdict[int, asyncio.Queue[bytes]] = defaultdict(asyncio.Queue)
        self.moved = asyncio.Condition()
        self.gone: set[int] = set()
        self.ended = False

    async def run(self) -> None:
        self.h2.initiate_connection()
        await self.flush()
        try:
            while not self.ended and (data := await self._reader.read(READ_BYTES)):
                for event in self.h2.receive_data(data):
                    self._take(event)
                await self.flush()
                async with self.moved:
                    self.moved.notify_all()
        except (OSError, ProtocolError):
            pass  # the client left
        self.ended = True
        async with self.moved:
            self.moved.notify_all()
        for number in self._tasks:
            self.inbox[number].put_nowait(b"")
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def flush(self) -> None:
        if data := self.h2.data_to_send():
            self.writer.write(data)
            await self.writer.drain()

    def _take(self, event: object) -> None:
        if isinstance(event, RequestReceived):
            self._begin(event.stream_id, list(event.headers))
        elif isinstance(event, DataReceived):
            self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            served = self._served[event.stream_id]
            if served.kind == "websocket":
                self.inbox[event.stream_id].put_nowait(event.data)
            else:
                served.request_body += event.data
        elif isinstance(event, StreamEnded):
            self._ended(event.stream_id)
        elif isinstance(event, StreamReset):
            self.gone.add(event.stream_id)
            self.inbox[event.stream_id].put_nowait(b"")
        elif isinstance(event, ConnectionTerminated):
            self.ended = True

    def _begin(self, number: int, fields: Fields) -> None:
        pseudo = {name: value for name, value in fields if name.startswith(b":")}
        lines = b"".join(b"%b: %b\r\n" % pair for pair in fields if not pair[0].startswith(b":"))
        path, host = pseudo[b":path"], pseudo[b":authority"]
        head = b"%b %b HTTP/1.1\r\nHost: %b\r\n%b\r\n" % (pseudo[b":method"], path, host, lines)
        socket = b":protocol" in pseudo
        scheme = "wss" if socket else "https"
        url = f"{scheme}://{host.decode()}{path.decode('latin-1')}"
        served = self._log.begin("h2", pseudo[b":method"].decode(), url, head)
        self._served[number] = served
        self._requests[number] = fields
        if socket:
            served.kind = "websocket"
            self._tasks[number] = asyncio.create_task(self._converse(number, served))

    def _ended(self, number: int) -> None:
        """The request is whole: answer it."""
        served = self._served[number]
        if served.kind == "websocket":
            self.inbox[number].put_nowait(b"")
            return
        fields = dict(self._requests.pop(number))
        path, _, query = fields[b":path"].decode("latin-1").partition("?")
        host = fields[b":authority"].decode()
        request = Request(served.method, path, query, host, fields, bytes(served.request_body))
        self._tasks[number] = asyncio.create_task(self._answer(number, request, served))

    async def _answer(self, number: int, request: Request, served: Served) -> None:
        out = _Out2(self, number, served, bodyless=request.method == "HEAD")
        if request.path == "/ends/nothing":
            served.cut, served.ended = "server", True
            await out.cut("reset")
            return
        if request.path == "/ends/connection":
            await out.head(Answer(body=b"x" * 9000))
            await out.data(b"x" * 5000)
            served.cut, served.ended = "server", True
            await _reset(self.writer)
            return
        await deliver(self._site.answer(request), served, out)

    async def _converse(self, number: int, served: Served) -> None:
        out = _Out2(self, number, served, bodyless=False)
        await out.raw_head([(b":status", b"200"), (ID_FIELD, b"%d" % served.number)], end=False)

        async def send(data: bytes) -> None:
            try:
                await out.frames(data)
            except Gone as error:
                raise ConnectionError from error

        await converse(served, send, self.inbox[number].get)
        with contextlib.suppress(ProtocolError, OSError):
            self.h2.end_stream(number)
            await self.flush()
        served.ended = True


class _Out2:
    """A response on an HTTP/2 stream."""

    def __init__(self, connection: _Connection, number: int, served: Served, *, bodyless: bool) -> None:
        self._connection = connection
        self._number = number
        self._served = served
        self._bodyless = bodyless

    async def interim(self, status: int, fields: Fields) -> None:
        await self.raw_head([(b":status", b"%d" % status), *_lower(fields)], end=False)

    async def head(self, answer: Answer) -> None:
        fields = [(ID_FIELD, b"%d" % self._served.number), (b"content-type", answer.kind)]
        fields += _lower(answer.fields)
        if answer.framing == "length" and answer.length is None:
            fields += [(b"content-length", b"%d" % len(answer.body))]
        await self.raw_head([(b":status", b"%d" % answer.status), *fields], end=False)

    async def raw_head(self, fields: Fields, *, end: bool) -> None:
        if self._lost:
            raise Gone
        lines = b"".join(b"%b: %b\r\n" % pair for pair in fields[1:])
        self._served.heads.append(b"HTTP/1.1 %b \r\n%b\r\n" % (fields[0][1], lines))
        await self._do(lambda: self._connection.h2.send_headers(self._number, fields, end_stream=end))

    async def data(self, data: bytes) -> None:
        if self._bodyless:
            return
        if self._lost:
            raise Gone
        self._served.body += data
        await self.frames(data)

    async def frames(self, data: bytes) -> None:
        """Send *data* as the windows allow."""
        h2 = self._connection.h2
        place = 0
        while place < len(data):
            async with self._connection.moved:
                await self._connection.moved.wait_for(lambda: self._lost or self._window() > 0)
            if self._lost:
                raise Gone
            size = min(self._window(), h2.max_outbound_frame_size)
            piece = data[place : place + size]
            place += size
            await self._do(lambda piece=piece: h2.send_data(self._number, piece))

    def _window(self) -> int:
        try:
            return self._connection.h2.local_flow_control_window(self._number)
        except ProtocolError:
            return 1  # closed meanwhile; the next step finds out

    async def finish(self, answer: Answer) -> None:
        h2 = self._connection.h2
        if answer.trailers and not self._bodyless:
            trailers = _lower(answer.trailers)
            await self._do(lambda: h2.send_headers(self._number, trailers, end_stream=True))
        else:
            await self._do(lambda: h2.end_stream(self._number))

    async def cut(self, how: str) -> None:
        code = ErrorCodes.INTERNAL_ERROR if how == "reset" else ErrorCodes.CANCEL
        await self._do(lambda: self._connection.h2.reset_stream(self._number, code))

    async def until_gone(self) -> None:
        async with self._connection.moved:
            await self._connection.moved.wait_for(lambda: self._lost)
        raise Gone

    @property
    def _lost(self) -> bool:
        return self._connection.ended or self._number in self._connection.gone

    async def _do(self, step) -> None:
        if self._lost:
            raise Gone
        try:
            step()
            await self._connection.flush()
        except (ProtocolError, OSError) as error:
            raise Gone from error


def _lower(fields: Fields) -> Fields:
    return [(name.lower(), value) for name, value in fields]


def handler(site: Site, log: Log) -> Handler:
    """Return what ``asyncio.start_server`` calls for each connection."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await _Connection(reader, writer, site, log).run()
        except asyncio.CancelledError:
            writer.transport.abort()  # the server stops
        finally:
            with contextlib.suppress(OSError):
                writer.close()
                await writer.wait_closed()

    return handle
