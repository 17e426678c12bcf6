"""``probe`` finds out what a store keeps, on a real server and on ones that keep less."""

from __future__ import annotations

import errno
import os
import secrets

import pytest

from storage import disk
from storage.errors import StoreRefused
from storage.folder import FolderStore
from storage.probe import Verdict
from storage.retention import RetentionMode, RetentionRule
from storage.s3 import S3Store
from storage.s3.setup import prepare_bucket

GOVERNANCE, COMPLIANCE = RetentionMode.GOVERNANCE, RetentionMode.COMPLIANCE


@pytest.fixture(autouse=True)
def one_race(monkeypatch):
    monkeypatch.setattr("storage.s3.survey._ROUNDS", 1)  # SeaweedFS lets losers wait for whole seconds


def verdicts(store) -> dict[str, Verdict]:
    promises = store.probe()
    assert all(promise.sentence.endswith((".", ")")) for promise in promises)
    return {promise.name: promise.verdict for promise in promises}


def names(store, verdict: Verdict) -> set[str]:
    return {name for name, found in verdicts(store).items() if found is verdict}


def test_a_folder_says_what_it_cannot_promise(tmp_path):
    """On a usual disk everything holds but protection from the disk's owner, and nothing is left behind."""
    store = FolderStore(tmp_path / "store")
    assert names(store, Verdict.BROKEN) == {"locks"}
    assert list(store.list()) == []
    assert list((store.root / ".tmp").iterdir()) == []


def test_a_poorer_disk_is_called_poorer(tmp_path, monkeypatch):
    """Without hard links and without durable names the sentences change, and puts still work."""
    monkeypatch.setattr(disk.os, "link", _failing(errno.EPERM))
    real = os.fsync
    monkeypatch.setattr(disk.os, "fsync", lambda fd: _failing(errno.EINVAL)() if _is_folder(fd) else real(fd))
    store = FolderStore(tmp_path / "store")
    assert names(store, Verdict.BROKEN) == {"locks", "create-only", "durable-names"}
    assert store.put("a/b", b"x").created


def _failing(number: int):
    def call(*_, **__):
        raise OSError(number, os.strerror(number))

    return call


def _is_folder(descriptor: int) -> bool:
    return os.path.isdir(f"/proc/self/fd/{descriptor}")  # noqa: PTH112  # follows the descriptor


@pytest.mark.s3
def test_the_real_server_keeps_what_evidence_needs(s3_locked_store):
    """SeaweedFS with Object Lock holds every promise about writing, checking and locking."""
    found = verdicts(s3_locked_store)
    needed = {"create-only", "racing-creators", "replace-only", "checksums", "checksums-of-parts"}
    needed |= {"create-only-in-parts", "versions", "locks"}
    assert {name for name in needed if found[name] is not Verdict.HOLDS} == set()
    assert found["no-public-access"] is Verdict.UNKNOWN
    assert list(s3_locked_store.list()) == []


@pytest.mark.s3
def test_a_plain_bucket_locks_nothing(s3_store):
    """A bucket without versions and Object Lock is told to be one, and keeps no trial object."""
    assert {"versions", "locks", "default-retention"} <= names(s3_store, Verdict.BROKEN)
    left = s3_store.client.list_objects_v2(Bucket=s3_store.bucket, Prefix=s3_store.prefix)["Contents"]
    assert [item["Key"].removeprefix(s3_store.prefix) for item in left] == [".probe/a/b", ".probe/a.b"]


class _Poor:
    """A client of a server that ignores arguments of some requests, or says yes and does nothing."""

    def __init__(self, client, request: str, ignored: str = "", answer=None) -> None:
        self._client, self._request, self._ignored, self._answer = client, request, ignored, answer

    def __getattr__(self, name: str):
        method = getattr(self._client, name)
        if name != self._request:
            return method
        if self._answer is not None:
            return lambda **_: self._answer
        # A client that is told to compute a checksum sends the right one.
        right = {"ChecksumAlgorithm": "SHA256"} if self._ignored == "ChecksumSHA256" else {}
        return lambda **given: method(**{k: v for k, v in given.items() if k != self._ignored} | right)


@pytest.mark.s3
@pytest.mark.parametrize(
    ("poor", "broken"),
    [
        (("put_object", "IfNoneMatch"), {"create-only", "racing-creators"}),
        (("put_object", "IfMatch"), {"replace-only"}),
        (("put_object", "ChecksumSHA256"), {"checksums"}),
        (("upload_part", "ChecksumSHA256"), {"checksums-of-parts"}),
        (("complete_multipart_upload", "IfNoneMatch"), {"create-only-in-parts"}),
        (("put_object_retention", "", {}), {"locks"}),
        (("delete_object", "", {}), {"locks"}),
    ],
    ids=lambda case: "-".join(map(str, case)) if isinstance(case, tuple) else "",
)
def test_a_server_that_keeps_less_is_caught(s3_server, s3_client, poor, broken):
    """Whatever a server silently ignores, the promise that hangs on it is called broken, and no other."""
    store = S3Store(s3_server.locked_bucket, secrets.token_hex(8), _Poor(s3_client, *poor))
    assert names(store, Verdict.BROKEN) - {"default-retention", "encryption"} == broken


@pytest.mark.s3
def test_a_bucket_that_is_not_there_cannot_be_probed(s3_client):
    """Probing makes no bucket."""
    with pytest.raises(StoreRefused, match="E630"):
        S3Store("no-such-bucket-here", "", s3_client).probe()


# --- setting up ---


@pytest.fixture
def bucket() -> str:
    return f"test-{secrets.token_hex(4)}-setup"


def default_retention(client, bucket: str) -> dict:
    answer = client.get_object_lock_configuration(Bucket=bucket)["ObjectLockConfiguration"]
    return answer.get("Rule", {}).get("DefaultRetention", {})


@pytest.mark.s3
def test_a_prepared_bucket_retains_from_the_first_moment(s3_client, bucket):
    """A new bucket gets versions, locks, encryption and default retention; what the server lacks is said."""
    refused = prepare_bucket(s3_client, bucket, RetentionRule(GOVERNANCE, 1))
    assert refused == ["Blocking public access could not be turned on: the server answered 501."]
    store = S3Store(bucket, "", s3_client)
    assert {"versions", "locks", "default-retention", "encryption"} <= names(store, Verdict.HOLDS)
    store.put("k", b"evidence")
    assert store.lock_of("k").retention.mode is GOVERNANCE
    with pytest.raises(StoreRefused, match="E653"):
        store.delete("k")


@pytest.mark.s3
def test_preparing_again_never_loosens(s3_client, bucket):
    """A second preparation with less keeps what there is; with more it lengthens."""
    prepare_bucket(s3_client, bucket, RetentionRule(GOVERNANCE, 10))
    prepare_bucket(s3_client, bucket, RetentionRule(GOVERNANCE, 5))
    assert default_retention(s3_client, bucket) == {"Mode": "GOVERNANCE", "Days": 10}
    prepare_bucket(s3_client, bucket, RetentionRule(COMPLIANCE, 2))
    assert default_retention(s3_client, bucket) == {"Mode": "COMPLIANCE", "Days": 10}
    prepare_bucket(s3_client, bucket, RetentionRule(GOVERNANCE, 20))
    assert default_retention(s3_client, bucket) == {"Mode": "COMPLIANCE", "Days": 20}
    prepare_bucket(s3_client, bucket, None)
    assert default_retention(s3_client, bucket) == {"Mode": "COMPLIANCE", "Days": 20}


@pytest.mark.s3
def test_an_old_bucket_without_locks_is_said_to_have_none(s3_client, bucket):
    """Where Object Lock cannot be turned on afterwards, the sentence says so instead of nothing."""
    s3_client.create_bucket(Bucket=bucket)
    refused = prepare_bucket(s3_client, bucket, RetentionRule(GOVERNANCE, 1))
    assert any(sentence.startswith("Default retention could not be turned on") for sentence in refused)
