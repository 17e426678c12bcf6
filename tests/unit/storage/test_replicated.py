"""Several stores as one: quorum, stores that are dead or slow, fall-back, catching up."""

from __future__ import annotations

import hashlib
import io
import threading
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage import lane
from storage.errors import (
    DigestMismatch,
    ObjectConflict,
    ObjectMissing,
    SourceUnreadable,
    StoreRefused,
    StoreUnavailable,
)
from storage.folder import FolderStore
from storage.interface import Capabilities
from storage.memory import MemoryStore
from storage.replicated import ReplicatedStore
from storage.retention import Lock, Retention, RetentionMode, weakest
from storage.streams import MIB, WindowReader
from storage.sync import Outcome, Synced, sync

SOON = Retention(RetentionMode.GOVERNANCE, datetime(2040, 1, 1, tzinfo=UTC))
LATER = Retention(RetentionMode.GOVERNANCE, datetime(2041, 1, 1, tzinfo=UTC))
SOON_FIRM = Retention(RetentionMode.COMPLIANCE, datetime(2040, 1, 1, tzinfo=UTC))
LARGE = hashlib.shake_256(b"large").digest(9 * MIB)


class Named(MemoryStore):
    def __init__(self, url: str) -> None:
        super().__init__()
        self.url = url


class Dead(Named):
    """Answers nothing, but to ``delete`` and ``cleanup``."""

    def put(self, *_, **__):
        raise StoreUnavailable(f"{self.url} is down", code="E639")

    open = stat = list = list_folders = replace = lock_of = put


class Slow(Named):
    """Puts nothing before the event is set."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.go = threading.Event()

    def put(self, key, source, *, sha256=None):
        assert self.go.wait(30)
        return super().put(key, source, sha256=sha256)


class Cut(Named):
    """Fails in the middle of each read."""

    class Reader(WindowReader):
        """Reads up to a byte, then fails."""

        def __init__(self, data: bytes, at: int) -> None:
            super().__init__(len(data))
            self.data = data
            self.at = at

        def _read_into(self, view, position):
            if position >= self.at:
                raise StoreUnavailable("cut", code="E639")
            part = self.data[position : min(self.at, position + len(view))]
            view[: len(part)] = part
            return len(part)

    def open(self, key, *, offset=0, length=None):
        return self.Reader(super().open(key).read(), 300_000).narrowed(offset, length)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_a_quorum_is_of_the_stores():
    """A quorum of none, or of more stores than there are, is refused."""
    for stores, quorum in (([], 1), ([MemoryStore()], 0), ([MemoryStore()], 2), ([MemoryStore()], -1)):
        with pytest.raises(ValueError, match="quorum"):
            ReplicatedStore(stores, quorum)


@pytest.mark.parametrize("kind", ["bytes", "path", "stream"])
def test_all_stores_get_the_object(tmp_path, kind):
    """Whatever the source, each store has the same bytes, and the receipt their digest."""
    stores = [Named("a"), FolderStore(tmp_path / "store"), Named("c")]
    (tmp_path / "source").write_bytes(LARGE)
    source = {"bytes": LARGE, "path": tmp_path / "source", "stream": io.BytesIO(LARGE)}[kind]
    store = ReplicatedStore(stores, 2)
    assert store.put("k", source, sha256=sha256(LARGE)).sha256 == sha256(LARGE)
    (tmp_path / "source").unlink()
    store.close()
    assert [one.open("k").read() == LARGE for one in stores] == [True] * 3
    assert store.lagging == {}


@pytest.mark.parametrize("dead", [{0}, {1}, {2}])
def test_one_dead_store_of_three_stops_nothing(dead):
    """With a quorum of two of three any one store may be down for writing, reading and listing."""
    stores = [Dead(str(n)) if n in dead else Named(str(n)) for n in range(3)]
    store = ReplicatedStore(stores, 2)
    store.put("a/k", b"data")
    store.close()
    assert list(store.lagging) == [str(n) for n in dead]
    assert store.open("a/k").read() == b"data"
    assert [info.key for info in store.list()] == ["a/k"]
    assert list(store.list_folders("")) == ["a"]
    with pytest.raises(ObjectMissing):
        store.stat("missing")


def test_without_a_quorum_nothing_is_preserved():
    """Two dead stores of three fail the put, with each one's reason, and make reading uncertain."""
    store = ReplicatedStore([Named("a"), Dead("b"), Dead("c")], 2)
    with pytest.raises(
        StoreUnavailable, match=r"expected 2 of 3 stores, got 1 confirmed: .*b is down.*E661"
    ) as caught:
        store.put("k", b"data")
    assert "c is down" in str(caught.value)
    assert store.open("k").read() == b"data"
    for call in (lambda: store.stat("other"), lambda: list(store.list()), lambda: store.list_folders("")):
        with pytest.raises(StoreUnavailable, match="E661"):
            call()


def test_a_slow_store_delays_nothing_and_catches_up(tmp_path):
    """The put returns while a store still waits; it has the bytes later, though the source is gone."""
    slow = Slow("slow")
    source = tmp_path / "source"
    source.write_bytes(LARGE)
    store = ReplicatedStore([Named("a"), slow, Named("c")], 2)
    store.put("k", source)
    source.unlink()
    assert slow._objects == {}
    slow.go.set()
    store.close()
    assert slow._objects == {"k": LARGE}


def test_a_store_that_stays_slow_is_passed_by(monkeypatch):
    """Only so many puts wait for a slow store; the others go on without it, and it is known to lag."""
    monkeypatch.setattr(lane, "MAX_WAITING", 3)
    slow = Slow("slow")
    store = ReplicatedStore([Named("a"), slow], 1)
    for number in range(10):
        store.put(f"k{number}", b"data")
    assert "passed by" in store.lagging["slow"]
    slow.go.set()
    store.close()
    assert len(slow._objects) == 3
    assert [one.outcome for one in sync(store.stores)] == [Outcome.COPIED] * 7


def test_other_bytes_in_one_store_are_a_conflict():
    """A store that has other bytes makes the put a conflict and keeps what it has."""
    stores = [Named("a"), Named("b")]
    stores[1].put("k", b"theirs")
    with pytest.raises(ObjectConflict):
        ReplicatedStore(stores, 2).put("k", b"ours")
    assert stores[1].open("k").read() == b"theirs"


@pytest.mark.parametrize("source", ["missing", "closed", "wrong"])
def test_bad_sources_reach_no_store(tmp_path, source):
    """What cannot be read, or is not what was announced, is refused before any store is asked."""
    stores = [Named("a"), Named("b")]
    store = ReplicatedStore(stores, 1)
    closed = io.BytesIO()
    closed.close()
    sources = {"missing": tmp_path / "missing", "closed": closed, "wrong": b"other"}
    with pytest.raises((SourceUnreadable, DigestMismatch)):
        store.put("k", sources[source], sha256=sha256(b"data"))
    store.close()
    assert [one._objects for one in stores] == [{}, {}]


@pytest.mark.parametrize(
    ("offset", "length"), [(0, None), (250_000, None), (250_000, 100_000), (400_000, 10)]
)
def test_a_read_goes_on_in_another_store(offset, length):
    """A store that fails in the middle of a read is replaced by the next, at the same byte."""
    stores = [Cut("a"), Cut("b"), Named("c")]
    for one in stores:
        MemoryStore.put(one, "k", LARGE[:MIB])
    expected = LARGE[:MIB][offset:][:length]
    with ReplicatedStore(stores, 2).open("k", offset=offset, length=length) as stream:
        assert stream.read() == expected


def test_a_read_that_no_store_can_finish_fails():
    """When every copy is cut at the same place, the reader is told, and gets no short object."""
    stores = [Cut("a"), Cut("b")]
    for one in stores:
        MemoryStore.put(one, "k", LARGE[:MIB])
    with ReplicatedStore(stores, 1).open("k") as stream, pytest.raises(StoreUnavailable, match="cut"):
        stream.read()


def test_copies_of_another_size_are_not_spliced():
    """A read does not go on in a copy that cannot be the same object."""
    stores = [Cut("a"), Named("b")]
    MemoryStore.put(stores[0], "k", LARGE[:MIB])
    stores[1].put("k", LARGE[: MIB - 1])
    with ReplicatedStore(stores, 1).open("k") as stream, pytest.raises(StoreUnavailable, match="E662"):
        stream.read()


def test_pointers_follow_the_first_store():
    """The first store decides who may replace; the others follow as far as they can."""
    stores = [Named("a"), Named("b"), Dead("c")]
    store = ReplicatedStore(stores, 2)
    etag = store.replace("pointer", b"1", etag=None)
    stores[1]._objects["pointer"] = b"behind"
    store.replace("pointer", b"2", etag=etag)
    assert [one._objects["pointer"] for one in stores[:2]] == [b"2", b"2"]
    assert list(store.lagging) == ["c"]
    with pytest.raises(ObjectConflict):
        store.replace("pointer", b"3", etag=etag)
    assert [one._objects["pointer"] for one in stores[:2]] == [b"2", b"2"]


def test_a_held_copy_stops_a_delete():
    """A hold in one store keeps the object from being deleted in the stores after it."""
    stores = [Named("a"), Named("b")]
    store = ReplicatedStore(stores, 2)
    store.put("k", b"data")
    stores[0].hold("k")
    with pytest.raises(StoreRefused, match="E652"):
        store.delete("k")
    assert [list(one._objects) for one in stores] == [["k"], ["k"]]


def test_a_hold_is_on_every_copy_or_refused():
    """A hold that a store did not take is told, and the lock of the whole is the weakest copy's."""
    stores = [Named("a"), Named("b")]
    store = ReplicatedStore(stores, 1)
    stores[0].put("k", b"data")
    with pytest.raises(StoreUnavailable, match=r"expected 2 stores, got 1: .*E663"):
        store.hold("k")
    assert stores[0].lock_of("k").held
    assert [one.outcome for one in sync(stores)] == [Outcome.COPIED]
    assert not store.lock_of("k").held
    assert store.hold("k").held
    assert stores[1].lock_of("k").held


@pytest.mark.parametrize(
    ("locks", "expected"),
    [
        ([Lock(held=True), Lock()], Lock()),
        ([Lock(SOON, held=True), Lock(held=True)], Lock(held=True)),
        ([Lock(SOON), Lock(LATER)], Lock(SOON)),
        ([Lock(LATER), Lock(SOON_FIRM)], Lock(SOON)),
        ([Lock(SOON_FIRM), Lock(SOON_FIRM)], Lock(SOON_FIRM)),
    ],
)
def test_copies_are_locked_as_the_least_one_is(locks, expected):
    """No more is promised of all copies than holds of each."""
    assert weakest(locks) == weakest(locks[::-1]) == expected


# --- sync ---

OBJECTS = st.dictionaries(
    st.sampled_from(["a", "a-", "a.b", "b/c", "b/d", "e"]), st.binary(max_size=3), max_size=6
)


@given(
    OBJECTS, st.lists(st.sets(st.sampled_from(["a", "a-", "a.b", "b/c", "b/d", "e"])), min_size=2, max_size=4)
)
def test_after_a_sync_all_stores_have_the_same(objects, kept):
    """Wherever objects are missing, then each store has what any had, and a second sync does nothing."""
    stores = [Named(str(number)) for number in range(len(kept))]
    for store, own in zip(stores, kept, strict=True):
        for key in own & objects.keys():
            store.put(key, objects[key])
    union = {key: data for store in stores for key, data in store._objects.items()}
    done = list(sync(stores))
    assert {one.outcome for one in done} <= {Outcome.COPIED}
    assert all(store._objects == union for store in stores)
    assert list(sync(stores)) == []


def test_sync_tells_what_it_cannot_do():
    """Other sizes, a dead store and copies with a wrong digest are told; nothing is replaced or spread."""
    stores = [Named("a"), Named("b"), Dead("dead")]
    stores[0].put("k", b"long")
    stores[1].put("k", b"short")
    stores[0].put("wrong", b"damaged")
    found = list(sync(stores, digest_of=lambda key: sha256(b"right") if key == "wrong" else None))
    assert Synced("dead", "", Outcome.UNLISTED, "dead is down [E639]") in found
    assert Synced("b", "k", Outcome.DISAGREES, "expected 4 bytes, got 5 bytes") in found
    (failed,) = [one for one in found if one.outcome is Outcome.FAILED]
    assert (failed.url, failed.key) == ("b", "wrong")
    assert "E605" in failed.detail
    assert "wrong" not in stores[1]._objects


def test_sync_takes_a_copy_from_whoever_has_it_right():
    """A damaged copy is passed over when another store has the right one."""
    stores = [Named("a"), Named("b"), Named("c")]
    stores[0].put("k", b"wrong")
    stores[1].put("k", b"right")
    (done,) = sync(stores, digest_of=lambda _: sha256(b"right"))
    assert done == Synced("c", "k", Outcome.COPIED, "from b")


def test_a_store_that_breaks_in_the_middle_gets_nothing_more():
    """Of a store whose listing breaks off nobody knows what it has, so nothing is copied to it."""

    class Breaking(Named):
        def list(self, prefix=""):
            yield from list(super().list(prefix))[:1]
            raise StoreUnavailable("broke off", code="E639")

    stores = [Named("a"), Breaking("b")]
    for number in range(4):
        stores[0].put(f"k{number}", b"x")
    stores[1].put("k0", b"x")
    found = list(sync(stores))
    assert [one.outcome for one in found] == [Outcome.UNLISTED]
    assert list(stores[1]._objects) == ["k0"]


class Counted(Dead):
    """Counts how often it was asked."""

    asked = 0

    def put(self, *_, **__):
        self.asked += 1
        super().put()

    open = stat = list = list_folders = replace = lock_of = put


def test_a_dead_store_is_asked_once_and_then_passed_by():
    """Time-outs of a dead store are waited for once, not for each object, and what it missed is noted."""
    dead = Counted("dead")
    store = ReplicatedStore([dead, Named("a"), Named("b")], 2)
    with pytest.raises(ObjectMissing):
        store.stat("none")
    for number in range(50):
        store.put(f"k/{number}", b"data")
        assert store.open(f"k/{number}").read() == b"data"
    assert len(list(store.list())) == 50
    assert list(store.list_folders("")) == ["k"]
    store.close()
    assert dead.asked == 1
    assert "passed by" in store.lagging["dead"]


def test_a_dead_store_that_the_quorum_needs_is_asked_each_time():
    """With one of two dead and both needed, nothing is called preserved, and each put tries again."""
    dead = Counted("dead")
    store = ReplicatedStore([Named("a"), dead], 2)
    for number in range(3):
        with pytest.raises(StoreUnavailable, match="E661"):
            store.put(f"k/{number}", b"data")
    assert dead.asked == 3


def test_a_store_is_asked_again_after_its_rest(monkeypatch):
    """A store that comes back is written to again by the same run."""
    monkeypatch.setattr(lane, "REST_S", 0)
    dead = Counted("dead")
    store = ReplicatedStore([Named("a"), dead], 1)
    for number in range(3):
        store.put(f"k/{number}", b"data")
    store.close()
    assert dead.asked == 3


def test_a_receipt_names_every_store_that_has_confirmed(tmp_path):
    """A quorum of two gives two receipts, each of a store that holds the bytes."""
    stores = [Named("a"), FolderStore(tmp_path / "b"), Dead("c")]
    receipt = ReplicatedStore(stores, 2).put("k", LARGE)
    assert sorted(url for url, _ in receipt.copies) == sorted(["a", str(tmp_path / "b")])
    assert {one.sha256 for _, one in receipt.copies} == {sha256(LARGE)}


def test_a_store_that_cannot_be_asked_promises_nothing():
    """What is promised for all copies is promised only while every store can be asked."""

    class Locking(Named):
        @property
        def capabilities(self):
            return Capabilities(conditional_writes=True, retention=True, versioning=True)

    class Unasked(Named):
        @property
        def capabilities(self):
            raise StoreUnavailable("down", code="E639")

    assert ReplicatedStore([Locking("a"), Locking("b")], 1).capabilities.retention
    assert not ReplicatedStore([Locking("a"), Unasked("b")], 1).capabilities.retention
