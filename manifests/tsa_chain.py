"""The certificates of a timestamp authority: from the signer to the one root that is pinned for it.

A chain is judged at the time the token states, by these rules alone; the operating system's roots have no
part in it. ``rfc3161-client`` (OpenSSL) then judges the same chain a second time when it verifies the
token's signature: both must agree.

Source: RFC 5280 section 6.1; RFC 3161 section 2.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from manifests.findings import Code
from manifests.proof import ProofError, utc_text

MAX_CERTIFICATES = 16
MAX_CHAIN_LENGTH = 6
MIN_RSA_BITS = 2048
MIN_EC_BITS = 256
STRONG_HASHES = frozenset({"sha256", "sha384", "sha512"})
UNREADABLE_CERTIFICATE = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
"""What cryptography raises over a broken certificate, some of it only when the broken piece is looked at."""

_Kind = TypeVar("_Kind", bound=x509.ExtensionType)


def check_chain(
    signer: x509.Certificate,
    others: Sequence[x509.Certificate],
    root: x509.Certificate,
    at: datetime,
) -> tuple[x509.Certificate, ...]:
    """Find the chain from *signer* to *root* and check every certificate in it.

    1. The signer is for timestamps alone: its extended key usage is critical and names nothing else.
    2. Signatures lead from it, over certificates among *others* that may issue, to *root*.
    3. Every certificate, the root too, was valid at *at*.
    4. No key and no signature below the root is weak.

    Args:
        signer: The certificate that the token's signature names.
        others: What came with the token or lies beside it; at most ``MAX_CERTIFICATES`` are looked at.
        root: The pinned root.
        at: The token's time.

    Returns:
        Signer first, root last.

    Raises:
        ProofError: ``timestamp-purpose-wrong``, ``timestamp-chain-untrusted``,
            ``timestamp-certificate-period`` or ``timestamp-weak-algorithm``.
    """
    try:
        _check_purpose(signer)
        chain = find_chain(signer, others, root)
        for certificate in chain:
            _check_period(certificate, at)
            check_strength(certificate, is_root=certificate == root)
    except UNREADABLE_CERTIFICATE as error:
        raise ProofError(Code.TIMESTAMP_CHAIN, "TSA certificate", "a readable one", str(error)) from error
    return chain


def find_chain(
    signer: x509.Certificate, others: Sequence[x509.Certificate], root: x509.Certificate
) -> tuple[x509.Certificate, ...]:
    """Find the certificates from *signer* to *root*, each of which issued the one before it.

    Raises:
        ProofError: ``timestamp-chain-untrusted``.
    """
    # Breadth first, each certificate once, so that no set of them makes the search long.
    waiting: list[tuple[x509.Certificate, ...]] = [(signer,)]
    unused = [each for each in others[:MAX_CERTIFICATES] if each not in (signer, root)]
    for _ in range(MAX_CHAIN_LENGTH):
        longer: list[tuple[x509.Certificate, ...]] = []
        for path in waiting:
            if path[-1] == root:
                return path
            if _issued(root, path[-1], below=len(path) - 1):
                return (*path, root)
            issuers = [each for each in unused if _issued(each, path[-1], below=len(path) - 1)]
            unused = [each for each in unused if each not in issuers]
            longer.extend((*path, issuer) for issuer in issuers)
        waiting = longer
    subject = f"certificate {signer.subject.rfc4514_string()}"
    raise ProofError(Code.TIMESTAMP_CHAIN, subject, root.subject.rfc4514_string(), "no chain to it")


def _issued(issuer: x509.Certificate, certificate: x509.Certificate, *, below: int) -> bool:
    """Whether *issuer* may issue, with *below* authorities between it and the signer, and did."""
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    constraints = find_extension(issuer, x509.BasicConstraints)
    usage = find_extension(issuer, x509.KeyUsage)
    if constraints is None or not constraints.value.ca or (usage and not usage.value.key_cert_sign):
        return False
    return constraints.value.path_length is None or constraints.value.path_length >= below


def _check_purpose(signer: x509.Certificate) -> None:
    """RFC 3161 section 2.3: one purpose, marked critical."""
    usage = find_extension(signer, x509.ExtendedKeyUsage)
    if usage is None or not usage.critical or list(usage.value) != [ExtendedKeyUsageOID.TIME_STAMPING]:
        purposes = ", ".join(oid.dotted_string for oid in usage.value) if usage else "no purpose"
        got = purposes if usage is None or usage.critical else f"{purposes}, not critical"
        raise ProofError(Code.TIMESTAMP_PURPOSE, "TSA certificate", "timeStamping alone, critical", got)
    key_usage = find_extension(signer, x509.KeyUsage)
    if key_usage and not (key_usage.value.digital_signature or key_usage.value.content_commitment):
        raise ProofError(Code.TIMESTAMP_PURPOSE, "TSA certificate", "digitalSignature", "another key usage")


def _check_period(certificate: x509.Certificate, at: datetime) -> None:
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if not start <= at <= end:
        subject = f"TSA certificate {certificate.subject.rfc4514_string()}"
        period = f"{utc_text(start)} to {utc_text(end)}"
        raise ProofError(Code.TIMESTAMP_CERTIFICATE_PERIOD, subject, period, utc_text(at))


def check_strength(certificate: x509.Certificate, *, is_root: bool) -> None:
    """Refuse short keys and weak hashes: ``ProofError`` with ``timestamp-weak-algorithm``."""
    subject = f"certificate {certificate.subject.rfc4514_string()}"
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey) and key.key_size < MIN_RSA_BITS:
        raise ProofError(
            Code.TIMESTAMP_WEAK_ALGORITHM, subject, f"RSA of {MIN_RSA_BITS} bits", f"{key.key_size} bits"
        )
    if isinstance(key, ec.EllipticCurvePublicKey) and key.key_size < MIN_EC_BITS:
        raise ProofError(
            Code.TIMESTAMP_WEAK_ALGORITHM, subject, f"EC of {MIN_EC_BITS} bits", f"{key.key_size} bits"
        )
    hashing = certificate.signature_hash_algorithm
    # A root is trusted by its fingerprint, so the hash it signed itself with carries nothing.
    if not is_root and hashing is not None and hashing.name not in STRONG_HASHES:
        raise ProofError(Code.TIMESTAMP_WEAK_ALGORITHM, subject, "SHA-256 or longer", hashing.name)


def find_extension(certificate: x509.Certificate, kind: type[_Kind]) -> x509.Extension[_Kind] | None:
    """The extension of that *kind*, or None when *certificate* has none."""
    try:
        return certificate.extensions.get_extension_for_class(kind)
    except x509.ExtensionNotFound:
        return None
