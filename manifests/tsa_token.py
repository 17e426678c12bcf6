"""Reading RFC 3161 queries and replies. Nothing in them is verified here (see ``manifests.timestamps``).

Where OpenSSL wrote a token's set of certificates in an order that strict DER forbids, a sorted copy is what
gets parsed; the reply is stored as it came.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from asn1crypto import cms, core, tsp
from cryptography import x509

from manifests.findings import Code
from manifests.proof import ProofError
from manifests.tsa_chain import UNREADABLE_CERTIFICATE

KIB = 1024
MAX_REPLY_BYTES = 64 * KIB
MAX_REQUEST_BYTES = 4 * KIB
_SUBJECT = "timestamp"


class _Reply(core.Sequence):  # type: ignore[misc]  # asn1crypto has no types
    # asn1crypto's own TimeStampResp demands the token that a refusal leaves out.
    _fields = [  # noqa: RUF012  asn1crypto reads it as a list
        ("status", tsp.PKIStatusInfo),
        ("time_stamp_token", cms.ContentInfo, {"optional": True}),
    ]


@dataclass(frozen=True, slots=True)
class Token:
    """A reply as parsed; nothing in it is verified.

    Args:
        gen_time: The time it states, aware UTC, with fractions.
        accuracy: What it states, or None.
        policy: Dotted OID.
        hash_name: ``sha256`` and so on, of the imprint.
        imprint: The digest it is over.
        nonce: The request's, or None.
        serial: Unique within the authority.
        signer: The certificate that its signature names.
        certificates: All that came with it.
        named_certificates: (hash name, digest) of the certificate the ESSCertID attributes name first.
        signature_hash: Hash name of the signature.
        der: A complete reply with status *granted*, in strict DER, holding this token.
    """

    gen_time: datetime
    accuracy: timedelta | None
    policy: str
    hash_name: str
    imprint: bytes
    nonce: int | None
    serial: int
    signer: x509.Certificate
    certificates: tuple[x509.Certificate, ...]
    named_certificates: tuple[tuple[str, bytes], ...]
    signature_hash: str
    der: bytes


def parse_reply(reply: bytes) -> Token:
    """Read a reply of an authority; verifies nothing.

    Raises:
        ProofError: ``timestamp-malformed``, or ``timestamp-not-granted`` with what the authority said.
    """
    if len(reply) > MAX_REPLY_BYTES:
        raise ProofError(
            Code.TIMESTAMP_MALFORMED, _SUBJECT, f"at most {MAX_REPLY_BYTES} bytes", f"{len(reply)} bytes"
        )
    try:
        response = _Reply.load(reply, strict=True)
        _check_granted(response["status"].native)
        return _read_token(_strict_copy(response["time_stamp_token"]))
    except UNREADABLE as error:
        raise ProofError(Code.TIMESTAMP_MALFORMED, _SUBJECT, "an RFC 3161 reply", str(error)) from error


UNREADABLE = (
    *UNREADABLE_CERTIFICATE,
    KeyError,
    IndexError,
    AttributeError,
    OverflowError,
    RecursionError,
)
"""What asn1crypto, which parses lazily, raises over hostile bytes."""


def _check_granted(status: dict[str, Any]) -> None:
    if status["status"] not in {"granted", "granted_with_mods"}:
        said = " ".join(status["status_string"] or ()) or str(status["fail_info"] or "")
        raise ProofError(Code.TIMESTAMP_NOT_GRANTED, _SUBJECT, "granted", f"{status['status']} {said}")


def _strict_copy(token: cms.ContentInfo) -> bytes:
    """The token in a new reply, its certificates in DER's order; no signature covers either."""
    copy = cms.ContentInfo.load(token.dump(), strict=True)
    signed = copy["content"]
    certificates = sorted(each.dump() for each in signed["certificates"])
    signed["certificates"] = [cms.CertificateChoices.load(each) for each in certificates]
    reply = tsp.TimeStampResp({"status": {"status": "granted"}, "time_stamp_token": copy})
    return bytes(reply.dump(force=False))


def _read_token(der: bytes) -> Token:
    signed = tsp.TimeStampResp.load(der, strict=True)["time_stamp_token"]["content"]
    if signed["encap_content_info"]["content_type"].native != "tst_info":
        raise ValueError("content is not a TSTInfo")
    (signer_info,) = signed["signer_infos"]
    info = signed["encap_content_info"]["content"].parsed
    values = info.native
    if values["version"] != "v1" or values["extensions"] or not isinstance(values["gen_time"], datetime):
        raise ValueError("not a TSTInfo of version 1 without extensions")
    if not info["gen_time"].contents.endswith(b"Z"):
        raise ValueError("genTime is not in UTC")
    if any(each.chosen.serial_number <= 0 for each in signed["certificates"]):
        raise ValueError("a certificate's serial number is not positive")
    certificates = tuple(x509.load_der_x509_certificate(each.dump()) for each in signed["certificates"])
    sid = signer_info["sid"].chosen
    # Two certificates of one issuer and serial number could be told apart by us and by OpenSSL differently.
    (signer,) = (
        certificate
        for certificate, choice in zip(certificates, signed["certificates"], strict=True)
        if choice.chosen.issuer == sid["issuer"] and certificate.serial_number == sid["serial_number"].native
    )
    attributes = {each["type"].native: each["values"] for each in signer_info["signed_attrs"]}
    return Token(
        gen_time=values["gen_time"].astimezone(UTC),
        accuracy=_accuracy(values["accuracy"]),
        policy=info["policy"].dotted,
        hash_name=values["message_imprint"]["hash_algorithm"]["algorithm"],
        imprint=values["message_imprint"]["hashed_message"],
        nonce=values["nonce"],
        serial=values["serial_number"],
        signer=signer,
        certificates=certificates,
        named_certificates=tuple(named_certificates(attributes)),
        signature_hash=signer_info["digest_algorithm"]["algorithm"].native,
        der=der,
    )


def _accuracy(value: dict[str, int | None] | None) -> timedelta | None:
    if value is None:
        return None
    seconds, millis, micros = (value[unit] or 0 for unit in ("seconds", "millis", "micros"))
    if min(seconds, millis, micros) < 0:
        raise ValueError("accuracy is negative")
    return timedelta(seconds=seconds, milliseconds=millis, microseconds=micros)


def named_certificates(attributes: Mapping[str, Any]) -> list[tuple[str, bytes]]:
    """The first certificate of each ESSCertID attribute (RFC 2634 section 5.4, RFC 5816 section 2.2.1)."""
    named = []
    if "signing_certificate" in attributes:
        first = attributes["signing_certificate"][0]["certs"][0]
        named.append(("sha1", first["cert_hash"].native))
    if "signing_certificate_v2" in attributes:
        first = attributes["signing_certificate_v2"][0]["certs"][0]
        named.append((first["hash_algorithm"]["algorithm"].native, first["cert_hash"].native))
    return named


def parse_request(request: bytes) -> tuple[bytes, int | None, str | None]:
    """Imprint, nonce, and dotted policy of a query.

    Raises:
        ProofError: ``timestamp-request-mismatch``: not a query.
    """
    subject = "timestamp request"
    if len(request) > MAX_REQUEST_BYTES:
        expected, got = f"at most {MAX_REQUEST_BYTES} bytes", f"{len(request)} bytes"
        raise ProofError(Code.TIMESTAMP_REQUEST_MISMATCH, subject, expected, got)
    try:
        asked = tsp.TimeStampReq.load(request, strict=True)
        policy = asked["req_policy"]
        dotted = None if isinstance(policy, core.Void) else policy.dotted
        return asked["message_imprint"]["hashed_message"].native, asked["nonce"].native, dotted
    except UNREADABLE as error:
        raise ProofError(Code.TIMESTAMP_REQUEST_MISMATCH, subject, "a request", str(error)) from error
