"""One request with its response as observed on the wire: what the splitters make and the WARC holds."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import IO, Literal

_STATUS = re.compile(rb"http(?:/[0-9]{1,4}\.[0-9]{1,4})?[ \t]*([0-9]{3})", re.IGNORECASE)

Truncation = Literal["disconnect", "length", "time", "unspecified"]


@dataclass(slots=True)
class Body:
    """The bytes of one message body in a temporary file, digested as they arrived.

    Args:
        file: Positioned anywhere; readers seek to 0. Spooled to disk above 1 MiB.
        size_bytes: Length of what is in *file*.
        sha256: Hex SHA-256 of exactly these bytes (as sent, with chunk framing where there was any).
        payload_sha256: Hex SHA-256 of the entity body (chunk framing removed, content coding kept);
            equal to *sha256* where there was no framing; empty when the framing was broken.
        chunked: True when *file* holds HTTP/1.1 chunk framing.
    """

    file: IO[bytes]
    size_bytes: int
    sha256: str
    payload_sha256: str
    chunked: bool = False


@dataclass(slots=True)
class Exchange:
    """One request and what came back, with the connection it used.

    Args:
        connection: Number of the connection in the wire file.
        stream: HTTP/2 stream number, None for HTTP/1.
        url: Absolute URL of the request, as sent (latin-1 decoded, never normalised); ``ws`` or ``wss`` where
            the request asks for WebSocket.
        method: Request method.
        protocol: ``http/1.0``, ``http/1.1``, ``h2`` or ``websocket``.
        request_head: Exact bytes for HTTP/1, blank line included; for HTTP/2 a head in the form that
            ``http2_head`` describes.
        request_body: None when there was none.
        interim_heads: 1xx heads that came before the response, exact bytes.
        response_head: None when no response arrived; empty when what arrived has no HTTP head and is all in
            the body.
        response_body: None when no response arrived.
        started_at_ns: Unix time of the first request byte, nanoseconds, by the relay's clock.
        response_at_ns: Of the first response byte, or 0.
        finished_at_ns: Of the last byte.
        ip: The server's address as dialled.
        port: The server's port as dialled.
        truncated: Why the body is not whole, else None.
        tls_version: Such as ``TLS 1.3``; empty without TLS.
        cipher_suite: IANA name; empty without TLS.
        notes: What a reader of the bytes should know, in plain words.
    """

    connection: int
    stream: int | None
    url: str
    method: str
    protocol: str
    request_head: bytes
    request_body: Body | None
    response_head: bytes | None
    response_body: Body | None
    started_at_ns: int
    response_at_ns: int
    finished_at_ns: int
    ip: str
    port: int
    tls: bool
    interim_heads: list[bytes] = field(default_factory=list)
    truncated: Truncation | None = None
    tls_version: str = ""
    cipher_suite: str = ""
    notes: list[str] = field(default_factory=list)

    @property
    def status(self) -> int | None:
        """Status code of the response, or None when no status line with a code arrived."""
        found = _STATUS.match(self.response_head or b"")
        return int(found[1]) if found else None
