"""The contract of ``storage.interface``, held against every store."""

from __future__ import annotations

import hashlib
import io
import itertools
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from storage.errors import (
    DigestMismatch,
    InvalidKey,
    InvalidRange,
    ObjectConflict,
    ObjectMissing,
    SourceUnreadable,
    StoreError,
    StoreRefused,
)
from storage.folder import FolderStore
from storage.keys import MAX_SEGMENT_BYTES, is_key
from storage.memory import MemoryStore
from storage.open import open_store
from storage.replicated import ReplicatedStore
from storage.streams import MAX_MUTABLE_BYTES, MIB

LARGE = hashlib.shake_256(b"large").digest(33 * MIB + 5)


@pytest.fixture(params=["memory", "folder", "replicated", pytest.param("s3", marks=pytest.mark.s3)])
def store(request: pytest.FixtureRequest, tmp_path: Path):
    if request.param == "memory":
        return MemoryStore()
    if request.param == "replicated":
        stores = [FolderStore(tmp_path / name) for name in "ab"]
        for store in stores:
            store.root.mkdir()
        return ReplicatedStore(stores, 2)
    if request.param == "folder":
        (tmp_path / "store").mkdir()
        return open_store(str(tmp_path / "store"))
    return request.getfixturevalue("s3_store")


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def read(store, key: str, **window: int) -> bytes:
    with store.open(key, **window) as stream:
        return stream.read()


def keys(store, prefix: str = "") -> list[str]:
    return [info.key for info in store.list(prefix)]


@pytest.mark.parametrize("data", [b"", b"x", b"\0" * 1000, LARGE], ids=["empty", "one", "zeros", "large"])
def test_bytes_come_back_as_they_went_in(store, data):
    """What is put is read back byte for byte, and the receipt has its size and digest."""
    receipt = store.put("captures/x/data.bin", data)
    assert (receipt.key, receipt.size_bytes, receipt.sha256) == (
        "captures/x/data.bin",
        len(data),
        sha256(data),
    )
    assert receipt.created
    assert read(store, "captures/x/data.bin") == data
    assert store.stat("captures/x/data.bin").size_bytes == len(data)


def test_every_kind_of_source_is_stored(store, tmp_path):
    """Bytes, a path and a stream in its middle are sources; a stream is read from where it stands."""
    (tmp_path / "source").write_bytes(b"from a file")
    stream = io.BytesIO(b"skipped, from a stream")
    stream.seek(9)
    store.put("a", b"from bytes")
    store.put("b", tmp_path / "source")
    store.put("c", stream)
    assert [read(store, key) for key in "abc"] == [b"from bytes", b"from a file", b"from a stream"]


def test_a_stream_of_small_reads_is_stored_whole(store):
    """A pipe-like source that gives a few bytes at a time is read to its end."""
    source, sink = os.pipe()
    with ThreadPoolExecutor(1) as pool, os.fdopen(source, "rb", buffering=0) as stream:
        written = pool.submit(_write_slowly, sink, LARGE[: 17 * MIB])
        receipt = store.put("k", stream, sha256=sha256(LARGE[: 17 * MIB]))
        written.result()
    assert receipt.size_bytes == 17 * MIB


def _write_slowly(sink: int, data: bytes) -> None:
    with os.fdopen(sink, "wb", buffering=0) as stream:
        for start in range(0, len(data), 50_001):
            stream.write(data[start : start + 50_001])


@pytest.mark.parametrize("data", [b"same", LARGE], ids=["small", "large"])
def test_the_same_bytes_again_are_found(store, data):
    """A second put of the same bytes succeeds and says that nothing was created."""
    first = store.put("k", data)
    again = store.put("k", io.BytesIO(data))
    assert (first.created, again.created) == (True, False)
    assert again.sha256 == sha256(data)
    assert read(store, "k") == data


@pytest.mark.parametrize(
    ("there", "offered"),
    [(b"one", b"two"), (b"", b"x"), (b"x", b""), (LARGE, LARGE[:-1] + b"x"), (LARGE, b"x"), (b"x", LARGE)],
    ids=["same-size", "was-empty", "now-empty", "large-last-byte", "large-small", "small-large"],
)
def test_other_bytes_are_a_conflict(store, there, offered):
    """A second put of other bytes is refused and changes nothing."""
    store.put("k", there)
    with pytest.raises(ObjectConflict, match="E603"):
        store.put("k", offered)
    assert read(store, "k") == there
    assert keys(store) == ["k"]


@pytest.mark.parametrize("data", [b"arrived", LARGE], ids=["small", "large"])
@pytest.mark.parametrize("announced", [sha256(b"other"), sha256(b"").upper(), "", "ab", "x" * 64, "0" * 65])
def test_a_wrong_digest_is_refused(store, data, announced):
    """Bytes that do not have the announced digest leave nothing behind."""
    with pytest.raises(DigestMismatch):
        store.put("k", data, sha256=announced)
    assert keys(store) == []
    with pytest.raises(ObjectMissing):
        store.stat("k")


def test_a_wrong_digest_for_a_key_that_is_there_is_refused(store):
    """The announced digest is checked also where the key is taken."""
    store.put("k", b"data")
    with pytest.raises(DigestMismatch, match="E605"):
        store.put("k", b"data", sha256=sha256(b"other"))


def test_the_right_digest_is_accepted(store):
    """Bytes that have the announced digest are stored."""
    assert store.put("k", LARGE, sha256=sha256(LARGE)).sha256 == sha256(LARGE)


ODD_KEYS = [
    "",
    "/",
    "/a",
    "a/",
    "a//b",
    ".",
    "..",
    "./a",
    "a/.",
    "a/..",
    "a/../b",
    "../a",
    ".hidden",
    ".tmp/x",
    "a\0b",
    "a\nb",
    "a\x7fb",
    "a\x85b",
    "a\\b",
    "a\u2028b",
    "a\ud800b",
    "a\ufffeb",
    "e\u0301",
    "x" * (MAX_SEGMENT_BYTES + 1),
    "ж" * (MAX_SEGMENT_BYTES // 2 + 1),
    "/".join(["x" * 100] * 11),
]


@pytest.mark.parametrize("key", ODD_KEYS, ids=ascii)
def test_odd_keys_are_refused_everywhere(store, key):
    """A key that some store could not hold is refused by each method of each store, before any I/O."""
    for call in (
        lambda: store.put(key, b"x"),
        lambda: store.open(key),
        lambda: store.stat(key),
        lambda: store.replace(key, b"x", etag=None),
        lambda: store.delete(key),
    ):
        with pytest.raises(InvalidKey, match="E601") as caught:
            call()
        assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "key",
    [
        "a b",
        "q?x=1&y#z",
        "100%",
        "%2e%2e",
        "a+b",
        "a:b",
        "*",
        '"quoted"',
        "<&>",
        "-rf",
        "~",
        "Қазақстан/сурет.png",
        "日本/\U0001f600",
        "a/.hidden",
        "a/...",
        "x" * MAX_SEGMENT_BYTES,
        "/".join(["x" * 93] * 10),
    ],
    ids=ascii,
)
def test_unusual_keys_are_held(store, key):
    """Every key within the rules is stored, listed, read and deleted by exactly its name."""
    store.put(key, b"x")
    assert keys(store) == [key]
    assert keys(store, key) == [key]
    assert read(store, key) == b"x"
    store.delete(key)
    assert keys(store) == []


@pytest.mark.parametrize("prefix", ["/", "..", ".tmp", "a//", "a\0", "a\ud800"], ids=ascii)
def test_prefixes_that_no_key_has_are_refused(store, prefix):
    """A prefix that no key can begin with is an error, not an empty listing."""
    with pytest.raises(InvalidKey):
        store.list(prefix)


@pytest.mark.parametrize("prefix", ["a", "a/b", "/", "../", "a//"])
def test_folders_are_listed_of_folders_only(store, prefix):
    """``list_folders`` takes a prefix that ends in a slash."""
    with pytest.raises(InvalidKey):
        store.list_folders(prefix)


def test_missing_objects_are_missing(store):
    """Nothing is read, described, replaced or deleted that is not there."""
    store.put("a/b", b"x")
    for key in ("b", "a", "a/b/c", "a/B", "A/b"):
        with pytest.raises(ObjectMissing, match="E602"):
            store.open(key)
        with pytest.raises(ObjectMissing, match="E602"):
            store.stat(key)
        with pytest.raises(ObjectMissing, match="E602"):
            store.delete(key)
        with pytest.raises(ObjectConflict):
            store.replace(key, b"y", etag="0" * 64)
    assert keys(store) == ["a/b"]


ORDERED = [
    "A",
    "a b",
    "a!/x",
    "a-",
    "a.b",
    "a/0/x",
    "a/x",
    "a0",
    "ab/c",
    "b/c/d/e",
    "z",
    "é/1",
    "\ue000",
    "\U0001f600",
]


def test_listing_is_in_bytewise_order(store):
    """Keys are listed in the order of their bytes, also where a folder's name begins a file's."""
    for key in reversed(ORDERED):
        store.put(key, key.encode())
    assert [key.encode() for key in keys(store)] == sorted(key.encode() for key in ORDERED)
    assert [info.size_bytes for info in store.list()] == [len(key.encode()) for key in keys(store)]


@pytest.mark.parametrize(
    "prefix", ["", "a", "a/", "a/x", "a/x/", "a!", "b/c/d/", "b/c/d/e", "nothing", "é", "Z/"]
)
def test_listing_by_prefix_is_the_filtered_listing(store, prefix):
    """A prefix, at the end of a segment or within it, selects exactly the keys that start with it."""
    for key in ORDERED:
        store.put(key, b"")
    assert keys(store, prefix) == [key for key in keys(store) if key.startswith(prefix)]


def test_folders_are_the_next_segments(store):
    """``list_folders`` names each next segment once, in order, and no objects."""
    for key in ("c/2/x", "c/1/x", "c/1/y", "c/1/z/z", "c/file", "d", "e/f"):
        store.put(key, b"")
    assert list(store.list_folders("c/")) == ["1", "2"]
    assert list(store.list_folders("")) == ["c", "e"]
    assert list(store.list_folders("c/1/")) == ["z"]
    assert list(store.list_folders("nothing/")) == []


@pytest.mark.parametrize(
    ("offset", "length"),
    [(0, None), (0, 5), (3, 4), (3, None), (9, 1), (9, 100), (0, 0), (10, None), (10, 3), (99, 1), (5, 0)],
)
def test_ranges_are_slices(store, offset, length):
    """A range gives the bytes that a slice would, also past the end."""
    store.put("k", b"0123456789")
    expected = b"0123456789"[offset : None if length is None else offset + length]
    assert read(store, "k", offset=offset, length=length) == expected


@pytest.mark.parametrize(("offset", "length"), [(-1, None), (0, -1), (-5, 3), (0, -(2**70))])
def test_negative_ranges_are_refused(store, offset, length):
    """A negative offset or length is the caller's error."""
    store.put("k", b"0123456789")
    with pytest.raises(InvalidRange, match="E606"):
        store.open("k", offset=offset, length=length)


@pytest.mark.parametrize("length", [0, 1, None])
def test_ranges_of_missing_objects_are_missing(store, length):
    """A range of nothing is nothing, also an empty one."""
    store.put("other", b"")
    with pytest.raises(ObjectMissing):
        store.open("k", offset=3, length=length)


def test_streams_can_seek(store):
    """What is opened can be read in any order, as a zip reader does."""
    store.put("k", LARGE)
    with store.open("k") as stream:
        assert stream.seek(-5, os.SEEK_END) == len(LARGE) - 5
        assert stream.read() == LARGE[-5:]
        assert stream.read() == b""
        stream.seek(20 * MIB)
        assert stream.read(10) == LARGE[20 * MIB : 20 * MIB + 10]
        stream.seek(0)
        assert stream.read() == LARGE
    with store.open("k", offset=100, length=50) as stream:
        stream.seek(40)
        assert stream.read() == LARGE[140:150]
        stream.seek(60)
        assert stream.read() == b""
        with pytest.raises(ValueError):
            stream.seek(-1)


def test_of_racing_creators_one_wins(store):
    """Of eight writers of one key with different bytes one creates it, and the others get a conflict."""
    for round_ in range(3):
        with ThreadPoolExecutor(8) as pool:
            results = list(
                pool.map(lambda n, r=round_: _try_put(store, f"race/{r}", bytes([n]) * 1000), range(8))
            )
        winners = [result for result in results if not isinstance(result, ObjectConflict)]
        if store.capabilities.conditional_writes:
            assert len(winners) == 1
            assert sha256(read(store, f"race/{round_}")) == winners[0].sha256
        else:
            assert len(winners) <= 1


def test_racing_creators_of_the_same_bytes_all_succeed(store):
    """Of eight writers of one key with the same bytes all succeed, and one is told that it created it."""
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: _try_put(store, "race/same", b"same" * 1000), range(8)))
    assert {result.sha256 for result in results} == {sha256(b"same" * 1000)}
    if store.capabilities.conditional_writes:
        assert sorted(result.created for result in results) == [False] * 7 + [True]


def _try_put(store, key: str, data: bytes):
    try:
        return store.put(key, data)
    except ObjectConflict as exc:
        return exc


def test_replace_goes_by_the_etag(store):
    """A pointer is created if absent, swapped with the etag of what was read, and nothing else."""
    first = store.replace("log/checkpoint", b"1", etag=None)
    assert store.stat("log/checkpoint").etag == first
    second = store.replace("log/checkpoint", b"2", etag=first)
    for wrong in (None, first, "", "*", '"*"', '"nonsense"', f"{second}, {first}"):
        with pytest.raises(ObjectConflict):
            store.replace("log/checkpoint", b"3", etag=wrong)
    assert read(store, "log/checkpoint") == b"2"
    assert store.stat("log/checkpoint").etag == second != first


def test_too_large_pointers_are_refused(store):
    """``replace`` is for pointers, not for evidence."""
    with pytest.raises(StoreRefused, match="E617"):
        store.replace("k", bytes(MAX_MUTABLE_BYTES + 1), etag=None)
    store.replace("k", bytes(MAX_MUTABLE_BYTES), etag=None)


def test_of_racing_replacements_each_counts(store):
    """Eight threads that each add one to a counter five times bring it to forty: no update is lost."""
    store.replace("counter", b"0", etag=None)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: [_add_one(store) for _ in range(5)], range(8)))
    assert read(store, "counter") == b"40"


def _add_one(store) -> None:
    while True:
        etag = store.stat("counter").etag
        value = int(read(store, "counter"))
        try:
            store.replace("counter", str(value + 1).encode(), etag=etag)
        except ObjectConflict:
            continue
        return


def test_deleted_objects_are_gone(store):
    """A deleted object is neither listed nor read, and its key is free again."""
    store.put("a/b/c", b"1")
    store.put("a/d", b"2")
    store.delete("a/b/c")
    assert keys(store) == ["a/d"]
    assert store.put("a/b/c", b"other").created


class _Broken(io.RawIOBase):
    """Gives *count* bytes, then fails or gives nonsense."""

    def __init__(self, count: int, then) -> None:
        self.left = count
        self.then = then

    def read(self, size: int = -1):
        if self.left <= 0:
            return self.then()
        chunk = bytes(min(size, self.left))
        self.left -= len(chunk)
        return chunk


def _fail() -> bytes:
    raise OSError(5, "Input/output error")


@pytest.mark.parametrize("count", [0, 10, 40 * MIB], ids=["at-once", "early", "late"])
@pytest.mark.parametrize("then", [_fail, lambda: "text", lambda: None], ids=["fails", "text", "nothing"])
def test_a_source_that_breaks_leaves_nothing(store, count, then):
    """A source that fails in its middle is the caller's error and leaves no object."""
    with pytest.raises(SourceUnreadable, match="E607"):
        store.put("k", _Broken(count, then))
    assert keys(store) == []


def test_a_source_that_is_not_there_is_an_error(store, tmp_path):
    """A missing file, a folder and a closed stream cannot be stored."""
    closed = io.BytesIO(b"x")
    closed.close()
    for source in (tmp_path / "missing", tmp_path, closed):
        with pytest.raises(SourceUnreadable, match="E607"):
            store.put("k", source)


def test_errors_have_the_house_form(store):
    """Each error names its subject, ends in its code, is one printable line and gives a hint."""
    store.put("k", b"1")
    for call in (
        lambda: store.put("k", b"2"),
        lambda: store.put("n", b"2", sha256=sha256(b"3")),
        lambda: store.open("missing"),
        lambda: store.put("..", b""),
        lambda: store.replace("k", b"", etag=None),
    ):
        with pytest.raises(StoreError) as caught:
            call()
        text = str(caught.value)
        assert text.isprintable()
        assert text[0].islower()
        assert ": expected " in text
        assert text.endswith(f"[{caught.value.code}]")
        assert caught.value.hint


def test_cleanup_takes_no_object(store):
    """``cleanup`` of a store that nobody left in disorder removes nothing."""
    store.put("a/b", b"1")
    assert store.cleanup() == 0
    assert read(store, "a/b") == b"1"


KEYS = (
    st.lists(st.text("ab-. é/", min_size=1, max_size=6), min_size=1, max_size=3).map("/".join).filter(is_key)
)


EXAMPLES = itertools.count()


@settings(max_examples=25)
@given(st.dictionaries(KEYS, st.binary(max_size=20), max_size=5), KEYS)
@example({"a": b"1", "a/b": b"2"}, "a")
def test_any_set_of_objects_is_listed_and_read(store, objects, prefix):
    """Whatever keys there are, listing and reading agree with a dictionary, and deleting empties it."""
    base = f"{next(EXAMPLES)}/"
    kept = {}
    for key, data in objects.items():
        try:
            store.put(base + key, data)
        except ObjectConflict:  # a tree cannot hold a/b beside an object a
            assert any(f"{base}{key}/".startswith(f"{k}/") or k.startswith(f"{base}{key}/") for k in kept)
        else:
            kept[base + key] = data
    assert keys(store, base) == sorted(kept)
    assert keys(store, base + prefix) == sorted(key for key in kept if key.startswith(base + prefix))
    for key, data in kept.items():
        assert read(store, key) == data
        store.delete(key)
    assert keys(store, base) == []
