"""One capture's port and wire file: admits clients, opens routes, records, stops when it must."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from archiver.capture.recorder.peer import CAN_CHECK, peer_owner
from archiver.capture.recorder.resolve import Resolver
from archiver.capture.recorder.socks import Refusal, Reply, read_request
from archiver.capture.recorder.tunnel import OVER_BUDGET, Tunnel
from archiver.capture.recorder.upstream import Route, open_route
from archiver.capture.recorder.wire import Kind, WireWriteFailed, WireWriter, encode_facts
from archiver.errors import EnvironmentUnfit

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from archiver.capture.recorder.guard import RelayPolicy
    from archiver.capture.recorder.peer import Endpoint

LISTEN_BACKLOG = 512
ACCEPTS_PER_TURN = 64
ACCEPT_PAUSE_S = 0.1
"""Rest when this process has no file descriptors left."""
HELLO_TIMEOUT_S = 10.0
MAX_STRANGERS_RECORDED = 1000
"""Refused connections of other users that get a frame each; the rest is only counted."""


class RelayUnfit(EnvironmentUnfit):
    """This system cannot give what a tape needs."""


@dataclass(frozen=True, slots=True)
class TapeStatus:
    """What a tape has done so far.

    Args:
        live_count: Connections open now.
        peak_count: Most of them at once.
        opened_count: Connections opened in all.
        refused_count: Connections refused for any reason but the next.
        stranger_count: Connections refused because another user's process made them.
        cut_count: Connections closed because they reached ``max_bytes_per_connection``.
        client_bytes: Data received from clients.
        server_bytes: Data received from servers.
        wire_bytes: Length of the wire file.
        last_data_at_ns: Unix time of the last data frame, nanoseconds; 0 before the first.
        budget_reached: The wire file has reached ``max_bytes_per_capture``; everything was closed.
        failure: Why the wire file could not be written any more; everything was closed. Else None.
    """

    live_count: int = 0
    peak_count: int = 0
    opened_count: int = 0
    refused_count: int = 0
    stranger_count: int = 0
    cut_count: int = 0
    client_bytes: int = 0
    server_bytes: int = 0
    wire_bytes: int = 0
    last_data_at_ns: int = 0
    budget_reached: bool = False
    failure: str | None = None


class TapeServer:
    """A listening port on 127.0.0.1 whose traffic is recorded in one wire file.

    Args:
        wire_path: Must not exist.
        policy: What clients may reach.
        own_ports: Ports of every tape of this process; this one adds its own.
        on_stop: Called once when the disk or the budget ends the recording early.

    Raises:
        WireWriteFailed: The wire file cannot be made.
        RelayUnfit: The policy names users whom this system cannot tell apart, or no port is free.
    """

    def __init__(
        self, wire_path: Path, policy: RelayPolicy, own_ports: set[int], on_stop: Callable[[], None]
    ) -> None:
        if policy.allowed_uids and not CAN_CHECK:
            raise RelayUnfit(
                "relay: user check: expected /proc/net/tcp, got none",
                code="E216",
                hint="capture on Linux, or allow every local user with an empty allowed_uids",
            )
        self._listener = _listen()
        self._policy = policy
        self._on_stop = on_stop
        self._own_ports = own_ports
        self._writer = WireWriter(wire_path)
        self._resolver = Resolver(policy.resolver)
        self._numbers = itertools.count(1)
        self._greeted: set[asyncio.Task[None]] = set()
        self._tunnels: set[Tunnel] = set()
        self._stopped = False
        self._counts = dict.fromkeys(("peak", "opened", "refused", "stranger", "cut"), 0)
        self._bytes = {Kind.CLIENT_DATA: 0, Kind.SERVER_DATA: 0}
        self._last_data_at_ns = 0
        self._budget_reached = False
        self._failure: str | None = None
        self._loop = asyncio.get_running_loop()
        self.port: int = self._listener.getsockname()[1]
        own_ports.add(self.port)
        self._loop.add_reader(self._listener, self._accept)

    def status(self) -> TapeStatus:
        """Return what has been done so far."""
        return TapeStatus(
            live_count=len(self._tunnels),
            peak_count=self._counts["peak"],
            opened_count=self._counts["opened"],
            refused_count=self._counts["refused"],
            stranger_count=self._counts["stranger"],
            cut_count=self._counts["cut"],
            client_bytes=self._bytes[Kind.CLIENT_DATA],
            server_bytes=self._bytes[Kind.SERVER_DATA],
            wire_bytes=self._writer.size_bytes,
            last_data_at_ns=self._last_data_at_ns,
            budget_reached=self._budget_reached,
            failure=self._failure,
        )

    async def close(self) -> TapeStatus:
        """Stop listening, abort what is open, sync and close the wire file."""
        self._stop("the tape was closed")
        await asyncio.gather(*self._greeted, return_exceptions=True)
        self._resolver.close()
        try:
            await asyncio.to_thread(self._writer.sync)
        except WireWriteFailed as error:
            self._failure = self._failure or error.reason
        self._writer.close()
        return self.status()

    def record(self, connection: int, kind: Kind, data: memoryview | bytes = b"") -> bool:
        """Write one frame before its bytes are passed on.

        Returns:
            False when the recording has ended, and every connection with it: the disk refused the
            frame, or the frame reached the byte budget.
        """
        if self._failure:
            return False
        try:
            at_ns = self._writer.write(connection, kind, data)
        except WireWriteFailed as error:
            self._failure = error.reason
            self._stop("the wire file could not be written")
            self._on_stop()
            return False
        if kind in self._bytes:
            self._bytes[kind] += len(data)
            self._last_data_at_ns = at_ns
        if self._writer.size_bytes < self._policy.max_bytes_per_capture or self._stopped:
            return True
        self._budget_reached = True
        self._stop("the byte budget of the capture was reached")
        self._on_stop()
        return False

    def finished(self, tunnel: Tunnel, connection: int, facts: dict[str, Any]) -> None:
        """Record the end of *tunnel*."""
        self._tunnels.discard(tunnel)
        self._counts["cut"] += facts["why"] == OVER_BUDGET
        self.record(connection, Kind.CLOSED, encode_facts(facts))

    def _stop(self, why: str) -> None:
        if self._stopped:
            return
        self._stopped = True
        self._own_ports.discard(self.port)
        self._loop.remove_reader(self._listener)
        self._listener.close()
        for task in self._greeted:
            task.cancel()
        for tunnel in tuple(self._tunnels):
            tunnel.close("relay", why)

    def _accept(self) -> None:
        for _ in range(ACCEPTS_PER_TURN):
            if self._stopped:
                return
            try:
                client, peer = self._listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError:
                self._loop.remove_reader(self._listener)
                self._loop.call_later(ACCEPT_PAUSE_S, self._accept_again)
                return
            client.setblocking(False)
            self._admit(client, (peer, client.getsockname()))

    def _accept_again(self) -> None:
        if not self._stopped:
            self._loop.add_reader(self._listener, self._accept)

    def _admit(self, client: socket.socket, ends: tuple[Endpoint, Endpoint]) -> None:
        if refusal := self._stranger(ends):
            client.close()
            self._counts["stranger"] += 1
            if self._counts["stranger"] <= MAX_STRANGERS_RECORDED:
                self._record_refusal(next(self._numbers), refusal, None)
            return
        task = self._loop.create_task(self._serve(next(self._numbers), client, ends))
        self._greeted.add(task)
        task.add_done_callback(self._greeted.discard)

    def _stranger(self, ends: tuple[Endpoint, Endpoint]) -> Refusal | None:
        """Refuse a connection that no process of an allowed user holds."""
        if not self._policy.allowed_uids:
            return None
        owner = peer_owner(*ends)
        if owner is None:
            return Refusal("peer", "the client had closed before its user was known")
        if owner.uid not in self._policy.allowed_uids:
            return Refusal("peer", f"user {owner.uid} may not use this port")
        return None

    async def _serve(self, number: int, client: socket.socket, ends: tuple[Endpoint, Endpoint]) -> None:
        """Take one client from its greeting to its tunnel, or to a recorded refusal."""
        route: Route | None = None
        with contextlib.ExitStack() as undo:
            undo.callback(client.close)
            try:
                self._check_room()
                async with asyncio.timeout(HELLO_TIMEOUT_S):
                    route = Route(*await read_request(client))
                server = await open_route(route, self._policy, self._resolver, self._own_ports)
            except Refusal as refusal:
                self._refuse(number, refusal, route, client)
            except TimeoutError:
                self._refuse(
                    number, Refusal("socks", f"no request within {HELLO_TIMEOUT_S:.0f} s"), route, client
                )
            except OSError as error:
                self._refuse(number, Refusal("socks", error.strerror or str(error)), route, client)
            except asyncio.CancelledError:
                self._refuse(number, Refusal("connect", "the tape was closed"), route, client)
                raise
            else:
                undo.callback(server.close)
                if self._open(number, route, client, server):
                    undo.pop_all()
                    tunnel = Tunnel(
                        self,
                        number,
                        client=client,
                        server=server,
                        client_ends=ends,
                        max_bytes=self._policy.max_bytes_per_connection,
                    )
                    self._tunnels.add(tunnel)

    def _check_room(self) -> None:
        limit = self._policy.max_connections
        if len(self._greeted) + len(self._tunnels) > limit:
            raise Refusal("peer", f"more than {limit} connections at once")

    def _open(self, number: int, route: Route, client: socket.socket, server: socket.socket) -> bool:
        facts = route.facts() | {"local": server.getsockname()[:2]}
        if not self.record(number, Kind.OPENED, encode_facts(facts)) or self._stopped:
            return False
        self._counts["opened"] += 1
        self._counts["peak"] = max(self._counts["peak"], len(self._tunnels) + 1)
        with contextlib.suppress(OSError):  # a client that has left is found by its tunnel
            client.send(Reply.SUCCEEDED.message())
        return True

    def _refuse(self, number: int, refusal: Refusal, route: Route | None, client: socket.socket) -> None:
        self._counts["refused"] += 1
        self._record_refusal(number, refusal, route)
        if refusal.answer:
            with contextlib.suppress(OSError):
                client.send(refusal.answer)

    def _record_refusal(self, number: int, refusal: Refusal, route: Route | None) -> None:
        facts = route.facts() if route else {}
        facts |= {"stage": refusal.stage, "error": refusal.error, "errno": refusal.errno}
        self.record(number, Kind.REFUSED, encode_facts(facts))


def _listen() -> socket.socket:
    try:
        listener = socket.create_server(("127.0.0.1", 0), backlog=LISTEN_BACKLOG)
    except OSError as error:
        raise RelayUnfit(
            f"relay: no port on 127.0.0.1: {error.strerror}",
            code="E218",
            hint="close captures that are running, or raise the limit of open files",
        ) from error
    listener.setblocking(False)
    return listener
