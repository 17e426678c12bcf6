"""One open connection: bytes go through unchanged, each on record before it is passed on.

Plain sockets and the loop's readiness callbacks: a chunk is read into one shared buffer, written to the
wire file from there and sent from there. What the other side does not take at once is kept and nothing
more is read until it is gone, so a tunnel holds at most one chunk per direction.
"""

from __future__ import annotations

import asyncio
import fcntl
import socket
import struct
import termios
from typing import TYPE_CHECKING, NamedTuple

from archiver.capture.recorder.peer import CAN_CHECK, peer_owner
from archiver.capture.recorder.wire import KIB, Kind

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from archiver.capture.recorder.peer import Endpoint

    class Recorder(Protocol):
        """What a tunnel needs of the tape it belongs to."""

        def record(self, connection: int, kind: Kind, data: memoryview | bytes = b"") -> bool:
            """Write one frame; False when the tape has stopped and the tunnel with it."""

        def finished(self, tunnel: Tunnel, connection: int, facts: dict[str, object]) -> None:
            """Take note that *tunnel* has closed."""


CHUNK_BYTES = 128 * KIB
HALF_CLOSED_S = 60.0
"""A connection that one side has ended, and on which nothing moves for so long, is closed."""
SETTLE_S = 30.0
"""How long the last bytes may stay unacknowledged, without any progress, before a close or reset."""
SETTLE_STEP_S = 0.01
OVER_BUDGET = "the byte budget of the connection was reached"

# Every chunk is handled to its end before the next is read, so all tunnels share one buffer.
_BUFFER = bytearray(CHUNK_BYTES)
_VIEW = memoryview(_BUFFER)
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class _Way(NamedTuple):
    side: str
    data: Kind
    eof: Kind
    not_delivered: Kind


_FROM_CLIENT = _Way("client", Kind.CLIENT_DATA, Kind.CLIENT_EOF, Kind.NOT_DELIVERED_TO_SERVER)
_FROM_SERVER = _Way("server", Kind.SERVER_DATA, Kind.SERVER_EOF, Kind.NOT_DELIVERED_TO_CLIENT)


class _Pipe:
    """One direction of a tunnel."""

    def __init__(self, tunnel: Tunnel, way: _Way, source: socket.socket, sink: socket.socket) -> None:
        self.tunnel = tunnel
        self.way = way
        self.source = source
        self.sink = sink
        # Numbers, because the loop's selector formats a whole socket for each look-up that misses.
        self.source_fd = source.fileno()
        self.sink_fd = sink.fileno()
        self.pending: bytes | memoryview = b""  # on record, not yet taken by the sink's kernel
        self.received_bytes = 0
        self.dropped_bytes = 0
        self.ended = False  # the source has sent its last byte
        self.sink_gone = False
        self.sink_may_have_left = False

    def read(self) -> None:
        try:
            count = self.source.recv_into(_BUFFER)
        except BlockingIOError:
            return
        except OSError as error:
            self.tunnel.lost(self, error.strerror or str(error))
            return
        if count == 0:
            self._end()
        elif self.sink_gone or (self.sink_may_have_left and self.tunnel.client_has_left()):
            self.tunnel.record(self.way.not_delivered, _VIEW[:count])
        elif self.tunnel.record(self.way.data, _VIEW[:count]):
            self.received_bytes += count
            self._send(_VIEW[:count])
            if self.received_bytes >= self.tunnel.max_bytes:
                self.tunnel.close("relay", OVER_BUDGET)

    def _send(self, data: memoryview) -> None:
        sent = self._try_send(data)
        if sent < len(data) and not self.sink_gone:
            self.pending = bytes(data[sent:])
            self.tunnel.loop.remove_reader(self.source_fd)
            self.tunnel.loop.add_writer(self.sink_fd, self.write)

    def write(self) -> None:
        """Send what is pending; when nothing is left, read on."""
        self.tunnel.moved_at = self.tunnel.loop.time()
        sent = self._try_send(self.pending)
        if self.sink_gone:
            return
        self.pending = memoryview(self.pending)[sent:]
        if not self.pending:
            self.tunnel.loop.remove_writer(self.sink_fd)
            self.tunnel.loop.add_reader(self.source_fd, self.read)

    def _try_send(self, data: bytes | memoryview) -> int:
        try:
            return self.sink.send(data)
        except BlockingIOError:
            return 0
        except OSError:
            # What the sink sent before it broke can still be read; its own pipe finds the end of that.
            self.pending = data
            self.lose_sink()
            return 0

    def _end(self) -> None:
        if self.tunnel.reverse(self).sink_gone:
            # A send took the socket's error, so the reset shows as an ordinary end here.
            self.tunnel.lost(self, "connection reset")
            return
        self.ended = True
        self.tunnel.loop.remove_reader(self.source_fd)
        if self.tunnel.record(self.way.eof):
            self._shut_sink()
            self.tunnel.ended(self)

    def _shut_sink(self) -> None:
        try:
            self.sink.shutdown(socket.SHUT_WR)
        except OSError:
            self.sink_gone = True

    def queued_bytes(self) -> int:
        """Return how many bytes the sink's kernel holds unacknowledged; its FIN is not counted."""
        answer = fcntl.ioctl(self.sink.fileno(), termios.TIOCOUTQ, b"\0\0\0\0")
        return max(0, int.from_bytes(answer, "little") - self.ended)

    def settling_bytes(self) -> int:
        """Return how many bytes may still reach the sink."""
        broken = self.sink_gone or self.sink.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        return 0 if broken else self.queued_bytes()

    def unsent_bytes(self) -> int:
        return self.dropped_bytes + len(self.pending) + self.queued_bytes()

    def lose_sink(self) -> None:
        """Give up what is pending and go on reading, to record what arrives for nobody."""
        self.sink_gone = True
        self.dropped_bytes += len(self.pending)
        self.pending = b""
        self.tunnel.loop.remove_writer(self.sink_fd)
        if not self.ended:
            self.tunnel.loop.add_reader(self.source_fd, self.read)


class Tunnel:
    """Passes bytes between *client* and *server* until both have ended or one is lost.

    A reset stays a reset: it is passed on when the other side's kernel has acknowledged everything that
    came before it; an ordinary close would turn it into an end, an immediate abort would lose data.

    Args:
        recorder: The tape.
        number: The connection's number in the wire file.
        client: Connected, non-blocking; closed by the tunnel.
        server: Likewise.
        client_ends: The client's address and ours, IPv4.
        max_bytes: Of one direction, at which both sides are closed.
    """

    def __init__(
        self,
        recorder: Recorder,
        number: int,
        *,
        client: socket.socket,
        server: socket.socket,
        client_ends: tuple[Endpoint, Endpoint],
        max_bytes: int,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.moved_at = self.loop.time()
        self.max_bytes = max_bytes
        self._recorder = recorder
        self._number = number
        self._client_ends = client_ends
        self._closed = False
        self._reset = False
        self._by_and_why: tuple[str, str] | None = None
        self._queued_bytes = -1
        self._progress_at = 0.0
        self._timers: dict[str, asyncio.TimerHandle] = {}
        for end in (client, server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._up = _Pipe(self, _FROM_CLIENT, client, server)
        self._down = _Pipe(self, _FROM_SERVER, server, client)
        for pipe in (self._up, self._down):
            self.loop.add_reader(pipe.source_fd, pipe.read)

    def record(self, kind: Kind, data: memoryview | bytes = b"") -> bool:
        """Write a frame of this connection; False when everything has been stopped instead."""
        self.moved_at = self.loop.time()
        return self._recorder.record(self._number, kind, data)

    def reverse(self, pipe: _Pipe) -> _Pipe:
        """Return the pipe of the other direction."""
        return self._down if pipe is self._up else self._up

    def client_has_left(self) -> bool:
        """Tell whether the client, which has ended its side, has closed and not only half closed.

        The kernel would answer further data with a reset; so do we.
        """
        if peer_owner(*self._client_ends):
            return False
        self.lost(self._up, "closed")
        return True

    def ended(self, pipe: _Pipe) -> None:
        """Take note that *pipe* has passed on its end."""
        other = self.reverse(pipe)
        self._by_and_why = self._by_and_why or (pipe.way.side, "closed")
        other.sink_may_have_left = pipe is self._up and CAN_CHECK
        if other.ended:
            self._settle()
        else:
            self._watch_idle()

    def lost(self, pipe: _Pipe, why: str) -> None:
        """Take note that the source of *pipe* is gone without an end, and pass that on."""
        self.loop.remove_reader(pipe.source_fd)
        pipe.ended = True
        self.reverse(pipe).lose_sink()
        if not self._reset:
            self._by_and_why = pipe.way.side, why
        self._reset = True
        self._settle()

    def _settle(self) -> None:
        """Close when the kernels have delivered everything, or make no progress any more."""
        if self._closed:
            return
        now = self.loop.time()
        queued = self._up.settling_bytes() + self._down.settling_bytes()
        if queued != self._queued_bytes:
            self._queued_bytes, self._progress_at = queued, now
        if queued and now - self._progress_at < SETTLE_S:
            self._set_timer("settle", SETTLE_STEP_S, self._settle)
            return
        assert self._by_and_why is not None
        self.close(*self._by_and_why, reset=self._reset or queued > 0)

    def _watch_idle(self) -> None:
        idle_s = self.loop.time() - self.moved_at
        if idle_s >= HALF_CLOSED_S:
            self.close("relay", f"half closed and idle for {HALF_CLOSED_S:.0f} s")
        else:
            self._set_timer("idle", HALF_CLOSED_S - idle_s, self._watch_idle)

    def _set_timer(self, name: str, delay_s: float, callback: Callable[[], None]) -> None:
        if name in self._timers:
            self._timers[name].cancel()
        self._timers[name] = self.loop.call_later(delay_s, callback)

    def close(self, by: str, why: str, *, reset: bool = True) -> None:
        """Close both sides and report to the tape; a second call does nothing.

        Args:
            by: ``client``, ``server`` or ``relay``.
            why: For the CLOSED frame.
            reset: Abort instead of ending in order.
        """
        if self._closed:
            return
        self._closed = True
        for timer in self._timers.values():
            timer.cancel()
        facts = {
            "by": by,
            "why": why,
            "client_bytes": self._up.received_bytes,
            "server_bytes": self._down.received_bytes,
            "client_bytes_unsent": self._up.unsent_bytes(),
            "server_bytes_unsent": self._down.unsent_bytes(),
        }
        for pipe in (self._up, self._down):
            self.loop.remove_reader(pipe.source_fd)
            self.loop.remove_writer(pipe.source_fd)
            if reset:
                pipe.source.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            pipe.source.close()
        self._recorder.finished(self, self._number, facts)
