"""Parts of the evidence record about the network: names, connections, TLS, coverage of the recorder."""

from __future__ import annotations

from typing import Literal

from manifests.record_types import (
    Count,
    HttpStatus,
    Line,
    Part,
    Port,
    Sha256,
    Timestamp,
    Token,
    Url,
)

Check = Literal["valid", "invalid", "absent", "not-checked"]


class DnsAnswer(Part, frozen=True, kw_only=True):
    """One question to the name system and what came back.

    Args:
        host: Name asked for, as sent (punycode for international names).
        asked_at: When it was asked.
        resolver: Who answered: an address, ``system``, ``rule`` or ``upstream``.
        addresses: IP addresses in the order given.
        canonical_name: Name at the end of the alias chain, when the answer gave one.
        error: The resolver's own words, when there was no answer.
    """

    host: Line
    asked_at: Timestamp
    resolver: Line
    addresses: tuple[Line, ...] = ()
    canonical_name: Line | None = None
    error: Line | None = None


class TlsFacts(Part, frozen=True, kw_only=True):
    """What one TLS connection negotiated and proved.

    Args:
        version: Protocol, such as ``TLS 1.3``.
        cipher: Cipher suite by its IANA name.
        alpn: Application protocol agreed on, such as ``h2``.
        server_name: Name the client asked for (SNI).
        chain_sha256: SHA-256 of each certificate (DER) in the order sent, leaf first; the certificates
            themselves are in the artifact of role ``certificates``.
        certificate_verify: Whether the server's handshake signature verifies under the leaf's key.
        server_finished: Whether the server's Finished MAC verifies over the recorded handshake.
        client_finished: Whether the client's Finished MAC verifies over the recorded handshake.
        resumed_from: Number of the connection whose full handshake this one resumed.
        browser_verdict: The browser's own judgement: ``secure``, its error name, or ``not-reported``.
        decrypted: Whether every recorded byte could be decrypted.
        note: What a reader should know, in plain words.
    """

    version: Line
    cipher: Line | None = None
    alpn: Line | None = None
    server_name: Line | None = None
    chain_sha256: tuple[Sha256, ...] = ()
    certificate_verify: Check = "not-checked"
    server_finished: Check = "not-checked"
    client_finished: Check = "not-checked"
    resumed_from: Count | None = None
    browser_verdict: Line = "not-reported"
    decrypted: bool = False
    note: Line | None = None


class PlaintextDigest(Part, frozen=True, kw_only=True):
    """All plaintext of one direction of a connection: what any reader of the transcript must find too.

    Args:
        bytes: Length.
        sha256: SHA-256.
    """

    bytes: Count
    sha256: Sha256


class Connection(Part, frozen=True, kw_only=True):
    """One connection that the relay made for the browser.

    Args:
        number: Its number in the wire file and the transcript.
        host: Host the browser asked for.
        port: Port the browser asked for.
        ip: Address dialled; null when an upstream resolved the name or nothing was dialled.
        opened_at: When it was asked for.
        closed_at: When it ended; null when it was still open at the end.
        dialled_port: Port dialled; null when nothing was dialled.
        sent_bytes: Bytes passed to the server.
        received_bytes: Bytes passed from the server.
        sent_plaintext: What the browser sent, decrypted as far as it could be; null when nothing was dialled.
        received_plaintext: What the server sent, likewise.
        tls: TLS facts; null when no TLS was seen.
        error: Why it failed or ended early, in the words of the system or relay.
    """

    number: Count
    host: Line
    port: Port
    ip: Line | None = None
    opened_at: Timestamp
    closed_at: Timestamp | None = None
    dialled_port: Port | None = None
    sent_bytes: Count = 0
    received_bytes: Count = 0
    sent_plaintext: PlaintextDigest | None = None
    received_plaintext: PlaintextDigest | None = None
    tls: TlsFacts | None = None
    error: Line | None = None


class Refusal(Part, frozen=True, kw_only=True):
    """A connection that the relay's guard did not make.

    Args:
        host: Host the browser asked for.
        port: Port the browser asked for.
        ip: Address the name led to, when it was resolved.
        first_at: When it was first asked for.
        count: How often it was asked for.
        rule: The rule that refused it, such as ``private-address`` or ``browser-service``.
    """

    host: Line
    port: Port
    ip: Line | None = None
    first_at: Timestamp
    count: Count = 1
    rule: Token


class Upstream(Part, frozen=True, kw_only=True):
    """The proxy that connections went through.

    Args:
        scheme: ``socks5``, ``http`` and the like.
        label: Its name in the settings; no address and no credentials.
        resolves_names: True when the proxy resolved the names, so that the guard saw no address.
    """

    scheme: Token
    label: Line
    resolves_names: bool


class ResolveRule(Part, frozen=True, kw_only=True):
    """A rule that put an address in place of the name system's answer.

    Args:
        host: Host it applied to, ``*`` for every host.
        port: Port it applied to; null for every port.
        address: Address given instead.
    """

    host: Line
    port: Port | None = None
    address: Line


class ExtraRoot(Part, frozen=True, kw_only=True):
    """A certificate authority trusted for this capture beside the browser's own.

    Args:
        sha256: SHA-256 of the certificate (DER).
        subject: Its subject, as text.
    """

    sha256: Sha256
    subject: Line


class Network(Part, frozen=True, kw_only=True):
    """Everything known about the network side of the capture.

    Args:
        server_ip: Address that the main document came from.
        dns: Questions to the name system, in order.
        connections: Connections in the order of their numbers.
        refusals: What the guard refused.
        upstream: Proxy that was used; null for none.
        resolve_rules: Rules in force in place of the name system.
        extra_roots: Certificate authorities trusted beside the browser's own.
        private_network_allowed: True when private and loopback addresses were allowed.
        allowed_addresses: Addresses and networks that were allowed by name, whatever they are.
    """

    server_ip: Line | None = None
    dns: tuple[DnsAnswer, ...] = ()
    connections: tuple[Connection, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    upstream: Upstream | None = None
    resolve_rules: tuple[ResolveRule, ...] = ()
    extra_roots: tuple[ExtraRoot, ...] = ()
    private_network_allowed: bool = False
    allowed_addresses: tuple[Line, ...] = ()


class MissingExchange(Part, frozen=True, kw_only=True):
    """A response that the browser reported and the wire does not show.

    Args:
        url: Its URL.
        status: Status the browser reported.
        reason: Why it is missing, as far as known.
    """

    url: Url
    status: HttpStatus | None = None
    reason: Line


class SourceFile(Part, frozen=True, kw_only=True):
    """A file of the recorder, digested at the end of the load, from which other artifacts were made.

    Args:
        name: ``wire.bin`` or ``keys.log``.
        bytes: Length.
        sha256: SHA-256.
        digested_at: When the digest was computed.
    """

    name: Line
    bytes: Count
    sha256: Sha256
    digested_at: Timestamp


class Recording(Part, frozen=True, kw_only=True):
    """What the recorder holds, against what the browser says it did.

    Args:
        exchange_count: Requests seen on the wire.
        response_count: Of these, with a response head.
        truncated_count: Of these, with a body that is not whole.
        body_bytes: Sum of the bodies as sent.
        browser_request_count: Requests that the browser reported as made over the network.
        browser_matched_count: Of these, those found on the wire.
        missing: Those not found.
        unsplit_connections: Numbers of connections whose bytes could not be read as HTTP to the end.
        sources: The recorder's own files.
    """

    exchange_count: Count = 0
    response_count: Count = 0
    truncated_count: Count = 0
    body_bytes: Count = 0
    browser_request_count: Count = 0
    browser_matched_count: Count = 0
    missing: tuple[MissingExchange, ...] = ()
    unsplit_connections: tuple[Count, ...] = ()
    sources: tuple[SourceFile, ...] = ()
