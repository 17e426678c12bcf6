"""The contract of ``storage.retention.LockingStore``, held against every store."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from storage.errors import InvalidKey, ObjectMissing, StoreRefused
from storage.folder import FolderStore
from storage.memory import MemoryStore
from storage.replicated import ReplicatedStore
from storage.retention import MAX_RETENTION, Lock, Retention, RetentionMode, from_note, to_note

GOVERNANCE, COMPLIANCE = RetentionMode.GOVERNANCE, RetentionMode.COMPLIANCE
NOW = datetime.now(UTC).replace(microsecond=0)
# Compliance cannot be undone, so the tests' own is short; governance goes with the server.
SOON, LATER = NOW + timedelta(hours=1), NOW + timedelta(hours=2)


@pytest.fixture(params=["memory", "folder", "replicated", pytest.param("s3", marks=pytest.mark.s3)])
def store(request: pytest.FixtureRequest, tmp_path: Path):
    if request.param == "memory":
        store = MemoryStore()
    elif request.param == "replicated":
        store = ReplicatedStore([MemoryStore(), FolderStore(tmp_path / "store")], 2)
    elif request.param == "folder":
        store = FolderStore(tmp_path / "store")
    else:
        store = request.getfixturevalue("s3_locked_store")
    store.put("a/b", b"evidence")
    return store


def test_a_new_object_is_not_locked(store):
    """Nothing is locked unless somebody or the bucket says so."""
    assert store.lock_of("a/b") == Lock()


@pytest.mark.parametrize("mode", [GOVERNANCE, COMPLIANCE])
def test_a_retained_object_cannot_be_deleted(store, mode):
    """Retention is read back as it was asked for, and the object outlives an attempt to delete it."""
    wanted = Retention(mode, SOON)
    assert store.retain("a/b", wanted) == Lock(wanted)
    assert store.lock_of("a/b") == Lock(wanted)
    with pytest.raises(StoreRefused, match="E653"):
        store.delete("a/b")
    assert store.open("a/b").read() == b"evidence"


@pytest.mark.parametrize(
    ("there", "wanted"),
    [
        (Retention(GOVERNANCE, LATER), Retention(GOVERNANCE, SOON)),
        (Retention(GOVERNANCE, LATER), Retention(COMPLIANCE, SOON)),
        (Retention(COMPLIANCE, LATER), Retention(COMPLIANCE, SOON)),
        (Retention(COMPLIANCE, SOON), Retention(GOVERNANCE, SOON)),
        (Retention(COMPLIANCE, SOON), Retention(GOVERNANCE, LATER)),
    ],
)
def test_retention_is_never_loosened(store, there, wanted):
    """An earlier date or a weaker mode is refused and changes nothing."""
    store.retain("a/b", there)
    with pytest.raises(StoreRefused, match="E651"):
        store.retain("a/b", wanted)
    assert store.lock_of("a/b").retention == there


@pytest.mark.parametrize(
    ("there", "wanted"),
    [
        (Retention(GOVERNANCE, SOON), Retention(GOVERNANCE, SOON)),
        (Retention(GOVERNANCE, SOON), Retention(GOVERNANCE, LATER)),
        (Retention(COMPLIANCE, SOON), Retention(COMPLIANCE, LATER)),
    ],
)
def test_retention_may_be_lengthened(store, there, wanted):
    """The same or a later date is kept."""
    store.retain("a/b", there)
    assert store.retain("a/b", wanted).retention == wanted


def test_a_stronger_mode_is_kept_or_refused(store):
    """Governance becomes compliance where the server allows it without a bypass, else it stays."""
    there, wanted = Retention(GOVERNANCE, SOON), Retention(COMPLIANCE, SOON)
    store.retain("a/b", there)
    try:
        store.retain("a/b", wanted)
    except StoreRefused as exc:
        refusal = exc.code
        assert store.lock_of("a/b").retention == there
    else:
        refusal = ""
        assert store.lock_of("a/b").retention == wanted
    assert refusal in {"", "E640"}


@pytest.mark.parametrize("until", [NOW - timedelta(days=1), NOW + MAX_RETENTION + timedelta(days=2)])
def test_mistyped_dates_are_refused(store, until):
    """A date in the past or beyond a hundred years is a mistake that must not become a lock."""
    with pytest.raises(StoreRefused, match="E650"):
        store.retain("a/b", Retention(GOVERNANCE, until))
    assert store.lock_of("a/b") == Lock()


def test_a_held_object_cannot_be_deleted(store):
    """A legal hold keeps the object until it is released; retention stays as it is."""
    store.retain("a/b", Retention(GOVERNANCE, SOON))
    assert store.hold("a/b") == Lock(Retention(GOVERNANCE, SOON), held=True)
    assert store.hold("a/b").held
    with pytest.raises(StoreRefused, match="E652"):
        store.delete("a/b")
    assert store.release("a/b") == Lock(Retention(GOVERNANCE, SOON))
    with pytest.raises(StoreRefused, match="E653"):
        store.delete("a/b")


def test_a_released_object_can_be_deleted(store):
    """Without retention a released object goes, and takes its lock with it."""
    store.hold("a/b")
    store.release("a/b")
    store.delete("a/b")
    assert list(store.list()) == []
    store.put("a/b", b"new")
    assert store.lock_of("a/b") == Lock()


def test_locks_need_an_object(store):
    """What is not there cannot be locked."""
    for call in (
        store.lock_of,
        store.hold,
        store.release,
        lambda key: store.retain(key, Retention(GOVERNANCE, SOON)),
    ):
        with pytest.raises(ObjectMissing, match="E602"):
            call("a/missing")
        with pytest.raises(InvalidKey):
            call("../a")


def test_locks_are_no_objects(store):
    """Locks are not listed, and are not readable as objects."""
    store.hold("a/b")
    assert [info.key for info in store.list()] == ["a/b"]
    assert list(store.list_folders("")) == ["a"]


@pytest.mark.parametrize(
    "until",
    [
        datetime(2030, 1, 1),  # noqa: DTZ001  # the missing zone is the point
        datetime(2030, 1, 1, tzinfo=timezone(timedelta(hours=5))),
        datetime(2030, 1, 1, microsecond=1, tzinfo=UTC),
    ],
)
def test_dates_are_whole_seconds_in_utc(until):
    """A date that two servers could read differently is refused."""
    with pytest.raises(ValueError, match="whole seconds in UTC"):
        Retention(GOVERNANCE, until)


@pytest.mark.parametrize(
    "note",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"\xff",
        b'{"held": false, "mode": "GOVERNANCE", "retain_until": null}',
        b'{"held": false, "mode": "FOREVER", "retain_until": "2030-01-01T00:00:00+00:00"}',
        b'{"held": false, "mode": "GOVERNANCE", "retain_until": "2030-01-01"}',
        b'{"held": false, "mode": "GOVERNANCE", "retain_until": 7}',
    ],
)
def test_a_damaged_note_is_not_an_open_lock(tmp_path, note):
    """A folder's lock that cannot be read keeps the object."""
    store = FolderStore(tmp_path / "store")
    store.put("a/b", b"evidence")
    store.hold("a/b")
    (store.root / ".locks/a/b").chmod(0o644)
    (store.root / ".locks/a/b").write_bytes(note)
    with pytest.raises(StoreRefused, match="E656"):
        store.delete("a/b")
    assert store.open("a/b").read() == b"evidence"


@pytest.mark.parametrize("lock", [Lock(), Lock(held=True), Lock(Retention(COMPLIANCE, SOON), held=True)])
def test_notes_say_what_locks_say(lock):
    """A note read back is the lock that was written."""
    assert from_note("k", to_note(lock)) == lock


# --- S3 alone ---


@pytest.mark.s3
def test_a_bucket_without_object_lock_locks_nothing(s3_store):
    """Where the bucket cannot lock, the request is refused, not ignored."""
    s3_store.put("k", b"x")
    assert not s3_store.capabilities.retention
    for call in (
        s3_store.hold,
        s3_store.release,
        lambda key: s3_store.retain(key, Retention(GOVERNANCE, SOON)),
    ):
        with pytest.raises(StoreRefused, match="E655"):
            call("k")


@pytest.mark.s3
def test_the_server_itself_keeps_what_is_locked(s3_locked_store):
    """Past our own checks, the server refuses to delete the version and to loosen its lock."""
    store = s3_locked_store
    version = store.put("k", b"x").version_id
    store.retain("k", Retention(COMPLIANCE, SOON))
    place = {"Bucket": store.bucket, "Key": f"{store.prefix}k", "VersionId": version}
    with pytest.raises(Exception, match="AccessDenied"):
        store.client.delete_object(**place)
    sooner = {"Mode": "COMPLIANCE", "RetainUntilDate": SOON - timedelta(minutes=30)}
    with pytest.raises(Exception, match="AccessDenied"):
        store.client.put_object_retention(**place, Retention=sooner)
    assert store.capabilities.retention
    assert store.capabilities.versioning


class _Dropping:
    """A client of a server that says yes to locks and keeps none."""

    def __init__(self, client) -> None:
        self._client = client

    def __getattr__(self, name: str):
        if name in {"put_object_retention", "put_object_legal_hold"}:
            return lambda **_: {}
        return getattr(self._client, name)


@pytest.mark.s3
def test_a_lock_that_the_server_drops_is_noticed(s3_locked_store):
    """A server that answers yes and locks nothing is caught by reading back."""
    s3_locked_store.put("k", b"x")
    s3_locked_store.client = _Dropping(s3_locked_store.client)
    with pytest.raises(StoreRefused, match="E654"):
        s3_locked_store.retain("k", Retention(GOVERNANCE, SOON))
    with pytest.raises(StoreRefused, match="E654"):
        s3_locked_store.hold("k")


@pytest.mark.s3
def test_a_delete_takes_all_versions(s3_locked_store):
    """After a delete no older version comes to light, and none stays behind unseen."""
    store = s3_locked_store
    etag = store.replace("pointer", b"1", etag=None)
    store.replace("pointer", b"2", etag=etag)
    store.put("pointer-2", b"stays")
    store.delete("pointer")
    answer = store.client.list_object_versions(Bucket=store.bucket, Prefix=f"{store.prefix}pointer")
    assert [item["Key"] for item in answer["Versions"]] == [f"{store.prefix}pointer-2"]
    assert "DeleteMarkers" not in answer


@pytest.mark.s3
def test_a_locked_older_version_keeps_them_all(s3_locked_store):
    """One locked version among several is enough for nothing to be deleted."""
    store = s3_locked_store
    etag = store.replace("pointer", b"1", etag=None)
    store.retain("pointer", Retention(GOVERNANCE, SOON))
    store.replace("pointer", b"2", etag=etag)
    with pytest.raises(StoreRefused, match="E653"):
        store.delete("pointer")
    assert store.open("pointer").read() == b"2"
