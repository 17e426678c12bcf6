"""RFC 3161 timestamp tokens: the request, the reading of a reply, and every check before it proves a time.

``rfc3161-client`` verifies the token's CMS signature. What it does not look at is checked here: that the
token names its signer's certificate (ESSCertID), that the chain ends at the pinned root, that the time is
neither in the future nor before the capture, how exact it is. A reply is stored as it came; where OpenSSL
wrote its set of certificates in an order that strict DER forbids, a sorted copy is what gets parsed.

Nothing here uses the network (see ``manifests.tsa_client``). Revocation is judged from stored answers only.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import rfc3161_client
from asn1crypto import cms, core, tsp
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding

from manifests.findings import Code, Finding
from manifests.proof import Interval, ProofError, utc_text
from manifests.revocation import check_revocation
from manifests.trust import TrustedAuthority
from manifests.tsa_chain import STRONG_HASHES, check_chain

KIB = 1024
MAX_REPLY_BYTES = 64 * KIB
MAX_REQUEST_BYTES = 4 * KIB
MAX_CHAIN_FILE_BYTES = 64 * KIB
MAX_ACCURACY_S = 60
MAX_CLOCK_OFFSET_S = 300  # of the asking machine; a token further off would be no use to its capture
UNSTATED_ACCURACY_S = 1  # RFC 3161 leaves the meaning to the policy; authorities commonly promise a second
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


@dataclass(frozen=True, slots=True)
class Stamp:
    """What one authority gave, ready to be stored.

    Args:
        authority: Its name.
        request: DER of the query.
        reply: The reply, byte for byte.
        chain: PEM, signer first, root last.
        revocation: The revocation file.
        interval: What the token proves.
    """

    authority: str
    request: bytes
    reply: bytes
    chain: bytes
    revocation: bytes
    interval: Interval


@dataclass(frozen=True, slots=True)
class TimestampVerdict:
    """What ``verify_timestamp`` found.

    Args:
        interval: When the data existed at the latest, with the token's accuracy; None when not proven.
        chain: Signer first, root last; empty when not proven.
        findings: Empty or notes only when the token is good.
    """

    interval: Interval | None
    chain: tuple[x509.Certificate, ...]
    findings: tuple[Finding, ...]


def build_request(data: bytes) -> bytes:
    """The DER of a request for a token over *data*: SHA-256, a random nonce, certificates wanted."""
    builder = rfc3161_client.TimestampRequestBuilder().data(data)
    return builder.hash_algorithm(rfc3161_client.HashAlgorithm.SHA256).build().as_bytes()


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
    except _UNREADABLE as error:
        raise ProofError(Code.TIMESTAMP_MALFORMED, _SUBJECT, "an RFC 3161 reply", str(error)) from error


# asn1crypto parses lazily and answers hostile bytes with any of these.
_UNREADABLE = (
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    OverflowError,
    RecursionError,
    UnsupportedAlgorithm,
)


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
        named_certificates=tuple(_named(attributes)),
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


def _named(attributes: dict[str, cms.SetOf]) -> list[tuple[str, bytes]]:
    """The first certificate of each ESSCertID attribute (RFC 2634 section 5.4, RFC 5816 section 2.2.1)."""
    named = []
    if "signing_certificate" in attributes:
        first = attributes["signing_certificate"][0]["certs"][0]
        named.append(("sha1", first["cert_hash"].native))
    if "signing_certificate_v2" in attributes:
        first = attributes["signing_certificate_v2"][0]["certs"][0]
        named.append((first["hash_algorithm"]["algorithm"].native, first["cert_hash"].native))
    return named


def check_token(
    token: Token,
    data: bytes,
    authority: TrustedAuthority,
    *,
    request: bytes,
    extra: tuple[x509.Certificate, ...] = (),
) -> tuple[x509.Certificate, ...]:
    """Check that *token* is *authority*'s and over *data*. What its time is worth is not judged here.

    1. The imprint is a SHA-256 or longer digest of *data*, and the signature's hash no weaker.
    2. It answers *request*: same imprint, same nonce, the policy asked for.
    3. The policy is one that is accepted from this authority.
    4. The signed attributes name the signer's certificate (ESSCertID or ESSCertIDv2).
    5. The signer's certificate is for timestamps and leads to the pinned root (``check_chain``).
    6. The CMS signature verifies (rfc3161-client).

    Returns:
        The chain, signer first, root last.

    Raises:
        ProofError: The first check that failed.

    Source: RFC 3161 sections 2.3 and 2.4.2; RFC 5816.
    """
    for name in (token.hash_name, token.signature_hash):
        if name not in STRONG_HASHES:
            raise ProofError(Code.TIMESTAMP_WEAK_ALGORITHM, _SUBJECT, "SHA-256 or longer", name)
    digest = hashlib.new(token.hash_name, data).digest()
    if digest != token.imprint:
        raise ProofError(Code.TIMESTAMP_WRONG_DATA, _SUBJECT, digest.hex(), token.imprint.hex())
    _check_request(token, request)
    if authority.policies and token.policy not in authority.policies:
        accepted = " or ".join(sorted(authority.policies))
        raise ProofError(Code.TIMESTAMP_POLICY, _SUBJECT, accepted, token.policy)
    _check_named(token)
    chain = check_chain(token.signer, token.certificates + extra, authority.root, token.gen_time)
    builder = rfc3161_client.VerifierBuilder(roots=[authority.root], intermediates=list(chain[1:-1]))
    try:
        builder.build().verify(rfc3161_client.decode_timestamp_response(token.der), digest)
    except (rfc3161_client.VerificationError, ValueError) as error:
        raise ProofError(
            Code.TIMESTAMP_SIGNATURE_WRONG, _SUBJECT, "a signature by its certificate", str(error)
        ) from error
    return chain


def _check_request(token: Token, request: bytes) -> None:
    try:
        if len(request) > MAX_REQUEST_BYTES:
            raise ValueError(f"more than {MAX_REQUEST_BYTES} bytes")
        asked = tsp.TimeStampReq.load(request, strict=True)
        imprint = asked["message_imprint"]["hashed_message"].native
        nonce, policy = asked["nonce"].native, asked["req_policy"].native and asked["req_policy"].dotted
    except _UNREADABLE as error:
        raise ProofError(
            Code.TIMESTAMP_REQUEST_MISMATCH, "timestamp request", "a request", str(error)
        ) from error
    pairs = (
        ("imprint", imprint.hex(), token.imprint.hex()),
        ("nonce", str(nonce), str(token.nonce)),
        ("policy", policy or token.policy, token.policy),
    )
    for name, wanted, got in pairs:
        if wanted != got:
            raise ProofError(Code.TIMESTAMP_REQUEST_MISMATCH, f"timestamp {name}", wanted, got)


def _check_named(token: Token) -> None:
    der = token.signer.public_bytes(Encoding.DER)
    known = {name: hashlib.new(name, der).digest() for name in (*STRONG_HASHES, "sha1")}
    if not token.named_certificates:
        raise ProofError(Code.TIMESTAMP_CERTIFICATE_ID, _SUBJECT, "an ESSCertID", "none")
    for name, digest in token.named_certificates:
        if known.get(name) != digest:
            expected = known.get(name, b"").hex()
            raise ProofError(Code.TIMESTAMP_CERTIFICATE_ID, _SUBJECT, f"{name} {expected}", digest.hex())


def stated_interval(token: Token) -> Interval:
    """The span the token's time stands for: its time with its accuracy to both sides."""
    accuracy = timedelta(seconds=UNSTATED_ACCURACY_S) if token.accuracy is None else token.accuracy
    if accuracy > timedelta(seconds=MAX_ACCURACY_S):
        seconds = accuracy.total_seconds()
        raise ProofError(Code.TIMESTAMP_ACCURACY, _SUBJECT, f"at most {MAX_ACCURACY_S} s", f"{seconds} s")
    try:
        return Interval(token.gen_time - accuracy, token.gen_time + accuracy)
    except OverflowError as error:
        raise ProofError(Code.TIMESTAMP_MALFORMED, _SUBJECT, "a year of our era", "another") from error


def check_fresh(token: Token, asked_at: datetime, now: datetime) -> Interval:
    """Check that a token just received is from between the asking and now, by a clock that may be off.

    Raises:
        ProofError: The token's time is further than ``MAX_CLOCK_OFFSET_S`` from this machine's.
    """
    interval = stated_interval(token)
    offset = timedelta(seconds=MAX_CLOCK_OFFSET_S)
    _check_time(interval, asked_at - offset, now + offset)
    return interval


def verify_timestamp(
    data: bytes,
    authority: TrustedAuthority | None,
    *,
    request: bytes | None,
    reply: bytes | None,
    chain_file: bytes | None,
    revocation_file: bytes | None,
    captured_at: datetime,
    now: datetime,
) -> TimestampVerdict:
    """Decide what one stored token proves about *data*.

    1. Request, reply, chain and revocation file are there, and the authority is a trusted one.
    2. ``check_token``, and the stored chain is the one it finds.
    3. The time is exact enough, has come, and is not before the capture.
    4. No certificate was revoked, by the stored answers; what they do not show is noted.

    Args:
        data: The stamped bytes.
        authority: As the trust file has it; None when it does not know the name.
        request: The stored query.
        reply: The stored reply.
        chain_file: The stored chain, PEM, signer first.
        revocation_file: See ``manifests.revocation``.
        captured_at: When the capture began, by the record.
        now: The verifier's clock.
    """
    if authority is None:
        return TimestampVerdict(None, (), (Finding(Code.TIMESTAMP_AUTHORITY_UNKNOWN, _SUBJECT),))
    if request is None or reply is None or chain_file is None or revocation_file is None:
        subject = f"timestamp of {authority.name}"
        missing = Finding(Code.TIMESTAMP_MISSING, subject, "query, reply, chain, revocation", "not all")
        return TimestampVerdict(None, (), (missing,))
    try:
        token = parse_reply(reply)
        chain = check_token(token, data, authority, request=request, extra=parse_chain(chain_file))
        _check_stored_chain(chain, chain_file)
        interval = stated_interval(token)
        _check_time(interval, captured_at, now)
        notes = check_revocation(chain, revocation_file, token.gen_time)
    except ProofError as error:
        return TimestampVerdict(None, (), (error.finding,))
    return TimestampVerdict(interval, chain, tuple(notes))


def _check_time(interval: Interval, captured_at: datetime, now: datetime) -> None:
    if interval.earliest > now:
        raise ProofError(
            Code.TIMESTAMP_IN_FUTURE, _SUBJECT, f"at most {utc_text(now)}", utc_text(interval.earliest)
        )
    if interval.latest < captured_at:
        raise ProofError(
            Code.TIMESTAMP_BEFORE_CAPTURE,
            _SUBJECT,
            f"after {utc_text(captured_at)}",
            utc_text(interval.latest),
        )


def _check_stored_chain(chain: tuple[x509.Certificate, ...], chain_file: bytes) -> None:
    if render_chain(chain) != chain_file:
        raise ProofError(Code.TIMESTAMP_CHAIN, "stored chain", "that of the token", "another")


def parse_chain(chain_file: bytes) -> tuple[x509.Certificate, ...]:
    """Read a chain file: PEM certificates, at most ``MAX_CHAIN_FILE_BYTES``.

    Raises:
        ProofError: ``timestamp-chain-untrusted``.
    """
    try:
        return tuple(x509.load_pem_x509_certificates(chain_file[: MAX_CHAIN_FILE_BYTES + 1]))
    except ValueError as error:
        raise ProofError(Code.TIMESTAMP_CHAIN, "stored chain", "PEM certificates", str(error)) from error


def render_chain(chain: tuple[x509.Certificate, ...]) -> bytes:
    """The chain file: PEM, signer first."""
    return b"".join(each.public_bytes(Encoding.PEM) for each in chain)
