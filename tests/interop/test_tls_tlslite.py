"""The TLS follower against tlslite-ng, which compresses certificates where the others here cannot."""

from __future__ import annotations

import socket
import ssl
import threading

import pytest
from tls_tools import HOST, Pipe, follow, make_certificate

from archiver.capture.recorder import tls13
from archiver.capture.recorder.tls_certificates import decompress_certificate

tlslite = pytest.importorskip("tlslite", reason="needs tlslite-ng")
from tlslite import tlsconnection  # noqa: E402 - only where it is there

LABELS = {
    b"c hs traffic": "CLIENT_HANDSHAKE_TRAFFIC_SECRET",
    b"s hs traffic": "SERVER_HANDSHAKE_TRAFFIC_SECRET",
    b"c ap traffic": "CLIENT_TRAFFIC_SECRET_0",
    b"s ap traffic": "SERVER_TRAFFIC_SECRET_0",
}


@pytest.fixture(scope="module")
def pem(tmp_path_factory):
    return make_certificate(tmp_path_factory.mktemp("pem"), "rsa", "-newkey", "rsa:2048")


@pytest.fixture
def secrets(monkeypatch):
    """What tlslite derived, by key log label; it has no key log of its own."""
    derive, found = tlsconnection.derive_secret, {}

    def watch(secret, label, hashes, algorithm):
        result = derive(secret, label, hashes, algorithm)
        if bytes(label) in LABELS:
            found[LABELS[bytes(label)]] = result.hex()
        return result

    monkeypatch.setattr(tlsconnection, "derive_secret", watch)
    return found


def serve_once(listener, pem, method):
    settings = tlslite.HandshakeSettings()
    settings.certificate_compression_send = [method]
    chain = tlslite.X509CertChain()
    chain.parsePemList(pem.with_suffix(".pem.crt").read_text())
    key = tlslite.parsePEMKey(pem.read_text(), private=True)
    client, _ = listener.accept()
    with client:
        connection = tlslite.TLSConnection(client)
        connection.handshakeServer(certChain=chain, privateKey=key, settings=settings)
        connection.write(b"heard " + connection.read(min=5, max=5))
        connection.close()


@pytest.mark.parametrize(("method", "number"), [("zlib", 1), ("brotli", 2), ("zstd", 3)])
def test_compressed_certificate(method, number, pem, secrets, tmp_path, monkeypatch):  # noqa: PLR0917 - a case
    """A certificate that came compressed is the one that the server has, and its signature checks."""
    opened = []

    def watch(body):
        opened.append(int.from_bytes(body[:2], "big"))
        return decompress_certificate(body)

    monkeypatch.setattr(tls13, "decompress_certificate", watch)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=serve_once, args=(listener, pem, method))
        server.start()
        pipe = Pipe(listener.getsockname()[1])
        settings = tlslite.HandshakeSettings()
        settings.certificate_compression_receive = [method]
        with socket.create_connection(("127.0.0.1", pipe.port)) as plain:
            connection = tlslite.TLSConnection(plain)
            connection.handshakeClientCert(serverName=HOST, settings=settings)
            connection.write(b"saved")
            assert connection.read(min=11, max=11) == b"heard saved"
            connection.close()
        server.join()
        wire = pipe.wires(1)[0]
        pipe.close()
    client_random = wire[0][1][11:43].hex()
    keys = tmp_path / "keys.log"
    keys.write_text("".join(f"{label} {client_random} {secret}\n" for label, secret in secrets.items()))
    stream, plain = follow(wire, keys)
    facts = stream.facts()
    assert plain == (b"saved", b"heard saved")
    assert opened == [number]
    assert facts.chain == (ssl.PEM_cert_to_DER_cert(pem.with_suffix(".pem.crt").read_text()),)
    assert (facts.certificate_verify.valid, facts.server_finished, facts.client_finished) == (
        True,
        True,
        True,
    )
