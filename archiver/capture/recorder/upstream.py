"""How a connection to the server is made: resolved, checked, dialled; directly or through a proxy."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import errno
import os
import re
import socket
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, unquote, urlsplit

from archiver.capture.recorder.guard import RelayPolicy, check_address, check_host, check_unseen_host
from archiver.capture.recorder.resolve import ResolveFailed
from archiver.capture.recorder.socks import Refusal, Reply
from archiver.capture.recorder.wire import KIB

if TYPE_CHECKING:
    from collections.abc import Collection

    from archiver.capture.recorder.resolve import Resolver

CHECKED = "checked"
UNSEEN = "address not seen by the guard"

MAX_PROXY_HEAD_BYTES = 16 * KIB

_TUNNEL_OPENED = re.compile(rb"HTTP/1\.[01] 2[0-9][0-9][ \r].*\r\n\r\n\Z", re.DOTALL)
_PUBLIC_ONLY = RelayPolicy()
_REPLIES = {
    "ECONNREFUSED": Reply.REFUSED,
    "ENETUNREACH": Reply.NETWORK_UNREACHABLE,
}


@dataclass(slots=True)
class Route:
    """How far one connection has got; its fields are the facts of the wire file (see ``wire``)."""

    host: str
    port: int
    ip: str | None = None
    dialled_port: int | None = None
    dns: list[str] = field(default_factory=list)
    dns_ms: float | None = None
    dns_cached: bool = False
    connect_ms: float | None = None
    tried: list[dict[str, Any]] = field(default_factory=list)
    rule: str | None = None
    upstream: str | None = None
    guard: str | None = None

    def facts(self) -> dict[str, Any]:
        """Return the fields by name."""
        return {name: getattr(self, name) for name in self.__slots__}


async def open_route(
    route: Route, policy: RelayPolicy, resolver: Resolver, own_ports: Collection[int]
) -> socket.socket:
    """Connect to what *route* asks for and fill in how.

    1. The name is checked against the refused hosts.
    2. The first resolve rule that matches, an upstream that resolves, or the resolver gives addresses.
    3. Each address is checked by the guard and dialled, in order, until one answers.

    Args:
        route: ``host`` and ``port`` are read, the rest is written, also when this raises.
        policy: The capture's policy.
        resolver: The capture's resolver.
        own_ports: Ports this relay listens on; it never connects to itself.

    Raises:
        Refusal: Stage ``guard``, ``resolve`` or ``connect``; for the last address tried.
    """
    if reason := check_host(route.host, policy):
        raise _guarded(reason)
    route.upstream = policy.upstream and _without_credentials(policy.upstream)
    rule = next((rule for rule in policy.resolve if rule.match(route.host, route.port)), None)
    route.dialled_port = route.port
    if rule:
        route.rule, route.dns, route.dialled_port = str(rule), [rule.address], rule.to_port or route.port
    elif policy.upstream and not policy.upstream.startswith("socks5:"):
        return await _open_unseen(route, policy, policy.upstream)
    else:
        await _resolve(route, policy, resolver)
    return await _open_first(route, policy, own_ports)


async def _resolve(route: Route, policy: RelayPolicy, resolver: Resolver) -> None:
    try:
        answer = await resolver.resolve(route.host, policy.connect_timeout_s)
    except ResolveFailed as error:
        reply = Reply.HOST_UNREACHABLE.message()
        raise Refusal("resolve", error.text, errno=error.name, answer=reply) from error
    route.dns, route.dns_ms, route.dns_cached = answer.addresses, answer.took_ms, answer.cached


async def _open_first(route: Route, policy: RelayPolicy, own_ports: Collection[int]) -> socket.socket:
    """Dial the addresses in order; each may use its share of the time that is left."""
    deadline = time.monotonic() + policy.connect_timeout_s
    refusal = Refusal("resolve", "the name has no address", answer=Reply.HOST_UNREACHABLE.message())
    for index, ip in enumerate(route.dns):
        share_s = max(0.0, deadline - time.monotonic()) / (len(route.dns) - index)
        try:
            if reason := check_address(ip, policy) or _own_port(ip, route, own_ports):
                raise _guarded(reason)
            server = await _dial(route, ip, policy.upstream, share_s)
        except Refusal as error:
            refusal = error
            route.tried.append({"ip": ip, "error": error.error, "errno": error.errno})
        else:
            route.ip, route.guard = ip, CHECKED
            return server
    raise refusal


def _own_port(ip: str, route: Route, own_ports: Collection[int]) -> str | None:
    if route.dialled_port in own_ports and check_address(ip, _PUBLIC_ONLY):
        return f"port {route.dialled_port} is the relay's own"
    return None


async def _open_unseen(route: Route, policy: RelayPolicy, upstream: str) -> socket.socket:
    if reason := check_unseen_host(route.host, policy):
        raise _guarded(reason)
    route.guard = UNSEEN
    return await _dial(route, route.host, upstream, policy.connect_timeout_s)


async def _dial(route: Route, host: str, upstream: str | None, timeout_s: float) -> socket.socket:
    """Connect to *host*, an address or, for an upstream, a name.

    Raises:
        Refusal: Stage ``connect``, with the system's or the proxy's words.
    """
    started = time.monotonic()
    assert route.dialled_port is not None
    try:
        async with asyncio.timeout(timeout_s):
            if upstream:
                server = await _connect_through(upstream, host, route.dialled_port)
            else:
                server = await _connect(host, route.dialled_port)
    except TimeoutError:
        text = f"no answer within {timeout_s:.1f} s"
        raise Refusal("connect", text, errno="ETIMEDOUT", answer=Reply.HOST_UNREACHABLE.message()) from None
    except OSError as error:
        name = errno.errorcode.get(error.errno or 0)
        reply = _REPLIES.get(name or "", Reply.HOST_UNREACHABLE).message()
        text = str(error.strerror or error) if upstream else _words(error)
        raise Refusal("connect", text, errno=name, answer=reply) from error
    route.connect_ms = round((time.monotonic() - started) * 1000, 3)
    return server


async def _connect(ip: str, port: int) -> socket.socket:
    server = socket.socket(socket.AF_INET6 if ":" in ip else socket.AF_INET, socket.SOCK_STREAM)
    with contextlib.ExitStack() as undo:
        undo.callback(server.close)
        server.setblocking(False)
        await asyncio.get_running_loop().sock_connect(server, (ip, port))
        undo.pop_all()
    return server


async def _connect_through(upstream: str, host: str, port: int) -> socket.socket:
    """Connect to *host* through a proxy.

    Raises:
        OSError: The proxy is not reached or does not connect; the text says that it was the proxy.
    """
    if upstream.startswith("http:"):
        return await _connect_http(urlsplit(upstream), host, port)
    from python_socks import ProxyError  # noqa: PLC0415 - not loaded where no upstream is set
    from python_socks.async_.asyncio import Proxy  # noqa: PLC0415 - likewise

    proxy = Proxy.from_url(upstream.replace("socks5h://", "socks5://", 1), rdns=True)
    try:
        return await proxy.connect(host, port)
    except ProxyError as error:
        raise ConnectionError(f"upstream proxy: {error}") from error


async def _connect_http(proxy: SplitResult, host: str, port: int) -> socket.socket:
    """Ask an HTTP proxy for a tunnel (RFC 9110 section 9.3.6) and read not a byte past its answer.

    python-socks reads its answer in one piece: bytes of the server that come with it would be lost, and
    the rest of an answer that comes in two would pass for the server's.
    """
    authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    lines = [f"CONNECT {authority} HTTP/1.1", f"Host: {authority}"]
    if proxy.username is not None:
        pair = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
        lines.append(f"Proxy-Authorization: Basic {base64.b64encode(pair.encode()).decode()}")
    loop = asyncio.get_running_loop()
    server = await _connect_named(proxy.hostname or "", proxy.port or 80)
    with contextlib.ExitStack() as undo:
        undo.callback(server.close)
        await loop.sock_sendall(server, "\r\n".join([*lines, "", ""]).encode())
        head = b""
        while not head.endswith(b"\r\n\r\n") and len(head) < MAX_PROXY_HEAD_BYTES:
            byte = await loop.sock_recv(server, 1)
            if not byte:
                break
            head += byte
        if not _TUNNEL_OPENED.match(head):
            status_line = head[:100].partition(b"\r")[0]
            raise ConnectionError(f"upstream proxy: {status_line!r}")
        undo.pop_all()
    return server


async def _connect_named(host: str, port: int) -> socket.socket:
    failure = OSError("upstream proxy: no address")
    for entry in await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM):
        try:
            return await _connect(str(entry[4][0]), port)
        except OSError as error:
            failure = OSError(error.errno, f"upstream proxy: {_words(error)}")
    raise failure


def _words(error: OSError) -> str:
    # asyncio puts words of its own in place of the system's.
    return os.strerror(error.errno) if error.errno else str(error)


def _without_credentials(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def _guarded(reason: str) -> Refusal:
    return Refusal("guard", reason, answer=Reply.NOT_ALLOWED.message())
