"""The server's half of a SOCKS5 handshake, without authentication, for CONNECT alone (RFC 1928)."""

from __future__ import annotations

import asyncio
import enum
import re
import socket
from typing import NamedTuple

_VERSION = 5
_NO_AUTHENTICATION = 0
_CONNECT = 1
_IPV4, _DOMAIN, _IPV6 = 1, 3, 4
_HOST = re.compile(rb"[!-~]+")

MAX_ERROR_CHARS = 500
NO_ACCEPTABLE_METHOD = b"\x05\xff"


class Reply(enum.IntEnum):
    """Reply codes, RFC 1928 section 6."""

    SUCCEEDED = 0
    NOT_ALLOWED = 2
    NETWORK_UNREACHABLE = 3
    HOST_UNREACHABLE = 4
    REFUSED = 5
    COMMAND_NOT_SUPPORTED = 7
    ADDRESS_NOT_SUPPORTED = 8

    def message(self) -> bytes:
        """Return the reply with an empty bound address, which no client of ours looks at."""
        return bytes((_VERSION, self, 0, _IPV4, 0, 0, 0, 0, 0, 0))


class Refusal(Exception):
    """Why a connection is not made; it goes into the wire file as it stands.

    Args:
        stage: ``peer``, ``socks``, ``resolve``, ``guard`` or ``connect``.
        error: The exact words, clipped at ``MAX_ERROR_CHARS``.
        errno: Name of the system's error, such as ``ECONNREFUSED``, or None.
        answer: What the client is told; nothing when it cannot be spoken to.
    """

    def __init__(self, stage: str, error: str, *, errno: str | None = None, answer: bytes = b"") -> None:
        super().__init__(error)
        self.stage = stage
        self.error = error[:MAX_ERROR_CHARS]
        self.errno = errno
        self.answer = answer


class Target(NamedTuple):
    """What the client wants to be connected to: a name or an address in text form, and a port."""

    host: str
    port: int


async def read_request(client: socket.socket) -> Target:
    """Speak the handshake up to the request and return what it asks for; the reply is left to the caller.

    Reads no byte past the request, so what a client sends early stays for the tunnel.

    Raises:
        Refusal: Not SOCKS5, not CONNECT, no usable method, or a host name that cannot be one.
        OSError: The connection broke.
    """
    version, method_count = await _exactly(client, 2)
    if version != _VERSION:
        raise Refusal("socks", f"greeting: expected version 5, got bytes {version:02x} {method_count:02x}")
    if _NO_AUTHENTICATION not in await _exactly(client, method_count):
        text = "greeting: expected the method without authentication among those offered"
        raise Refusal("socks", text, answer=NO_ACCEPTABLE_METHOD)
    await asyncio.get_running_loop().sock_sendall(client, bytes((_VERSION, _NO_AUTHENTICATION)))
    version, command, _, address_type = await _exactly(client, 4)
    if version != _VERSION:
        raise Refusal("socks", f"request: expected version 5, got {version}")
    if command != _CONNECT:
        answer = Reply.COMMAND_NOT_SUPPORTED.message()
        raise Refusal("socks", f"request: expected CONNECT (1), got command {command}", answer=answer)
    host = await _read_host(client, address_type)
    return Target(host, int.from_bytes(await _exactly(client, 2), "big"))


async def _read_host(client: socket.socket, address_type: int) -> str:
    answer = Reply.ADDRESS_NOT_SUPPORTED.message()
    if address_type == _IPV4:
        return socket.inet_ntop(socket.AF_INET, await _exactly(client, 4))
    if address_type == _IPV6:
        return socket.inet_ntop(socket.AF_INET6, await _exactly(client, 16))
    if address_type != _DOMAIN:
        raise Refusal("socks", f"request: expected address type 1, 3 or 4, got {address_type}", answer=answer)
    (length,) = await _exactly(client, 1)
    name = await _exactly(client, length)
    if not _HOST.fullmatch(name):
        raise Refusal("socks", f"request: expected a host name in ASCII, got {name[:60]!r}", answer=answer)
    return name.decode("ascii")


async def _exactly(client: socket.socket, count: int) -> bytes:
    loop = asyncio.get_running_loop()
    data = b""
    while len(data) < count:
        part = await loop.sock_recv(client, count - len(data))
        if not part:
            raise Refusal("socks", "the client closed before its request was whole")
        data += part
    return data
