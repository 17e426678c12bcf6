"""Audits and syncs of whole stores: what is lost or changed is found, and put right from another copy."""

from __future__ import annotations

import hashlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archiver.preservation.audit_report import begin, report_bytes, report_key, report_of, save, state_path
from archiver.preservation.auditing import Extent, Progress, audit_store
from archiver.preservation.deletion import delete_capture
from archiver.preservation.holding import hold_incident
from archiver.preservation.receipts import receipts_prefix, recorded_digest
from archiver.preservation.syncing import finish_copies, sync_stores
from storage.errors import StoreUnavailable
from storage.folder import FolderStore
from storage.memory import MemoryStore
from storage.replicated import ReplicatedStore
from storage.sync import Outcome
from tests.unit.archiver.preservation.lab import Named, capture_id, damage, put_capture, remove

FULL = Extent(1000, "seed")


def two(tmp_path=None) -> ReplicatedStore:
    return ReplicatedStore([FolderStore(tmp_path / "a") if tmp_path else Named("a"), Named("b")], 2)


def audited(store, others=(), extent=FULL, *, mend=True) -> Progress:
    progress = Progress()
    audit_store(store, others, extent, progress, mend=mend)
    return progress


def found(progress: Progress) -> dict[str, str]:
    return {one.key: one.condition.value for one in progress.findings}


def everything(store) -> dict[str, bytes]:
    return {info.key: store.open(info.key).read() for info in store.list()}


def test_a_whole_store_is_sound(tmp_path):
    """Every object that the pipeline stores is expected, read, and right; nothing is surplus."""
    store = FolderStore(tmp_path / "a")
    for number in range(3):
        put_capture(store, number)
    hold_incident(store, "KZ-1", "order", "me")
    progress = audited(store)
    count = len(everything(store))
    assert (progress.counts["sound"], progress.findings) == (count, [])
    assert progress.read_bytes == sum(map(len, everything(store).values()))


@pytest.mark.parametrize("name", ["record.json", "dom.html", "screenshot-full.png"])
def test_one_changed_byte_is_found_and_repaired(tmp_path, name):
    """A byte changed in any file of a capture, its record too, is found and put right from the other copy."""
    store = two(tmp_path)
    one = put_capture(store)
    before = everything(store.stores[0])
    damage(store.stores[0], f"captures/{one}/{name}")
    progress = audited(store.stores[0], store.stores[1:])
    assert found(progress) == {f"captures/{one}/{name}": "damaged"}
    assert progress.findings[0].repaired_from == "b"
    assert everything(store.stores[0]) == before
    assert found(audited(store.stores[0])) == {}


@given(data=st.data())
@settings(max_examples=40)
def test_whatever_is_damaged_or_lost_is_found_and_repaired(data):
    """Any object whose digest something fixes can be lost or changed at any byte of either copy."""
    store = two()
    for number in range(2):
        put_capture(store, number, ("KZ-1", "KZ-2"))
    victim = data.draw(st.sampled_from(store.stores))
    other = next(one for one in store.stores if one is not victim)
    before = everything(victim)
    key = data.draw(st.sampled_from([key for key in before if key != "store.json"]))
    if data.draw(st.booleans()):
        remove(victim, key)
        expected = "missing"
    else:
        damage(victim, key, data.draw(st.integers(0, len(before[key]) - 1)))
        expected = "damaged"
    assert found(audited(victim, [other])) == {key: expected}
    assert everything(victim) == before


def test_without_a_good_copy_it_is_told_and_left(tmp_path):
    """Damaged in both stores: found in both, repaired in none, and nothing is made worse."""
    store = two(tmp_path)
    key = f"captures/{put_capture(store)}/dom.html"
    damage(store.stores[0], key, 5)
    damage(store.stores[1], key, 6)
    before = [everything(one) for one in store.stores]
    for number in (0, 1):
        progress = audited(store.stores[number], [store.stores[1 - number]])
        assert found(progress) == {key: "damaged"}
        assert progress.repaired_count == 0
        assert "E660" in progress.findings[0].detail
    assert [everything(one) for one in store.stores] == before


def test_a_dry_run_repairs_nothing(tmp_path):
    """Without mending the finding is the same and the store is left as it is."""
    store = two(tmp_path)
    key = f"captures/{put_capture(store)}/dom.html"
    damage(store.stores[0], key)
    before = everything(store.stores[0])
    progress = audited(store.stores[0], store.stores[1:], mend=False)
    assert (found(progress), progress.repaired_count) == ({key: "damaged"}, 0)
    assert everything(store.stores[0]) == before


def test_a_capture_that_vanished_whole_is_missed(tmp_path):
    """Its receipt remembers a capture of which no file is left; with a copy it comes back."""
    store = two(tmp_path)
    one = put_capture(store)
    victim = store.stores[0]
    before = everything(victim)
    for key in before:
        if key.startswith(("captures/", "incidents/")):
            remove(victim, key)
    alone = audited(victim)
    assert found(alone) == {f"captures/{one}/record.json": "missing"}
    assert set(found(audited(victim, store.stores[1:])).values()) == {"missing"}
    assert everything(victim) == before


def test_a_forged_record_is_not_believed(tmp_path):
    """Record and artefact changed together agree with each other, but not with the receipt."""
    store = FolderStore(tmp_path / "a")
    one = put_capture(store)
    other = MemoryStore()
    put_capture(other, 2)
    forged = everything(other)[f"captures/{capture_id(2)}/record.json"].replace(
        capture_id(2).encode(), one.encode()
    )
    path = store.root / f"captures/{one}/record.json"
    path.chmod(0o644)
    path.write_bytes(forged)
    assert found(audited(store))[f"captures/{one}/record.json"] == "damaged"


def test_surplus_and_half_made_captures_are_told_apart(tmp_path):
    """An object that nobody expects is unlisted; a capture without a record was broken off."""
    store = FolderStore(tmp_path / "a")
    one = put_capture(store, 1)
    half = capture_id(2)
    store.put(f"captures/{one}/extra.txt", b"x")
    store.put(f"captures/{half}/dom.html", b"x")
    store.put(f"incidents/KZ-1/{capture_id(3)}.json", b"x")
    assert found(audited(store)) == {
        f"captures/{one}/extra.txt": "unlisted",
        f"captures/{half}/dom.html": "unlisted",
        f"captures/{half}/record.json": "unacknowledged",
        f"incidents/KZ-1/{capture_id(3)}.json": "unlisted",
    }


def test_what_was_deleted_on_purpose_is_not_missed():
    """After a deletion an audit misses nothing and a sync brings nothing back."""
    store = two()
    one = put_capture(store)
    put_capture(store, 2)
    delete_capture(store, one, "a mistake", "me", lambda _: None)
    assert [found(audited(copy)) for copy in store.stores] == [{}, {}]
    stale = Named("stale")
    put_capture(stale)
    list(sync_stores(ReplicatedStore([*store.stores, stale], 2)))
    gone = [f"captures/{one}/", f"incidents/KZ-1/{one}"]
    assert not any(key.startswith(tuple(gone)) for key in everything(store.stores[0]))


def test_an_audit_goes_on_where_it_was_broken_off(tmp_path):
    """Broken off after any object and resumed from its saved state, it finds and counts the same."""
    store = FolderStore(tmp_path / "a")
    for number in range(3):
        put_capture(store, number)
    damage(store, f"captures/{capture_id(1)}/dom.html")
    whole = audited(store)
    path = state_path(tmp_path / "cache", store.url, 1000)

    class Broken(Exception):
        pass

    for stop in (1, 4, 7, 11):
        state = begin(path, store.url, 1000)
        seen = []

        def tick(progress, stop=stop, seen=seen):
            seen.append(progress.after)
            if len(seen) == stop:
                raise Broken

        with pytest.raises(Broken):
            audit_store(store, (), FULL, state.progress, mend=False, tick=tick)
        save(path, state)
        resumed = begin(path, store.url, 1000)
        assert resumed.resumed_count == 1
        audit_store(store, (), FULL, resumed.progress, mend=False)
        assert found(resumed.progress) == found(whole)
        assert resumed.progress.counts["damaged"] == 1
        assert resumed.progress.counts["sound"] >= whole.counts["sound"]
        path.unlink()


@pytest.mark.parametrize("state", [b"", b"{}", b"[]", b"\xff", b'{"store":"a"}'])
def test_a_state_that_is_none_begins_anew(tmp_path, state):
    """What lies in the cache cannot stop an audit."""
    path = state_path(tmp_path, "a", 1000)
    path.parent.mkdir()
    path.write_bytes(state)
    assert begin(path, "a", 1000).resumed_count == 0


def test_a_sample_reads_some_and_looks_at_all(tmp_path):
    """Presence and size of every object are compared; which are read depends on the seed alone."""
    store = FolderStore(tmp_path / "a")
    for number in range(20):
        put_capture(store, number)
    extent = Extent(200, "a seed")
    progress = audited(store, extent=extent)
    assert 0 < progress.counts["sound"] < progress.counts["listed"]
    assert progress.counts == audited(store, extent=extent).counts
    key = f"captures/{capture_id(7)}/dom.html"
    remove(store, key)
    assert found(audited(store, extent=Extent(1, "another"))) == {key: "missing"}


def test_a_store_that_fails_in_the_middle_ends_the_audit():
    """An audit that cannot go on says so and keeps what it had."""
    store = Named("a")
    for number in range(3):
        put_capture(store, number)
    progress = Progress()

    def tick(_):
        store.down = sum(progress.counts.values()) >= 4

    with pytest.raises(StoreUnavailable):
        audit_store(store, (), FULL, progress, mend=False, tick=tick)
    assert progress.counts["sound"] >= 4


def test_another_store_that_dies_ends_nothing():
    """The other copies are asked for help, and not needed where all is well."""
    store = ReplicatedStore([Named("a"), Named("b"), Named("c")], 3)
    put_capture(store)
    store.stores[2].down = True
    damage(store.stores[0], f"captures/{capture_id(1)}/dom.html")
    progress = audited(store.stores[0], [store.stores[2], store.stores[1]])
    assert progress.repaired_count == 1


def test_the_report_says_what_was_found_and_names_its_own_digest(tmp_path):
    """A report is canonical JSON whose key ends in its SHA-256, so a later audit checks it too."""
    store = two(tmp_path)
    key = f"captures/{put_capture(store)}/dom.html"
    damage(store.stores[0], key)
    url = store.stores[0].url
    state = begin(state_path(tmp_path, url, 1000), url, 1000)
    audit_store(store.stores[0], store.stores[1:], FULL, state.progress, mend=True)
    report = report_of(state, mended=True)
    data = report_bytes(report)
    assert json.loads(data) == report
    assert (report["counts"]["damaged"], report["repaired_count"]) == (1, 1)
    assert report["findings"][0]["key"] == key
    assert str(tmp_path) not in data.decode()
    name = report_key(report, data)
    assert name.endswith(f"-{hashlib.sha256(data).hexdigest()}.json")
    store.stores[0].put(name, data)
    damage(store.stores[0], name)
    assert found(audited(store.stores[0])) == {name: "damaged"}


# --- receipts ---


def test_a_receipt_says_what_each_store_has(tmp_path):
    """Every object of the capture is in the receipt, for each store that has confirmed it, without a path."""
    store = two(tmp_path)
    one = put_capture(store)
    (info,) = store.stores[0].list(receipts_prefix(one))
    receipt = json.loads(store.open(info.key).read())
    assert [copy["store"] for copy in receipt["copies"]] == ["a", "b"]
    stored = everything(store.stores[0])
    for copy in receipt["copies"]:
        for item in copy["objects"]:
            assert hashlib.sha256(stored[item["key"]]).hexdigest() == item["sha256"]
        assert {item["key"] for item in copy["objects"]} == {
            key for key in stored if key.startswith(("captures/", "incidents/"))
        }
    assert str(tmp_path) not in json.dumps(receipt)


@pytest.mark.s3
def test_a_receipt_holds_version_and_checksum(s3_locked_store):
    """What S3 answers to a put is kept: the version that was locked, and the server's own checksum."""
    one = put_capture(s3_locked_store)
    (info,) = s3_locked_store.list(receipts_prefix(one))
    (copy,) = json.loads(s3_locked_store.open(info.key).read())["copies"]
    for item in copy["objects"]:
        name = f"{s3_locked_store.prefix}{item['key']}"
        head = s3_locked_store.client.head_object(
            Bucket=s3_locked_store.bucket, Key=name, ChecksumMode="ENABLED"
        )
        assert (item["version_id"], item["server_checksum"]) == (head["VersionId"], head["ChecksumSHA256"])


@pytest.mark.parametrize("change", [b"", b"{}", b"[]", b"\xff"])
def test_a_damaged_receipt_is_not_believed(change):
    """A receipt whose bytes are not those its name says fixes nothing."""
    store = MemoryStore()
    one = put_capture(store)
    assert recorded_digest(store, one)
    (info,) = store.list(receipts_prefix(one))
    store._objects[info.key] = change
    assert recorded_digest(store, one) is None


# --- sync ---


def test_a_store_that_was_away_is_caught_up_with_its_locks():
    """What was captured while a store was down is copied to it, held there too, and nothing else changes."""
    store = ReplicatedStore([Named("a"), Named("b"), Named("c")], 2)
    put_capture(store, 1)
    hold_incident(store, "KZ-1", "order", "me")
    store.stores[2].down = True
    put_capture(store, 2)
    assert [text.startswith("store c: lags behind") for text in finish_copies(store)] == [True]
    store.stores[2].down = False
    done = list(sync_stores(ReplicatedStore(store.stores, 2)))
    assert {one.outcome for one in done} == {Outcome.COPIED}
    assert everything(store.stores[2]) == everything(store.stores[0])
    assert store.stores[2].lock_of(f"captures/{capture_id(2)}/dom.html").held
    assert list(sync_stores(ReplicatedStore(store.stores, 2))) == []


def test_a_damaged_object_is_not_spread():
    """A copy with another digest than the record's is not what a sync copies."""
    store = ReplicatedStore([Named("a"), Named("b"), Named("c")], 3)
    key = f"captures/{put_capture(store)}/dom.html"
    damage(store.stores[0], key)
    remove(store.stores[2], key)
    (done,) = sync_stores(store)
    assert (done.outcome, done.detail) == (Outcome.COPIED, "from b")
    assert store.stores[2].open(key).read() == store.stores[1].open(key).read()


def checkpoint(size: int) -> bytes:
    return b"archiver/x\n%d\nroot\n\n\xe2\x80\x94 archiver/x sig\n" % size


@pytest.mark.parametrize(
    ("first", "other", "after", "outcomes"),
    [
        (checkpoint(5), None, checkpoint(5), set()),
        (checkpoint(5), checkpoint(3), checkpoint(5), set()),
        (checkpoint(5), checkpoint(5), checkpoint(5), set()),
        (checkpoint(5), checkpoint(10), checkpoint(10), {Outcome.DISAGREES}),
        (checkpoint(5), b"rubbish", checkpoint(5), set()),
    ],
)
def test_the_logs_pointer_follows_and_never_goes_back(first, other, after, outcomes):
    """The first store's checkpoint is copied, but a longer log elsewhere is told instead of overwritten."""
    store = two()
    store.stores[0].replace("log/checkpoint", first, etag=None)
    if other is not None:
        store.stores[1].replace("log/checkpoint", other, etag=None)
    assert {one.outcome for one in sync_stores(store)} == outcomes
    assert store.stores[1].open("log/checkpoint").read() == after
