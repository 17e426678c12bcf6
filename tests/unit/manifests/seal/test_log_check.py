"""The check of a whole log: what was cut off, put in its place, split, left out or exchanged is found."""

from __future__ import annotations

import copy
import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from log_stores import MemoryLogStore

from manifests.checkpoint import LogKey
from manifests.custody_event import encode_event, new_event
from manifests.custody_log import CustodyLog
from manifests.findings import Code
from manifests.keys import FileSigner
from manifests.log_check import Seen, check_part_of_log, check_whole_log
from manifests.log_reader import LogReader
from manifests.proof import ProofError
from manifests.report import Verdict

ORIGIN = "example.org/evidence"
SIGNER = FileSigner(Ed25519PrivateKey.generate())
OTHER = FileSigner(Ed25519PrivateKey.generate())
KEY = LogKey(ORIGIN, SIGNER.public_key)


def digest(name):
    return hashlib.sha256(name.encode()).hexdigest()


CAPTURES = {name: digest(name) for name in ("c1", "c2", "c3")}


def event(kind, name, record=None):
    return encode_event(
        new_event(kind, "tester", capture_id=name, digests={"record.json": record or digest(name)})
    )


def log_of(*batches, signer=SIGNER):
    log = CustodyLog(MemoryLogStore(), ORIGIN, signer)
    for batch in batches:
        log.append(batch)
    return log


SEALED = [[event("captured", name), event("sealed", name)] for name in CAPTURES]


@pytest.fixture
def log():
    return log_of(*SEALED)


def seen(log, **facts):
    return Seen(log.head(), "a copy", **facts)


def whole(log, seen=(), captures=CAPTURES):
    return check_whole_log(LogReader(log.store, KEY), seen, captures.get)


def part(log, seen=(), *, is_whole=False):
    return check_part_of_log(LogReader(log.store, KEY), seen, is_whole=is_whole)


def test_a_log_that_holds_what_is_there_passes(log):
    """Every capture of the log is in the set, and every checkpoint that was seen belongs to it."""
    earlier = [seen(log_of(*SEALED[:count])) for count in (1, 2, 3)]
    report = whole(log, earlier)
    assert report.overall is Verdict.PASSED
    assert "all 3 captures" in " ".join(report.proven)
    assert not report.unchecked


def test_captures_that_are_not_in_the_log_are_no_fault_of_the_log(log):
    """They have findings of their own."""
    assert whole(log, captures=CAPTURES | {"c9": digest("c9")}).overall is Verdict.PASSED


def test_a_deleted_capture_is_not_missed(log):
    """The log says that it was deleted, or that its deletion was begun."""
    for kind in ("deleted", "deletion-requested"):
        grown = copy.deepcopy(log)
        grown.append([event(kind, "c1")])
        assert whole(grown, captures={"c2": digest("c2"), "c3": digest("c3")}).overall is Verdict.PASSED


def test_a_capture_that_was_taken_away_is_missed(log):
    """Its files and its proof are gone, and the log still knows it."""
    report = whole(log, captures={"c1": digest("c1"), "c3": digest("c3")})
    assert [one.code for one in report.findings.items] == [Code.LOG_CAPTURE_MISSING]
    assert "c2" in report.findings.items[0].subject


def test_a_capture_that_was_made_anew_is_found(log):
    """A record signed again, even by its own key, is not the one that was logged."""
    report = whole(log, captures=CAPTURES | {"c2": digest("another")})
    assert report.codes() == {Code.LOG_CAPTURE_DIFFERS}


def remove(log, start):
    for key in [key for key in log.store.objects if key.startswith(start)]:
        del log.store.objects[key]


def flip(log, start):
    key = next(key for key in sorted(log.store.objects, reverse=True) if key.startswith(start))
    data = bytearray(log.store.objects[key])
    data[len(data) // 2] ^= 1
    log.store.objects[key] = bytes(data)


@pytest.mark.parametrize(
    ("harm", "start", "code"),
    [
        (remove, "tile/entries/", Code.LOG_DAMAGED),
        (remove, "tile/0/", Code.LOG_DAMAGED),
        (flip, "tile/entries/", Code.LOG_DAMAGED),
        (flip, "tile/0/000.p/6", Code.LOG_DAMAGED),
        (flip, "history/", Code.LOG_CHECKPOINT_MALFORMED),
        (flip, "checkpoint", Code.LOG_CHECKPOINT_MALFORMED),
        (remove, "checkpoint", Code.LOG_ROLLED_BACK),
    ],
)
def test_a_damaged_log_fails(log, harm, start, code):
    """Nothing of a log can be removed or changed without a finding, given that something of it was seen."""
    before = seen(log)
    harm(log, start)
    report = whole(log, [before])
    assert report.overall is Verdict.FAILED
    assert code in report.codes()


def test_a_log_that_was_cut_back_fails_for_whoever_saw_more(log):
    """Cut back to an earlier state it is whole in itself; a remembered checkpoint shows it."""
    assert whole(log_of(*SEALED[:2])).overall is Verdict.PASSED
    report = whole(log_of(*SEALED[:2]), [seen(log)])
    assert Code.LOG_ROLLED_BACK in report.codes()


@pytest.mark.parametrize("events", [SEALED[::-1], [*SEALED[:2], [event("captured", "c3")] * 2]])
def test_another_log_under_the_same_key_is_a_split_view(log, events):
    """Entries reordered or replaced give another root of the same size."""
    report = whole(log_of(*events), [seen(log)])
    assert Code.LOG_FORKED in report.codes()


def test_two_views_that_were_given_out_convict_the_log_without_its_tiles(log):
    """Two checkpoints of one size and two roots need nothing else; the key signed both."""
    other = log_of(*SEALED[::-1])
    empty = CustodyLog(MemoryLogStore(), ORIGIN, SIGNER)
    report = part(empty, [seen(log), seen(other)])
    assert Code.LOG_FORKED in report.codes()


def test_a_fork_of_another_size_is_found_by_the_tiles(log):
    """A longer log must begin with the shorter one."""
    longer = log_of(*SEALED[::-1], [event("captured", "c4")])
    report = whole(longer, [seen(log)], CAPTURES | {"c4": digest("c4")})
    assert Code.LOG_FORKED in report.codes()


def test_an_export_passes_with_the_hashes_it_carries(log):
    """Checkpoints under proofs are shown to belong to the latest; that more is not known is said."""
    report = part(log, [seen(log_of(*SEALED[:1]))])
    assert report.overall is Verdict.PASSED
    assert "missing" in " ".join(report.unchecked)


@pytest.mark.parametrize("asked", [True, False])
def test_what_cannot_be_compared_is_said_and_open_if_it_was_asked_for(log, asked):
    """An export without hashes is not refuted; whoever gives a checkpoint is told."""
    early = seen(log_of(*SEALED[:1]), asked=asked)
    remove(log, "tile/")
    report = part(log, [early])
    assert report.overall is (Verdict.INDETERMINATE if asked else Verdict.PASSED)
    assert (Code.LOG_NOT_COMPARED in report.codes()) is asked


def test_an_export_from_before_a_checkpoint_is_no_rollback(log):
    """It may be older than what the reader has seen; in a store the same is a failure."""
    newer = seen(log)
    older = log_of(*SEALED[:1])
    assert part(older, [newer]).overall is Verdict.PASSED
    assert part(older, [newer], is_whole=True).codes() == {Code.LOG_ROLLED_BACK}


def test_a_log_of_another_key_is_not_read(log):
    """Its checkpoint is not signed by the trusted key."""
    report = whole(log_of(*SEALED, signer=OTHER))
    assert report.overall is Verdict.FAILED


class Notebook:
    def __init__(self, checkpoint=None):
        self.checkpoint = checkpoint

    def recall(self, key):
        return self.checkpoint

    def remember(self, checkpoint):
        self.checkpoint = checkpoint


def test_a_writer_does_not_sign_a_log_that_lost_what_it_remembers(log):
    """Before it signs anything it wants the log to extend what an earlier run has seen."""
    memory = Notebook()
    store = MemoryLogStore()
    first = CustodyLog(store, ORIGIN, SIGNER, memory=memory)
    first.append(SEALED[0])
    before = dict(store.objects)
    first.append(SEALED[1])
    assert memory.checkpoint.size == 4
    CustodyLog(store, ORIGIN, SIGNER, memory=Notebook(memory.checkpoint)).append(SEALED[2])
    store.objects = before
    with pytest.raises(ProofError) as error:
        CustodyLog(store, ORIGIN, SIGNER, memory=memory).append(SEALED[2])
    assert error.value.finding.code is Code.LOG_ROLLED_BACK
