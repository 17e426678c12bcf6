"""Captures in a store, sealed by the real parts: key, test authority, log; then verified, and broken off."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import pytest

from archiver import sealing
from archiver.custody import StoreLog
from archiver.errors import EnvironmentUnfit
from archiver.sealing import Sealer, pending, seal
from archiver.store_set import evidence_set
from archiver.tsa_server import serve
from manifests import tsa_client
from manifests.codec import encode
from manifests.custody_log import CustodyLog
from manifests.digests import digest_bytes
from manifests.findings import Area, Code
from manifests.keys import new_key, unlock_key
from manifests.policy import SealPolicy
from manifests.report import Verdict
from manifests.seal import LOG_PROOF, SealState
from manifests.seal_check import seal_check
from manifests.trust import Trust, TrustedAuthority, TrustedKey
from manifests.verifier import verify_capture
from storage.folder import FolderStore
from storage.memory import MemoryStore

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "manifests"))
from records import artifact, record

SIGNER = unlock_key(new_key(b"x"), b"x")
PAGE = b"<html>"


@pytest.fixture(scope="module")
def tsa(tmp_path_factory):
    with serve(tmp_path_factory.mktemp("tsa")) as running:
        yield running


def filled(store, count):
    """A store with captures of one file each."""
    ids = []
    for number in range(count):
        capture_id = f"20261124t081203z-7f3k2m9q{number:02d}"
        digests = digest_bytes(PAGE)
        dom = artifact(bytes=len(PAGE), sha256=digests.sha256, blake3=digests.blake3)
        data = encode(record(capture_id=capture_id, artifacts=(dom,)))
        store.put(f"captures/{capture_id}/dom.html", PAGE)
        store.put(f"captures/{capture_id}/record.json", data)
        ids.append(capture_id)
    return ids


@pytest.fixture
def make(tsa, tmp_path):
    """A sealer over a store."""

    def sealer(store, *, url=tsa.url, policy=SealPolicy(), signer=SIGNER, staging="staging"):  # noqa: B008  frozen
        trust = Trust(
            keys=(TrustedKey("evidence@example.org", SIGNER.public_key),),
            authorities=(TrustedAuthority("test", url, tsa.root),),
            logs=(CustodyLog(StoreLog(store), "example.org/evidence", SIGNER).key,),
            policy=policy,
        )
        log = CustodyLog(StoreLog(store), "example.org/evidence", signer)
        return Sealer(store, log, signer, trust, tmp_path / staging, "tester")

    return sealer


def now():
    return sealing.datetime.now(sealing.UTC)


def states(sealer, ids):
    return [each.state for each in seal(sealer, ids)]


@pytest.mark.parametrize("policy", [SealPolicy(), SealPolicy(stamp_each=True)])
def test_captures_end_sealed_and_verify(make, tmp_path, policy, monkeypatch):
    """Every capture of a run is sealed; a batch asks the authority once; the verifier finds nothing wrong."""
    asked = []
    honest = tsa_client.stamp
    monkeypatch.setattr(tsa_client, "stamp", lambda *args: asked.append(1) or honest(*args))
    store = FolderStore(tmp_path / "store")
    ids = filled(store, 3)
    sealer = make(store, policy=policy)
    assert list(pending(store)) == ids
    assert states(sealer, pending(store)) == [SealState.SEALED] * 3
    assert len(asked) == (3 if policy.stamp_each else 1)
    assert list(pending(store)) == []
    for capture_id in ids:
        report = verify_capture(
            evidence_set(store, capture_id), capture_id, seal_check=seal_check(sealer.trust, now())
        )
        about_seal = [each.code for each in report.findings.items if each.code is not Code.PACKAGE_MISSING]
        assert set(about_seal) <= _notes()
        assert report.verdicts[Area.IDENTITY] is not Verdict.FAILED
        assert any("at the latest" in each for each in report.proven)


def _notes():
    return {code for code in Code if code.severity.value == "note"}


def test_no_authority_leaves_captures_signed_and_later_they_are_sealed(make):
    """Out of reach of any authority the captures stay *signed*, say why, and the next run completes them."""
    store = MemoryStore()
    ids = filled(store, 2)
    offline = list(seal(make(store, url="http://127.0.0.1:9/"), ids))
    assert [each.state for each in offline] == [SealState.SIGNED] * 2
    assert all("expected one" in each.problems[0] for each in offline)
    assert list(pending(store)) == ids
    assert states(make(store), pending(store)) == [SealState.SEALED] * 2


def test_key_that_is_not_trusted_seals_nothing(make):
    """A signer whose key the trust file does not hold is refused before anything is stored."""
    store = MemoryStore()
    ids = filled(store, 1)
    stranger = unlock_key(new_key(b"x"), b"x")
    with pytest.raises(EnvironmentUnfit, match="trusted"):
        list(seal(make(store, signer=stranger), ids))
    assert list(store.list(f"captures/{ids[0]}/seal/")) == []


def test_broken_record_stops_no_other(make):
    """A capture whose record cannot be read is left alone and said; the others are sealed."""
    store = MemoryStore()
    ids = filled(store, 2)
    store.put("captures/20261124t081203z-7f3k2m9qzz/record.json", b"{}")
    found = list(seal(make(store), [*ids, "20261124t081203z-7f3k2m9qzz"]))
    assert [each.state for each in found] == [SealState.SEALED, SealState.SEALED, SealState.UNSEALED]
    assert found[2].problems


class Broken(Exception):
    pass


class FailingStore:
    """Passes everything on until the given number of writes is used up."""

    def __init__(self, store, writes):
        self._store = store
        self.left = writes

    def __getattr__(self, name):
        method = getattr(self._store, name)
        if name not in {"put", "replace"}:
            return method

        def counted(*args, **kwargs):
            self.left -= 1
            if self.left < 0:
                raise Broken
            return method(*args, **kwargs)

        return counted


def test_run_broken_off_anywhere_is_completed(make):
    """Broken off before any of its writes: the next run completes every seal, and all of them verify."""
    for writes in itertools.count():
        store = MemoryStore()
        ids = filled(store, 2)
        broken = FailingStore(store, writes)
        try:
            ended = states(make(broken), ids) == [SealState.SEALED] * 2
        except Broken:
            ended = False
        assert states(make(store), pending(store)) in ([], [SealState.SEALED], [SealState.SEALED] * 2), writes
        assert list(pending(store)) == []
        sealed = [each for _, each in make(store).log.events(make(store).log.head()) if each.type == "sealed"]
        assert sorted(each.capture_id for each in sealed) == ids
        if ended:
            break
    assert writes > 20


def test_two_machines_harm_no_capture(make):
    """When another machine stamps first, this one leaves the capture to it, and nothing is mixed."""
    store = MemoryStore()
    ids = filled(store, 1)
    list(seal(make(store, url="http://127.0.0.1:9/"), ids))
    late = make(store, staging="other")
    honest = sealing.stamp_by_policy

    def overtaken(*args):
        sealing.stamp_by_policy = honest
        assert states(make(store), ids) == [SealState.SEALED]
        return honest(*args)

    sealing.stamp_by_policy = overtaken
    try:
        (found,) = seal(late, ids)
    finally:
        sealing.stamp_by_policy = honest
    assert any("another run" in each for each in found.problems)
    assert states(late, ids) == [SealState.SEALED]
    assert store.stat(f"captures/{ids[0]}/seal/{LOG_PROOF}")


def test_one_run_at_a_time_on_one_machine(make):
    """A second run with the same staging folder is refused while the first goes on."""
    store = MemoryStore()
    ids = filled(store, 1)
    first = seal(make(store), ids)
    next(first)
    with pytest.raises(EnvironmentUnfit, match="no other run"):
        list(seal(make(store), ids))
    first.close()
    assert states(make(store), ids) == [SealState.SEALED]
