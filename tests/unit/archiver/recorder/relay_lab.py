"""A relay process, servers and SOCKS clients for the relay's tests: real sockets on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
from collections import defaultdict
from pathlib import Path

from archiver.capture.recorder.guard import RelayPolicy
from archiver.capture.recorder.wire import Kind, WireReader

OPEN_HOUSE = RelayPolicy(allow_private=True)
LIMIT_S = 20
FACTS = (Kind.OPENED, Kind.CLOSED, Kind.REFUSED)


def request(host, port):
    """Return greeting and CONNECT request for a host name."""
    name = host.encode("latin-1")
    return b"\5\1\0", b"\5\1\0\3" + bytes([len(name)]) + name + port.to_bytes(2, "big")


async def dial(relay_port, host, port, *, receive_buffer=None):
    """Connect through the relay; return the reply code and the plain non-blocking socket."""
    loop = asyncio.get_running_loop()
    client = socket.socket()
    client.setblocking(False)
    if receive_buffer:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    await loop.sock_connect(client, ("127.0.0.1", relay_port))
    greeting, connect = request(host, port)
    await loop.sock_sendall(client, greeting)
    assert await receive(client, 2) == b"\5\0"
    await loop.sock_sendall(client, connect)
    return (await receive(client, 10))[1], client


async def receive(sock, count):
    """Receive exactly *count* bytes, or what comes before the end."""
    loop = asyncio.get_running_loop()
    data = bytearray()
    async with asyncio.timeout(LIMIT_S):
        while len(data) < count and (part := await loop.sock_recv(sock, min(count - len(data), 1 << 20))):
            data += part
    return bytes(data)


async def receive_to_end(sock):
    """Return every byte up to the end, and the error that ended it or None."""
    loop = asyncio.get_running_loop()
    data = bytearray()
    async with asyncio.timeout(LIMIT_S):
        while True:
            try:
                part = await loop.sock_recv(sock, 1 << 20)
            except OSError as error:
                return bytes(data), type(error)
            if not part:
                return bytes(data), None
            data += part


async def send(sock, data):
    async with asyncio.timeout(LIMIT_S):
        await asyncio.get_running_loop().sock_sendall(sock, data)


def reset(sock):
    """Close *sock* with a reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


@contextlib.asynccontextmanager
async def listening(handler, *, receive_buffer=None):
    """Serve each connection with ``await handler(sock)`` on a free port; yields the port."""
    loop = asyncio.get_running_loop()
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    listener.setblocking(False)
    if receive_buffer:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    tasks = []

    async def accept():
        while True:
            sock, _ = await loop.sock_accept(listener)
            sock.setblocking(False)
            tasks.append(asyncio.create_task(serve(sock)))

    async def serve(sock):
        with contextlib.closing(sock), contextlib.suppress(OSError):
            await handler(sock)

    accepting = asyncio.create_task(accept())
    try:
        yield listener.getsockname()[1]
    finally:
        for task in (accepting, *tasks):
            task.cancel()
        await asyncio.gather(accepting, *tasks, return_exceptions=True)
        listener.close()


async def until(tape, condition):
    """Ask *tape* until ``condition(status)`` holds."""
    async with asyncio.timeout(LIMIT_S):
        while not condition(await tape.status()):
            pass


async def until_quiet(tape):
    """Wait until *tape* has no open connection."""
    await until(tape, lambda status: status.live_count == 0)


class Recording:
    """A wire file read whole: data by connection and kind, facts by kind."""

    def __init__(self, path: Path):
        reader = WireReader(path)
        self.frames = list(reader)
        self.torn_bytes = reader.torn_bytes
        self.data = defaultdict(bytes)
        for frame in self.frames:
            if frame.kind not in FACTS:
                self.data[frame.connection, frame.kind] += frame.data

    def facts(self, kind):
        return [frame.facts() for frame in self.frames if frame.kind is kind]

    def kinds(self, connection=1):
        return [frame.kind for frame in self.frames if frame.connection == connection]


def relay_pid(relay):
    return relay._process.pid


def rss_bytes(pid):
    """Return the resident memory of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
