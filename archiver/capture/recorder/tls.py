"""Follow one TLS connection from its recorded ciphertext and the browser's key log, after the fact.

Nothing here takes part in a connection: bytes of both directions go in, in the order in which they
passed, and plaintext comes out. What the handshake shows on the way is in ``TlsFacts``.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from archiver.capture.recorder.tls12 import Tls12Flow
from archiver.capture.recorder.tls13 import Tls13Flow
from archiver.capture.recorder.tls_ciphers import SUITES, suite_by_number
from archiver.capture.recorder.tls_facts import MAX_ALERTS, Alert, TlsFacts, ticket_id, tie_resumed
from archiver.capture.recorder.tls_messages import (
    ClientHello,
    Extension,
    Kind,
    Message,
    ServerHello,
    TlsError,
    TlsEvent,
    alert_name,
    chosen_protocol,
)
from archiver.capture.recorder.tls_records import (
    ALERT,
    APPLICATION_DATA,
    CHANGE_CIPHER_SPEC,
    HANDSHAKE,
    Record,
    RecordCutter,
    header_fault,
)
from archiver.capture.recorder.tls_session import CLIENT, Flow, Half, KeyMissing, Session

if TYPE_CHECKING:
    from archiver.capture.recorder.keylog import KeyLog
    from archiver.capture.recorder.tls_ciphers import RecordCipher

__all__ = ["TlsError", "TlsEvent", "TlsFacts", "TlsStream", "tie_resumed"]

KIB = 1024
MIB = 1024 * KIB

MAX_PENDING_BYTES = 16 * MIB
MAX_PENDING_RECORDS = 64 * KIB
MAX_REFUSED_EARLY_BYTES = 1 * MIB
"""Early data that may be passed over after the server has refused it."""

VERSIONS = {0x0300: "SSL 3.0", 0x0301: "TLS 1.0", 0x0302: "TLS 1.1", 0x0303: "TLS 1.2", 0x0304: "TLS 1.3"}
LEVELS = {1: "warning", 2: "fatal"}


class TlsStream:
    """One connection, both directions in wire order.

    A record whose secret is not in the key log yet waits, and with it all that follow on the connection; at
    most ``MAX_PENDING_BYTES`` and ``MAX_PENDING_RECORDS`` wait. Early data waits until the server has said
    whether it takes it; refused early data is passed over and counted.

    Args:
        keylog: The key log of the client.
    """

    def __init__(self, keylog: KeyLog) -> None:
        self._keylog = keylog
        self._halves = (Half(), Half())
        self._cutters = (RecordCutter(0), RecordCutter(1))
        self._queue: deque[Record] = deque()
        self._held: deque[Record] = deque()
        self._pending_bytes = 0
        self._events: list[TlsEvent] = []
        self._session: Session | None = None
        self._flow: Flow | None = None
        self._alerts: tuple[Alert, ...] = ()
        self._refused_records = 0
        self._refused_bytes = 0
        self._early_over = False
        self._missing = ""
        self._error: TlsError | None = None

    @property
    def pending_bytes(self) -> int:
        """Ciphertext that waits for keys, record headers included."""
        return self._pending_bytes

    def feed(self, direction: Literal[0, 1], data: bytes, time_ns: int) -> list[TlsEvent]:
        """Take the next bytes that passed, 0 from the client and 1 from the server.

        Returns:
            What could be decrypted: direction, plaintext, time of the data that completed the record.

        Raises:
            TlsError: The stream cannot be followed; ``events`` holds what came before the fault. Every later
                call raises the same again, with no events.
            KeyLogUnreadable: The key log cannot be read.
        """
        self._raise_again()
        for record in self._cutters[direction].cut(data, time_ns):
            self._queue.append(record)
            self._pending_bytes += record.size_bytes
        return self.pump()

    def pump(self) -> list[TlsEvent]:
        """Try again with what the key log holds now; returns and raises as ``feed`` does."""
        self._raise_again()
        try:
            self._drain()
            self._check_pending()
        except TlsError as error:
            error.stream = self.facts().client_random.hex()[:12] or "unknown"
            error.events = self._take_events()
            self._error = error
            raise
        return self._take_events()

    def facts(self) -> TlsFacts:
        """Return what the handshake has shown so far; also after a ``TlsError``."""
        facts = self._session.facts if self._session else TlsFacts()
        return replace(
            facts,
            alerts=self._alerts,
            undecrypted_records=self._refused_records + len(self._queue) + len(self._held),
            trailing_bytes=(self._cutters[0].trailing_bytes, self._cutters[1].trailing_bytes),
            ech_accepted=self._ech_accepted(facts),
            not_followed=self._not_followed(facts),
        )

    def _raise_again(self) -> None:
        if self._error is not None:
            again = TlsError(self._error.message, code=self._error.code)
            again.stream = self._error.stream
            raise again

    def _take_events(self) -> list[TlsEvent]:
        events, self._events = self._events, []
        return events

    def _drain(self) -> None:
        """Work through the queue until it is empty or a secret is missing."""
        self._missing = ""
        while self._queue:
            # a record leaves the queue only once it is dealt with, so that no fault on the way loses it
            record = self._queue[0]
            try:
                done = self._record(record)
            except KeyMissing as missing:
                self._missing = missing.label
                return
            self._queue.popleft()
            if done:
                self._pending_bytes -= record.size_bytes
            else:
                self._held.append(record)
            if self._held and not self._holds_early_data():
                self._queue.extendleft(reversed(self._held))
                self._held.clear()

    def _check_pending(self) -> None:
        waiting = len(self._queue) + len(self._held)
        if self._pending_bytes > MAX_PENDING_BYTES or waiting > MAX_PENDING_RECORDS:
            raise TlsError(
                f"key log: expected {self._missing or 'an answer to the early data'} before"
                f" {MAX_PENDING_BYTES} bytes or {MAX_PENDING_RECORDS} records wait for it, got none",
                code="E530",
            )

    def _record(self, record: Record) -> bool:
        """Take one record; False when it has to be held until the server answers early data."""
        if fault := header_fault(record.header):
            raise TlsError(f"record: {fault}", code="E520")
        kind = record.header[0]
        if kind == CHANGE_CIPHER_SPEC:
            if self._flow is not None:
                self._flow.change_cipher_spec(record.direction)
            return True
        if kind == APPLICATION_DATA and record.direction == CLIENT and self._holds_early_data():
            return False
        cipher = self._cipher(record)
        if cipher is None and kind != APPLICATION_DATA:
            self._content(record, kind, record.payload)
        elif (opened := self._open(record, cipher)) is not None:
            self._content(record, *opened)
        return True

    def _cipher(self, record: Record) -> RecordCipher | None:
        """Return what the record is to be opened with, None when it is in clear."""
        kind, flow = record.header[0], self._flow
        if flow is None:
            return None
        if isinstance(flow, Tls13Flow) and kind != APPLICATION_DATA:
            # a side that could not make keys sends its alert in clear; later ones would be forged
            unused = self._halves[record.direction].cipher is None and not flow.allows_data(record.direction)
            if kind == ALERT and unused:
                return None
            raise TlsError(f"record: expected a protected one, got type {kind} in clear", code="E526")
        return flow.cipher(record.direction)

    def _open(self, record: Record, cipher: RecordCipher | None) -> tuple[int, bytes] | None:
        """Return type and content, None for early data that the server refused and that is passed over."""
        refusable = self._may_be_refused(record)
        if cipher is None and not refusable:
            raise TlsError("record: expected data under keys, got it in clear", code="E526")
        try:
            opened = cipher.open(record.header, record.payload) if cipher else None
        except TlsError:
            if not refusable:
                raise
            opened = None
        if opened is None:
            self._refuse(record)
        elif record.direction == CLIENT:
            self._early_over = True
        return opened

    def _holds_early_data(self) -> bool:
        """Whether early data was offered and the server has not answered that yet."""
        if self._session is None or Extension.EARLY_DATA not in self._session.hello.extensions:
            return False
        undecided = self._flow is None or isinstance(self._flow, Tls13Flow)
        return undecided and self._session.facts.early_data_accepted is None

    def _may_be_refused(self, record: Record) -> bool:
        """Whether a client's record may be early data that the server refused (RFC 8446 section 4.2.10)."""
        refused = self._session is not None and self._session.facts.early_data_accepted is False
        return refused and record.direction == CLIENT and not self._early_over

    def _refuse(self, record: Record) -> None:
        self._refused_records += 1
        self._refused_bytes += len(record.payload)
        if self._refused_bytes > MAX_REFUSED_EARLY_BYTES:
            raise TlsError(
                f"early data: expected at most {MAX_REFUSED_EARLY_BYTES} refused bytes, got more", code="E531"
            )

    def _content(self, record: Record, kind: int, content: bytes) -> None:
        if kind == APPLICATION_DATA:
            if self._flow is None or not self._flow.allows_data(record.direction):
                raise TlsError("record: expected data after the handshake, got it within", code="E526")
            if content:
                self._events.append((record.direction, content, record.time_ns))
        elif kind == HANDSHAKE:
            messages = self._halves[record.direction].messages
            messages.add(content)
            while (message := messages.next()) is not None:
                self._message(record.direction, message)
        elif kind == ALERT and len(content) == 2:
            self._alert(record, content)
        else:
            raise TlsError(f"record: expected data, handshake or alert, got type {kind}", code="E526")

    def _alert(self, record: Record, content: bytes) -> None:
        if len(self._alerts) < MAX_ALERTS:
            level = LEVELS.get(content[0], str(content[0]))
            # opening a record makes new bytes; a clear one is passed on as it is
            encrypted = content is not record.payload
            self._alerts += (Alert(record.direction, level, alert_name(content[1]), encrypted),)

    def _message(self, direction: int, message: Message) -> None:
        if self._flow is not None:
            self._flow.message(direction, message)
        elif direction == CLIENT and message.kind == Kind.CLIENT_HELLO:
            self._client_hello(message)
        elif direction != CLIENT and message.kind == Kind.SERVER_HELLO and self._session:
            self._server_hello(self._session, message)
        else:
            raise TlsError(f"handshake: expected a hello, got message type {message.kind}", code="E527")

    def _client_hello(self, message: Message) -> None:
        hello = ClientHello.parse(message.body)
        if self._session is None:
            # which of these the server takes up is known later; until then all are kept
            self._session = Session(self._keylog, hello, halves=self._halves)
            offered = [*hello.psk_identities, *filter(None, (hello.session_ticket, hello.session_id))]
            self._session.facts = TlsFacts(
                client_random=hello.random,
                sni=hello.server_name,
                psk_ids=tuple(ticket_id(identity) for identity in offered),
                ech_offered=Extension.ENCRYPTED_CLIENT_HELLO in hello.extensions,
            )
        elif not self._session.facts.hello_retry or hello.random != self._session.hello.random:
            raise TlsError(
                "client hello: expected one, or the same again after a retry, got two", code="E527"
            )
        self._session.hello = hello
        self._session.transcript.add(message.raw)

    def _server_hello(self, session: Session, message: Message) -> None:
        hello = ServerHello.parse(message.body)
        session.facts = replace(
            session.facts,
            version=VERSIONS.get(hello.version, f"0x{hello.version:04x}"),
            cipher_suite=SUITES.get(hello.cipher_suite, ""),
            cipher_suite_number=hello.cipher_suite,
            group=hello.group,
        )
        if hello.version not in (0x0303, 0x0304) or hello.compression:
            raise TlsError(
                f"server hello: expected TLS 1.2 or 1.3 without compression, got {session.facts.version}"
                f" with method {hello.compression}",
                code="E532",
            )
        suite = suite_by_number(hello.cipher_suite)
        if suite.is_tls13 != (hello.version == 0x0304):
            raise TlsError(
                f"server hello: expected a suite of {session.facts.version}, got {suite.name}", code="E532"
            )
        session.transcript.start(suite.hash_name)
        if hello.is_retry:
            self._retry(session, message)
            return
        session.transcript.add(message.raw)
        if suite.is_tls13:
            self._note_psk(session, hello)
            self._flow = Tls13Flow(session, suite)
        else:
            session.facts = replace(
                session.facts,
                alpn=chosen_protocol(hello.extensions),
                scts_present=Extension.SIGNED_CERTIFICATE_TIMESTAMP in hello.extensions,
            )
            self._flow = Tls12Flow(session, suite, hello)

    def _retry(self, session: Session, message: Message) -> None:
        if session.facts.hello_retry:
            raise TlsError("server hello: expected at most one retry, got two", code="E527")
        session.transcript.fold()
        session.transcript.add(message.raw)
        refused = False if Extension.EARLY_DATA in session.hello.extensions else None
        session.facts = replace(session.facts, hello_retry=True, early_data_accepted=refused)

    def _note_psk(self, session: Session, hello: ServerHello) -> None:
        """Keep which of the offered keys the server took, if it took one."""
        index, offered = hello.psk_index, session.hello.psk_identities
        if index is not None and index >= len(offered):
            raise TlsError(
                f"server hello: expected one of {len(offered)} pre-shared keys, got number {index}",
                code="E532",
            )
        taken = () if index is None else (ticket_id(offered[index]),)
        session.facts = replace(session.facts, resumed=index is not None, psk_ids=taken)

    def _ech_accepted(self, facts: TlsFacts) -> bool | None:
        """Acceptance moves the secrets to the inner hello's random, so that ours has only ``ECH_SECRET``."""
        if not facts.ech_offered:
            return None
        if facts.server_finished:
            return False
        known = self._keylog.secret(facts.client_random, "ECH_SECRET") is not None
        return True if known and self._missing else None

    def _not_followed(self, facts: TlsFacts) -> str:
        if self._error is not None:
            return str(self._error)
        if self._held:
            return "early data waits for the server's answer"
        if not self._missing:
            return ""
        reason = f"the key log has no {self._missing} for this connection"
        if self._ech_accepted(facts):
            return reason + ": the encrypted client hello was accepted, which is not followed"
        if facts.ech_offered:
            return (
                reason + "; it offered an encrypted client hello, and if that was accepted it is not followed"
            )
        return reason
