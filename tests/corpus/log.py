"""What the corpus server sent and was asked, byte for byte: the truth that a capture is held against."""

from __future__ import annotations

import itertools
import threading
from dataclasses import dataclass, field

ID_FIELD = b"x-exchange"
"""Every response carries its number, so that it is found again whatever became of its address."""


@dataclass
class Served:
    """One request and what was sent for it.

    Args:
        number: As sent in ``X-Exchange``.
        protocol: ``http/1.1`` or ``h2``.
        url: As asked for, latin-1 decoded.
        request_head: Exact bytes; for HTTP/2 written as ``METHOD path HTTP/1.1`` and fields.
        request_body: As received, frames of a WebSocket included.
        heads: Of interim responses, then of the response; written likewise for HTTP/2.
        body: As sent, chunk framing included; it grows before the bytes leave.
        plain: The body without framing and content coding; None where it cannot be decoded.
        cut: ``server`` or ``client``, whoever ended the response before its end; empty for a whole one.
        kind: ``websocket`` where the bodies are frames.
    """

    number: int
    protocol: str
    method: str
    url: str
    request_head: bytes
    request_body: bytearray = field(default_factory=bytearray)
    heads: list[bytes] = field(default_factory=list)
    body: bytearray = field(default_factory=bytearray)
    plain: bytes | None = b""
    cut: str = ""
    kind: str = "http"
    ended: bool = False


class Log:
    """The exchanges in the order of their requests; written by the server's thread, read by tests."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._entries: list[Served] = []

    def begin(self, protocol: str, method: str, url: str, request_head: bytes) -> Served:
        with self._lock:
            served = Served(next(self._numbers), protocol, method, url, request_head)
            self._entries.append(served)
        return served

    def mark(self) -> int:
        """Return a place in the log, for ``since``."""
        return len(self._entries)

    def since(self, mark: int) -> list[Served]:
        with self._lock:
            return self._entries[mark:]
