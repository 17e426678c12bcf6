"""The handshake of TLS 1.3 after its ServerHello, as an observer with the secrets follows it. RFC 8446."""

from __future__ import annotations

import hmac
from dataclasses import replace
from typing import TYPE_CHECKING

from archiver.capture.recorder.tls_certificates import (
    CertificateMessage,
    decompress_certificate,
    ocsp_response,
)
from archiver.capture.recorder.tls_ciphers import RecordCipher, Suite, Tls13Cipher, expand_label
from archiver.capture.recorder.tls_messages import (
    Extension,
    Kind,
    Message,
    Reader,
    TlsError,
    chosen_protocol,
    new_ticket,
)
from archiver.capture.recorder.tls_session import CLIENT, SERVER, SIDES, Session
from archiver.capture.recorder.tls_signatures import check_signature

if TYPE_CHECKING:
    from archiver.capture.recorder.tls_session import Half

VERIFY_PREFIX = b" " * 64 + b"TLS 1.3, server CertificateVerify\0"


class Tls13Flow:
    """Follow the encrypted part of a TLS 1.3 handshake, and what comes after it.

    Post-handshake client authentication is noticed, its signature and MAC are not checked.

    Args:
        session: With the transcript at the ServerHello.
        suite: A suite of TLS 1.3.
    """

    def __init__(self, session: Session, suite: Suite) -> None:
        self._session = session
        self._suite = suite
        self._client_done = False
        # both sides are under handshake keys from here on; accepted early data puts the client's off
        session.halves[SERVER].expect("SERVER_HANDSHAKE_TRAFFIC_SECRET")
        session.halves[CLIENT].expect("CLIENT_HANDSHAKE_TRAFFIC_SECRET")

    def change_cipher_spec(self, direction: int) -> None:
        """Ignored: it is there for middleboxes (RFC 8446 section 5)."""

    def cipher(self, direction: int) -> RecordCipher:
        """See ``Flow``."""
        half = self._session.halves[direction]
        if half.cipher is None:
            self._install(half, self._session.secret(half.label))
        assert half.cipher is not None
        return half.cipher

    def allows_data(self, direction: int) -> bool:
        """See ``Flow``."""
        return not self._session.halves[direction].label.endswith("HANDSHAKE_TRAFFIC_SECRET")

    def message(self, direction: int, message: Message) -> None:
        """See ``Flow``."""
        # Neither tickets nor key updates are hashed, and nothing is once the client has finished
        if message.kind == Kind.KEY_UPDATE:
            self._key_update(direction)
        elif message.kind == Kind.NEW_SESSION_TICKET and direction == SERVER:
            self._session.note_ticket(new_ticket(message.body, tls13=True))
        elif self._client_done:
            self._after_handshake(direction, message)
        else:
            self._handshake(direction, message)
            self._session.transcript.add(message.raw)
            if message.kind == Kind.FINISHED:
                self._switch(direction)

    def _handshake(self, direction: int, message: Message) -> None:
        if message.kind == Kind.FINISHED:
            self._finished(direction, message.body)
        elif message.kind == Kind.END_OF_EARLY_DATA and direction == CLIENT:
            # sent under the early keys, and the last record under them
            self._session.halves[CLIENT].expect("CLIENT_HANDSHAKE_TRAFFIC_SECRET")
        elif direction == CLIENT:
            self._client_message(message)
        elif message.kind == Kind.ENCRYPTED_EXTENSIONS:
            self._encrypted_extensions(message.body)
        elif message.kind == Kind.CERTIFICATE:
            self._server_certificate(message.body)
        elif message.kind == Kind.COMPRESSED_CERTIFICATE:
            self._server_certificate(decompress_certificate(message.body))
        elif message.kind == Kind.CERTIFICATE_VERIFY:
            self._certificate_verify(message.body)
        elif message.kind != Kind.CERTIFICATE_REQUEST:
            raise _unexpected("server", message.kind)

    def _client_message(self, message: Message) -> None:
        if message.kind in (Kind.CERTIFICATE, Kind.COMPRESSED_CERTIFICATE):
            self._client_certificate(message)
        elif message.kind != Kind.CERTIFICATE_VERIFY:
            raise _unexpected("client", message.kind)

    def _after_handshake(self, direction: int, message: Message) -> None:
        if direction == SERVER and message.kind != Kind.CERTIFICATE_REQUEST:
            raise _unexpected("server", message.kind)
        if direction == CLIENT and message.kind != Kind.FINISHED:
            self._client_message(message)

    def _client_certificate(self, message: Message) -> None:
        compressed = message.kind == Kind.COMPRESSED_CERTIFICATE
        body = decompress_certificate(message.body) if compressed else message.body
        # an empty list is how a client says that it has none
        sent = bool(CertificateMessage.parse_13(body).chain)
        facts = self._session.facts
        self._session.facts = replace(facts, client_certificate=facts.client_certificate or sent)

    def _encrypted_extensions(self, body: bytes) -> None:
        extensions = Reader(body, "encrypted extensions").extensions()
        session = self._session
        session.facts = replace(session.facts, alpn=chosen_protocol(extensions))
        if Extension.EARLY_DATA not in session.hello.extensions:
            return
        accepted = Extension.EARLY_DATA in extensions
        session.facts = replace(session.facts, early_data_accepted=accepted)
        if accepted:
            session.halves[CLIENT].expect("CLIENT_EARLY_TRAFFIC_SECRET")

    def _server_certificate(self, body: bytes) -> None:
        certificate = CertificateMessage.parse_13(body)
        self._session.note_server_chain(certificate)
        facts, extensions = self._session.facts, certificate.leaf_extensions
        if Extension.SIGNED_CERTIFICATE_TIMESTAMP in extensions:
            facts = replace(facts, scts_present=True)
        if Extension.STATUS_REQUEST in extensions:
            facts = replace(facts, ocsp_staple=ocsp_response(extensions[Extension.STATUS_REQUEST]))
        self._session.facts = facts

    def _certificate_verify(self, body: bytes) -> None:
        reader = Reader(body, "certificate verify")
        scheme, signature = reader.number(2), reader.vector(2)
        facts = self._session.facts
        if not facts.chain:
            raise TlsError("certificate verify: expected a certificate before it, got none", code="E528")
        signed = VERIFY_PREFIX + self._session.transcript.digest()
        check = check_signature(facts.chain[0], scheme, signature, signed)
        self._session.facts = replace(facts, certificate_verify=check)

    def _finished(self, direction: int, body: bytes) -> None:
        secret, suite = self._session.halves[direction].secret, self._suite
        key = expand_label(secret, b"finished", suite.hash_bytes, suite.hash_name)
        expected = hmac.digest(key, self._session.transcript.digest(), suite.hash_name)
        self._session.note_finished(direction, genuine=expected == body)

    def _switch(self, direction: int) -> None:
        self._client_done = self._client_done or direction == CLIENT
        self._session.halves[direction].expect(f"{SIDES[direction]}_TRAFFIC_SECRET_0")

    def _key_update(self, direction: int) -> None:
        half, suite = self._session.halves[direction], self._suite
        if not half.label.endswith("TRAFFIC_SECRET_0"):
            raise TlsError("key update: expected one after the handshake, got one within", code="E528")
        secret = expand_label(half.secret, b"traffic upd", suite.hash_bytes, suite.hash_name)
        # derived keys are in no key log: the label stays, the secret moves on
        half.expect(half.label)
        self._install(half, secret)
        facts = self._session.facts
        self._session.facts = replace(facts, key_updates=facts.key_updates + 1)

    def _install(self, half: Half, secret: bytes) -> None:
        half.secret, half.cipher = secret, Tls13Cipher(self._suite, secret)


def _unexpected(side: str, kind: int) -> TlsError:
    return TlsError(f"handshake: expected another message of the {side}, got type {kind}", code="E528")
