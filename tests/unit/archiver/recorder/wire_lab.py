"""Wire files made from a script of who said what, and what decoding them gives."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from pathlib import Path

from archiver.capture.recorder.decode import Decoded, DecodeLimits, decode
from archiver.capture.recorder.exchange import Body, Exchange
from archiver.capture.recorder.wire import HEADER, Kind

CLIENT, SERVER = 0, 1
DATA = (Kind.CLIENT_DATA, Kind.SERVER_DATA)
EOF = (Kind.CLIENT_EOF, Kind.SERVER_EOF)
START_NS = 1_700_000_000_000_000_000
HOST = "evidence.example"


def frame(number: int, kind: Kind, at_ns: int, data: bytes) -> bytes:
    return struct.pack("<IBQI", number, kind, at_ns, len(data)) + data


def opened(port: int = 80, **more: object) -> bytes:
    facts = {"host": HOST, "port": port, "ip": "198.51.100.7", "dialled_port": port, "dns": ["198.51.100.7"]}
    return json.dumps(facts | {"dns_ms": 1.5, "connect_ms": 2.5} | more).encode()


def closed(by: str = "client", why: str = "closed") -> bytes:
    return json.dumps({"by": by, "why": why}).encode()


def wire_bytes(script, *, port: int = 80, end: bytes | None = None, number: int = 1) -> bytes:
    """One connection: *script* holds (direction, bytes), with None for the end of that direction."""
    out, at = frame(number, Kind.OPENED, START_NS, opened(port)), START_NS
    for direction, data in script:
        at += 1000
        kind = EOF[direction] if data is None else DATA[direction]
        out += frame(number, kind, at, data or b"")
    return out + frame(number, Kind.CLOSED, at + 1000, closed() if end is None else end)


@dataclass
class Seen:
    """One exchange with its bodies read, so that two can be compared."""

    exchange: Exchange
    request_body: bytes | None
    response_body: bytes | None

    def key(self) -> tuple:
        names = ("stream", "url", "method", "protocol", "request_head", "response_head", "truncated", "notes")
        facts = tuple(str(getattr(self.exchange, name)) for name in (*names, "interim_heads", "status"))
        digests = tuple(
            body and (body.sha256, body.payload_sha256, body.size_bytes)
            for body in (self.exchange.request_body, self.exchange.response_body)
        )
        times = (self.exchange.started_at_ns, self.exchange.response_at_ns, self.exchange.finished_at_ns)
        return (*facts, self.request_body, self.response_body, digests, times)


def read_body(body: Body | None) -> bytes | None:
    if body is None:
        return None
    body.file.seek(0)
    with body.file:
        return body.file.read()


def decode_bytes(
    folder: Path, frames: bytes, *, keys: bytes = b"", limits: DecodeLimits | None = None
) -> tuple[list[Seen], Decoded]:
    """Decode a wire file of these frames."""
    (folder / "wire.bin").write_bytes(HEADER + frames)
    (folder / "keys.log").write_bytes(keys)
    seen: list[Seen] = []

    def sink(exchange: Exchange) -> None:
        seen.append(Seen(exchange, read_body(exchange.request_body), read_body(exchange.response_body)))

    return seen, decode(folder / "wire.bin", folder / "keys.log", sink, limits or DecodeLimits())


def play(folder: Path, *script, limits: DecodeLimits | None = None, **options) -> tuple[list[Seen], Decoded]:
    """Decode one plain connection of *script*."""
    return decode_bytes(folder, wire_bytes(script, **options), limits=limits)
