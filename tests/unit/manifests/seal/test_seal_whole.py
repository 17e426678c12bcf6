"""A whole seal: what it proves, and that nothing can be taken from it or changed in it unseen."""

from __future__ import annotations

import datetime as dt
import hashlib
import random

import pytest
from crafted_tokens import DAY, NOW, Craft, Recipe, authority, craft, issue, request
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from log_stores import MemoryLogStore

from manifests.batch_tree import check_path, make_batch
from manifests.checkpoint import LogKey
from manifests.custody_event import encode_event, new_event
from manifests.custody_log import CustodyLog
from manifests.findings import Code, Severity
from manifests.keys import FileSigner
from manifests.policy import SealPolicy
from manifests.proof import ProofError
from manifests.renewal import make_renewal
from manifests.revocation import Answer, encode_answers
from manifests.seal import (
    BATCH_PATH,
    LOG_ENTRY,
    LOG_PROOF,
    SIGNATURE,
    SealState,
    batch_files,
    sealed_digests,
    stamp_files,
    verify_seal,
)
from manifests.signing import sign
from manifests.timestamps import Stamp, render_chain, stated_interval
from manifests.trust import Trust, TrustedAuthority, TrustedKey
from manifests.tsa_token import parse_reply

RECORD = b'{"capture_id":"c1"}'
SIGNER = FileSigner(Ed25519PrivateKey.generate())
ROOT, TSA = authority()
YEAR = 365 * DAY
# The clock of a renewal ten years on, under a root that lasts that long.
LATER = NOW + 280 * DAY
NEW_ROOT = issue(Recipe("new root", ca=True, not_after=NOW + 20 * YEAR))
NEW_TSA = issue(Recipe("new", issuer=NEW_ROOT, not_after=NOW + 10 * YEAR))
TRUST = Trust(
    keys=(TrustedKey("evidence@example.org", SIGNER.public_key),),
    authorities=(
        TrustedAuthority("old", "http://127.0.0.1/", ROOT.certificate),
        TrustedAuthority("new", "http://127.0.0.1/", NEW_ROOT.certificate),
    ),
    logs=(LogKey("example.org/evidence", SIGNER.public_key),),
)


def stamp(data, *, name="old", signer=TSA, root=ROOT, at=NOW):
    reply = craft(signer, Craft(data=data, gen_time=at))
    chain = (signer.certificate, root.certificate)
    revocation = encode_answers(
        [Answer(certificate_sha256=chain[0].fingerprint(hashes.SHA256()).hex(), kind="none", reason="test")]
    )
    interval = stated_interval(parse_reply(reply))
    return Stamp(name, request(data), reply, render_chain(chain), revocation, interval)


def logged(files, **changes):
    log = CustodyLog(MemoryLogStore(), "example.org/evidence", SIGNER)
    facts = {"capture_id": "c1", "digests": sealed_digests(RECORD, files)} | changes
    entry = encode_event(new_event(facts.pop("type", "sealed"), "tester", **facts))
    log.append([encode_event(new_event("captured", "tester")), entry])
    return {**files, LOG_ENTRY: entry, LOG_PROOF: log.prove(1, log.head())}


SIGNED = {SIGNATURE: sign(RECORD, SIGNER)}
STAMPED = SIGNED | stamp_files("record", stamp(SIGNED[SIGNATURE]))
SEALED = logged(STAMPED)
OTHERS = [SIGNED[SIGNATURE], *(bytes([number]) for number in range(4))]
BATCH = make_batch(OTHERS)
BATCHED = logged(SIGNED | batch_files(BATCH, 0) | stamp_files("batch", stamp(BATCH.root_file)))


def verdict(files, *, record=RECORD, trust=TRUST, now=NOW + DAY, capture_id="c1", captured_at=NOW - DAY):
    return verify_seal(record, files, trust, capture_id=capture_id, captured_at=captured_at, now=now)


def codes(found):
    return {each.code for each in found.findings if each.code.severity is not Severity.NOTE}


@pytest.mark.parametrize("files", [SEALED, BATCHED])
def test_whole_seal_proves_who_when_and_where(files):
    """A whole seal, alone or in a batch, is *sealed*: key, time and log entry are proven, all files used."""
    found = verdict(files)
    assert (codes(found), found.state) == (set(), SealState.SEALED)
    assert found.principal == "evidence@example.org"
    assert found.interval.latest == NOW + dt.timedelta(seconds=1)
    assert found.index == 1
    assert found.files == set(files)


@pytest.mark.parametrize(
    ("files", "state", "expected"),
    [
        ({}, SealState.UNSEALED, {Code.UNSIGNED, Code.UNSEALED, Code.UNLOGGED}),
        (SIGNED, SealState.SIGNED, {Code.UNSEALED, Code.UNLOGGED}),
        (STAMPED, SealState.STAMPED, {Code.UNLOGGED}),
    ],
)
def test_unfinished_seal_says_how_far_it_got(files, state, expected):
    """Each stage on the way is named, is never *sealed*, and is indeterminate, not failed."""
    found = verdict(files)
    assert (found.state, codes(found)) == (state, expected)
    assert {each.code.severity for each in found.findings} <= {Severity.INDETERMINATE, Severity.NOTE}


@pytest.mark.parametrize("files", [SEALED, BATCHED])
def test_no_file_can_be_taken_away(files):
    """Without any one of its files no seal is a seal."""
    for name in files:
        found = verdict({key: data for key, data in files.items() if key != name})
        assert found.state is not SealState.SEALED
        assert codes(found)


@pytest.mark.parametrize("files", [SEALED, BATCHED])
def test_no_byte_can_be_changed(files):
    """A byte flipped, cut or inserted anywhere in any file: never *sealed*, never without a finding."""
    rng = random.Random(7)
    for name, data in files.items():
        for _ in range(40):
            at = rng.randrange(len(data))
            changed = rng.choice(
                [
                    data[:at] + bytes([data[at] ^ rng.randrange(1, 256)]) + data[at + 1 :],
                    data[:at],
                    data[:at] + bytes([rng.randrange(256)]) + data[at:],
                ]
            )
            if changed != data:
                found = verdict(files | {name: changed})
                assert found.state is not SealState.SEALED, (name, at)
                assert codes(found), (name, at)


def test_files_added_to_a_sealed_set_are_found():
    """The logged event lists every file: one more is a mismatch."""
    assert codes(verdict(SEALED | {"record.old.crl": b"x"})) == {Code.LOG_ENTRY_MISMATCH}


@pytest.mark.parametrize(
    ("expected", "files", "changes"),
    [
        (Code.SIGNATURE_WRONG, SEALED, {"record": RECORD + b" "}),
        (Code.LOG_ENTRY_MISMATCH, SEALED, {"capture_id": "c2"}),
        (Code.TIMESTAMP_BEFORE_CAPTURE, SEALED, {"captured_at": NOW + DAY}),
        (Code.TIMESTAMP_IN_FUTURE, SEALED, {"now": NOW - DAY}),
        (Code.TIMESTAMP_AUTHORITY_UNKNOWN, SEALED, {"trust": Trust(TRUST.keys, (), TRUST.logs)}),
        (Code.SIGNATURE_KEY_UNKNOWN, SEALED, {"trust": Trust((), TRUST.authorities, TRUST.logs)}),
        (Code.LOG_UNKNOWN, SEALED, {"trust": Trust(TRUST.keys, TRUST.authorities, ())}),
        (Code.LOG_ENTRY_MISMATCH, logged(STAMPED, type="verified"), {}),
        (Code.LOG_ENTRY_MISMATCH, logged(STAMPED, capture_id="c2"), {}),
        (Code.LOG_ENTRY_MISMATCH, logged(STAMPED, digests={}), {}),
        (Code.SIGNATURE_MISSING, logged({}), {}),
        (Code.BATCH_PATH_WRONG, BATCHED | batch_files(BATCH, 1), {}),
        (Code.BATCH_PATH_WRONG, BATCHED | {BATCH_PATH: make_batch(OTHERS[:2]).path_files[0]}, {}),
        (Code.TIMESTAMP_WRONG_DATA, BATCHED | batch_files(make_batch(OTHERS[:2]), 0), {}),
        (Code.TIMESTAMP_WRONG_DATA, logged(SIGNED | stamp_files("record", stamp(b"other"))), {}),
        (Code.TIMESTAMP_WRONG_DATA, logged(SIGNED | stamp_files("batch", stamp(BATCH.root_file))), {}),
    ],
)
def test_wrong_seals_are_refused(expected, files, changes):
    """Another record, capture, time, key, authority, log, event or batch: each is told, none is sealed."""
    found = verdict(files, **changes)
    assert expected in codes(found)
    assert found.state is not SealState.SEALED


def test_token_of_a_batch_that_the_signature_is_not_in_stamps_nothing():
    """Everything in order and logged, but the path is another capture's: the state stays *signed*."""
    files = logged(SIGNED | batch_files(BATCH, 1) | stamp_files("batch", stamp(BATCH.root_file)))
    found = verdict(files)
    assert (found.state, found.interval) == (SealState.SIGNED, None)
    assert codes(found) == {Code.BATCH_PATH_WRONG, Code.UNSEALED}


def test_policy_asks_for_more_tokens():
    """With two required, one token leaves the capture *signed*; two of different authorities seal it."""
    both = Trust(TRUST.keys, TRUST.authorities, TRUST.logs, SealPolicy(tokens_required=2))
    assert verdict(SEALED, trust=both).state is SealState.SIGNED
    second = stamp_files("record", stamp(SIGNED[SIGNATURE], name="new", signer=NEW_TSA, root=NEW_ROOT))
    found = verdict(logged(STAMPED | second), trust=both)
    assert (found.state, codes(found)) == (SealState.SEALED, set())


def test_policy_without_a_log():
    """Where no log is required, a stamped capture counts as sealed and still says that no log holds it."""
    trust = Trust(TRUST.keys, TRUST.authorities, TRUST.logs, SealPolicy(log_required=False))
    found = verdict(STAMPED, trust=trust)
    assert (found.state, codes(found)) == (SealState.SEALED, {Code.UNLOGGED})


def test_key_is_judged_at_the_proven_time():
    """A key revoked after the token's time keeps its signature; revoked before, or without a token, not."""

    def under(revoked_at):
        key = TrustedKey("evidence@example.org", SIGNER.public_key, revoked_at=revoked_at)
        return Trust((key,), TRUST.authorities, TRUST.logs)

    assert verdict(SEALED, trust=under(NOW + DAY / 2)).state is SealState.SEALED
    assert Code.SIGNATURE_KEY_REVOKED in codes(verdict(SEALED, trust=under(NOW - DAY / 2)))
    assert Code.SIGNATURE_KEY_REVOKED in codes(verdict(SIGNED, trust=under(NOW + DAY / 2)))


def test_late_token_is_noted():
    """A token long after the capture seals it, and the delay is said."""
    found = verdict(SEALED, captured_at=NOW - DAY)
    assert Code.TIMESTAMP_LATE in {each.code for each in found.findings}
    assert Code.TIMESTAMP_LATE not in {each.code for each in verdict(SEALED, captured_at=NOW).findings}


def renewed(files, *, at=LATER, **stamp_facts):
    number, document = make_renewal(files, RECORD)
    what = f"renewal-{number:02d}"
    facts = {"name": "new", "signer": NEW_TSA, "root": NEW_ROOT} | stamp_facts
    return files | {f"{what}.json": document} | stamp_files(what, stamp(document, at=at, **facts))


def test_seal_that_outlives_its_authority_needs_a_renewal():
    """Past the end of the certificates an old token decides nothing; renewed in time, it still does."""
    in_ten_years = NOW + 9 * YEAR
    assert codes(verdict(SEALED, now=in_ten_years)) == {Code.TIMESTAMP_NOT_RENEWED}
    found = verdict(renewed(SEALED), now=in_ten_years)
    assert (found.state, codes(found)) == (SealState.SEALED, set())
    assert found.good_until == NEW_TSA.certificate.not_valid_after_utc
    assert found.interval.latest == NOW + dt.timedelta(seconds=1)
    assert found.files == set(renewed(SEALED))


def test_renewal_of_a_renewal():
    """A second renewal carries the first; past the second's end the chain has ended."""
    third = issue(Recipe("third", issuer=NEW_ROOT, not_after=NOW + 19 * YEAR))
    twice = renewed(renewed(SEALED), at=NOW + 9 * YEAR, signer=third)
    assert codes(verdict(twice, now=NOW + 15 * YEAR)) == set()
    assert codes(verdict(twice, now=NOW + 20 * YEAR)) == {Code.TIMESTAMP_NOT_RENEWED}


@pytest.mark.parametrize(
    ("expected", "files"),
    [
        (Code.RENEWAL_TOO_LATE, renewed(SEALED, at=NOW + 2 * YEAR)),
        (Code.RENEWAL_TOO_LATE, {key: data for key, data in renewed(SEALED).items() if ".new." not in key}),
        (Code.RENEWAL_MISMATCH, renewed(STAMPED) | {key: SEALED[key] for key in (LOG_ENTRY, LOG_PROOF)}),
        (
            Code.RENEWAL_MISMATCH,
            renewed(SEALED) | stamp_files("record", stamp(SIGNED[SIGNATURE], at=NOW - DAY)),
        ),
        (Code.TIMESTAMP_WRONG_DATA, renewed(SEALED) | {"renewal-01.json": b"{}"}),
    ],
)
def test_bad_renewals_are_refused(expected, files):
    """Too late, without a token, over other files, or changed: no such renewal renews."""
    assert expected in codes(verdict(files, now=NOW + 9 * YEAR))


@pytest.mark.parametrize("size", range(1, 34))
def test_every_capture_of_a_batch_has_its_path(size):
    """In a batch of any size each path leads from its own signature to the root, and from no other."""
    signatures = [b"signature %d" % number for number in range(size)]
    batch = make_batch(signatures)
    for number, path in enumerate(batch.path_files):
        check_path(signatures[number], path, batch.root_file)
        with pytest.raises(ProofError):
            check_path(b"other", path, batch.root_file)
        if size > 1:
            with pytest.raises(ProofError):
                check_path(signatures[number - 1], path, batch.root_file)


PATH, ROOT_FILE = BATCH.path_files[0], BATCH.root_file


@pytest.mark.parametrize(
    ("path", "root"),
    [
        (b"", ROOT_FILE),
        (PATH[:-1], ROOT_FILE),
        (PATH + b"\n", ROOT_FILE),
        (PATH.replace(b"right", b"left", 1), ROOT_FILE),
        (PATH.replace(b"right", b"RIGHT", 1), ROOT_FILE),
        (PATH.replace(b"-path/1", b"-path/2"), ROOT_FILE),
        (PATH + b"left " + b"0" * 64 + b"\n", ROOT_FILE),
        (b"evidence-batch-path/1\n" + (b"left " + b"0" * 64 + b"\n") * 33, ROOT_FILE),
        (PATH, ROOT_FILE + b"\n"),
        (PATH, ROOT_FILE.upper()),
        (PATH, b""),
    ],
    ids=lambda _: "case",  # keys are new in every run, and parallel workers must agree on names
)
def test_bad_paths_are_refused(path, root):
    """A path or root file that is not in the very form leads nowhere."""
    with pytest.raises(ProofError):
        check_path(OTHERS[0], path, root)


def test_leaf_cannot_pass_for_a_node():
    """The bytes of two hashes are no signature: leaves and nodes are hashed apart."""
    batch = make_batch([b"a", b"b"])
    left, right = (hashlib.sha256(b"\0" + each).digest() for each in (b"a", b"b"))
    with pytest.raises(ProofError):
        check_path(left + right, make_batch([b"x"]).path_files[0], batch.root_file)
