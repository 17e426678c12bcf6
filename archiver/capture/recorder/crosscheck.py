"""Ask a reader that is not ours what a transcript says, and compare.

tshark opens the stored transcript with nothing but the secrets inside it. Two things are compared: all
plaintext of every direction of every connection, and every response body that tshark can take out. What it
cannot take out is listed with the reason as far as it is known; its direction still covers such a body.
"""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from archiver.capture.recorder import tshark
from archiver.capture.recorder.coding import CodingError, decoded
from archiver.capture.recorder.http1_framing import ChunkedFraming
from archiver.capture.recorder.http1_head import fields_of, first_value
from archiver.capture.recorder.transcript import client_endpoint, server_address

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from archiver.capture.recorder.connection_facts import ConnectionFacts, Plaintext
    from archiver.capture.recorder.exchange import Body, Exchange
    from archiver.capture.recorder.tshark import Endpoint

KIB = 1024
MIB = 1024 * KIB

MAX_RUN_BYTES = 256 * MIB
"""Plaintext followed in one run of tshark, which holds it all in memory."""
MAX_RUN_CONNECTIONS = 250
READ_BYTES = 256 * KIB


@dataclass(frozen=True, slots=True)
class ConnectionClaim:
    """What we say of one connection.

    Args:
        number: In the wire file.
        tls: Whether it is TLS.
        server: Address and port of the server as the transcript gives them.
        sent: All plaintext of the browser.
        received: All plaintext of the server.
    """

    number: int
    tls: bool
    server: Endpoint
    sent: Plaintext
    received: Plaintext

    @classmethod
    def of(cls, facts: ConnectionFacts) -> ConnectionClaim:
        """Take the claim from a decoded connection."""
        server = (str(server_address(facts.ip)), facts.dialled_port)
        return cls(facts.number, facts.tls is not None, server, facts.sent, facts.received)

    @property
    def client(self) -> Endpoint:
        """What stands for the browser in the transcript."""
        return client_endpoint(self.number, v6=":" in self.server[0])


@dataclass(frozen=True, slots=True)
class BodyClaim:
    """What we say of one response body.

    Args:
        connection: Number of the connection.
        stream: HTTP/2 stream number, else None.
        url: URL of the request.
        sha256s: Hex SHA-256 of the payload as sent, and decoded where that is known: tshark exports HTTP/1
            bodies decoded and HTTP/2 data as sent.
        remark: Why a reader may not be able to take it out, or empty.
    """

    connection: int
    stream: int | None
    url: str
    sha256s: frozenset[str]
    remark: str

    @classmethod
    def of(cls, exchange: Exchange) -> BodyClaim | None:
        """Take the claim from an exchange whose bodies are still open; None when it has no response body."""
        body = exchange.response_body
        if body is None or not body.size_bytes:
            return None
        head = exchange.response_head or b""
        coding = first_value(fields_of(head), b"content-encoding").decode("latin-1").lower()
        remark = _remark(exchange, head)
        digests = {body.payload_sha256} - {""}
        try:
            decoded_sha256 = hashlib.sha256()
            for piece in decoded(_payload(body), coding):
                decoded_sha256.update(piece)
            digests.add(decoded_sha256.hexdigest())
        except CodingError as error:
            remark = remark or str(error)
        return cls(exchange.connection, exchange.stream, exchange.url, frozenset(digests), remark)


@dataclass(frozen=True, slots=True)
class DirectionCheck:
    """One direction of one connection: what we say, and what tshark found; None when it found nothing."""

    connection: int
    side: Literal["client", "server"]
    expected: Plaintext
    got: Plaintext | None

    @property
    def agrees(self) -> bool:
        """True when size and digest are equal; a connection without plaintext need not be found."""
        return self.got == self.expected or (self.got is None and not self.expected.size_bytes)


@dataclass(frozen=True, slots=True)
class BodyCheck:
    """One body: whether tshark takes out the same bytes, and if not, why, as far as is known."""

    claim: BodyClaim
    exported: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Crosscheck:
    """The result.

    Args:
        reader: tshark's own version line.
        directions: Two for each connection.
        bodies: One for each claim.
    """

    reader: str
    directions: tuple[DirectionCheck, ...]
    bodies: tuple[BodyCheck, ...]

    @property
    def agrees(self) -> bool:
        """True when every direction is equal; then a body that is not exported is equal inside of it."""
        return all(check.agrees for check in self.directions)


def crosscheck(
    transcript: Path, connections: Sequence[ConnectionClaim], bodies: Sequence[BodyClaim]
) -> Crosscheck:
    """Compare *transcript*, as tshark reads it, with our claims.

    Args:
        transcript: The pcapng file; only read.
        connections: What we say of its connections.
        bodies: What we say of the response bodies.

    Raises:
        EnvironmentUnfit: tshark is missing or cannot read the file.
    """
    found: dict[Endpoint, tshark.Followed] = {}
    with tempfile.TemporaryDirectory() as folder:
        objects = Path(folder)
        for run in _runs(connections) or [[]]:
            conversations = [("tls" if one.tls else "tcp", one.client, one.server) for one in run]
            wants_objects = not any(objects.iterdir())
            found |= tshark.follow(transcript, conversations, objects if wants_objects else None)
        exported = tshark.exported_digests(objects)
    http2: dict[Endpoint, set[str]] = {}
    if any(body.stream is not None for body in bodies):
        http2 = tshark.http2_digests(transcript)
    by_number = {one.number: http2.get(one.client, set()) for one in connections}
    return Crosscheck(
        reader=tshark.version(),
        directions=tuple(check for one in connections for check in _directions(one, found.get(one.client))),
        bodies=tuple(
            _body(claim, exported if claim.stream is None else by_number.get(claim.connection, set()))
            for claim in bodies
        ),
    )


def _runs(connections: Sequence[ConnectionClaim]) -> list[list[ConnectionClaim]]:
    """Split the connections into runs that tshark can hold."""
    runs: list[list[ConnectionClaim]] = []
    room = 0
    for one in connections:
        size = one.sent.size_bytes + one.received.size_bytes
        if not runs or size > room or len(runs[-1]) >= MAX_RUN_CONNECTIONS:
            runs.append([])
            room = MAX_RUN_BYTES
        runs[-1].append(one)
        room -= size
    return runs


def _directions(claim: ConnectionClaim, found: tshark.Followed | None) -> list[DirectionCheck]:
    """Compare both directions as a pair: which side tshark calls node 0 is its own view."""
    sent, received = (None, None) if found is None else found.texts
    straight = (sent == claim.sent) + (received == claim.received)
    crossed = (sent == claim.received) + (received == claim.sent)
    if found is not None and (crossed, found.node_0 == claim.server) > (
        straight,
        found.node_0 == claim.client,
    ):
        sent, received = received, sent
    return [
        DirectionCheck(claim.number, "client", claim.sent, sent),
        DirectionCheck(claim.number, "server", claim.received, received),
    ]


def _body(claim: BodyClaim, exported: set[str]) -> BodyCheck:
    if claim.sha256s & exported:
        return BodyCheck(claim, exported=True)
    return BodyCheck(claim, exported=False, reason=claim.remark or "tshark exports nothing with its digest")


def _remark(exchange: Exchange, head: bytes) -> str:
    if exchange.protocol == "websocket":
        return "WebSocket frames are no HTTP body"
    if not head:
        return "the response has no HTTP head"
    return f"the body is truncated: {exchange.truncated}" if exchange.truncated else ""


def _payload(body: Body) -> Iterator[bytes]:
    """Yield the payload of *body*, chunk framing removed."""
    body.file.seek(0)
    collector = _Collector()
    framing = ChunkedFraming(collector)
    buffer = bytearray()
    while data := body.file.read(READ_BYTES):
        if not body.chunked:
            yield data
            continue
        buffer += data
        framing.take(buffer)
        yield collector.take()


class _Collector:
    """Stands where a body writer would and keeps the payload."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self.size_bytes = 0

    def write(self, data: bytes) -> None:
        self._pieces.append(data)

    def write_framed(self, _data: bytes, payload: bytes) -> None:
        self._pieces.append(payload)

    def mark_broken(self) -> None:
        """Let it be: what came before the break is the payload that is left."""

    def take(self) -> bytes:
        data = b"".join(self._pieces)
        self._pieces.clear()
        return data
