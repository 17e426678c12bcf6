"""A TLS 1.3 connection written by hand, so that any part of it can be wrong on purpose."""

from __future__ import annotations

import hashlib
import hmac
import os
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from archiver.capture.recorder.tls_ciphers import expand_label

CLIENT, SERVER = 0, 1
HASH = "sha256"
LABELS = {
    "early": ("CLIENT_EARLY_TRAFFIC_SECRET", "CLIENT_EARLY_TRAFFIC_SECRET"),
    "handshake": ("CLIENT_HANDSHAKE_TRAFFIC_SECRET", "SERVER_HANDSHAKE_TRAFFIC_SECRET"),
    "data": ("CLIENT_TRAFFIC_SECRET_0", "SERVER_TRAFFIC_SECRET_0"),
}


def number(value: int, width: int) -> bytes:
    return value.to_bytes(width, "big")


def vector(data: bytes, width: int) -> bytes:
    return number(len(data), width) + data


def extension(kind: int, data: bytes) -> bytes:
    return number(kind, 2) + vector(data, 2)


def message(kind: int, body: bytes) -> bytes:
    return number(kind, 1) + vector(body, 3)


def plain_record(kind: int, content: bytes) -> bytes:
    return bytes([kind, 3, 3]) + vector(content, 2)


def client_hello(random: bytes, *extensions: bytes) -> bytes:
    suites = vector(b"\x13\x01", 2)
    return message(1, b"\3\3" + random + b"\0" + suites + b"\1\0" + vector(b"".join(extensions), 2))


def server_hello(
    random: bytes, *extensions: bytes, suite: int = 0x1301, version: int = 0x0304, compression: int = 0
) -> bytes:
    chosen = extension(43, number(version, 2)) if version >= 0x0304 else b""
    legacy = number(min(version, 0x0303), 2)
    tail = number(suite, 2) + number(compression, 1) + vector(chosen + b"".join(extensions), 2)
    return message(2, legacy + random + b"\0" + tail)


def certificate(*ders: bytes, leaf: bytes = b"") -> bytes:
    entries = [vector(der, 3) + vector(leaf if at == 0 else b"", 2) for at, der in enumerate(ders)]
    return message(11, b"\0" + vector(b"".join(entries), 3))


EARLY = extension(42, b"")
ECH = extension(0xFE0D, b"\0" + bytes(20))


class Forge:
    """Both sides of one connection; ``wire`` grows with what they say."""

    def __init__(self, keys: Path) -> None:
        self.random = os.urandom(32)
        self.wire: list[tuple[int, bytes]] = []
        self.transcript = b""
        self._secrets = {label: os.urandom(32) for pair in LABELS.values() for label in pair}
        lines = [f"{label} {self.random.hex()} {value.hex()}\n" for label, value in self._secrets.items()]
        keys.write_text("".join(lines))
        self._use: list[tuple[bytes, int]] = [(b"", 0), (b"", 0)]

    def say(self, way: int, data: bytes) -> None:
        self.wire.append((way, data))

    def keys(self, way: int, stage: str) -> None:
        self._use[way] = (self._secrets[LABELS[stage][way]], 0)

    def hello(self, *client: bytes, server: tuple[bytes, ...] = (), **options) -> None:
        hellos = client_hello(self.random, *client), server_hello(os.urandom(32), *server, **options)
        for way, hello in enumerate(hellos):
            self.transcript += hello
            self.say(way, plain_record(22, hello))
        for way in (CLIENT, SERVER):
            self.keys(way, "handshake")

    def seal(self, way: int, kind: int, content: bytes, *, padding: int = 0) -> bytes:
        secret, count = self._use[way]
        self._use[way] = (secret, count + 1)
        key, iv = expand_label(secret, b"key", 16, HASH), expand_label(secret, b"iv", 12, HASH)
        inner = content + bytes([kind]) + bytes(padding)
        header = bytes([23, 3, 3]) + number(len(inner) + 16, 2)
        nonce = number(int.from_bytes(iv, "big") ^ count, 12)
        return header + AESGCM(key).encrypt(nonce, inner, header)

    def shake(self, way: int, *messages: bytes) -> None:
        """Say handshake messages in one record."""
        self.transcript += b"".join(messages)
        self.say(way, self.seal(way, 22, b"".join(messages)))

    def verify_message(self, key, *, scheme: int = 0x0807, flip: bool = False) -> bytes:
        signed = b" " * 64 + b"TLS 1.3, server CertificateVerify\0"
        signature = bytearray(key.sign(signed + hashlib.sha256(self.transcript).digest()))
        signature[5] ^= flip
        return message(15, number(scheme, 2) + vector(bytes(signature), 2))

    def finished(self, way: int, *, flip: bool = False) -> bytes:
        key = expand_label(self._use[way][0], b"finished", 32, HASH)
        mac = bytearray(hmac.digest(key, hashlib.sha256(self.transcript).digest(), HASH))
        mac[0] ^= flip
        return message(20, bytes(mac))

    def finish(self, way: int, *, flip: bool = False) -> None:
        self.shake(way, self.finished(way, flip=flip))
        self.keys(way, "data")

    def whole(self, *client: bytes, server: tuple[bytes, ...] = (), encrypted: bytes = b"") -> Forge:
        """Do a handshake without a certificate up to the point where data may pass."""
        self.hello(*client, server=server)
        self.shake(SERVER, message(8, vector(encrypted, 2)))
        self.finish(SERVER)
        self.finish(CLIENT)
        return self


def leaf_and_key(pem: Path):
    """Return the DER certificate and the private key of a PEM file."""
    from cryptography import x509

    data = pem.read_bytes()
    der = x509.load_pem_x509_certificate(data).public_bytes(serialization.Encoding.DER)
    return der, serialization.load_pem_private_key(data, None)
