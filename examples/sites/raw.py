"""Servers that no HTTP library would agree to be: they end connections with a reset."""

from __future__ import annotations

import asyncio
import socket
import struct

from examples.sites.hosts import CUT

READ_BYTES = 16 * 1024
ANNOUNCED_BYTES = 60_000
CUT_PAGE = (
    '<!doctype html><html lang="ru"><meta charset="utf-8">'
    "<title>Жители возмущены поведением чиновника</title>"
    '<body style="font:18px/1.6 sans-serif;max-width:44rem;margin:2rem auto">'
    "<h1>Жители возмущены поведением чиновника</h1>"
    "<p>10 января 2026 года. После этой публикации сайт подвергся атаке, и страница доходит до читателя "
    "не целиком: соединение обрывается на полуслове.</p><p>" + "Текст статьи продолжается. " * 200
).encode()
CUT_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: %d\r\n\r\n"
    % ANNOUNCED_BYTES
)


async def _answer_then_reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send part of a page where there is one, else nothing, and reset the connection."""
    try:
        head = await reader.read(READ_BYTES)
        if head.startswith(b"GET / ") and f"host: {CUT}".encode() in head.lower():
            writer.write(CUT_HEAD + CUT_PAGE)
            # On loopback the page is in the peer's hands once it is written; the reset follows it.
            await writer.drain()
        sock: socket.socket = writer.get_extra_info("socket")
        # A linger time of 0 makes the kernel throw the connection away instead of ending it.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    except ConnectionError:
        pass  # the client was first; nothing is left to reset
    writer.transport.abort()


async def start_resetting(*sockets: socket.socket) -> list[asyncio.Server]:
    """Serve each listening socket with connections that end in a reset, TLS or not."""
    return [await asyncio.start_server(_answer_then_reset, sock=sock) for sock in sockets]
