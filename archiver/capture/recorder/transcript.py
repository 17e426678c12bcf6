"""The transcript: a wire file and its TLS secrets as one pcapng that Wireshark opens decrypted.

What is in it: one section, one interface of raw IP with nanosecond times, the Decryption Secrets Block before
all packets, then every byte that was passed on, as TCP segments at the times of the relay. Addresses and
ports of servers are those dialled; the browser's side has documentation addresses (RFC 5737, RFC 3849): it
spoke to the relay. IP and TCP headers, handshakes and acknowledgements are made up; a comment in the
section says so. Bytes that reached nobody are left out, and a comment stands where they came.

Source: draft-ietf-opsawg-pcapng, sections 4.1 to 4.3 and 4.7; RFC 791, RFC 8200, RFC 9293.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING, Any, BinaryIO

from archiver.capture.recorder.connection_facts import number_of, text_of
from archiver.capture.recorder.wire import Frame, Kind, MalformedWire, WireReader
from archiver.errors import EnvironmentUnfit

if TYPE_CHECKING:
    from pathlib import Path

KIB = 1024
SEGMENT_BYTES = 32 * KIB
WRITE_BUFFER_BYTES = 1024 * KIB
MAX_COMMENT_CHARS = 300

CLIENT_4 = IPv4Address("192.0.2.1")
CLIENT_6 = IPv6Address("2001:db8::1")
UNSEEN_SERVER = IPv4Address("203.0.113.1")
"""Stands for a server whose name an upstream proxy resolved."""
FIRST_PORT = 1024
PORT_COUNT = 64000

SECTION_HEADER, INTERFACE, PACKET, SECRETS = 0x0A0D0D0A, 1, 6, 10
LINKTYPE_RAW = 101
TLS_KEY_LOG = 0x544C534B
OPT_END, OPT_COMMENT, OPT_APPLICATION, OPT_TIME_RESOLUTION = 0, 1, 4, 9
NANOSECONDS = b"\x09"
FIN, SYN, RST, PSH, ACK = 0x01, 0x02, 0x04, 0x08, 0x10

SECTION_COMMENT = (
    "made from a recording relay's wire file: payload bytes, order and times are as relayed; IP and TCP "
    "headers, handshakes, acknowledgements and the client's addresses are synthesized"
)


@dataclass(frozen=True, slots=True)
class TranscriptFacts:
    """What was written.

    Args:
        packet_count: Packets in the file.
        problem: Why the wire file could not be read to its end, else empty.
    """

    packet_count: int
    problem: str


def client_endpoint(connection: int, *, v6: bool) -> tuple[str, int]:
    """Return address and port that stand for the browser on *connection*; unique up to 16 million of them."""
    base: IPv4Address | IPv6Address = CLIENT_6 if v6 else CLIENT_4
    return str(base + connection // PORT_COUNT % 250), FIRST_PORT + connection % PORT_COUNT


def server_address(text: str) -> IPv4Address | IPv6Address:
    """Return the address that stands for a server dialled at *text*: that one, without a zone."""
    try:
        return ip_address(ip_address(text).packed)
    except ValueError:
        return UNSEEN_SERVER


def write_transcript(wire: Path, keylog_bytes: bytes, out: Path) -> TranscriptFacts:
    """Write the transcript of *wire* to *out*, in one pass with flat memory.

    Args:
        wire: The wire file.
        keylog_bytes: The key log lines to put in, verbatim.
        out: Must not exist; made with mode 0600, for it opens every secret of the session.

    Raises:
        EnvironmentUnfit: The wire file cannot be read, or *out* cannot be made or written.
    """
    try:
        descriptor = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise _unfit(out, error) from error
    try:
        with os.fdopen(descriptor, "wb", WRITE_BUFFER_BYTES) as stream:
            writer = _Writer(stream, keylog_bytes)
            problem = _write_frames(wire, writer)
    except OSError as error:
        out.unlink(missing_ok=True)
        raise _unfit(out, error) from error
    return TranscriptFacts(writer.packet_count, problem)


def _unfit(out: Path, error: OSError) -> EnvironmentUnfit:
    return EnvironmentUnfit(
        f"transcript {out.name}: writing failed: expected a wire file to read and room for a new file, "
        f"got {error.strerror}",
        code="E543",
        hint="free space in the spool folder and remove an older transcript from it",
    )


def _write_frames(wire: Path, writer: _Writer) -> str:
    streams: dict[int, _TcpStream] = {}
    try:
        for frame in WireReader(wire):
            if frame.kind == Kind.OPENED and frame.connection not in streams:
                streams[frame.connection] = _TcpStream(writer, frame)
            elif (stream := streams.get(frame.connection)) is not None:
                stream.take(frame)
    except MalformedWire as error:
        return str(error)
    return ""


class _Writer:
    """Writes the blocks of one section."""

    def __init__(self, stream: BinaryIO, keylog_bytes: bytes) -> None:
        self._stream = stream
        self.packet_count = 0
        options = _option(OPT_COMMENT, SECTION_COMMENT.encode()) + _option(OPT_APPLICATION, b"archiver")
        byte_order_version_length = struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1)
        self._block(SECTION_HEADER, byte_order_version_length + options + _option(OPT_END, b""))
        options = _option(OPT_TIME_RESOLUTION, NANOSECONDS) + _option(OPT_END, b"")
        self._block(INTERFACE, struct.pack("<HHI", LINKTYPE_RAW, 0, 0) + options)
        if keylog_bytes:
            self._block(SECRETS, struct.pack("<II", TLS_KEY_LOG, len(keylog_bytes)) + _padded(keylog_bytes))

    def packet(self, at_ns: int, data: bytes, comment: str) -> None:
        """Write one packet."""
        self.packet_count += 1
        head = struct.pack("<IIIII", 0, at_ns >> 32, at_ns & 0xFFFFFFFF, len(data), len(data))
        options = b""
        if comment:
            options = _option(OPT_COMMENT, _clean(comment).encode()) + _option(OPT_END, b"")
        self._block(PACKET, head + _padded(data) + options)

    def _block(self, kind: int, body: bytes) -> None:
        length = struct.pack("<I", len(body) + 12)
        self._stream.write(struct.pack("<I", kind) + length + body + length)


class _TcpStream:
    """One connection as the TCP packets that could have carried it."""

    def __init__(self, writer: _Writer, opened: Frame) -> None:
        self._writer = writer
        self._sequence = [0, 0]
        self._ended = [False, False]
        try:
            facts: dict[str, Any] = opened.facts()
        except MalformedWire:
            facts = {}
        server = server_address(text_of(facts, "ip"))
        client, client_port = client_endpoint(opened.connection, v6=server.version == 6)
        self._ends = (ip_address(client).packed, server.packed)
        self._ports = (client_port, number_of(facts, "dialled_port"))
        words = f"connection {opened.connection}: {text_of(facts, 'host')}:{number_of(facts, 'port')}"
        if not text_of(facts, "ip"):
            words += "; the server's address was not seen, this one stands for it"
        self._send(0, SYN, opened.at_ns, comment=words)
        self._send(1, SYN | ACK, opened.at_ns)
        self._send(0, ACK, opened.at_ns)

    def take(self, frame: Frame) -> None:
        """Write the packets of one frame."""
        if frame.kind in (Kind.CLIENT_DATA, Kind.SERVER_DATA):
            side = 0 if frame.kind == Kind.CLIENT_DATA else 1
            for start in range(0, len(frame.data), SEGMENT_BYTES):
                self._send(side, PSH | ACK, frame.at_ns, frame.data[start : start + SEGMENT_BYTES])
                self._send(1 - side, ACK, frame.at_ns)
        elif frame.kind in (Kind.CLIENT_EOF, Kind.SERVER_EOF):
            self._finish(0 if frame.kind == Kind.CLIENT_EOF else 1, frame.at_ns)
        elif frame.kind == Kind.CLOSED:
            self._close(frame)
        elif frame.kind in (Kind.NOT_DELIVERED_TO_CLIENT, Kind.NOT_DELIVERED_TO_SERVER):
            side = 1 if frame.kind == Kind.NOT_DELIVERED_TO_CLIENT else 0
            words = f"{len(frame.data)} bytes came from here after the other side had gone, and are left out"
            self._send(side, ACK, frame.at_ns, comment=words)

    def _finish(self, side: int, at_ns: int) -> None:
        if not self._ended[side]:
            self._ended[side] = True
            self._send(side, FIN | ACK, at_ns)
            self._send(1 - side, ACK, at_ns)

    def _close(self, frame: Frame) -> None:
        if all(self._ended):
            return
        try:
            facts = frame.facts()
        except MalformedWire:
            facts = {}
        by = text_of(facts, "by")
        words = f"ended by the {by or 'unknown'}: {text_of(facts, 'why')}"
        self._send(1 if by == "server" else 0, RST | ACK, frame.at_ns, comment=words)

    def _send(self, side: int, flags: int, at_ns: int, data: bytes = b"", comment: str = "") -> None:
        source, target = self._ends[side], self._ends[1 - side]
        acknowledged = self._sequence[1 - side] if flags & ACK else 0
        header = struct.pack(
            ">HHIIBBHHH",
            *(self._ports[side], self._ports[1 - side], self._sequence[side], acknowledged),
            *(5 << 4, flags, 0xFFFF, 0, 0),
        )
        self._sequence[side] = (self._sequence[side] + len(data) + bool(flags & (SYN | FIN))) & 0xFFFFFFFF
        segment = header + data
        if len(source) == 4:
            checksum = _checksum(source + target + struct.pack(">HH", 6, len(segment)) + segment)
        else:
            checksum = _checksum(source + target + struct.pack(">II", len(segment), 6) + segment)
        segment = segment[:16] + checksum + segment[18:]
        self._writer.packet(at_ns, _ip_header(source, target, len(segment)) + segment, comment)


def _ip_header(source: bytes, target: bytes, length: int) -> bytes:
    if len(source) == 16:
        return struct.pack(">IHBB", 6 << 28, length, 6, 64) + source + target
    header = struct.pack(">BBHHHBBH", 0x45, 0, 20 + length, 0, 0x4000, 64, 6, 0) + source + target
    return header[:10] + _checksum(header) + header[12:]


def _checksum(data: bytes) -> bytes:
    """Return the Internet checksum (RFC 1071): 2^16 is 1 modulo 2^16 - 1, so one division sums all words."""
    total = int.from_bytes(data + b"\0" * (len(data) % 2), "big") % 0xFFFF
    return struct.pack(">H", 0xFFFF - (total or 0xFFFF))


def _option(code: int, value: bytes) -> bytes:
    return struct.pack("<HH", code, len(value)) + _padded(value)


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)


def _clean(text: str) -> str:
    """Return *text* clipped, without what could confuse a terminal."""
    return "".join(char if char.isprintable() else "?" for char in text[:MAX_COMMENT_CHARS])
