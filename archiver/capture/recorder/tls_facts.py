"""What a TLS handshake shows to an observer who holds its secrets, as values."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_ALERTS = 32
MAX_TICKETS = 64
MAX_RESUMPTIONS = 64
"""Longest chain of resumed sessions that is followed back to its full handshake."""


@dataclass(frozen=True, slots=True)
class SignatureCheck:
    """Whether the server proved that it holds the private key of its certificate.

    Args:
        valid: True or False when the signature was checked, None when there was none or it could not be.
        algorithm: Name of the signature scheme as IANA gives it, or empty.
        reason: Why *valid* is not True; empty when it is.
    """

    valid: bool | None
    algorithm: str
    reason: str


NO_SIGNATURE = SignatureCheck(None, "", "no certificate signature was seen")


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert; ``close_notify`` is how an end is told from a cut.

    Args:
        direction: 0 from the client, 1 from the server.
        level: ``warning``, ``fatal`` or the number.
        description: IANA name or ``alert N``.
        encrypted: Whether it came under the connection's keys; a plain one can come from anybody.
    """

    direction: int
    level: str
    description: str
    encrypted: bool


@dataclass(frozen=True, slots=True)
class TlsFacts:
    """The handshake of one connection.

    Args:
        client_random: 32 bytes, the connection's name in the key log; empty before the ClientHello.
        version: ``TLS 1.3``, ``TLS 1.2``, ``TLS 1.1``, ``TLS 1.0``, a hex number, or empty.
        cipher_suite: IANA name, or empty.
        cipher_suite_number: IANA number, or None.
        alpn: Protocol that the server chose.
        sni: Host that the client asked for.
        group: Key exchange group.
        resumed: Whether an earlier session was taken up, so that no certificate was sent.
        hello_retry: Whether the server asked for a second ClientHello.
        early_data_accepted: None when the client offered none, or before the server answered.
        key_updates: How often either side moved on to a new key.
        chain: DER of the server's certificates as sent, leaf first.
        certificate_verify: The CertificateVerify of TLS 1.3, or the signed key exchange of TLS 1.2.
        server_finished: Whether the server's MAC over the handshake is right; None when not seen.
        client_finished: The same of the client's.
        client_certificate: Whether the client sent one.
        ocsp_staple: DER of the OCSP response that came along.
        scts_present: Whether signed certificate timestamps came, in the handshake or in the leaf.
        alerts: The first ``MAX_ALERTS``.
        ticket_ids: SHA-256 (hex) of the tickets and session ids that the server gave out, the first
            ``MAX_TICKETS``.
        psk_ids: SHA-256 (hex) of the ticket or session id taken up; before that, of those offered.
        undecrypted_records: Records that wait for keys, or that were early data the server refused.
        trailing_bytes: Bytes of a record that never became whole, from client and server.
        ech_offered: Whether the ClientHello had an encrypted inner one, real or GREASE.
        ech_accepted: False when the outer handshake was completed, True when the key log says that the inner
            one was used, None when neither is known.
        not_followed: Why the stream was not followed to its end so far; empty when it was.
    """

    client_random: bytes = b""
    version: str = ""
    cipher_suite: str = ""
    cipher_suite_number: int | None = None
    alpn: str | None = None
    sni: str | None = None
    group: str | None = None
    resumed: bool = False
    hello_retry: bool = False
    early_data_accepted: bool | None = None
    key_updates: int = 0
    chain: tuple[bytes, ...] = ()
    certificate_verify: SignatureCheck = NO_SIGNATURE
    server_finished: bool | None = None
    client_finished: bool | None = None
    client_certificate: bool = False
    ocsp_staple: bytes | None = None
    scts_present: bool = False
    alerts: tuple[Alert, ...] = ()
    ticket_ids: tuple[str, ...] = ()
    psk_ids: tuple[str, ...] = ()
    undecrypted_records: int = 0
    trailing_bytes: tuple[int, int] = (0, 0)
    ech_offered: bool = False
    ech_accepted: bool | None = None
    not_followed: str = ""


def ticket_id(ticket: bytes) -> str:
    """Name a ticket, a session id or a pre-shared key identity by its SHA-256, hex."""
    return hashlib.sha256(ticket).hexdigest()


def tie_resumed(facts: Mapping[int, TlsFacts]) -> dict[int, int]:
    """Say for each resumed connection which full handshake of the same capture it goes back to.

    A ticket counts only for the server name that it was given out under, since in TLS 1.2 tickets travel in
    clear and another host could repeat one. A connection whose ticket leads to several full handshakes, or to
    none, is left out.

    Args:
        facts: By connection number.
    """
    roots = {connection: set() if fact.resumed else {connection} for connection, fact in facts.items()}
    for _ in range(MAX_RESUMPTIONS):
        further = _one_step(facts, roots)
        if further == roots:
            break
        roots = further
    return {
        connection: min(roots[connection])
        for connection, fact in facts.items()
        if fact.resumed and len(roots[connection]) == 1
    }


def _one_step(facts: Mapping[int, TlsFacts], roots: Mapping[int, set[int]]) -> dict[int, set[int]]:
    """Hand the full handshakes known of each giver of a ticket on to those who took the ticket up."""
    by_ticket: dict[tuple[str | None, str], set[int]] = {}
    for connection, fact in facts.items():
        for ticket in fact.ticket_ids:
            known = by_ticket.setdefault((fact.sni, ticket), set())
            # two are a doubt as good as a hundred, and sets stay small when a server repeats one ticket
            if len(known) < 2:
                known |= roots[connection]
    further = {}
    for connection, fact in facts.items():
        taken = [by_ticket.get((fact.sni, ticket), set()) for ticket in fact.psk_ids] if fact.resumed else []
        further[connection] = roots[connection].union(*taken)
    return further
