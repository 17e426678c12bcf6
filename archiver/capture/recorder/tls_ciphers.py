"""Cipher suites, key derivation and record protection of TLS 1.2 and 1.3, reading side only.

Source: RFC 8446 sections 5 and 7 (1.3), RFC 5246 sections 5 and 6 (1.2), RFC 5288 (GCM), RFC 6655 (CCM),
RFC 7905 (ChaCha20-Poly1305), RFC 7366 (encrypt-then-MAC).
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESCCM, AESGCM, ChaCha20Poly1305

from archiver.capture.recorder.tls_messages import TlsError

TAG_BYTES = 16
BLOCK_BYTES = 16

SUITES = {
    0x002F: "TLS_RSA_WITH_AES_128_CBC_SHA",
    0x0033: "TLS_DHE_RSA_WITH_AES_128_CBC_SHA",
    0x0035: "TLS_RSA_WITH_AES_256_CBC_SHA",
    0x0039: "TLS_DHE_RSA_WITH_AES_256_CBC_SHA",
    0x003C: "TLS_RSA_WITH_AES_128_CBC_SHA256",
    0x003D: "TLS_RSA_WITH_AES_256_CBC_SHA256",
    0x0067: "TLS_DHE_RSA_WITH_AES_128_CBC_SHA256",
    0x006B: "TLS_DHE_RSA_WITH_AES_256_CBC_SHA256",
    0x009C: "TLS_RSA_WITH_AES_128_GCM_SHA256",
    0x009D: "TLS_RSA_WITH_AES_256_GCM_SHA384",
    0x009E: "TLS_DHE_RSA_WITH_AES_128_GCM_SHA256",
    0x009F: "TLS_DHE_RSA_WITH_AES_256_GCM_SHA384",
    0x1301: "TLS_AES_128_GCM_SHA256",
    0x1302: "TLS_AES_256_GCM_SHA384",
    0x1303: "TLS_CHACHA20_POLY1305_SHA256",
    0x1304: "TLS_AES_128_CCM_SHA256",
    0x1305: "TLS_AES_128_CCM_8_SHA256",
    0xC009: "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    0xC00A: "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    0xC013: "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    0xC014: "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
    0xC023: "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256",
    0xC024: "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA384",
    0xC027: "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256",
    0xC028: "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384",
    0xC02B: "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    0xC02C: "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    0xC02F: "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    0xC030: "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    0xC09C: "TLS_RSA_WITH_AES_128_CCM",
    0xC09D: "TLS_RSA_WITH_AES_256_CCM",
    0xC09E: "TLS_DHE_RSA_WITH_AES_128_CCM",
    0xC09F: "TLS_DHE_RSA_WITH_AES_256_CCM",
    0xC0A0: "TLS_RSA_WITH_AES_128_CCM_8",
    0xC0A1: "TLS_RSA_WITH_AES_256_CCM_8",
    0xC0A2: "TLS_DHE_RSA_WITH_AES_128_CCM_8",
    0xC0A3: "TLS_DHE_RSA_WITH_AES_256_CCM_8",
    0xC0AC: "TLS_ECDHE_ECDSA_WITH_AES_128_CCM",
    0xC0AD: "TLS_ECDHE_ECDSA_WITH_AES_256_CCM",
    0xC0AE: "TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8",
    0xC0AF: "TLS_ECDHE_ECDSA_WITH_AES_256_CCM_8",
    0xCCA8: "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
    0xCCA9: "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    0xCCAA: "TLS_DHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
}
"""IANA numbers and names of every suite that can be followed; the parts are read from the name."""

_NAME = re.compile(
    r"TLS_(?:(?P<exchange>RSA|DHE|ECDHE)(?:_(?:RSA|ECDSA))?_WITH_)?"
    r"(?:AES_(?P<bits>128|256)_(?P<mode>GCM|CCM_8|CCM|CBC)|CHACHA20_POLY1305)(?:_(?P<hash>SHA\d*))?"
)


@dataclass(frozen=True, slots=True)
class Suite:
    """One cipher suite.

    Args:
        number: IANA number.
        name: IANA name.
        exchange: ``RSA``, ``DHE`` or ``ECDHE`` for TLS 1.2, empty for TLS 1.3.
        mode: ``GCM``, ``CCM``, ``CCM_8``, ``CBC`` or ``CHACHA20``.
        key_bytes: Of the record key.
        hash_name: Of key derivation and transcript, as ``hashlib`` names it.
        mac_name: Of the record MAC of a CBC suite, else empty.
    """

    number: int
    name: str
    exchange: str
    mode: str
    key_bytes: int
    hash_name: str
    mac_name: str

    @property
    def is_tls13(self) -> bool:
        """Whether the suite belongs to TLS 1.3."""
        return not self.exchange

    @property
    def hash_bytes(self) -> int:
        """Length of the transcript hash."""
        return hashlib.new(self.hash_name).digest_size

    @property
    def salt_bytes(self) -> int:
        """Length of the part of a TLS 1.2 nonce that comes from the key block."""
        return {"CHACHA20": 12, "CBC": 0}.get(self.mode, 4)

    @property
    def mac_bytes(self) -> int:
        """Length of the record MAC key, which is that of the MAC."""
        return hashlib.new(self.mac_name).digest_size if self.mac_name else 0


def suite_by_number(number: int) -> Suite:
    """Return a suite, or raise ``TlsError`` for one that is not followed."""
    match = _NAME.fullmatch(SUITES.get(number, ""))
    if match is None:
        raise TlsError(
            f"cipher suite: expected one of the {len(SUITES)} that are followed, got 0x{number:04x}",
            code="E524",
        )
    mode = match["mode"] or "CHACHA20"
    return Suite(
        number=number,
        name=match[0],
        exchange=match["exchange"] or "",
        mode=mode,
        key_bytes=int(match["bits"] or 256) // 8,
        # a suite named after SHA-1 or after no hash still derives with SHA-256 (RFC 5246 section 5)
        hash_name="sha384" if match["hash"] == "SHA384" else "sha256",
        mac_name={"SHA": "sha1"}.get(match["hash"], match["hash"].lower()) if mode == "CBC" else "",
    )


def expand_label(secret: bytes, label: bytes, length_bytes: int, hash_name: str) -> bytes:
    """HKDF-Expand-Label with an empty context, for at most one hash length (RFC 8446 section 7.1)."""
    full = b"tls13 " + label
    info = length_bytes.to_bytes(2, "big") + bytes([len(full)]) + full + b"\0\1"
    return hmac.digest(secret, info, hash_name)[:length_bytes]


def prf(secret: bytes, label_and_seed: bytes, length_bytes: int, hash_name: str) -> bytes:
    """The pseudorandom function of TLS 1.2 (RFC 5246 section 5)."""
    output, step = b"", label_and_seed
    while len(output) < length_bytes:
        step = hmac.digest(secret, step, hash_name)
        output += hmac.digest(secret, step + label_and_seed, hash_name)
    return output[:length_bytes]


class RecordCipher(Protocol):
    """The reading half of one direction under one key; counts records itself."""

    def open(self, header: bytes, payload: bytes) -> tuple[int, bytes]:
        """Return content type and content of the next record, or raise ``TlsError``.

        The counter moves on only when the record is genuine.
        """
        ...


def _aead(suite: Suite, key: bytes) -> AESGCM | AESCCM | ChaCha20Poly1305:
    if suite.mode == "GCM":
        return AESGCM(key)
    if suite.mode == "CHACHA20":
        return ChaCha20Poly1305(key)
    return AESCCM(key, tag_length=_tag_bytes(suite))


def _tag_bytes(suite: Suite) -> int:
    return 8 if suite.mode == "CCM_8" else TAG_BYTES


def _not_genuine() -> TlsError:
    return TlsError("record: expected one that its key authenticates, got another", code="E525")


class Tls13Cipher:
    """RFC 8446 section 5.2: type inside, zero padding, nonce from the counter."""

    def __init__(self, suite: Suite, secret: bytes) -> None:
        key = expand_label(secret, b"key", suite.key_bytes, suite.hash_name)
        self._aead = _aead(suite, key)
        self._iv = int.from_bytes(expand_label(secret, b"iv", 12, suite.hash_name), "big")
        self._count = 0

    def open(self, header: bytes, payload: bytes) -> tuple[int, bytes]:
        """See ``RecordCipher``."""
        nonce = (self._iv ^ self._count).to_bytes(12, "big")
        try:
            inner = self._aead.decrypt(nonce, payload, header)
        except InvalidTag:
            raise _not_genuine() from None
        self._count += 1
        # rstrip copies the whole record, and hardly any is padded
        if inner and not inner[-1]:
            inner = inner.rstrip(b"\0")
        if not inner:
            raise TlsError("record: expected a content type, got only padding", code="E526")
        return inner[-1], inner[:-1]


class Tls12AeadCipher:
    """GCM and CCM with an explicit nonce (RFC 5288, 6655), ChaCha20-Poly1305 without (RFC 7905)."""

    def __init__(self, suite: Suite, key: bytes, salt: bytes) -> None:
        self._aead = _aead(suite, key)
        self._salt = salt
        self._explicit_bytes = 12 - len(salt)
        self._tag_bytes = _tag_bytes(suite)
        self._count = 0

    def open(self, header: bytes, payload: bytes) -> tuple[int, bytes]:
        """See ``RecordCipher``."""
        length = len(payload) - self._explicit_bytes - self._tag_bytes
        if length < 0:
            raise _not_genuine()
        sequence = self._count.to_bytes(8, "big")
        if self._explicit_bytes:
            nonce = self._salt + payload[: self._explicit_bytes]
        else:
            nonce = (int.from_bytes(self._salt, "big") ^ self._count).to_bytes(12, "big")
        try:
            content = self._aead.decrypt(
                nonce,
                memoryview(payload)[self._explicit_bytes :],
                sequence + header[:3] + length.to_bytes(2, "big"),
            )
        except InvalidTag:
            raise _not_genuine() from None
        self._count += 1
        return header[0], content


class Tls12CbcCipher:
    """CBC with an explicit IV, MAC inside (RFC 5246 section 6.2.3.2) or outside (RFC 7366)."""

    def __init__(self, suite: Suite, key: bytes, mac_key: bytes, *, mac_outside: bool) -> None:
        self._key = algorithms.AES(key)
        self._mac_key = mac_key
        self._mac_name = suite.mac_name
        self._mac_bytes = suite.mac_bytes
        self._mac_outside = mac_outside
        self._count = 0

    def open(self, header: bytes, payload: bytes) -> tuple[int, bytes]:
        """See ``RecordCipher``."""
        if self._mac_outside:
            sealed, mac = payload[: -self._mac_bytes], payload[-self._mac_bytes :]
            self._check(header, sealed, mac)
            content = self._unpad(self._decrypt(sealed))
        else:
            inner = self._unpad(self._decrypt(payload))
            content, mac = inner[: -self._mac_bytes], inner[-self._mac_bytes :]
            self._check(header, content, mac)
        self._count += 1
        return header[0], content

    def _check(self, header: bytes, covered: bytes, mac: bytes) -> None:
        data = self._count.to_bytes(8, "big") + header[:3] + len(covered).to_bytes(2, "big") + covered
        if hmac.digest(self._mac_key, data, self._mac_name) != mac:
            raise _not_genuine()

    def _decrypt(self, sealed: bytes) -> bytes:
        if len(sealed) % BLOCK_BYTES or len(sealed) < 2 * BLOCK_BYTES:
            raise _not_genuine()
        decryptor = Cipher(self._key, modes.CBC(sealed[:BLOCK_BYTES])).decryptor()
        return decryptor.update(memoryview(sealed)[BLOCK_BYTES:]) + decryptor.finalize()

    def _unpad(self, padded: bytes) -> bytes:
        # no care for timing: nobody waits for our answer, as a padding oracle would need
        count = padded[-1] + 1
        if padded[-count:] != padded[-1:] * count:
            raise _not_genuine()
        return padded[:-count]


def tls12_ciphers(
    suite: Suite, master: bytes, randoms: tuple[bytes, bytes], *, mac_outside: bool
) -> tuple[RecordCipher, RecordCipher]:
    """Derive the record ciphers of client and server (RFC 5246 section 6.3).

    Args:
        suite: One of TLS 1.2.
        master: The master secret of the key log, 48 bytes.
        randoms: Of client and server.
        mac_outside: Whether encrypt-then-MAC was agreed.
    """
    sizes = [suite.mac_bytes] * 2 + [suite.key_bytes] * 2 + [suite.salt_bytes] * 2
    block = prf(master, b"key expansion" + randoms[1] + randoms[0], sum(sizes), suite.hash_name)
    parts = []
    for size in sizes:
        parts.append(block[:size])
        block = block[size:]
    pairs = zip(parts[0:2], parts[2:4], parts[4:6], strict=True)
    client, server = (_tls12_cipher(suite, *pair, mac_outside=mac_outside) for pair in pairs)
    return client, server


def _tls12_cipher(
    suite: Suite, mac_key: bytes, key: bytes, salt: bytes, *, mac_outside: bool
) -> RecordCipher:
    if suite.mode == "CBC":
        return Tls12CbcCipher(suite, key, mac_key, mac_outside=mac_outside)
    return Tls12AeadCipher(suite, key, salt)
