"""What stored CRL and OCSP answers say of a timestamp authority's certificates."""

from __future__ import annotations

import base64
import datetime as dt

import pytest
from crafted_tokens import DAY, NOW, Recipe, authority, issue
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID

from manifests.findings import Code
from manifests.proof import ProofError
from manifests.revocation import (
    MAX_ANSWER_BYTES,
    Answer,
    check_revocation,
    encode_answers,
    ocsp_request,
    places_to_ask,
)

ROOT, SIGNER = authority()
CHAIN = (SIGNER.certificate, ROOT.certificate)
NAME = SIGNER.certificate.fingerprint(hashes.SHA256()).hex()
Reason = x509.ReasonFlags


def crl(issuer=ROOT, *, revoked_at=None, reason=None, name=None, next_update=NOW + DAY, key=None):
    builder = x509.CertificateRevocationListBuilder(
        name or issuer.certificate.subject, NOW - DAY, next_update
    )
    if revoked_at is not None:
        entry = x509.RevokedCertificateBuilder(SIGNER.certificate.serial_number, revoked_at)
        if reason is not None:
            entry = entry.add_extension(x509.CRLReason(reason), critical=False)
        builder = builder.add_revoked_certificate(entry.build())
    return builder.sign((key or issuer).key, hashes.SHA256()).public_bytes(Encoding.DER)


def ocsp_answer(
    *, status=ocsp.OCSPCertStatus.GOOD, about=SIGNER, signed_by=ROOT, revoked_at=None, reason=None
):
    builder = ocsp.OCSPResponseBuilder().add_response(
        about.certificate, ROOT.certificate, hashes.SHA1(), status, NOW - DAY, NOW + DAY, revoked_at, reason
    )
    builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, signed_by.certificate)
    if signed_by is not ROOT:
        builder = builder.certificates([signed_by.certificate])
    return builder.sign(signed_by.key, hashes.SHA256()).public_bytes(Encoding.DER)


def file_of(kind, der, name=NAME):
    encoded = base64.b64encode(der).decode()
    return encode_answers([Answer(certificate_sha256=name, kind=kind, url="http://x/", answer=encoded)])


def refused(code, stored):
    with pytest.raises(ProofError) as error:
        check_revocation(CHAIN, stored, NOW)
    assert error.value.finding.code is code


@pytest.mark.parametrize(("kind", "der"), [("crl", crl()), ("ocsp", ocsp_answer())])
def test_good_answers_leave_no_note(kind, der):
    """A signed answer that does not list the certificate settles the question."""
    assert check_revocation(CHAIN, file_of(kind, der), NOW) == []


def test_responder_certified_by_the_issuer_is_believed():
    """An OCSP answer may be signed by whom the issuer certified for that."""
    responder = issue(Recipe("responder", issuer=ROOT, eku=[ExtendedKeyUsageOID.OCSP_SIGNING]))
    assert check_revocation(CHAIN, file_of("ocsp", ocsp_answer(signed_by=responder)), NOW) == []


def test_harmless_revocation_later_keeps_the_token():
    """A certificate that was superseded after the token's time leaves the token good."""
    later = crl(revoked_at=NOW + DAY, reason=Reason.superseded)
    assert check_revocation(CHAIN, file_of("crl", later), NOW) == []


@pytest.mark.parametrize(
    ("revoked_at", "reason"),
    [
        (NOW - DAY, Reason.superseded),
        (NOW, Reason.cessation_of_operation),
        (NOW + DAY, Reason.key_compromise),
        (NOW + DAY, Reason.ca_compromise),
        (NOW + DAY, None),
    ],
)
def test_revocation_destroys_the_token(revoked_at, reason):
    """Revoked before, or at any time for a reason that puts the key in doubt: the token proves nothing."""
    refused(Code.TIMESTAMP_REVOKED, file_of("crl", crl(revoked_at=revoked_at, reason=reason)))
    revoked = {"status": ocsp.OCSPCertStatus.REVOKED, "revoked_at": revoked_at, "reason": reason}
    refused(Code.TIMESTAMP_REVOKED, file_of("ocsp", ocsp_answer(**revoked)))


OTHER_ROOT, OTHER_SIGNER = authority()
IMPOSTOR = issue(Recipe("responder", issuer=ROOT))


@pytest.mark.parametrize(
    "stored",
    [
        file_of("crl", crl(key=OTHER_ROOT)),
        file_of("crl", crl(name=SIGNER.certificate.subject)),
        file_of("crl", b"junk"),
        file_of("ocsp", crl()),
        file_of("ocsp", b""),
        file_of("ocsp", ocsp_answer(about=OTHER_SIGNER)),
        file_of("ocsp", ocsp_answer(signed_by=OTHER_ROOT)),
        file_of("ocsp", ocsp_answer(signed_by=IMPOSTOR)),
        file_of("ocsp", ocsp_answer(status=ocsp.OCSPCertStatus.UNKNOWN)),
        file_of(
            "ocsp",
            ocsp.OCSPResponseBuilder.build_unsuccessful(ocsp.OCSPResponseStatus.TRY_LATER).public_bytes(
                Encoding.DER
            ),
        ),
        file_of("crl", crl(), name="00" * 32),
        b"",
        b"{}",
        b'{"answers":[],"format":"evidence-revocation/2"}',
        file_of("crl", crl()).replace(b'"url"', b'"uri"'),
        file_of("crl", crl()) + b" ",
    ],
)
def test_answers_that_nobody_signed_are_refused(stored):
    """An answer that is not its authority's, or not about the chain, is worse than none."""
    refused(Code.TIMESTAMP_REVOCATION_MALFORMED, stored)


def test_two_answers_for_one_certificate_are_refused():
    """No second answer can hide behind a first."""
    answer = Answer(certificate_sha256=NAME, kind="none", reason="a")
    refused(Code.TIMESTAMP_REVOCATION_MALFORMED, encode_answers([answer, answer]))


def test_absence_is_noted():
    """No answer, or one older than the token, is a note of its own and no pass in silence."""
    absent = encode_answers([Answer(certificate_sha256=NAME, kind="none", reason="answer: got 404")])
    for stored in (absent, encode_answers([]), file_of("crl", crl(next_update=NOW - dt.timedelta(hours=1)))):
        (note,) = check_revocation(CHAIN, stored, NOW)
        assert note.code is Code.TIMESTAMP_REVOCATION_UNCHECKED


def test_places_are_http_only():
    """A certificate cannot make us open a file or another scheme."""
    for url, expected in (("http://x/a.crl", [("crl", "http://x/a.crl")]), ("file:///etc/passwd", [])):
        assert places_to_ask(issue(Recipe(issuer=ROOT, crl_url=url)).certificate) == expected


def test_ocsp_request_names_the_certificate():
    """The request an OCSP responder gets is about this certificate and nobody else's."""
    asked = ocsp.load_der_ocsp_request(ocsp_request(*CHAIN))
    assert asked.serial_number == SIGNER.certificate.serial_number
    assert MAX_ANSWER_BYTES < 4 * 1024 * 1024
