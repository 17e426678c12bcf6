"""TLS handshake messages as values: bytes in, fields out, no keys and no state of a connection.

Source: RFC 8446 section 4 (TLS 1.3), RFC 5246 section 7.4 (TLS 1.2), RFC 8422 (elliptic curves in 1.2),
RFC 6066 (server name), RFC 7301 (application protocol). Certificates are in ``tls_certificates``.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

KIB = 1024

MAX_MESSAGE_BYTES = 256 * KIB
"""Of one handshake message, and of one certificate message once decompressed. Browsers stop at 100 KiB."""

RETRY_RANDOM = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")
"""The server random that makes a ServerHello a HelloRetryRequest (RFC 8446 section 4.1.3)."""

TlsEvent = tuple[int, bytes, int]
"""Direction (0 from the client, 1 from the server), plaintext, Unix time in nanoseconds."""


class TlsError(ValueError):
    """A TLS stream that cannot be followed any further.

    Attributes:
        stream: Short id of the stream, once its client random is known.
        code: ``E`` and three digits.
        hint: One action the reader can take.
        events: What the call that raised had decrypted before the fault; the caller keeps it.
    """

    hint = "the ciphertext is kept whole; open the transcript in Wireshark to see what was sent"

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.stream = "unknown"
        self.events: list[TlsEvent] = []

    def __str__(self) -> str:
        return f"tls stream {self.stream}: {self.message} [{self.code}]"


class Kind(enum.IntEnum):
    """Handshake types that matter to an observer (IANA TLS HandshakeType)."""

    HELLO_REQUEST = 0
    CLIENT_HELLO = 1
    SERVER_HELLO = 2
    NEW_SESSION_TICKET = 4
    END_OF_EARLY_DATA = 5
    ENCRYPTED_EXTENSIONS = 8
    CERTIFICATE = 11
    SERVER_KEY_EXCHANGE = 12
    CERTIFICATE_REQUEST = 13
    SERVER_HELLO_DONE = 14
    CERTIFICATE_VERIFY = 15
    FINISHED = 20
    CERTIFICATE_STATUS = 22
    KEY_UPDATE = 24
    COMPRESSED_CERTIFICATE = 25


class Extension(enum.IntEnum):
    """Extension numbers that matter to an observer (IANA TLS ExtensionType)."""

    SERVER_NAME = 0
    STATUS_REQUEST = 5
    ALPN = 16
    SIGNED_CERTIFICATE_TIMESTAMP = 18
    ENCRYPT_THEN_MAC = 22
    SESSION_TICKET = 35
    PRE_SHARED_KEY = 41
    EARLY_DATA = 42
    SUPPORTED_VERSIONS = 43
    KEY_SHARE = 51
    ENCRYPTED_CLIENT_HELLO = 0xFE0D


ALERTS = {
    0: "close_notify",
    10: "unexpected_message",
    20: "bad_record_mac",
    21: "decryption_failed",
    22: "record_overflow",
    30: "decompression_failure",
    40: "handshake_failure",
    41: "no_certificate",
    42: "bad_certificate",
    43: "unsupported_certificate",
    44: "certificate_revoked",
    45: "certificate_expired",
    46: "certificate_unknown",
    47: "illegal_parameter",
    48: "unknown_ca",
    49: "access_denied",
    50: "decode_error",
    51: "decrypt_error",
    70: "protocol_version",
    71: "insufficient_security",
    80: "internal_error",
    86: "inappropriate_fallback",
    90: "user_canceled",
    100: "no_renegotiation",
    109: "missing_extension",
    110: "unsupported_extension",
    112: "unrecognized_name",
    113: "bad_certificate_status_response",
    115: "unknown_psk_identity",
    116: "certificate_required",
    120: "no_application_protocol",
    121: "ech_required",
}

GROUPS = {
    0x0017: "secp256r1",
    0x0018: "secp384r1",
    0x0019: "secp521r1",
    0x001D: "x25519",
    0x001E: "x448",
    0x0100: "ffdhe2048",
    0x0101: "ffdhe3072",
    0x0102: "ffdhe4096",
    0x0103: "ffdhe6144",
    0x0104: "ffdhe8192",
    0x11EB: "SecP256r1MLKEM768",
    0x11EC: "X25519MLKEM768",
    0x11ED: "SecP384r1MLKEM1024",
    0x6399: "X25519Kyber768Draft00",
}


def group_name(number: int) -> str:
    """Name a key exchange group as IANA does, or by its number."""
    return GROUPS.get(number, f"0x{number:04x}")


class Reader:
    """A cursor over one message; what is short or left over raises ``TlsError``, never anything else."""

    def __init__(self, data: bytes, subject: str) -> None:
        self._data = data
        self._subject = subject
        self.position = 0

    def take(self, count: int) -> bytes:
        """Return the next *count* bytes."""
        end = self.position + count
        if end > len(self._data):
            raise TlsError(
                f"{self._subject}: expected {count} more bytes, got {len(self._data) - self.position}",
                code="E521",
            )
        taken = self._data[self.position : end]
        self.position = end
        return taken

    def number(self, width: int) -> int:
        """Return the next *width* bytes as a big-endian number."""
        return int.from_bytes(self.take(width), "big")

    def vector(self, width: int) -> bytes:
        """Return the bytes after a length of *width* bytes."""
        return self.take(self.number(width))

    @property
    def left(self) -> int:
        """How many bytes are not read yet."""
        return len(self._data) - self.position

    def extensions(self) -> dict[int, bytes]:
        """Return the extensions by number; a number that comes twice is refused (RFC 8446 section 4.2)."""
        inner = Reader(self.vector(2), self._subject)
        found: dict[int, bytes] = {}
        while inner.left:
            number = inner.number(2)
            if number in found:
                raise TlsError(
                    f"{self._subject}: expected each extension once, got {number} twice", code="E521"
                )
            found[number] = inner.vector(2)
        return found


@dataclass(frozen=True, slots=True)
class Message:
    """One whole handshake message.

    Args:
        kind: Handshake type; may be one that ``Kind`` does not name.
        body: Without the header.
        raw: With it, as the transcript hash takes it.
    """

    kind: int
    body: bytes
    raw: bytes


class Assembler:
    """Put the handshake messages of one direction together from the records they were cut into."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    @property
    def partial_bytes(self) -> int:
        """How much of a message that is not whole yet is held."""
        return len(self._buffer)

    def add(self, fragment: bytes) -> None:
        """Append the content of one record."""
        self._buffer += fragment

    def next(self) -> Message | None:
        """Return the next whole message, or None when it has not all arrived."""
        if len(self._buffer) < 4:
            return None
        length = int.from_bytes(self._buffer[1:4], "big")
        # by the header, before three bytes of length can make us hold 16 MiB
        if length > MAX_MESSAGE_BYTES:
            raise TlsError(
                f"handshake message: expected at most {MAX_MESSAGE_BYTES} bytes, got {length}", code="E522"
            )
        if len(self._buffer) < 4 + length:
            return None
        raw = bytes(self._buffer[: 4 + length])
        del self._buffer[: 4 + length]
        return Message(raw[0], raw[4:], raw)


@dataclass(frozen=True, slots=True)
class ClientHello:
    """RFC 8446 section 4.1.2."""

    random: bytes
    session_id: bytes
    extensions: dict[int, bytes]

    @classmethod
    def parse(cls, body: bytes) -> ClientHello:
        """Read the message, or raise ``TlsError``."""
        reader = Reader(body, "client hello")
        # the legacy version says nothing: a client that speaks TLS 1.3 writes 1.2 here
        reader.take(2)
        random, session_id = reader.take(32), reader.vector(1)
        reader.vector(2)
        reader.vector(1)
        return cls(random, session_id, reader.extensions() if reader.left else {})

    @property
    def server_name(self) -> str | None:
        """The host that the client asked for; bytes beyond ASCII are shown escaped."""
        if Extension.SERVER_NAME not in self.extensions:
            return None
        reader = Reader(self.extensions[Extension.SERVER_NAME], "server name")
        reader.take(3)
        return reader.vector(2).decode("ascii", "backslashreplace")

    @property
    def psk_identities(self) -> list[bytes]:
        """Pre-shared key identities in the order offered (RFC 8446 section 4.2.11); a ticket is one."""
        if Extension.PRE_SHARED_KEY not in self.extensions:
            return []
        reader = Reader(self.extensions[Extension.PRE_SHARED_KEY], "pre-shared key")
        identities = Reader(reader.vector(2), "pre-shared key")
        found = []
        while identities.left:
            found.append(identities.vector(2))
            identities.take(4)
        return found

    @property
    def session_ticket(self) -> bytes:
        """The TLS 1.2 ticket offered (RFC 5077), or nothing."""
        return self.extensions.get(Extension.SESSION_TICKET, b"")


@dataclass(frozen=True, slots=True)
class ServerHello:
    """RFC 8446 section 4.1.3 and RFC 5246 section 7.4.1.3; also a HelloRetryRequest."""

    version: int
    random: bytes
    session_id: bytes
    cipher_suite: int
    compression: int
    extensions: dict[int, bytes]

    @classmethod
    def parse(cls, body: bytes) -> ServerHello:
        """Read the message, or raise ``TlsError``."""
        reader = Reader(body, "server hello")
        version, random, session_id = reader.number(2), reader.take(32), reader.vector(1)
        suite, compression = reader.number(2), reader.number(1)
        extensions = reader.extensions() if reader.left else {}
        if Extension.SUPPORTED_VERSIONS in extensions:
            version = Reader(extensions[Extension.SUPPORTED_VERSIONS], "supported versions").number(2)
        return cls(version, random, session_id, suite, compression, extensions)

    @property
    def is_retry(self) -> bool:
        """Whether the server asks for another ClientHello."""
        return self.random == RETRY_RANDOM

    @property
    def group(self) -> str | None:
        """Name of the key share's group, or None where there is none."""
        share = self.extensions.get(Extension.KEY_SHARE)
        return None if share is None else group_name(Reader(share, "key share").number(2))

    @property
    def psk_index(self) -> int | None:
        """Which of the client's pre-shared keys the server took, or None."""
        chosen = self.extensions.get(Extension.PRE_SHARED_KEY)
        return None if chosen is None else Reader(chosen, "pre-shared key").number(2)


def chosen_protocol(extensions: dict[int, bytes]) -> str | None:
    """Return the application protocol that the server chose (RFC 7301), or None."""
    if Extension.ALPN not in extensions:
        return None
    reader = Reader(extensions[Extension.ALPN], "application protocol")
    reader.take(2)
    return reader.vector(1).decode("ascii", "backslashreplace")


@dataclass(frozen=True, slots=True)
class ServerKeyExchange:
    """Ephemeral parameters of TLS 1.2 and the signature over them.

    Args:
        parameters: The signed bytes, to follow both randoms.
        group: Name of the curve, or ``dhe N bits``.
        algorithm: Signature scheme number, None when the key exchange is anonymous.
        signature: Empty when anonymous.
    """

    parameters: bytes
    group: str
    algorithm: int | None
    signature: bytes

    @classmethod
    def parse(cls, body: bytes, exchange: str) -> ServerKeyExchange:
        """Read the message of key exchange ``ECDHE`` (RFC 8422 section 5.4) or ``DHE`` (RFC 5246 7.4.3)."""
        reader = Reader(body, "server key exchange")
        if exchange == "ECDHE":
            if reader.number(1) != 3:
                raise TlsError("server key exchange: expected a named curve, got another form", code="E521")
            group = group_name(reader.number(2))
            reader.vector(1)
        else:
            prime = int.from_bytes(reader.vector(2), "big")
            group = f"dhe {prime.bit_length()} bits"
            reader.vector(2)
            reader.vector(2)
        parameters = body[: reader.position]
        # an anonymous exchange ends with its parameters
        if not reader.left:
            return cls(parameters, group, None, b"")
        return cls(parameters, group, reader.number(2), reader.vector(2))


def new_ticket(body: bytes, *, tls13: bool) -> bytes:
    """Return the ticket of a NewSessionTicket (RFC 8446 section 4.6.1, RFC 5077 section 3.3)."""
    reader = Reader(body, "session ticket")
    reader.take(4)
    if tls13:
        reader.take(4)
        reader.vector(1)
    return reader.vector(2)


def alert_name(number: int) -> str:
    """Name an alert as IANA does, or by its number."""
    return ALERTS.get(number, f"alert {number}")
