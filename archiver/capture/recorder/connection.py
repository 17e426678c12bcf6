"""One recorded connection on its way from ciphertext to exchanges."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Literal

from archiver.capture.recorder.connection_facts import (
    ConnectionFacts,
    Plaintext,
    duration_of,
    number_of,
    text_of,
    texts_of,
)
from archiver.capture.recorder.http1 import Http1Splitter
from archiver.capture.recorder.http2 import Http2Splitter
from archiver.capture.recorder.http2_frames import PREFACE
from archiver.capture.recorder.splitter import CLIENT, SERVER, DecodeLimits, Origin, SplitError, Splitter
from archiver.capture.recorder.tls import TlsError, TlsFacts, TlsStream

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from archiver.capture.recorder.exchange import Exchange, Truncation
    from archiver.capture.recorder.keylog import KeyLog

TLS_HANDSHAKE = 0x16
"""First byte of a connection that begins with a TLS handshake record (RFC 8446 section 5.1)."""
EVENT_BYTES = 128
"""What it costs to keep one piece of plaintext, beside its bytes."""
NO_CLOSE_NOTIFY = "the connection ended without a TLS close_notify: a cut would look the same"


class Connection:
    """One connection while it is decoded.

    A fault ends the splitting, hands over what was under way, and stays in ``error``; digests go on.

    Args:
        number: In the wire file.
        opened_at_ns: Unix time of its OPENED frame.
        opened: The JSON of that frame.
        keylog: Secrets of the capture.
        sink: Takes the exchanges.
        limits: What it may hold.
        folder: Where large bodies go.
    """

    def __init__(
        self,
        number: int,
        opened_at_ns: int,
        opened: Mapping[str, Any],
        *,
        keylog: KeyLog,
        sink: Callable[[Exchange], None],
        limits: DecodeLimits,
        folder: Path,
    ) -> None:
        self.number = number
        self.host = text_of(opened, "host")
        self.error: str | None = None
        self.not_delivered_bytes = 0
        self._opened = opened
        self._opened_at_ns = opened_at_ns
        self._keylog = keylog
        self._sink = sink
        self._limits = limits
        self._folder = folder
        self._wire_bytes = [0, 0]
        self._plain_bytes = [0, 0]
        self._plain_digests = (hashlib.sha256(), hashlib.sha256())
        self._tls: TlsStream | None = None
        self._tls_broken = False
        self._begun = False
        self._early: list[tuple[int, bytes, int]] = []
        self._early_bytes = 0
        self._client_begins = b""
        self._splitter: Splitter | None = None
        self._protocol = ""

    def feed(self, direction: Literal[0, 1], data: bytes, at_ns: int) -> None:
        """Take bytes as they passed the relay."""
        self._wire_bytes[direction] += len(data)
        if self._tls_broken or not data:
            return
        if not self._begun and direction == CLIENT:
            self._begun = True
            self._tls = TlsStream(self._keylog) if data[0] == TLS_HANDSHAKE else None
        if self._tls is None:
            self._take([(direction, data, at_ns)])
            return
        try:
            events = self._tls.feed(direction, data, at_ns)
        except TlsError as error:
            self._tls_broken = True
            self._take(error.events)
            self._fail(str(error))
        else:
            self._take(events)

    def end(self, direction: int) -> None:
        """Take the orderly end of one direction."""
        if self.error is not None or (self._tls is not None and self._tls.pending_bytes):
            return
        if direction == SERVER:
            self._choose(final=True)
        if self._splitter is not None:
            cut_like = self._tls is not None and not self._notified(self._tls.facts())
            self._splitter.end(direction, NO_CLOSE_NOTIFY if cut_like else "")

    def close(self, at_ns: int, closed: Mapping[str, Any]) -> ConnectionFacts:
        """Hand over what is unfinished and return the facts.

        Args:
            at_ns: Unix time of the CLOSED frame, 0 when there is none.
            closed: The JSON of that frame, empty when there is none.
        """
        by, reason = text_of(closed, "by"), text_of(closed, "why")
        if self.error is None and self._tls is not None and self._tls.pending_bytes:
            words = self._tls.facts().not_followed
            self._fail(f"no keys for {self._tls.pending_bytes} bytes: {words}")
        if self.error is None:
            self._choose(final=True)
        if self.error is None and self._splitter is not None:
            why = f"the {by} ended the connection: {reason}" if by else "the recording ended"
            self._splitter.close(_truncation(by, reason), why)
        return self._facts(at_ns, by, reason)

    def _take(self, events: list[tuple[int, bytes, int]]) -> None:
        """Pass plaintext on to the splitter, or keep it until it is known which one."""
        for direction, data, at_ns in events:
            self._plain_bytes[direction] += len(data)
            self._plain_digests[direction].update(data)
            if self.error is not None:
                continue
            if self._splitter is None:
                self._keep(direction, data, at_ns)
            else:
                self._split(direction, data, at_ns)

    def _keep(self, direction: int, data: bytes, at_ns: int) -> None:
        self._early.append((direction, data, at_ns))
        self._early_bytes += len(data) + EVENT_BYTES
        if direction == CLIENT:
            self._client_begins = (self._client_begins + data)[: len(PREFACE)]
        self._choose(final=False)

    def _choose(self, *, final: bool) -> None:
        """Choose the splitter by ALPN, else by how the client begins; *final* when no more will come."""
        if self._splitter is not None or not self._early:
            return
        begin = self._client_begins
        alpn = self._tls.facts().alpn if self._tls is not None else None
        if alpn == "h2" or begin == PREFACE:
            self._begin(h2=True)
        elif final or (begin and not PREFACE.startswith(begin)):
            self._begin(h2=False)
        elif self._early_bytes > self._limits.max_waiting_bytes:
            self._fail(f"more than {self._limits.max_waiting_bytes} bytes came before the client spoke")

    def _begin(self, *, h2: bool) -> None:
        splitter = Http2Splitter if h2 else Http1Splitter
        origin = Origin(
            connection=self.number,
            host=self.host,
            port=number_of(self._opened, "port"),
            ip=text_of(self._opened, "ip"),
            dialled_port=number_of(self._opened, "dialled_port") or number_of(self._opened, "port"),
            tls=self._tls is not None,
            folder=self._folder,
        )
        self._protocol = "h2" if h2 else "http/1.1"
        self._splitter = splitter(origin, self._emit, self._limits)
        early, self._early = self._early, []
        for direction, data, at_ns in early:
            if self.error is None:
                self._split(direction, data, at_ns)

    def _emit(self, exchange: Exchange) -> None:
        if self._tls is not None:
            facts = self._tls.facts()
            exchange.tls_version, exchange.cipher_suite = facts.version, facts.cipher_suite
        self._sink(exchange)

    def _split(self, direction: int, data: bytes, at_ns: int) -> None:
        assert self._splitter is not None
        try:
            self._splitter.feed(direction, data, at_ns)
        except SplitError as error:
            self._fail(str(error))

    def _fail(self, why: str) -> None:
        self._choose(final=True)
        if self.error is not None:
            return
        self.error = why
        if self._splitter is not None:
            self._splitter.close("unspecified", f"from here on the connection could not be split: {why}")

    def _notified(self, facts: TlsFacts) -> bool:
        return any(
            alert.direction == SERVER and alert.description == "close_notify" for alert in facts.alerts
        )

    def _facts(self, at_ns: int, by: str, reason: str) -> ConnectionFacts:
        opened = self._opened
        sent, received = (
            Plaintext(size, digest.hexdigest())
            for size, digest in zip(self._plain_bytes, self._plain_digests, strict=True)
        )
        return ConnectionFacts(
            number=self.number,
            host=self.host,
            port=number_of(opened, "port"),
            ip=text_of(opened, "ip"),
            dialled_port=number_of(opened, "dialled_port") or number_of(opened, "port"),
            dns_answers=texts_of(opened, "dns"),
            opened_at_ns=self._opened_at_ns,
            closed_at_ns=at_ns,
            closed_by=by,
            close_reason=reason,
            bytes_sent=self._wire_bytes[CLIENT],
            bytes_received=self._wire_bytes[SERVER],
            not_delivered_bytes=self.not_delivered_bytes,
            protocol=self._protocol,
            tls=self._tls.facts() if self._tls is not None else None,
            error=self.error,
            connect_ms=duration_of(opened, "connect_ms"),
            dns_ms=duration_of(opened, "dns_ms"),
            upstream=text_of(opened, "upstream") or None,
            sent=sent,
            received=received,
            notes=tuple(self._splitter.notes) if self._splitter is not None else (),
        )


def _truncation(by: str, reason: str) -> Truncation:
    """Say in WARC's words what cut a connection that *by* ended for *reason*."""
    if by == "relay" and "budget" in reason:
        return "length"
    return "time" if by == "relay" and "tape was closed" in reason else "disconnect"
