"""The second signature of a record, by an organisation's X.509 certificate: CAdES-T, detached, in DER.

Beside the record's own signature, where an organisation has a certificate of a public or national authority.
``record.p7s`` holds the signature over the record's bytes and, as its only unsigned attribute, an RFC 3161
token over the signature value. ``openssl cms -verify`` and ``openssl ts -verify`` read both. What was known
of the revocation of both chains lies beside it (``manifests.revocation``).

It is made with pyHanko (``archiver.certificate_signing``); nothing here uses more than cryptography.

Source: ETSI EN 319 122-1 (CAdES baseline B-T); RFC 5652 section 5; RFC 5035; RFC 3161 appendix A.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from asn1crypto import cms, tsp
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from manifests.findings import Code, Finding
from manifests.proof import Interval, ProofError, utc_text
from manifests.revocation import check_revocation
from manifests.timestamps import check_time, check_token, stated_interval
from manifests.trust import Trust, TrustedAuthority, TrustedCertificate
from manifests.tsa_chain import (
    STRONG_HASHES,
    UNREADABLE_CERTIFICATE,
    check_strength,
    find_chain,
    find_extension,
)
from manifests.tsa_token import UNREADABLE, Token, named_certificates, parse_reply

CERTIFICATE_SIGNATURE = "record.p7s"
CERTIFICATE_REVOCATION = "certificate.revocation.json"
CERTIFICATE_TSA_REVOCATION = "certificate.tsa-revocation.json"
CERTIFICATE_FILES = (CERTIFICATE_SIGNATURE, CERTIFICATE_REVOCATION, CERTIFICATE_TSA_REVOCATION)
MAX_BYTES = 256 * 1024
_SUBJECT = "certificate signature"
_HASHES: dict[str, Callable[[], hashes.HashAlgorithm]] = {
    "sha256": hashes.SHA256,
    "sha384": hashes.SHA384,
    "sha512": hashes.SHA512,
}


@dataclass(frozen=True, slots=True)
class CertificateSignature:
    """A signature as read from its file; nothing in it is verified.

    Args:
        certificate: The one that it names.
        others: All other certificates that came with it.
        hash_name: ``sha256`` and so on.
        scheme: ``ecdsa`` or ``rsassa_pkcs1v15``.
        digest: Of the record, as signed.
        named_certificates: (hash name, digest) of the certificate that the signed attributes name.
        signed: The bytes that are signed.
        value: The signature.
        token: DER of the token over *value* as it lies in the file.
    """

    certificate: x509.Certificate
    others: tuple[x509.Certificate, ...]
    hash_name: str
    scheme: str
    digest: bytes
    named_certificates: tuple[tuple[str, bytes], ...]
    signed: bytes
    value: bytes
    token: bytes


@dataclass(frozen=True, slots=True)
class CertificateVerdict:
    """What ``verify_certificate_signature`` found.

    Args:
        principal: The organisation; None when not proven.
        subject: Of its certificate (RFC 4514), or empty.
        interval: When the signature existed at the latest; None when not proven.
        chain: Certificate first, root last; empty when not proven.
        tsa_chain: Of the token, likewise.
        findings: Empty or notes only when the signature is good.
    """

    principal: str | None
    subject: str
    interval: Interval | None
    chain: tuple[x509.Certificate, ...]
    tsa_chain: tuple[x509.Certificate, ...]
    findings: tuple[Finding, ...]


def parse_certificate_signature(data: bytes) -> CertificateSignature:
    """Read a signature file; verifies nothing.

    Raises:
        ProofError: ``certificate-signature-malformed``.
    """
    try:
        if len(data) > MAX_BYTES:
            raise ValueError(f"more than {MAX_BYTES} bytes")
        return _read(cms.ContentInfo.load(data, strict=True)["content"])
    except UNREADABLE as error:
        raise ProofError(
            Code.CERTIFICATE_SIGNATURE_MALFORMED, _SUBJECT, "CAdES-T, detached", str(error)
        ) from error


def _read(signed: cms.SignedData) -> CertificateSignature:
    content = signed["encap_content_info"]
    if content["content_type"].native != "data" or content["content"].native is not None:
        raise ValueError("content is not detached data")
    (info,) = signed["signer_infos"]
    certificates = tuple(x509.load_der_x509_certificate(each.dump()) for each in signed["certificates"])
    sid = info["sid"].chosen
    (certificate,) = (
        each
        for each, choice in zip(certificates, signed["certificates"], strict=True)
        if choice.chosen.issuer == sid["issuer"] and each.serial_number == sid["serial_number"].native
    )
    attributes = _attributes(info["signed_attrs"])
    if attributes["content_type"].native != "data":
        raise ValueError("signed attributes are about another type of content")
    unsigned = _attributes(info["unsigned_attrs"])
    if unsigned.keys() != {"signature_time_stamp_token"}:
        raise ValueError("unsigned attributes are not one timestamp")
    return CertificateSignature(
        certificate=certificate,
        others=tuple(each for each in certificates if each != certificate),
        hash_name=info["digest_algorithm"]["algorithm"].native,
        scheme=info["signature_algorithm"].signature_algo,
        digest=attributes["message_digest"].native,
        named_certificates=tuple(named_certificates({name: [one] for name, one in attributes.items()})),
        # RFC 5652 section 5.4: signed as a SET, stored under a tag of the structure around it.
        signed=b"\x31" + info["signed_attrs"].dump()[1:],
        value=info["signature"].native,
        token=unsigned["signature_time_stamp_token"].dump(),
    )


def _attributes(found: cms.CMSAttributes) -> dict[str, cms.Any]:
    """The attributes by name: each once, with one value."""
    values = {}
    for each in found:
        (values[each["type"].native],) = each["values"]
    if len(values) != len(found):
        raise ValueError("an attribute is given twice")
    return values


def verify_certificate_signature(
    record: bytes,
    signature_file: bytes,
    trust: Trust,
    *,
    revocation_file: bytes,
    tsa_revocation_file: bytes,
    captured_at: datetime,
    now: datetime,
) -> CertificateVerdict:
    """Decide which organisation signed *record* with its certificate.

    1. The file is a detached CAdES-T signature.
    2. It is over the record's bytes, by the certificate that its signed attributes name.
    3. The certificate is that of a trusted organisation and leads to its pinned root.
    4. The token in it is by a trusted authority and over the signature value; its time fits (``check_time``).
    5. At the token's time every certificate was valid and fit for it, and the organisation's not yet revoked.

    Args:
        record: The record's bytes, as stored.
        signature_file: The file's bytes.
        trust: Organisations and authorities.
        revocation_file: Answers about the organisation's chain.
        tsa_revocation_file: Answers about the token's chain.
        captured_at: When the capture began, by the record.
        now: The verifier's clock.
    """
    subject = ""
    try:
        signature = parse_certificate_signature(signature_file)  # 1
        subject = signature.certificate.subject.rfc4514_string()
        _check_signature(signature, record)  # 2
        trusted, chain = _organisation(signature, trust.certificates)  # 3
        interval, tsa_chain, notes = _time(signature, trust.authorities, tsa_revocation_file)  # 4
        check_time(interval, captured_at, now)
        notes += _check_chain(trusted, chain, revocation_file, interval.latest)  # 5
    except ProofError as error:
        return CertificateVerdict(None, subject, None, (), (), (error.finding,))
    except UNREADABLE as error:
        found = Finding(Code.CERTIFICATE_SIGNATURE_MALFORMED, _SUBJECT, "CAdES-T, detached", str(error))
        return CertificateVerdict(None, subject, None, (), (), (found,))
    return CertificateVerdict(trusted.principal, subject, interval, chain, tsa_chain, tuple(notes))


def _check_signature(signature: CertificateSignature, record: bytes) -> None:
    if signature.hash_name not in _HASHES:
        raise ProofError(Code.CERTIFICATE_UNFIT, _SUBJECT, "SHA-256 or longer", signature.hash_name)
    digest = hashlib.new(signature.hash_name, record).digest()
    if digest != signature.digest:
        raise ProofError(Code.CERTIFICATE_SIGNATURE_WRONG, _SUBJECT, digest.hex(), signature.digest.hex())
    der = signature.certificate.public_bytes(Encoding.DER)
    for name, named in signature.named_certificates or (("none", b""),):
        known = hashlib.new(name, der).digest() if name in (*STRONG_HASHES, "sha1") else b""
        if not known or named != known:
            expected = f"its certificate named ({known.hex()})"
            raise ProofError(Code.CERTIFICATE_SIGNATURE_WRONG, _SUBJECT, expected, named.hex() or "none")
    key, hashing = signature.certificate.public_key(), _HASHES[signature.hash_name]()
    try:
        if isinstance(key, ec.EllipticCurvePublicKey) and signature.scheme == "ecdsa":
            key.verify(signature.value, signature.signed, ec.ECDSA(hashing))
        elif isinstance(key, rsa.RSAPublicKey) and signature.scheme == "rsassa_pkcs1v15":
            key.verify(signature.value, signature.signed, padding.PKCS1v15(), hashing)
        else:
            raise ProofError(Code.CERTIFICATE_UNFIT, _SUBJECT, "ECDSA or RSA PKCS#1", signature.scheme)
    except InvalidSignature as error:
        expected = f"a signature by {signature.certificate.subject.rfc4514_string()}"
        raise ProofError(Code.CERTIFICATE_SIGNATURE_WRONG, _SUBJECT, expected, "another") from error


def _organisation(
    signature: CertificateSignature, trusted: Sequence[TrustedCertificate]
) -> tuple[TrustedCertificate, tuple[x509.Certificate, ...]]:
    """Step 3: the first organisation whose certificate it is, and the chain to its root."""
    reason = "one that nobody trusts"
    for one in trusted:
        if not one.names(signature.certificate):
            continue
        try:
            return one, find_chain(signature.certificate, signature.others, one.root)
        except (ProofError, *UNREADABLE_CERTIFICATE):
            reason = f"one that does not lead to the root of {one.principal}"
    subject = f"certificate {signature.certificate.subject.rfc4514_string()}"
    raise ProofError(Code.CERTIFICATE_UNKNOWN, subject, "a trusted one", reason)


def _time(
    signature: CertificateSignature, authorities: Sequence[TrustedAuthority], revocation_file: bytes
) -> tuple[Interval, tuple[x509.Certificate, ...], list[Finding]]:
    """Step 4: what the token in the signature proves, with notes."""
    token = embedded_token(signature)
    for authority in authorities:
        try:
            chain = check_token(token, signature.value, authority, request=None)
        except ProofError as error:
            if error.finding.code is Code.TIMESTAMP_CHAIN:
                continue
            raise
        return stated_interval(token), chain, check_revocation(chain, revocation_file, token.gen_time)
    raise ProofError(
        Code.TIMESTAMP_AUTHORITY_UNKNOWN,
        "timestamp of record.p7s",
        "a trusted one",
        "another",
    )


def embedded_token(signature: CertificateSignature) -> Token:
    """The token over the signature value. Raises ``ProofError`` or one of ``UNREADABLE`` when it is none."""
    content = cms.ContentInfo.load(signature.token, strict=True)
    reply = tsp.TimeStampResp({"status": {"status": "granted"}, "time_stamp_token": content})
    return parse_reply(reply.dump())


def _check_chain(
    trusted: TrustedCertificate,
    chain: Sequence[x509.Certificate],
    revocation_file: bytes,
    at: datetime,
) -> list[Finding]:
    """Step 5: returns notes on revocation; the chain was good at *at*, by trust and stored answers."""
    subject = f"certificate of {trusted.principal}"
    for one in chain:
        start, end = one.not_valid_before_utc, one.not_valid_after_utc
        if not start <= at <= end:
            period = f"{utc_text(start)} to {utc_text(end)}"
            raise ProofError(Code.CERTIFICATE_PERIOD, subject, period, utc_text(at))
    if trusted.revoked_at is not None and at >= trusted.revoked_at:
        limit = f"before {utc_text(trusted.revoked_at)}"
        raise ProofError(Code.CERTIFICATE_REVOKED, subject, limit, utc_text(at))
    usage = find_extension(chain[0], x509.KeyUsage)
    if usage and not (usage.value.digital_signature or usage.value.content_commitment):
        raise ProofError(Code.CERTIFICATE_UNFIT, subject, "digitalSignature", "another key usage")
    try:
        for number, one in enumerate(chain):
            check_strength(one, is_root=number == len(chain) - 1)
        notes = check_revocation(chain, revocation_file, at)
    except ProofError as error:
        raise _renamed(error.finding) from error
    return [_renamed(note).finding for note in notes]


_OURS = {
    Code.TIMESTAMP_WEAK_ALGORITHM: Code.CERTIFICATE_UNFIT,
    Code.TIMESTAMP_REVOKED: Code.CERTIFICATE_REVOKED,
    Code.TIMESTAMP_REVOCATION_UNCHECKED: Code.CERTIFICATE_REVOCATION_UNCHECKED,
    Code.TIMESTAMP_REVOCATION_MALFORMED: Code.CERTIFICATE_SIGNATURE_MALFORMED,
}
"""What is said of an authority's chain, as it is said of an organisation's."""


def _renamed(finding: Finding) -> ProofError:
    return ProofError(_OURS[finding.code], finding.subject, finding.expected, finding.got)
