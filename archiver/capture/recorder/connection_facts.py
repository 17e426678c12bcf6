"""What the record says of a recorded connection, and of one that the relay refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from archiver.capture.recorder.tls import TlsFacts

MAX_TEXT_CHARS = 1000
MAX_DNS_ANSWERS = 64


class Plaintext(NamedTuple):
    """The plaintext of one direction, all of it: what another reader of the transcript must find too."""

    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class ConnectionFacts:
    """What the record says of one connection.

    Args:
        number: In the wire file, from 1.
        host: As the browser asked for it.
        port: As the browser asked for it.
        ip: As dialled; empty when an upstream proxy resolved the name.
        dialled_port: As dialled.
        dns_answers: Addresses, in the order of the answer.
        opened_at_ns: Unix time in nanoseconds, by the relay's clock.
        closed_at_ns: The same; 0 when the recording ended first.
        closed_by: ``client``, ``server`` or ``relay``; empty when the recording ended first.
        close_reason: The relay's words.
        bytes_sent: From the browser, as on the wire.
        bytes_received: From the server and passed on to the browser, as on the wire.
        not_delivered_bytes: Received, and passed on to nobody.
        protocol: ``http/1.1``, ``h2``, or empty when nothing readable was sent.
        tls: None when the connection is not TLS.
        error: Why it could not be split to its end, else None.
        connect_ms: Duration of the dial, None where the relay does not say.
        dns_ms: Duration of the resolution, likewise.
        upstream: The upstream proxy's URL, or None.
        sent: All plaintext of the browser.
        received: All plaintext of the server.
        notes: What a reader should know of the connection, in plain words.
    """

    number: int
    host: str
    port: int
    ip: str
    dialled_port: int
    dns_answers: tuple[str, ...]
    opened_at_ns: int
    closed_at_ns: int
    closed_by: str
    close_reason: str
    bytes_sent: int
    bytes_received: int
    not_delivered_bytes: int
    protocol: str
    tls: TlsFacts | None
    error: str | None
    connect_ms: float | None
    dns_ms: float | None
    upstream: str | None
    sent: Plaintext
    received: Plaintext
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Refusal:
    """A connection that the relay did not make.

    Args:
        number: In the wire file, from 1.
        host: As asked for, or empty.
        port: As asked for, or 0.
        stage: ``peer``, ``socks``, ``resolve``, ``guard`` or ``connect``.
        reason: The exact text.
        errno: Name of the error number, or empty.
        dns_answers: Addresses, as far as the name was resolved.
        at_ns: Unix time in nanoseconds.
    """

    number: int
    host: str
    port: int
    stage: str
    reason: str
    errno: str
    dns_answers: tuple[str, ...]
    at_ns: int

    @classmethod
    def of(cls, number: int, at_ns: int, facts: Mapping[str, Any]) -> Refusal:
        """Read the JSON of a REFUSED frame; what is missing or of another type is left empty."""
        return cls(
            number=number,
            host=text_of(facts, "host"),
            port=number_of(facts, "port"),
            stage=text_of(facts, "stage"),
            reason=text_of(facts, "error"),
            errno=text_of(facts, "errno"),
            dns_answers=texts_of(facts, "dns"),
            at_ns=at_ns,
        )


def text_of(facts: Mapping[str, Any], name: str) -> str:
    """Return string *name* of a frame's JSON, clipped, or an empty one."""
    value = facts.get(name)
    return value[:MAX_TEXT_CHARS] if isinstance(value, str) else ""


def texts_of(facts: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """Return the strings in list *name* of a frame's JSON, clipped."""
    values = facts.get(name)
    if not isinstance(values, list):
        return ()
    return tuple(value[:MAX_TEXT_CHARS] for value in values[:MAX_DNS_ANSWERS] if isinstance(value, str))


def number_of(facts: Mapping[str, Any], name: str) -> int:
    """Return port or count *name* of a frame's JSON, or 0."""
    value = facts.get(name)
    return value if isinstance(value, int) and 0 <= value <= 0xFFFF else 0


def duration_of(facts: Mapping[str, Any], name: str) -> float | None:
    """Return number *name* of a frame's JSON, or None."""
    value = facts.get(name)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
