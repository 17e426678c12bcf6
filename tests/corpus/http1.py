"""HTTP/1.1 by hand, since no library agrees to send what servers really send."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import socket
import struct
import termios
from collections.abc import Awaitable, Callable

from wsproto.handshake import generate_accept_token

from tests.corpus.answers import Answer, Fields, Request, Site
from tests.corpus.delivery import Gone, deliver
from tests.corpus.log import ID_FIELD, Log, Served
from tests.corpus.sockets import converse

MAX_HEAD_BYTES = 256 * 1024


class _Out1:
    """A response on an HTTP/1 connection."""

    def __init__(self, writer: asyncio.StreamWriter, served: Served, *, bodyless: bool) -> None:
        self._writer = writer
        self._served = served
        self._bodyless = bodyless
        self._chunked = False
        self._extensions = b""

    async def interim(self, status: int, fields: Fields) -> None:
        head = b"HTTP/1.1 %d Wait\r\n" % status + _lines(fields, b"\r\n")
        self._served.heads.append(head)
        await self._send(head)

    async def head(self, answer: Answer) -> None:
        number = (b"X-Exchange", b"%d" % self._served.number)
        fields = [number, (b"Content-Type", answer.kind), *answer.fields]
        if answer.framing == "chunked" and not self._bodyless:
            self._chunked, self._extensions = True, answer.extensions
            fields += [(b"Transfer-Encoding", b"chunked")]
        elif answer.framing == "length":
            length = len(answer.body) if answer.length is None else answer.length
            fields += [(b"Content-Length", b"%d" % length)]
        if closes(answer):
            fields += [(b"Connection", b"close")]
        line = b"%b %d %b" % (answer.version, answer.status, answer.reason) + answer.newline
        head = line + _lines(fields, answer.newline)
        self._served.heads.append(head)
        await self._send(head)

    async def data(self, data: bytes) -> None:
        if self._bodyless:
            return
        if self._chunked:
            data = b"%x%b\r\n%b\r\n" % (len(data), self._extensions, data)
        self._served.body += data
        await self._send(data)

    async def finish(self, answer: Answer) -> None:
        if self._chunked:
            end = b"0\r\n" + _lines(answer.trailers, b"\r\n")
            self._served.body += end
            await self._send(end)

    async def cut(self, how: str) -> None:
        if how == "reset":
            await _reset(self._writer)

    async def until_gone(self) -> None:
        await self._writer.wait_closed()
        raise Gone

    async def _send(self, data: bytes) -> None:
        if self._writer.transport.is_closing():
            raise Gone
        try:
            self._writer.write(data)
            await self._writer.drain()
        except OSError as error:
            raise Gone from error


def closes(answer: Answer) -> bool:
    """Whether the connection ends with *answer*."""
    return answer.framing == "close" or bool(answer.end)


def _lines(fields: Fields, newline: bytes) -> bytes:
    return b"".join(b"%b: %b%b" % (name, value, newline) for name, value in fields) + newline


async def _reset(writer: asyncio.StreamWriter) -> None:
    """Reset the connection as soon as the peer's kernel holds all that was sent."""
    sock: socket.socket = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        # The kernel tells nobody when its queue is empty.
        while writer.transport.get_write_buffer_size() or _unsent_bytes(sock):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def _unsent_bytes(sock: socket.socket) -> int:
    answer = fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, b"\0" * 4)
    return int(struct.unpack("i", answer)[0])


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def handler(site: Site, log: Log, scheme: str) -> Handler:
    """Return what ``asyncio.start_server`` calls for each connection."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await _one(reader, writer, site, log, scheme):
                pass
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # the client left between two requests
        except asyncio.CancelledError:
            writer.transport.abort()  # the server stops
        finally:
            with contextlib.suppress(OSError):
                writer.close()
                await writer.wait_closed()

    return handle


async def _one(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, site: Site, log: Log, scheme: str
) -> bool:
    """Serve one request; False when the connection is to end."""
    head = await reader.readuntil(b"\r\n\r\n")
    method, target, _ = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ", 2)
    fields = {
        name.lower(): value.strip()
        for name, _, value in (line.partition(b":") for line in head.split(b"\r\n")[1:] if line)
    }
    host = fields[b"host"].decode()
    upgrades = fields.get(b"upgrade", b"").lower() == b"websocket"
    scheme = scheme.replace("http", "ws") if upgrades else scheme
    served = log.begin("http/1.1", method, f"{scheme}://{host}{target}", head)
    if upgrades:
        await _upgrade(reader, writer, served, fields)
        return False
    served.request_body += await reader.readexactly(int(fields.get(b"content-length", 0)))
    path, _, query = target.partition("?")
    request = Request(method, path, query, host, fields, bytes(served.request_body))
    if path == "/ends/nothing":
        served.cut, served.ended = "server", True
        await _reset(writer)
        return False
    answer = site.answer(request)
    await deliver(answer, served, _Out1(writer, served, bodyless=method == "HEAD"))
    return not closes(answer) and not served.cut


async def _upgrade(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, served: Served, fields: dict[bytes, bytes]
) -> None:
    served.kind = "websocket"
    head = b"HTTP/1.1 101 Switching Protocols\r\n" + _lines(
        [
            (ID_FIELD, b"%d" % served.number),
            (b"Upgrade", b"websocket"),
            (b"Connection", b"Upgrade"),
            (b"Sec-WebSocket-Accept", generate_accept_token(fields[b"sec-websocket-key"])),
        ],
        b"\r\n",
    )
    served.heads.append(head)
    writer.write(head)

    async def send(data: bytes) -> None:
        writer.write(data)
        await writer.drain()

    async def receive() -> bytes:
        return await reader.read(65536)

    await converse(served, send, receive)
    served.ended = True
