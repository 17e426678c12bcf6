"""The handshake of TLS 1.2 after its ServerHello, as an observer with the secrets follows it. RFC 5246."""

from __future__ import annotations

from dataclasses import replace

from archiver.capture.recorder.tls_certificates import CertificateMessage, ocsp_response
from archiver.capture.recorder.tls_ciphers import RecordCipher, Suite, prf, tls12_ciphers
from archiver.capture.recorder.tls_facts import SignatureCheck
from archiver.capture.recorder.tls_messages import (
    Extension,
    Kind,
    Message,
    ServerHello,
    ServerKeyExchange,
    TlsError,
    new_ticket,
)
from archiver.capture.recorder.tls_session import CLIENT, SERVER, Session
from archiver.capture.recorder.tls_signatures import check_signature

LABEL = "CLIENT_RANDOM"
FINISHED_BYTES = 12


class Tls12Flow:
    """Follow a TLS 1.2 handshake; keys change where change_cipher_spec says so.

    Args:
        session: With the transcript at the ServerHello.
        suite: A suite of TLS 1.2.
        hello: The ServerHello.
    """

    def __init__(self, session: Session, suite: Suite, hello: ServerHello) -> None:
        self._session = session
        self._suite = suite
        self._hello = hello
        # a ServerHelloDone makes the handshake a full one; without it a session was taken up
        self._full = False
        self._finished = [False, False]

    def change_cipher_spec(self, direction: int) -> None:
        """Put the records that follow under the connection's keys (RFC 5246 section 7.1)."""
        half = self._session.halves[direction]
        if half.label:
            raise TlsError("change cipher spec: expected one in each direction, got two", code="E529")
        half.expect(LABEL)

    def cipher(self, direction: int) -> RecordCipher | None:
        """See ``Flow``."""
        half = self._session.halves[direction]
        if half.label and half.cipher is None:
            half.cipher = tls12_ciphers(
                self._suite,
                self._session.secret(LABEL),
                (self._session.hello.random, self._hello.random),
                mac_outside=Extension.ENCRYPT_THEN_MAC in self._hello.extensions,
            )[direction]
        return half.cipher

    def allows_data(self, direction: int) -> bool:
        """See ``Flow``."""
        return self._finished[direction]

    def message(self, direction: int, message: Message) -> None:
        """See ``Flow``."""
        if message.kind == Kind.HELLO_REQUEST:
            return  # a wish only, and not hashed; a browser says no_renegotiation
        if self._finished[direction]:
            raise TlsError(
                f"handshake: expected no renegotiation, got message type {message.kind}", code="E529"
            )
        if message.kind == Kind.FINISHED:
            self._check_finished(direction, message.body)
        elif direction == SERVER:
            self._server_message(message)
        elif message.kind == Kind.CERTIFICATE:
            sent = bool(CertificateMessage.parse_12(message.body).chain)
            self._session.facts = replace(self._session.facts, client_certificate=sent)
        self._session.transcript.add(message.raw)

    def _server_message(self, message: Message) -> None:
        session = self._session
        if message.kind == Kind.CERTIFICATE:
            session.note_server_chain(CertificateMessage.parse_12(message.body))
            self._note_unsigned()
        elif message.kind == Kind.CERTIFICATE_STATUS:
            session.facts = replace(session.facts, ocsp_staple=ocsp_response(message.body))
        elif message.kind == Kind.SERVER_KEY_EXCHANGE:
            self._key_exchange(message.body)
        elif message.kind == Kind.SERVER_HELLO_DONE:
            self._full = True
            session.facts = replace(session.facts, psk_ids=())
            # only a full handshake gives its id out; a resumed one repeats it
            if self._hello.session_id:
                session.note_ticket(self._hello.session_id)
        elif message.kind == Kind.NEW_SESSION_TICKET:
            session.note_ticket(new_ticket(message.body, tls13=False))

    def _note_unsigned(self) -> None:
        if self._suite.exchange == "RSA":
            reason = "static RSA signs nothing: the server's Finished shows that it holds the key"
            check = SignatureCheck(None, "", reason)
            self._session.facts = replace(self._session.facts, certificate_verify=check)

    def _key_exchange(self, body: bytes) -> None:
        facts = self._session.facts
        exchange = ServerKeyExchange.parse(body, self._suite.exchange)
        facts = replace(facts, group=exchange.group)
        if exchange.algorithm is not None and facts.chain:
            signed = self._session.hello.random + self._hello.random + exchange.parameters
            check = check_signature(facts.chain[0], exchange.algorithm, exchange.signature, signed)
            facts = replace(facts, certificate_verify=check)
        self._session.facts = facts

    def _check_finished(self, direction: int, body: bytes) -> None:
        if not self._session.halves[direction].label:
            raise TlsError("finished: expected it under keys, got it in clear", code="E529")
        label = b"client finished" if direction == CLIENT else b"server finished"
        seed = label + self._session.transcript.digest()
        expected = prf(self._session.secret(LABEL), seed, FINISHED_BYTES, self._suite.hash_name)
        self._session.note_finished(direction, genuine=expected == body)
        self._finished[direction] = True
        if not self._full:
            self._session.facts = replace(self._session.facts, resumed=True)
