"""A timestamp authority for tests, the demonstration and offline practice. IT PROVES NOTHING ABOUT TIME.

Whoever runs it holds its keys and its clock, and can stamp any time they like. Its names, its policy OID
and every answer say so. The tokens are real: ``openssl ts`` makes them, behind an HTTP server on loopback.

The state folder holds the root (``root.pem``, to be pinned in a trust file), an issuing certificate, and
the keys. A new signer certificate is issued at each start, because it names the address of the CRL.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import logging
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from archiver.errors import EnvironmentUnfit

WARNING = "TEST TSA: PROVES NOTHING ABOUT TIME"
POLICY = "1.3.6.1.4.1.32473.1"  # RFC 5612: a private enterprise number set aside for documentation
MAX_REQUEST_BYTES = 4096
REQUEST_TIMEOUT_S = 10
POLL_S = 0.05
_LOG = logging.getLogger(__name__)

_CONFIG = f"""\
[t1]
serial = serial
default_policy = {POLICY}
digests = sha256, sha384, sha512
signer_digest = sha256
accuracy = secs:1, millisecs:500
clock_precision_digits = 3
tsa_name = yes
ess_cert_id_chain = no
ess_cert_id_alg = sha256
"""


@dataclass(frozen=True, slots=True)
class Authority:
    """A running test authority.

    Args:
        url: Where it takes requests.
        root: Its root certificate.
        state_dir: Its folder.
    """

    url: str
    root: x509.Certificate
    state_dir: Path


@dataclass(frozen=True, slots=True)
class _Issuer:
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


@contextlib.contextmanager
def serve(state_dir: Path, *, host: str = "127.0.0.1", port: int = 0) -> Iterator[Authority]:
    """Run the authority in threads of this process until the block ends.

    Args:
        state_dir: Made if absent; keep it, and the root stays the same.
        host: Loopback unless you know why not.
        port: 0 takes a free one.

    Raises:
        EnvironmentUnfit: The address cannot be had.
    """
    _LOG.warning(WARNING)
    state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        server = ThreadingHTTPServer((host, port), _Handler)
    except OSError as error:
        raise EnvironmentUnfit(
            f"test TSA {host}:{port}: listening: expected a free port, got {error.strerror}",
            code="E151",
            hint="choose another --port",
        ) from error
    server.daemon_threads = True
    url = f"http://{host}:{server.server_address[1]}/"
    root = _prepare(state_dir, url)
    server.RequestHandlerClass = type(
        "_Bound", (_Handler,), {"state_dir": state_dir, "turn": threading.Lock()}
    )
    thread = threading.Thread(target=server.serve_forever, args=(POLL_S,), name="test-tsa", daemon=True)
    thread.start()
    try:
        yield Authority(url, root, state_dir)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    state_dir: Path
    turn: threading.Lock
    timeout = REQUEST_TIMEOUT_S

    def do_POST(self) -> None:
        """Answer an RFC 3161 request over HTTP (section 3.4)."""
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > MAX_REQUEST_BYTES:
            return self._send(413, "text/plain", f"expected at most {MAX_REQUEST_BYTES} bytes".encode())
        if self.headers.get("Content-Type") != "application/timestamp-query":
            return self._send(415, "text/plain", b"expected application/timestamp-query")
        query = self.rfile.read(int(length))
        with self.turn:  # openssl counts the serial number in a file that it does not lock
            reply = _reply(self.state_dir, query)
        if reply is None:
            return self._send(500, "text/plain", b"openssl ts made no reply")
        return self._send(200, "application/timestamp-reply", reply)

    def do_GET(self) -> None:
        """Serve the two revocation lists."""
        names = {"/root.crl": "root.crl", "/issuer.crl": "issuer.crl"}
        if self.path not in names:
            return self._send(404, "text/plain", WARNING.encode())
        return self._send(200, "application/pkix-crl", (self.state_dir / names[self.path]).read_bytes())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base class names it so
        _LOG.info(format, *args)

    def _send(self, status: int, media_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Warning", WARNING)
        self.end_headers()
        self.wfile.write(body)


def _reply(state_dir: Path, query: bytes) -> bytes | None:
    with tempfile.TemporaryDirectory(dir=state_dir) as work:
        (Path(work) / "query.tsq").write_bytes(query)
        reply = Path(work) / "reply.tsr"
        command = ["openssl", "ts", "-reply", "-config", "tsa.cnf", "-section", "t1"]
        command += ["-queryfile", str(Path(work) / "query.tsq"), "-out", str(reply)]
        command += ["-signer", "signer.pem", "-inkey", "signer.key", "-chain", "chain.pem"]
        done = subprocess.run(
            command, cwd=state_dir, capture_output=True, timeout=REQUEST_TIMEOUT_S, check=False
        )
        if not reply.exists():
            _LOG.warning("openssl ts: %s", done.stderr.decode(errors="replace")[:500])
            return None
        return reply.read_bytes()


def _prepare(state_dir: Path, url: str) -> x509.Certificate:
    """Write what ``openssl ts`` needs; returns the root, made at the first start."""
    root = _load(state_dir, "root") or _issue(state_dir, "root", "root", None, None)
    issuer = _issue(state_dir, "issuer", "issuing CA", root, url + "root.crl")
    signer = _issue(state_dir, "signer", "signer", issuer, url + "issuer.crl")
    for name, authority in (("root", root), ("issuer", issuer)):
        (state_dir / f"{name}.crl").write_bytes(_revocation_list(authority))
    chain = [authority.certificate.public_bytes(Encoding.PEM) for authority in (issuer, root)]
    (state_dir / "chain.pem").write_bytes(b"".join(chain))
    (state_dir / "tsa.cnf").write_text(_CONFIG)
    if not (state_dir / "serial").exists():
        (state_dir / "serial").write_text("01\n")
    _LOG.info("signer %s", signer.certificate.serial_number)
    return root.certificate


def _issue(state_dir: Path, name: str, role: str, issuer: _Issuer | None, crl_url: str | None) -> _Issuer:
    """Make a key and its certificate, self-signed without *issuer*, and write both into *state_dir*."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{WARNING} ({role})")])
    now = dt.datetime.now(dt.UTC).replace(microsecond=0)
    is_authority = role != "signer"
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=5))
        .not_valid_after(now + dt.timedelta(days=3650 if is_authority else 365))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(_key_usage(is_authority=is_authority), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if not is_authority:
        purpose = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING])
        builder = builder.add_extension(purpose, critical=True)
    if crl_url is not None:
        point = x509.DistributionPoint([x509.UniformResourceIdentifier(crl_url)], None, None, None)
        builder = builder.add_extension(x509.CRLDistributionPoints([point]), critical=False)
    certificate = builder.sign(issuer.key if issuer else key, hashes.SHA256())
    text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (state_dir / f"{name}.key").touch(mode=0o600)
    (state_dir / f"{name}.key").write_bytes(text)
    (state_dir / f"{name}.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    return _Issuer(certificate, key)


def _key_usage(*, is_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_authority,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _load(state_dir: Path, name: str) -> _Issuer | None:
    try:
        certificate = x509.load_pem_x509_certificate((state_dir / f"{name}.pem").read_bytes())
        key = load_pem_private_key((state_dir / f"{name}.key").read_bytes(), None)
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise EnvironmentUnfit(
            f"test TSA {state_dir}: {name}: expected a certificate and its key, got other files",
            code="E152",
            hint="name an empty folder",
        ) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise EnvironmentUnfit(
            f"test TSA {state_dir}: {name}.key: expected an EC key, got another",
            code="E152",
            hint="name an empty folder",
        )
    return _Issuer(certificate, key)


def _revocation_list(issuer: _Issuer) -> bytes:
    now = dt.datetime.now(dt.UTC).replace(microsecond=0)
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.certificate.subject)
        .last_update(now - dt.timedelta(minutes=5))
        .next_update(now + dt.timedelta(days=365))
        .add_extension(x509.CRLNumber(int(now.timestamp())), critical=False)
    )
    return builder.sign(issuer.key, hashes.SHA256()).public_bytes(Encoding.DER)
