"""The second signature by an organisation's certificate: what is accepted, and what is not."""

from __future__ import annotations

from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from manifests.certificate_signature import (
    CERTIFICATE_REVOCATION,
    CERTIFICATE_SIGNATURE,
    CERTIFICATE_TSA_REVOCATION,
    verify_certificate_signature,
)
from manifests.findings import Severity
from manifests.trust import Trust, TrustedAuthority, TrustError, parse_trust, render_trust
from tests.unit.manifests.seal.cades import cades, organisation, trusted
from tests.unit.manifests.seal.crafted_tokens import DAY, NOW, authority

RECORD = b'{"a":1}'
TSA_ROOT, TSA = authority()
ROOT, ONE = organisation()
TRUST = Trust(
    authorities=(TrustedAuthority("tsa", "http://127.0.0.1/", TSA_ROOT.certificate),),
    certificates=(trusted(ROOT, ONE),),
)
BY_NAME = replace(
    TRUST, certificates=(trusted(ROOT, ONE, certificate_sha256="", subject="CN=Example Foundation"),)
)
GOOD = cades(RECORD, ROOT, ONE, TSA)


def verdict(files=GOOD, record=RECORD, trust=TRUST, now=NOW + DAY, captured_at=NOW - DAY):
    return verify_certificate_signature(
        record,
        files[CERTIFICATE_SIGNATURE],
        trust,
        revocation_file=files[CERTIFICATE_REVOCATION],
        tsa_revocation_file=files[CERTIFICATE_TSA_REVOCATION],
        captured_at=captured_at,
        now=now,
    )


def codes(*args, **facts):
    found = verdict(*args, **facts)
    assert found.principal is None
    return [one.code.code for one in found.findings if one.code.severity is not Severity.NOTE]


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1()], ids=["p256", "p384"])
def test_a_trusted_certificate_names_its_organisation_and_a_time(curve):
    """A good signature says who and until when; missing revocation answers are notes."""
    root, one = organisation(curve=curve)
    found = verdict(cades(RECORD, root, one, TSA), trust=replace(TRUST, certificates=(trusted(root, one),)))
    assert found.principal == "Example Foundation"
    assert found.interval.latest >= NOW
    assert {one.code.severity for one in found.findings} == {Severity.NOTE}


def test_by_subject_the_next_certificate_of_the_root_is_trusted_and_no_other_name():
    """A renewed certificate needs no new trust file; a neighbour under the same root vouches for nothing."""
    _, renewed = organisation(root=ROOT)
    assert verdict(cades(RECORD, ROOT, renewed, TSA), trust=BY_NAME).principal
    _, neighbour = organisation("Somebody Else", root=ROOT)
    assert codes(cades(RECORD, ROOT, neighbour, TSA), trust=BY_NAME) == ["certificate-unknown"]


def test_another_record_fails():
    """The signature is over one record."""
    assert codes(record=RECORD + b" ") == ["certificate-signature-wrong"]


def test_a_certificate_of_another_root_with_the_same_name_is_unknown():
    """A name proves nothing without its root."""
    other = organisation()
    assert codes(cades(RECORD, *other, TSA), trust=BY_NAME) == ["certificate-unknown"]


@pytest.mark.parametrize(
    ("made", "code"),
    [
        ({"not_after": NOW - DAY}, "certificate-period"),
        ({"not_before": NOW + DAY / 2}, "certificate-period"),
        ({"signs": False}, "certificate-unfit"),
        ({"curve": ec.SECP224R1()}, "certificate-unfit"),
    ],
    ids=["expired", "not-yet", "not-for-signing", "weak"],
)
def test_an_unfit_certificate_fails(made, code):
    """At the time of the token it must be valid, for signing, and strong."""
    root, one = organisation(**made)
    trust = replace(TRUST, certificates=(trusted(root, one),))
    assert codes(cades(RECORD, root, one, TSA), trust=trust) == [code]


def test_revocation_counts_from_its_moment():
    """What is proven to be older than the revocation stays good."""
    for when, wanted in ((NOW - DAY, None), (NOW + DAY / 2, "Example Foundation")):
        trust = replace(TRUST, certificates=(trusted(ROOT, ONE, revoked_at=when),))
        assert verdict(trust=trust).principal == wanted
    assert codes(trust=replace(TRUST, certificates=(trusted(ROOT, ONE, revoked_at=NOW),))) == [
        "certificate-revoked"
    ]


@pytest.mark.parametrize(
    ("token", "code"),
    [
        ({"data": b"something else"}, "timestamp-wrong-data"),
        ({"gen_time": NOW + 30 * DAY}, "timestamp-in-future"),
        ({"gen_time": NOW - 30 * DAY}, "timestamp-before-capture"),
        ({"named": ""}, "timestamp-certificate-id-wrong"),
        ({"hash_name": "sha1"}, "timestamp-weak-algorithm"),
        ({"stamped": False}, "certificate-signature-malformed"),
    ],
    ids=["other-data", "future", "past", "no-ess", "sha1", "none"],
)
def test_a_token_that_proves_no_time_fails(token, code):
    """A signature without a proven time could be of any time."""
    assert codes(cades(RECORD, ROOT, ONE, TSA, **token)) == [code]


def test_an_authority_that_nobody_trusts_leaves_the_time_open():
    """Its token is neither good nor bad."""
    _, other = authority()
    assert codes(cades(RECORD, ROOT, ONE, other)) == ["timestamp-authority-unknown"]


def test_cut_and_foreign_bytes_are_no_signature():
    """Nothing raises, and nothing but the exact form is read."""
    data = GOOD[CERTIFICATE_SIGNATURE]
    for junk in (b"", b"0", data + b"x", *(data[:at] for at in range(0, len(data), 50))):
        assert codes(GOOD | {CERTIFICATE_SIGNATURE: junk}) == ["certificate-signature-malformed"]


def test_a_flipped_bit_breaks_the_signature_or_is_in_bytes_that_it_does_not_need():
    """Of what the verdict says nothing can change: organisation, certificate and time."""
    data = GOOD[CERTIFICATE_SIGNATURE]
    good = verdict()
    for at in range(0, len(data), 3):
        found = verdict(GOOD | {CERTIFICATE_SIGNATURE: data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]})
        assert found.principal is None or (found.subject, found.interval, found.chain) == (
            good.subject,
            good.interval,
            good.chain,
        )


def test_the_trust_file_gives_back_what_it_was_given():
    """Certificates survive a round trip, and one that names nobody is refused."""
    whole = replace(
        TRUST, certificates=(trusted(ROOT, ONE, subject="CN=Example Foundation", revoked_at=NOW),)
    )
    assert parse_trust(render_trust(whole).encode()) == whole
    nobody = replace(TRUST, certificates=(trusted(ROOT, ONE, certificate_sha256=""),))
    with pytest.raises(TrustError, match="neither"):
        parse_trust(render_trust(nobody).encode())
