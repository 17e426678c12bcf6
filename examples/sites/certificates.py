"""A certificate authority for one run, one certificate for the example hosts, and a self-signed one."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from examples.sites.hosts import H1_ONLY, H2, SELF_SIGNED

LIFETIME = dt.timedelta(days=30)


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """PEM files written for one run; each chain has its key beside it."""

    ca: Path
    chain: Path
    key: Path
    self_signed: Path
    self_signed_key: Path


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _builder(subject: str, issuer: str, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(_name(issuer))
        .public_key(key)
        .serial_number(x509.random_serial_number())
        # An hour back, so that a clock a little behind does not refuse it.
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + LIFETIME)
    )


def _server(
    builder: x509.CertificateBuilder,
    hosts: tuple[str, ...],
    signer: ec.EllipticCurvePrivateKey,
) -> x509.Certificate:
    names = x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts])
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
    return (
        builder.add_extension(names, critical=False)
        .add_extension(usage, critical=False)
        .add_extension(identifier, critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(signer, hashes.SHA256())
    )


def _write(path: Path, *certificates: x509.Certificate) -> Path:
    path.write_bytes(b"".join(c.public_bytes(serialization.Encoding.PEM) for c in certificates))
    return path


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> Path:
    path.touch(0o600)
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    )
    return path


def make_certificates(folder: Path) -> CertificateFiles:
    """Make fresh keys and certificates in *folder* and return where they are."""
    ca_key, key, lone_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
    ca_name = "Example Sites Local CA"
    ca = (
        _builder(ca_name, ca_name, ca_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    leaf = _server(_builder("example sites", ca_name, key.public_key()), (*H2, *H1_ONLY), ca_key)
    lone = _server(_builder(SELF_SIGNED[0], SELF_SIGNED[0], lone_key.public_key()), SELF_SIGNED, lone_key)
    return CertificateFiles(
        ca=_write(folder / "ca.pem", ca),
        chain=_write(folder / "chain.pem", leaf, ca),
        key=_write_key(folder / "key.pem", key),
        self_signed=_write(folder / "self-signed.pem", lone),
        self_signed_key=_write_key(folder / "self-signed-key.pem", lone_key),
    )
