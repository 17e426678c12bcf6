"""RFC 3161 timestamp tokens: the request, and every check before a reply proves a time.

``rfc3161-client`` verifies the token's CMS signature. What it does not look at is checked here: that the
token names its signer's certificate (ESSCertID), that the chain ends at the pinned root, that the time is
neither in the future nor before the capture, how exact it is.

Nothing here uses the network (see ``manifests.tsa_client``). Revocation is judged from stored answers only.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta

import rfc3161_client
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from manifests.findings import Code, Finding
from manifests.proof import Interval, ProofError, utc_text
from manifests.revocation import check_revocation
from manifests.trust import TrustedAuthority
from manifests.tsa_chain import STRONG_HASHES, UNREADABLE_CERTIFICATE, check_chain
from manifests.tsa_token import Token, parse_reply, parse_request

KIB = 1024
MAX_CHAIN_FILE_BYTES = 64 * KIB
MAX_ACCURACY_S = 60
MAX_CLOCK_OFFSET_S = 300  # of the asking machine; a token further off would be no use to its capture
UNSTATED_ACCURACY_S = 1  # RFC 3161 leaves the meaning to the policy; authorities commonly promise a second
_SUBJECT = "timestamp"


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


def check_token(
    token: Token,
    data: bytes,
    authority: TrustedAuthority,
    *,
    request: bytes | None,
    extra: tuple[x509.Certificate, ...] = (),
) -> tuple[x509.Certificate, ...]:
    """Check that *token* is *authority*'s and over *data*. What its time is worth is not judged here.

    1. The imprint is a SHA-256 or longer digest of *data*, and the signature's hash no weaker.
    2. It answers *request*: same imprint, same nonce, the policy asked for. A token within a CMS signature
       has none that is kept.
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
    if request is not None:
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
    imprint, nonce, policy = parse_request(request)
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
    check_time(interval, asked_at - offset, now + offset)
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
        check_time(interval, captured_at, now)
        notes = check_revocation(chain, revocation_file, token.gen_time)
    except ProofError as error:
        return TimestampVerdict(None, (), (error.finding,))
    return TimestampVerdict(interval, chain, tuple(notes))


def check_time(interval: Interval, captured_at: datetime, now: datetime) -> None:
    """Check that a proven time has come, and is not before the capture.

    Raises:
        ProofError: ``timestamp-in-future`` or ``timestamp-before-capture``.
    """
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
    except UNREADABLE_CERTIFICATE as error:
        raise ProofError(Code.TIMESTAMP_CHAIN, "stored chain", "PEM certificates", str(error)) from error


def render_chain(chain: tuple[x509.Certificate, ...]) -> bytes:
    """The chain file: PEM, signer first."""
    return b"".join(each.public_bytes(Encoding.PEM) for each in chain)
