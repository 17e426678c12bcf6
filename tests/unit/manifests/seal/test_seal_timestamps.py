"""Every way a timestamp can look good and prove nothing."""

from __future__ import annotations

import datetime as dt

import pytest
from crafted_tokens import DAY, NOW, POLICY, Craft, Recipe, authority, craft, issue, request
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given, settings
from hypothesis import strategies as st

from manifests.findings import Code, Severity
from manifests.proof import ProofError
from manifests.revocation import Answer, encode_answers
from manifests.timestamps import (
    check_fresh,
    check_token,
    render_chain,
    stated_interval,
    verify_timestamp,
)
from manifests.trust import TrustedAuthority
from manifests.tsa_token import parse_reply

ROOT, SIGNER = authority()
TSA = TrustedAuthority("test", "http://127.0.0.1/", ROOT.certificate, frozenset({POLICY}))
CHAIN = (SIGNER.certificate, ROOT.certificate)
GOOD = craft(SIGNER, Craft())


def none_stored(*chain: x509.Certificate) -> bytes:
    answers = [
        Answer(certificate_sha256=each.fingerprint(hashes.SHA256()).hex(), kind="none", reason="offline")
        for each in chain[:-1]
    ]
    return encode_answers(answers)


def verdict(reply, /, **changes):
    facts = {
        "data": b"data",
        "authority": TSA,
        "request": request(),
        "reply": reply,
        "chain_file": render_chain(CHAIN),
        "revocation_file": none_stored(*CHAIN),
        "captured_at": NOW - dt.timedelta(seconds=30),
        "now": NOW + DAY,
    }
    facts |= changes
    return verify_timestamp(facts.pop("data"), facts.pop("authority"), **facts)


def failures(found):
    return [each.code for each in found.findings if each.code.severity is not Severity.NOTE]


def refused(code, signer, recipe, **changes):
    found = verdict(craft(signer, recipe), **changes)
    assert failures(found) == [code]
    assert found.interval is None


def under(root, **recipe):
    """A signer made by *recipe*, and what a verifier needs to look at it."""
    signer = issue(Recipe(issuer=root, **recipe))
    chain = (signer.certificate, root.certificate)
    return signer, {"chain_file": render_chain(chain), "revocation_file": none_stored(*chain)}


@pytest.mark.parametrize(
    "recipe",
    [
        Craft(),
        Craft(status="granted_with_mods"),
        Craft(named="v1"),
        Craft(named="v1 v2"),
        Craft(signer_digest="sha512"),
        Craft(gen_time="20261124090000.355Z"),
    ],
)
def test_good_forms_pass(recipe):
    """Each form that RFC 3161 and RFC 5816 allow proves its time."""
    found = verdict(craft(SIGNER, recipe))
    assert failures(found) == []
    assert found.interval is not None
    assert found.chain == CHAIN


def test_interval_has_fractions_and_accuracy_to_both_sides():
    """The interval keeps the fraction of a second, and the accuracy in all three units."""
    recipe = Craft(gen_time="20261124090000.355Z", accuracy={"seconds": 1, "millis": 500, "micros": 250})
    interval = verdict(craft(SIGNER, recipe)).interval
    middle = NOW + dt.timedelta(milliseconds=355)
    assert interval.earliest == middle - dt.timedelta(microseconds=1_500_250)
    assert interval.latest == middle + dt.timedelta(microseconds=1_500_250)


def test_unstated_accuracy_counts_as_one_second():
    """A token without accuracy is not taken for exact."""
    interval = stated_interval(parse_reply(craft(SIGNER, Craft(accuracy=None))))
    assert interval.latest - interval.earliest == dt.timedelta(seconds=2)


@pytest.mark.parametrize(
    ("code", "recipe"),
    [
        (Code.TIMESTAMP_WRONG_DATA, Craft(data=b"other")),
        (Code.TIMESTAMP_WEAK_ALGORITHM, Craft(hash_name="sha1")),
        (Code.TIMESTAMP_WEAK_ALGORITHM, Craft(hash_name="md5")),
        (Code.TIMESTAMP_WEAK_ALGORITHM, Craft(signer_digest="sha1")),
        (Code.TIMESTAMP_POLICY, Craft(policy="1.2.3.4")),
        (Code.TIMESTAMP_REQUEST_MISMATCH, Craft(nonce=8)),
        (Code.TIMESTAMP_REQUEST_MISMATCH, Craft(nonce=None)),
        (Code.TIMESTAMP_REQUEST_MISMATCH, Craft(hash_name="sha512")),
        (Code.TIMESTAMP_CERTIFICATE_ID, Craft(named="")),
        (Code.TIMESTAMP_CERTIFICATE_ID, Craft(named="v2", named_digest=b"\0" * 32)),
        (Code.TIMESTAMP_CERTIFICATE_ID, Craft(named="v1", named_digest=b"\0" * 20)),
        (Code.TIMESTAMP_ACCURACY, Craft(accuracy={"seconds": 61})),
        (Code.TIMESTAMP_ACCURACY, Craft(accuracy={"seconds": 10**9})),
        (Code.TIMESTAMP_MALFORMED, Craft(accuracy={"seconds": -3})),
        (Code.TIMESTAMP_MALFORMED, Craft(extensions=True)),
        (Code.TIMESTAMP_MALFORMED, Craft(content_type="data")),
        (Code.TIMESTAMP_MALFORMED, Craft(certificates=[])),
        (Code.TIMESTAMP_MALFORMED, Craft(certificates=[ROOT.certificate])),
        (Code.TIMESTAMP_MALFORMED, Craft(certificates=[SIGNER.certificate, SIGNER.certificate])),
        (Code.TIMESTAMP_NOT_GRANTED, Craft(status="rejection")),
        (Code.TIMESTAMP_NOT_GRANTED, Craft(status="revocation_warning")),
        (Code.TIMESTAMP_IN_FUTURE, Craft(gen_time=NOW + 3 * DAY)),
        (Code.TIMESTAMP_BEFORE_CAPTURE, Craft(gen_time=NOW - dt.timedelta(minutes=2))),
        (Code.TIMESTAMP_CERTIFICATE_PERIOD, Craft(gen_time=NOW - 301 * DAY)),
    ],
)
def test_bad_tokens_are_refused(code, recipe):
    """A token that is wrong in one thing is refused for that thing."""
    refused(code, SIGNER, recipe)


@pytest.mark.parametrize(
    ("code", "recipe"),
    [
        (Code.TIMESTAMP_PURPOSE, {"eku": None}),
        (Code.TIMESTAMP_PURPOSE, {"eku_critical": False}),
        (Code.TIMESTAMP_PURPOSE, {"eku": [ExtendedKeyUsageOID.CODE_SIGNING]}),
        (
            Code.TIMESTAMP_PURPOSE,
            {"eku": [ExtendedKeyUsageOID.TIME_STAMPING, ExtendedKeyUsageOID.CODE_SIGNING]},
        ),
        (Code.TIMESTAMP_CERTIFICATE_PERIOD, {"not_after": NOW - DAY}),
        (Code.TIMESTAMP_CERTIFICATE_PERIOD, {"not_before": NOW + DAY}),
    ],
)
def test_bad_signer_certificates_are_refused(code, recipe):
    """A certificate that is not for timestamps alone, or not valid at the token's time, proves nothing."""
    signer, files = under(ROOT, **recipe)
    refused(code, signer, Craft(), **files)


def test_expired_now_but_valid_then_passes():
    """A certificate is judged at the token's time, not at the verifier's."""
    signer, files = under(ROOT, not_after=NOW + DAY)
    assert failures(verdict(craft(signer, Craft()), now=NOW + 1000 * DAY, **files)) == []


def test_other_root_of_the_same_name_is_refused():
    """The root is pinned by its bytes: the same name under another key is another root."""
    other_root, signer = authority()
    files = {"chain_file": render_chain((signer.certificate, other_root.certificate))}
    refused(Code.TIMESTAMP_CHAIN, signer, Craft(), **files)


def test_end_entity_cannot_issue():
    """A timestamp certificate under the pinned root cannot make another signer."""
    signer, _ = under(SIGNER)
    files = {"chain_file": render_chain((signer.certificate, *CHAIN))}
    shown = [signer.certificate, SIGNER.certificate]
    refused(Code.TIMESTAMP_CHAIN, signer, Craft(certificates=shown), **files)


def test_path_length_is_kept():
    """An authority that may certify signers only cannot certify a further authority."""
    upper = issue(Recipe("upper", issuer=ROOT, ca=True, path_length=0))
    lower = issue(Recipe("lower", issuer=upper, ca=True))
    signer, _ = under(lower)
    shown = [signer.certificate, lower.certificate, upper.certificate]
    files = {"chain_file": render_chain((*shown, ROOT.certificate))}
    refused(Code.TIMESTAMP_CHAIN, signer, Craft(certificates=shown), **files)


def test_chain_may_lie_beside_the_token():
    """Intermediates that the token leaves out are taken from the stored chain."""
    upper = issue(Recipe("upper", issuer=ROOT, ca=True))
    signer, _ = under(upper)
    chain = (signer.certificate, upper.certificate, ROOT.certificate)
    files = {"chain_file": render_chain(chain), "revocation_file": none_stored(*chain)}
    found = verdict(craft(signer, Craft(certificates=[signer.certificate])), **files)
    assert failures(found) == []
    assert found.chain == chain


def test_expired_authority_in_the_middle_is_refused():
    """Every certificate of the chain must have been valid, not the signer's alone."""
    upper = issue(Recipe("upper", issuer=ROOT, ca=True, not_after=NOW - DAY))
    signer, _ = under(upper)
    chain = (signer.certificate, upper.certificate, ROOT.certificate)
    recipe = Craft(certificates=list(chain[:2]))
    refused(Code.TIMESTAMP_CERTIFICATE_PERIOD, signer, recipe, chain_file=render_chain(chain))


def test_short_rsa_key_is_refused():
    """An authority with a key that can be broken is not believed, even under the pinned root."""
    upper = issue(Recipe("upper", issuer=ROOT, ca=True, key=rsa.generate_private_key(65537, 1024)))
    signer, _ = under(upper)
    chain = (signer.certificate, upper.certificate, ROOT.certificate)
    recipe = Craft(certificates=list(chain[:2]))
    refused(Code.TIMESTAMP_WEAK_ALGORITHM, signer, recipe, chain_file=render_chain(chain))


def test_key_of_another_signature_is_refused():
    """A token signed by a key that is not the certificate's is refused."""
    _, thief = authority()
    thief.certificate = SIGNER.certificate
    refused(Code.TIMESTAMP_SIGNATURE_WRONG, thief, Craft())


@pytest.mark.parametrize("missing", ["request", "reply", "chain_file", "revocation_file"])
def test_missing_files_are_a_failure(missing):
    """A token without one of its files does not pass."""
    found = verdict(craft(SIGNER, Craft()), **{missing: None})
    assert failures(found) == [Code.TIMESTAMP_MISSING]


def test_unknown_authority_is_indeterminate():
    """A token of an authority that nobody trusts is neither good nor bad."""
    found = verdict(craft(SIGNER, Craft()), authority=None)
    assert [each.code.severity for each in found.findings] == [Severity.INDETERMINATE]
    assert found.interval is None


@pytest.mark.parametrize(
    ("query", "part"),
    [
        (b"", "request"),
        (b"0" * 5000, "request"),
        (b"\x30\x80" * 2000, "request"),
        (request(b"other"), "imprint"),
        (request(policy="1.2.3"), "policy"),
    ],
)
def test_other_requests_are_refused(query, part):
    """A token that answers another query than the stored one is refused."""
    (finding,) = verdict(craft(SIGNER, Craft()), request=query).findings
    assert finding.code is Code.TIMESTAMP_REQUEST_MISMATCH
    assert part in finding.subject


def test_chain_file_is_exactly_the_chain():
    """A stored chain with one certificate more, or in another order, is not the token's."""
    stranger, _ = under(ROOT)
    for chain in ((*CHAIN, stranger.certificate), CHAIN[::-1], CHAIN[:1]):
        found = verdict(craft(SIGNER, Craft()), chain_file=render_chain(chain))
        assert failures(found) == [Code.TIMESTAMP_CHAIN]


@pytest.mark.parametrize(("minutes", "good"), [(0, True), (4, True), (-4, True), (6, False), (-6, False)])
def test_fresh_token_is_near_this_clock(minutes, good):
    """A token just received from a clock more than five minutes off is not taken."""
    token = parse_reply(craft(SIGNER, Craft(gen_time=NOW + dt.timedelta(minutes=minutes))))
    if good:
        assert check_fresh(token, NOW, NOW)
    else:
        with pytest.raises(ProofError):
            check_fresh(token, NOW, NOW)


@pytest.mark.parametrize(
    "junk", [b"", b"0", b"\x30\x00", b"\x30\x84\xff\xff\xff\xff", b"<html>", b"\x30\x80" * 9000]
)
def test_junk_is_malformed(junk):
    """Whatever a server sends instead of a reply is refused without a traceback."""
    with pytest.raises(ProofError) as error:
        parse_reply(junk)
    assert error.value.finding.code is Code.TIMESTAMP_MALFORMED


def test_reply_beyond_the_limit_is_malformed():
    """A reply of more than 64 KiB is not read."""
    with pytest.raises(ProofError, match="at most 65536 bytes"):
        parse_reply(bytes(64 * 1024 + 1))


@settings(max_examples=400)
@given(st.data())
def test_no_changed_byte_proves_more(data):
    """A flipped, cut or inserted byte is refused or changes nothing; it never crashes."""
    reply = bytearray(GOOD)
    token = parse_reply(GOOD)
    at = data.draw(st.integers(0, len(reply) - 1))
    kind = data.draw(st.sampled_from(["flip", "cut", "insert"]))
    if kind == "flip":
        reply[at] ^= data.draw(st.integers(1, 255))
    elif kind == "cut":
        del reply[at:]
    else:
        reply.insert(at, data.draw(st.integers(0, 255)))
    try:
        changed = parse_reply(bytes(reply))
        check_token(changed, b"data", TSA, request=request())
    except ProofError:
        return
    assert (changed.gen_time, changed.imprint) == (token.gen_time, token.imprint)
