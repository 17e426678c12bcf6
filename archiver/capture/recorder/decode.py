"""From a wire file and its key log to exchanges: one pass, each exchange handed over as it ends.

Nothing that a server sent makes this fail. What cannot be followed is named in ``Decoded.problems`` and on
its connection; its raw bytes stay in the wire file and in the transcript.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from archiver.capture.recorder.connection import Connection
from archiver.capture.recorder.connection_facts import ConnectionFacts, Plaintext, Refusal
from archiver.capture.recorder.keylog import KeyLog
from archiver.capture.recorder.splitter import CLIENT, SERVER, DecodeLimits
from archiver.capture.recorder.wire import Frame, Kind, MalformedWire, WireReader
from archiver.errors import EnvironmentUnfit

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from archiver.capture.recorder.exchange import Exchange

__all__ = ["ConnectionFacts", "DecodeLimits", "Decoded", "Plaintext", "Refusal", "decode"]

MAX_PROBLEMS = 1000

_LATE = (Kind.NOT_DELIVERED_TO_CLIENT, Kind.NOT_DELIVERED_TO_SERVER)


@dataclass(slots=True)
class Decoded:
    """What a wire file held besides its exchanges.

    Args:
        connections: In the order of their numbers.
        refusals: Connections that the relay did not make, in order.
        problems: Sentences, each naming its connection, on what could not be read. Empty when all was.
        torn_tail_bytes: Length of an incomplete last frame; the recorder was killed while it wrote it.
        key_log_dropped: The browser said that it left secrets out.
    """

    connections: list[ConnectionFacts] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    torn_tail_bytes: int = 0
    key_log_dropped: bool = False


def decode(wire: Path, keylog: Path, sink: Callable[[Exchange], None], limits: DecodeLimits) -> Decoded:
    """Read *wire* once and hand every exchange in it to *sink*.

    Args:
        wire: The wire file. Bodies above 1 MiB are spooled in its folder, in files without a name.
        keylog: The browser's key log; need not exist.
        sink: Takes each exchange, in the order in which they end, and closes the files of its bodies.
        limits: What one connection may hold.

    Raises:
        EnvironmentUnfit: The wire file cannot be opened, or the disk took no more.
        KeyLogUnreadable: The key log exists and cannot be read.
    """
    log = KeyLog(keylog)
    log.refresh()
    pass_ = _Pass(log, sink, limits, wire.parent)
    reader = WireReader(wire)
    try:
        for frame in reader:
            pass_.take(frame)
    except MalformedWire as error:
        pass_.problem(f"the wire file is not read past this point: {error}")
    except OSError as error:
        raise EnvironmentUnfit(
            f"wire file {wire.name}: reading failed: expected a readable file, got {error.strerror}",
            code="E542",
            hint="check that the spool folder is on this machine and readable by this user",
        ) from error
    decoded = pass_.finish()
    decoded.torn_tail_bytes = reader.torn_bytes
    decoded.key_log_dropped = log.dropped
    return decoded


class _Pass:
    """The connections of one wire file while it is read."""

    def __init__(
        self, keylog: KeyLog, sink: Callable[[Exchange], None], limits: DecodeLimits, folder: Path
    ) -> None:
        self._keylog = keylog
        self._sink = sink
        self._limits = limits
        self._folder = folder
        self._open: dict[int, Connection] = {}
        self._decoded = Decoded()

    def take(self, frame: Frame) -> None:
        """Take one frame."""
        if frame.kind == Kind.OPENED:
            self._opened(frame)
        elif frame.kind == Kind.REFUSED:
            facts = self._facts(frame)
            self._decoded.refusals.append(Refusal.of(frame.connection, frame.at_ns, facts))
        elif (connection := self._open.get(frame.connection)) is None and frame.kind in _LATE:
            return  # what the server sent after the end; the transcript has the comment
        elif connection is None:
            self.problem(f"connection {frame.connection}: {frame.kind.name} outside its opening and its end")
        elif frame.kind == Kind.CLIENT_DATA:
            connection.feed(CLIENT, frame.data, frame.at_ns)
        elif frame.kind == Kind.SERVER_DATA:
            connection.feed(SERVER, frame.data, frame.at_ns)
        elif frame.kind == Kind.CLOSED:
            self._close(connection, frame.at_ns, self._facts(frame))
        elif frame.kind in (Kind.CLIENT_EOF, Kind.SERVER_EOF):
            connection.end(CLIENT if frame.kind == Kind.CLIENT_EOF else SERVER)
        else:
            connection.not_delivered_bytes += len(frame.data)

    def finish(self) -> Decoded:
        """Close what the recording left open and return the result."""
        for connection in list(self._open.values()):
            self._close(connection, 0, {})
        self._decoded.connections.sort(key=lambda facts: facts.number)
        return self._decoded

    def problem(self, text: str) -> None:
        """Keep *text*; the first ``MAX_PROBLEMS`` are kept."""
        if len(self._decoded.problems) < MAX_PROBLEMS:
            self._decoded.problems.append(text)

    def _opened(self, frame: Frame) -> None:
        if frame.connection in self._open:
            self.problem(f"connection {frame.connection}: opened twice")
            return
        self._open[frame.connection] = Connection(
            frame.connection,
            frame.at_ns,
            self._facts(frame),
            keylog=self._keylog,
            sink=self._sink,
            limits=self._limits,
            folder=self._folder,
        )

    def _close(self, connection: Connection, at_ns: int, closed: dict[str, Any]) -> None:
        del self._open[connection.number]
        facts = connection.close(at_ns, closed)
        self._decoded.connections.append(facts)
        if facts.error is not None:
            self.problem(f"connection {facts.number} ({facts.host}): {facts.error}")

    def _facts(self, frame: Frame) -> dict[str, Any]:
        try:
            return frame.facts()
        except MalformedWire as error:
            self.problem(f"connection {frame.connection}: {error}")
            return {}
