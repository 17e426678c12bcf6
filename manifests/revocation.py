"""Whether a certificate was revoked, by answers fetched when the token or signature was made.

The revocation file of a token is canonical JSON, so that it lies beside the token and stays checkable when
the authority's servers are gone::

    {"answers": [{"answer": base64 DER, "certificate_sha256": hex, "kind": "crl" | "ocsp" | "none",
                  "reason": why there is none, "url": where it was asked}],
     "format": "evidence-revocation/1"}

One answer for each certificate of the chain below the root, ``none`` with its reason where there is none.

Source: RFC 5280 sections 5 and 6.3; RFC 6960 section 3.2; RFC 3161 section 4 for what a revocation means.
"""

from __future__ import annotations

import base64
import itertools
from collections.abc import Sequence
from datetime import datetime
from typing import Literal

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID

from manifests.canonical import canonical_bytes, parse_canonical
from manifests.errors import MalformedJson
from manifests.findings import Code, Finding
from manifests.proof import ProofError, utc_text
from manifests.tsa_chain import UNREADABLE_CERTIFICATE, find_extension

FORMAT: Literal["evidence-revocation/1"] = "evidence-revocation/1"
MAX_ANSWER_BYTES = 2 * 1024 * 1024

_SUBJECT = "revocation file"
# RFC 3161 section 4: after these, what was stamped before stays good; after any other reason nothing does.
_HARMLESS = {
    x509.ReasonFlags.unspecified,
    x509.ReasonFlags.affiliation_changed,
    x509.ReasonFlags.superseded,
    x509.ReasonFlags.cessation_of_operation,
}


class Answer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was learnt about one certificate.

    Args:
        certificate_sha256: Lower-case hex of its DER.
        kind: Form of the answer; ``none`` when there is none.
        url: Where it was asked; empty when the certificate names no place.
        answer: Base64 of the DER; empty for ``none``.
        reason: Why there is none; else empty.
    """

    certificate_sha256: str
    kind: Literal["crl", "ocsp", "none"]
    url: str = ""
    answer: str = ""
    reason: str = ""


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    format: Literal["evidence-revocation/1"]
    answers: list[Answer]


def encode_answers(answers: Sequence[Answer]) -> bytes:
    """The revocation file's bytes."""
    return canonical_bytes(msgspec.to_builtins(_File(format=FORMAT, answers=list(answers))))


def places_to_ask(certificate: x509.Certificate) -> list[tuple[Literal["crl", "ocsp"], str]]:
    """Where *certificate* says its revocation is published: lists first, for they need no request."""
    points = find_extension(certificate, x509.CRLDistributionPoints)
    names = [name for point in points.value for name in point.full_name or ()] if points else []
    access = find_extension(certificate, x509.AuthorityInformationAccess)
    responders = [
        each.access_location
        for each in (access.value if access else ())
        if each.access_method == AuthorityInformationAccessOID.OCSP
    ]
    places: list[tuple[Literal["crl", "ocsp"], str]] = [("crl", str(name.value)) for name in names]
    places += [("ocsp", str(name.value)) for name in responders]
    return [place for place in places if place[1].startswith(("http://", "https://"))]


def ocsp_request(certificate: x509.Certificate, issuer: x509.Certificate) -> bytes:
    """The DER of an OCSP request for *certificate*; SHA-1 names the issuer, as every responder expects."""
    builder = ocsp.OCSPRequestBuilder().add_certificate(certificate, issuer, hashes.SHA1())  # noqa: S303  an identifier
    return builder.build().public_bytes(Encoding.DER)


def check_revocation(
    chain: Sequence[x509.Certificate], revocation_file: bytes, at: datetime
) -> list[Finding]:
    """Judge every certificate of *chain* below its root by the stored answers.

    Args:
        chain: As checked: signer first, root last.
        revocation_file: See the module.
        at: The token's time.

    Returns:
        A note for each certificate whose answer is missing, or older than the token.

    Raises:
        ProofError: ``timestamp-certificate-revoked``, or ``timestamp-revocation-malformed`` when the file
            is not one, or holds an answer that its authority did not sign.
    """
    answers = _read_answers(revocation_file)
    notes = []
    for certificate, issuer in itertools.pairwise(chain):
        name = certificate.fingerprint(hashes.SHA256()).hex()
        answer = answers.pop(name, None)
        if answer is None or answer.kind == "none":
            reason = answer.reason if answer else "no answer stored"
            notes.append(Finding(Code.TIMESTAMP_REVOCATION_UNCHECKED, _subject(certificate), "", reason))
            continue
        status = _status(certificate, issuer, answer)
        _refuse_revoked(certificate, status, at)
        if status.good_until is not None and status.good_until < at:
            expected, got = f"an answer good at {utc_text(at)}", f"until {utc_text(status.good_until)}"
            notes.append(Finding(Code.TIMESTAMP_REVOCATION_UNCHECKED, _subject(certificate), expected, got))
    if answers:
        raise ProofError(Code.TIMESTAMP_REVOCATION_MALFORMED, _SUBJECT, "the chain's certificates", "others")
    return notes


class _Status(msgspec.Struct, frozen=True):
    good_until: datetime | None
    revoked_at: datetime | None
    reason: x509.ReasonFlags | None


def _refuse_revoked(certificate: x509.Certificate, status: _Status, at: datetime) -> None:
    if status.revoked_at is None or (status.reason in _HARMLESS and at < status.revoked_at):
        return
    reason = status.reason.value if status.reason else "no reason given"
    got = f"revoked {utc_text(status.revoked_at)}, {reason}"
    raise ProofError(Code.TIMESTAMP_REVOKED, _subject(certificate), f"good at {utc_text(at)}", got)


def _read_answers(revocation_file: bytes) -> dict[str, Answer]:
    try:
        file = msgspec.convert(parse_canonical(revocation_file), _File)
    except (MalformedJson, msgspec.ValidationError) as error:
        raise ProofError(Code.TIMESTAMP_REVOCATION_MALFORMED, _SUBJECT, FORMAT, str(error)) from error
    answers = {answer.certificate_sha256: answer for answer in file.answers}
    if len(answers) != len(file.answers):
        raise ProofError(Code.TIMESTAMP_REVOCATION_MALFORMED, _SUBJECT, "one answer each", "more")
    return answers


def _status(certificate: x509.Certificate, issuer: x509.Certificate, answer: Answer) -> _Status:
    try:
        der = base64.b64decode(answer.answer, validate=True)
        if answer.kind == "crl":
            return _list_status(x509.load_der_x509_crl(der), certificate, issuer)
        return _ocsp_status(ocsp.load_der_ocsp_response(der), certificate, issuer)
    except (*UNREADABLE_CERTIFICATE, InvalidSignature, x509.ExtensionNotFound) as error:
        raise ProofError(
            Code.TIMESTAMP_REVOCATION_MALFORMED, _subject(certificate), f"a signed {answer.kind}", str(error)
        ) from error


def _list_status(
    revoked: x509.CertificateRevocationList, certificate: x509.Certificate, issuer: x509.Certificate
) -> _Status:
    key = issuer.public_key()
    if not isinstance(key, (rsa.RSAPublicKey, ec.EllipticCurvePublicKey)) or not revoked.is_signature_valid(
        key
    ):
        raise InvalidSignature("list is not signed by the issuer")
    entry = revoked.get_revoked_certificate_by_serial_number(certificate.serial_number)
    if revoked.issuer != certificate.issuer:
        raise ValueError("list is of another issuer")
    if entry is None:
        return _Status(revoked.next_update_utc, None, None)
    try:
        reason = entry.extensions.get_extension_for_class(x509.CRLReason).value.reason
    except x509.ExtensionNotFound:
        reason = None
    return _Status(revoked.next_update_utc, entry.revocation_date_utc, reason)


def _ocsp_status(
    response: ocsp.OCSPResponse, certificate: x509.Certificate, issuer: x509.Certificate
) -> _Status:
    if response.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
        raise ValueError(f"responder said {response.response_status.name.lower()}")
    _check_responder(response, issuer)
    single = ocsp.OCSPRequestBuilder().add_certificate(certificate, issuer, response.hash_algorithm).build()
    named = (response.serial_number, response.issuer_key_hash, response.issuer_name_hash)
    if named != (single.serial_number, single.issuer_key_hash, single.issuer_name_hash):
        raise ValueError("answer is about another certificate")
    if response.certificate_status is ocsp.OCSPCertStatus.UNKNOWN:
        raise ValueError("responder does not know the certificate")
    return _Status(response.next_update_utc, response.revocation_time_utc, response.revocation_reason)


def _check_responder(response: ocsp.OCSPResponse, issuer: x509.Certificate) -> None:
    """RFC 6960 section 4.2.2.2: the issuer itself, or whom it certified for this."""
    candidates = [issuer]
    for delegate in response.certificates:
        delegate.verify_directly_issued_by(issuer)
        usage = delegate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        if ExtendedKeyUsageOID.OCSP_SIGNING in usage:
            candidates.append(delegate)
    if not any(_is_signed_by(response, candidate) for candidate in candidates):
        raise InvalidSignature("answer is not signed by the issuer or its responder")


def _is_signed_by(response: ocsp.OCSPResponse, certificate: x509.Certificate) -> bool:
    key, hashing = certificate.public_key(), response.signature_hash_algorithm
    data = response.tbs_response_bytes
    try:
        if isinstance(key, rsa.RSAPublicKey) and hashing is not None:
            key.verify(response.signature, data, padding.PKCS1v15(), hashing)
            return True
        if isinstance(key, ec.EllipticCurvePublicKey) and hashing is not None:
            key.verify(response.signature, data, ec.ECDSA(hashing))
            return True
    except InvalidSignature:
        return False
    return False


def _subject(certificate: x509.Certificate) -> str:
    return f"certificate {certificate.subject.rfc4514_string()}"
