"""A store's own retention: what every new object is kept by, without a request for each."""

from __future__ import annotations

import hashlib
import io
import os
import secrets
from datetime import UTC, datetime, timedelta

import pytest

from storage.errors import StoreRefused
from storage.folder import FolderStore
from storage.retention import Lock, Retention, RetentionMode, RetentionRule
from storage.s3 import S3Store
from storage.streams import MIB

GOVERNANCE, COMPLIANCE = RetentionMode.GOVERNANCE, RetentionMode.COMPLIANCE


@pytest.fixture
def folder(tmp_path) -> FolderStore:
    store = FolderStore(tmp_path / "store")
    store.put("a/b", b"evidence")
    return store


@pytest.mark.parametrize("days", [-1, 0, 36_501])
def test_a_rule_has_an_end_that_people_can_mean(days):
    """No days, fewer than none and more than a century are refused."""
    with pytest.raises(ValueError, match="expected 1 to 36500 days"):
        RetentionRule(GOVERNANCE, days)


def test_a_folder_with_a_rule_deletes_nothing_before_its_time(folder):
    """What was stored before the rule and what comes after it are both kept, from when they were stored."""
    folder.keep_new(RetentionRule(GOVERNANCE, 30))
    folder.put("a/c", b"more")
    for key in ("a/b", "a/c"):
        until = folder.lock_of(key).retention.retain_until
        assert timedelta(days=29) < until - datetime.now(UTC) <= timedelta(days=30)
        with pytest.raises(StoreRefused, match="E653"):
            folder.delete(key)
    assert [info.key for info in folder.list()] == ["a/b", "a/c"]


def test_what_has_served_its_time_can_be_deleted(folder):
    """The rule counts from the file's own time and ends."""
    folder.keep_new(RetentionRule(GOVERNANCE, 30))
    long_ago = (datetime.now(UTC) - timedelta(days=31)).timestamp()
    os.utime(folder.root / "a/b", (long_ago, long_ago))
    folder.delete("a/b")
    assert list(folder.list()) == []


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (RetentionRule(GOVERNANCE, 30), RetentionRule(GOVERNANCE, 29)),
        (RetentionRule(COMPLIANCE, 30), RetentionRule(GOVERNANCE, 30)),
        (RetentionRule(COMPLIANCE, 30), RetentionRule(GOVERNANCE, 1)),
    ],
)
def test_a_rule_is_never_loosened(folder, first, second):
    """Fewer days or a weaker mode change nothing."""
    folder.keep_new(first)
    assert folder.keep_new(second) == first
    assert FolderStore(folder.root).rule == first


def test_a_rule_and_an_objects_own_lock_add_up(folder):
    """The later date of the two counts, and an earlier one of its own is refused."""
    folder.keep_new(RetentionRule(GOVERNANCE, 30))
    late = Retention(GOVERNANCE, datetime(2060, 1, 1, tzinfo=UTC))
    assert folder.retain("a/b", late).retention == late
    soon = Retention(GOVERNANCE, datetime.now(UTC).replace(microsecond=0) + timedelta(days=1))
    folder.put("a/c", b"more")
    with pytest.raises(StoreRefused, match="E651"):
        folder.retain("a/c", soon)


@pytest.mark.parametrize(
    "note", [b"", b"{}", b"[]", b"\xff", b'{"mode":"GOVERNANCE"}', b'{"mode":"FOREVER","days":1}',
             b'{"mode":"GOVERNANCE","days":0}', b'{"mode":"GOVERNANCE","days":"many"}']
)  # fmt: skip
def test_a_damaged_rule_is_not_none(folder, note):
    """A rule that cannot be read keeps everything."""
    folder.keep_new(RetentionRule(GOVERNANCE, 30))
    (folder.root / ".retention").chmod(0o644)
    (folder.root / ".retention").write_bytes(note)
    with pytest.raises(StoreRefused, match="E657"):
        folder.delete("a/b")
    assert folder.open("a/b").read() == b"evidence"


def test_a_rule_is_no_object(folder):
    """The store's own file is neither listed nor readable as an object."""
    folder.keep_new(RetentionRule(GOVERNANCE, 30))
    assert [info.key for info in folder.list()] == ["a/b"]


# --- S3 ---

LARGE = hashlib.shake_256(b"large").digest(17 * MIB)
RULE = RetentionRule(GOVERNANCE, 30)


class Dropping:
    """A client of a server that says yes to locks on a put and keeps none, as Ceph does for parts."""

    def __init__(self, client) -> None:
        self._client = client

    def __getattr__(self, name: str):
        call = getattr(self._client, name)
        if name not in {"put_object", "create_multipart_upload"}:
            return call
        locks = {"ObjectLockMode", "ObjectLockRetainUntilDate"}
        return lambda **given: call(**{key: value for key, value in given.items() if key not in locks})


@pytest.fixture(params=["honest", "dropping"])
def locking(request, s3_server, s3_client) -> S3Store:
    client = s3_client if request.param == "honest" else Dropping(s3_client)
    return S3Store(s3_server.locked_bucket, secrets.token_hex(8), client, RULE)


@pytest.mark.s3
@pytest.mark.parametrize("data", [b"evidence", LARGE], ids=["whole", "parts"])
def test_each_new_object_is_locked_and_its_receipt_says_what_the_server_has(locking, data):
    """In one request or in parts, also where the server drops the lock; version and checksum too."""
    receipt = locking.put("k", io.BytesIO(data))
    retention = locking.lock_of("k").retention
    assert retention.mode is GOVERNANCE
    assert timedelta(days=29) < retention.retain_until - datetime.now(UTC) <= timedelta(days=30)
    head = locking.client.head_object(Bucket=locking.bucket, Key=f"{locking.prefix}k", ChecksumMode="ENABLED")
    assert (receipt.version_id, receipt.server_checksum) == (head["VersionId"], head["ChecksumSHA256"])
    with pytest.raises(StoreRefused, match="E653"):
        locking.delete("k")


@pytest.mark.s3
def test_an_object_that_was_there_unlocked_is_locked_when_it_is_put_again(locking):
    """A run that was killed between put and lock is completed by the next; a live lock is left as it is."""
    S3Store(locking.bucket, locking.prefix[:-1], locking.client).put("k", b"evidence")
    assert locking.lock_of("k") == Lock()
    assert not locking.put("k", b"evidence").created
    first = locking.lock_of("k").retention
    assert first is not None
    locking.put("k", b"evidence")
    assert locking.lock_of("k").retention == first


@pytest.mark.s3
def test_a_restored_object_is_locked_too(locking):
    """Right bytes put in the place of damaged ones are as firmly kept."""
    locking.put("k", b"damaged")
    locking.restore("k", b"evidence", sha256=hashlib.sha256(b"evidence").hexdigest())
    assert locking.lock_of("k").retention is not None
    assert locking.open("k").read() == b"evidence"


@pytest.mark.s3
def test_a_stricter_default_of_the_bucket_wins(s3_client):
    """An explicit lock would override the bucket's default, so it is never the weaker one."""
    from storage.s3.setup import prepare_bucket

    bucket = f"test-{secrets.token_hex(6)}"
    prepare_bucket(s3_client, bucket, RetentionRule(GOVERNANCE, 300))
    store = S3Store(bucket, "", s3_client, RULE)
    store.put("k", b"evidence")
    assert store.lock_of("k").retention.retain_until - datetime.now(UTC) > timedelta(days=299)


@pytest.mark.s3
def test_a_bucket_without_locks_is_written_all_the_same(s3_server, s3_client):
    """Where nothing can be locked objects are stored unlocked; saying so is for whoever opened the store."""
    store = S3Store(s3_server.bucket, secrets.token_hex(8), s3_client, RULE)
    assert store.put("k", b"evidence").created
    assert not store.capabilities.retention
