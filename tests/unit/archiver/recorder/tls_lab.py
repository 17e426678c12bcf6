"""TLS connections made in memory by Python's ssl, with every byte and the key log kept."""

from __future__ import annotations

import contextlib
import datetime as dt
import ssl
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID

from archiver.capture.recorder.keylog import KeyLog
from archiver.capture.recorder.tls import TlsError, TlsStream

HOST = "evidence.example"


def make_certificate(folder: Path, kind: str) -> Path:
    """Write key and self-signed certificate of *kind* (rsa, ec, ed25519) as one PEM."""
    key = {
        "rsa": lambda: rsa.generate_private_key(65537, 2048),
        "ec": lambda: ec.generate_private_key(ec.SECP256R1()),
        "ed25519": ed25519.Ed25519PrivateKey.generate,
    }[kind]()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=30))
        .sign(key, None if kind == "ed25519" else hashes.SHA256())
    )
    path = folder / f"{kind}.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return path


@dataclass
class Recording:
    """What passed on one connection: chunks in wire order, plaintext of each direction, key log lines."""

    wire: list[tuple[int, bytes]] = field(default_factory=list)
    sent: tuple[bytearray, bytearray] = field(default_factory=lambda: (bytearray(), bytearray()))
    keys: bytes = b""


class Pair:
    """A client and a server that talk through memory."""

    def __init__(self, client: ssl.SSLContext, server: ssl.SSLContext, session: ssl.SSLSession | None = None):
        self.recording = Recording()
        self._bios = [(ssl.MemoryBIO(), ssl.MemoryBIO()) for _ in range(2)]
        self.client = client.wrap_bio(*self._bios[0], server_hostname=HOST, session=session)
        self.server = server.wrap_bio(*self._bios[1], server_side=True)

    def carry(self, way: int) -> None:
        if data := self._bios[way][1].read():
            self.recording.wire.append((way, data))
            self._bios[1 - way][0].write(data)

    def shake(self) -> None:
        todo = [self.client, self.server]
        for _ in range(10):
            for way, side in enumerate((self.client, self.server)):
                if side in todo:
                    try:
                        side.do_handshake()
                        todo.remove(side)
                    except ssl.SSLWantReadError:
                        pass
                self.carry(way)
            if not todo:
                return
        raise AssertionError("handshake did not end")

    def say(self, way: int, data: bytes) -> None:
        speaker, listener = (self.client, self.server) if way == 0 else (self.server, self.client)
        speaker.write(data)
        self.carry(way)
        heard = b""
        while len(heard) < len(data):
            heard += listener.read(65536)
        assert heard == data
        self.recording.sent[way].extend(data)

    def close(self) -> None:
        for way, side in enumerate((self.client, self.server)):
            with contextlib.suppress(ssl.SSLWantReadError):
                side.unwrap()
            self.carry(way)


def contexts(pem: Path, keys: Path, *, suites: str = "", version=ssl.TLSVersion.TLSv1_3):
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_mode = ssl.CERT_NONE
    client.keylog_filename = str(keys)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(pem)
    for context in (client, server):
        context.minimum_version = context.maximum_version = version
        context.set_alpn_protocols(["h2", "http/1.1"])
        if suites:
            context.set_ciphers(suites)
    return client, server


def record(pem: Path, keys: Path, *, session=None, **options) -> tuple[Recording, ssl.SSLSession]:
    """Shake hands, send a little each way, close; return what passed."""
    pair = Pair(*contexts(pem, keys, **options), session=session)
    pair.shake()
    pair.say(0, b"GET / HTTP/1.1\r\nhost: evidence.example\r\n\r\n")
    pair.say(1, b"HTTP/1.1 200 OK\r\n\r\n" + bytes(range(256)) * 200)
    pair.say(0, b"more")
    pair.close()
    pair.recording.keys = keys.read_bytes()
    return pair.recording, pair.client.session


def follow(wire, keys: Path) -> tuple[TlsStream, tuple[bytes, bytes]]:
    """Feed a wire to a fresh stream; return it and the plaintext of each direction."""
    stream = TlsStream(KeyLog(keys))
    out = (bytearray(), bytearray())
    for at, (way, data) in enumerate(wire):
        for direction, plain, _ in stream.feed(way, data, at):
            out[direction].extend(plain)
    return stream, (bytes(out[0]), bytes(out[1]))


def follow_some(wire, keys):
    """Follow as far as it goes; return the stream, the plaintext and the error, if any."""
    stream, plain = TlsStream(KeyLog(keys)), (bytearray(), bytearray())
    try:
        for at, (way, data) in enumerate(wire):
            for direction, content, _ in stream.feed(way, data, at):
                plain[direction].extend(content)
    except TlsError as error:
        for direction, content, _ in error.events:
            plain[direction].extend(content)
        return stream, plain, error
    return stream, plain, None


def refused(wire, keys):
    """Follow a wire that must be refused; return the error."""
    error = follow_some(wire, keys)[2]
    assert error is not None
    assert str(error).startswith("tls stream ")
    return error
