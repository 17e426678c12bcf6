"""What the HTTP splitters share: their limits, the exchange in the making, and how they give up.

A splitter is fed the plaintext of one connection in wire order and hands over exchanges as they end. Its only
I/O is the temporary files of bodies. What it cannot follow raises ``SplitError``: the caller closes it,
keeps the raw bytes, and marks the capture.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from archiver.capture.recorder.exchange import Body, Exchange, Truncation

if TYPE_CHECKING:
    from pathlib import Path

    from archiver.capture.recorder.body import BodyWriter

KIB = 1024
MIB = 1024 * KIB

CLIENT: Final = 0
SERVER: Final = 1

MAX_NOTES = 20
"""Notes kept for one exchange; a hostile peer can earn any number of them."""
MAX_NOTE_CHARS = 2000


class SplitError(ValueError):
    """A connection that cannot be split any further; the message is a clause that says why."""


@dataclass(frozen=True, slots=True)
class DecodeLimits:
    """Bounds on what one connection may make the decoder hold; passing one ends its splitting.

    Args:
        max_head_bytes: Of one head, interim heads before it included. Chromium's own limit.
        max_waiting_bytes: Of one direction, held while the other direction decides what they are.
        max_queued_requests: Requests sent on one HTTP/1.1 connection and not yet answered.
        max_frame_bytes: Of one HTTP/2 frame; Chromium accepts 16 KiB.
        max_header_list_bytes: Of one HTTP/2 header list as RFC 9113 section 6.5.2 counts it.
        max_table_bytes: Of the HPACK dynamic table; Chromium allows 64 KiB.
        max_open_streams: HTTP/2 streams of one connection that have begun and not ended.
    """

    max_head_bytes: int = 256 * KIB
    max_waiting_bytes: int = 1 * MIB
    max_queued_requests: int = 1000
    max_frame_bytes: int = 1 * MIB
    max_header_list_bytes: int = 512 * KIB
    max_table_bytes: int = 256 * KIB
    max_open_streams: int = 2000


@dataclass(frozen=True, slots=True)
class Origin:
    """The connection that exchanges belong to.

    Args:
        connection: Its number in the wire file.
        host: The host name or address that the browser asked for.
        port: The port that the browser asked for.
        ip: The address dialled, or empty when an upstream proxy resolved the name.
        dialled_port: The port dialled.
        tls: True when the plaintext came out of TLS.
        folder: Where large bodies are spooled.
    """

    connection: int
    host: str
    port: int
    ip: str
    dialled_port: int
    tls: bool
    folder: Path

    def url(self, authority: str, target: str, *, websocket: bool = False) -> str:
        """Return the absolute URL of *target*; an empty *authority* means this origin's own."""
        scheme = ("ws" if websocket else "http") + ("s" if self.tls else "")
        return f"{scheme}://{authority or self._authority()}{target}"

    def _authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"


@dataclass(slots=True)
class Draft:
    """An exchange in the making; the fields are those of ``Exchange``, bodies still open."""

    origin: Origin
    protocol: str
    started_at_ns: int
    last_at_ns: int
    stream: int | None = None
    url: str = ""
    method: str = ""
    request_head: bytes = b""
    request_body: BodyWriter | None = None
    interim_heads: list[bytes] = field(default_factory=list)
    response_head: bytes | None = None
    response_body: BodyWriter | None = None
    response_at_ns: int = 0
    truncated: Truncation | None = None
    notes: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        """Add a note, clipped; after ``MAX_NOTES`` of them no more are kept."""
        if len(self.notes) < MAX_NOTES:
            self.notes.append(text[:MAX_NOTE_CHARS])

    def touch(self, time_ns: int) -> None:
        """Remember *time_ns* as the time of the latest byte."""
        self.last_at_ns = max(self.last_at_ns, time_ns)

    def finish(self) -> Exchange:
        """Return the exchange; its bodies are the reader's to close."""
        return Exchange(
            connection=self.origin.connection,
            stream=self.stream,
            url=self.url,
            method=self.method,
            protocol=self.protocol,
            request_head=self.request_head,
            request_body=_finished(self.request_body),
            response_head=self.response_head,
            response_body=_finished(self.response_body),
            started_at_ns=self.started_at_ns,
            response_at_ns=self.response_at_ns,
            finished_at_ns=self.last_at_ns,
            ip=self.origin.ip,
            port=self.origin.dialled_port,
            tls=self.origin.tls,
            interim_heads=self.interim_heads,
            truncated=self.truncated,
            notes=self.notes,
        )


class Splitter(Protocol):
    """One connection's plaintext, split into exchanges."""

    notes: list[str]
    """What a reader should know of the connection and no exchange can carry."""

    def feed(self, direction: int, data: bytes, time_ns: int) -> None:
        """Take plaintext of one direction, or raise ``SplitError``."""
        ...

    def end(self, direction: int, remark: str) -> None:
        """Take the orderly end of one direction; *remark*, if any, is noted on what it ends."""
        ...

    def close(self, truncated: Truncation, why: str) -> None:
        """Hand over whatever is unfinished, marked *truncated*; *why* is a clause for its notes."""
        ...


def _finished(body: BodyWriter | None) -> Body | None:
    return None if body is None else body.finish()
