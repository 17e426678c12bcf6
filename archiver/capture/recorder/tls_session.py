"""What the TLS 1.2 and 1.3 flows of one connection share: transcript, keys, facts so far."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from archiver.capture.recorder.tls_certificates import CertificateMessage
from archiver.capture.recorder.tls_facts import MAX_TICKETS, TlsFacts, ticket_id
from archiver.capture.recorder.tls_messages import (
    Assembler,
    ClientHello,
    Message,
    TlsError,
)

if TYPE_CHECKING:
    from archiver.capture.recorder.keylog import KeyLog
    from archiver.capture.recorder.tls_ciphers import RecordCipher

CLIENT, SERVER = 0, 1
SIDES = ("CLIENT", "SERVER")

_EMBEDDED_SCTS = bytes.fromhex("060a2b06010401d679020402")
"""DER of the OID 1.3.6.1.4.1.11129.2.4.2, RFC 6962 section 3.3."""


class KeyMissing(Exception):
    """The key log has no line of this label for the connection yet; it may lag behind the wire."""

    def __init__(self, label: str) -> None:
        super().__init__(label)
        self.label = label


class Transcript:
    """The running hash over the handshake.

    The ClientHello, at most ``MAX_MESSAGE_BYTES``, is held until the server's suite names the hash.
    """

    def __init__(self) -> None:
        self._held = bytearray()
        self._hash_name = ""
        self._hash = hashlib.sha256()

    def add(self, raw: bytes) -> None:
        """Append one message with its header."""
        if self._hash_name:
            self._hash.update(raw)
            return
        self._held += raw

    def start(self, hash_name: str) -> None:
        """Hash with *hash_name* from the first message on; a second hello may not change it."""
        if self._hash_name not in ("", hash_name):
            raise TlsError(
                f"server hello: expected the hash {self._hash_name} as before the retry, got {hash_name}",
                code="E527",
            )
        if not self._hash_name:
            self._hash_name, self._hash = hash_name, hashlib.new(hash_name, self._held)
            self._held.clear()

    def fold(self) -> None:
        """Put the hash of the first ClientHello in its place, before a retry (RFC 8446 section 4.4.1)."""
        # 0xfe is message_hash, a handshake type that is never sent
        digest = self.digest()
        self._hash = hashlib.new(self._hash_name, b"\xfe\0\0" + bytes([len(digest)]) + digest)

    def digest(self) -> bytes:
        """Return the hash up to here."""
        return self._hash.copy().digest()


@dataclass(slots=True)
class Half:
    """The reading state of one direction.

    Args:
        label: Key log label of the secret that the next records need; empty while they are plain.
        secret: The traffic secret in use (TLS 1.3).
        cipher: Made when the first record needs it.
        messages: Handshake messages in the making.
    """

    label: str = ""
    secret: bytes = b""
    cipher: RecordCipher | None = None
    messages: Assembler = field(default_factory=Assembler)

    def expect(self, label: str) -> None:
        """Let the next records be under the secret of *label*, or plain when that is empty."""
        if self.messages.partial_bytes:
            raise TlsError("handshake: expected whole messages before a key change, got a part", code="E527")
        self.label, self.cipher, self.secret = label, None, b""


@dataclass(slots=True)
class Session:
    """One connection from its ClientHello on.

    Args:
        keylog: Where the secrets are.
        hello: The last ClientHello.
        halves: Client and server.
        facts: What is known so far.
        transcript: Hash over the handshake.
    """

    keylog: KeyLog
    hello: ClientHello
    halves: tuple[Half, Half]
    facts: TlsFacts = field(default_factory=TlsFacts)
    transcript: Transcript = field(default_factory=Transcript)

    def secret(self, label: str) -> bytes:
        """Return a secret of this connection, or raise ``KeyMissing``."""
        found = self.keylog.secret(self.hello.random, label)
        # the browser writes the log on another thread than the socket, so a line can be late
        if found is None and self.keylog.refresh():
            found = self.keylog.secret(self.hello.random, label)
        if found is None:
            raise KeyMissing(label)
        return found

    def note_server_chain(self, certificate: CertificateMessage) -> None:
        """Keep the server's chain, and whether its leaf embeds certificate timestamps."""
        embedded = bool(certificate.chain) and _EMBEDDED_SCTS in certificate.chain[0]
        self.facts = replace(
            self.facts, chain=certificate.chain, scts_present=self.facts.scts_present or embedded
        )

    def note_ticket(self, ticket: bytes) -> None:
        """Keep the name of a ticket that the server gave out."""
        if len(self.facts.ticket_ids) < MAX_TICKETS:
            self.facts = replace(self.facts, ticket_ids=(*self.facts.ticket_ids, ticket_id(ticket)))

    def note_finished(self, direction: int, *, genuine: bool) -> None:
        """Keep whether the MAC of one side over the handshake is right."""
        if direction == CLIENT:
            self.facts = replace(self.facts, client_finished=genuine)
        else:
            self.facts = replace(self.facts, server_finished=genuine)


class Flow(Protocol):
    """How a connection goes on after its ServerHello, in one version of TLS."""

    def message(self, direction: int, message: Message) -> None:
        """Take a handshake message in wire order, or raise ``TlsError``."""
        ...

    def change_cipher_spec(self, direction: int) -> None:
        """Take a change_cipher_spec record."""
        ...

    def cipher(self, direction: int) -> RecordCipher | None:
        """Return what opens the next record of *direction*, None while it is plain.

        Raises:
            KeyMissing: The key log has not got the secret yet.
        """
        ...

    def allows_data(self, direction: int) -> bool:
        """Whether application data of *direction* is in order now."""
        ...
