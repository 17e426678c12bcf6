"""A whole capture stored through a network and a server that fail: what is acknowledged is there, whole.

``tests/unit/storage/test_s3.py`` holds each fault by itself; here they meet.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import socket
import subprocess
import sys
import threading
from pathlib import Path

import botocore.retries.standard
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archiver.cli.main import run
from archiver.errors import ExitCode
from archiver.preservation.auditing import Extent, Progress, audit_store
from storage.errors import StoreError, StoreUnavailable
from storage.s3 import S3Store, connect
from storage.streams import MIB
from tests import s3server
from tests.unit.archiver.preservation.lab import capture_id, put_capture
from tests.unit.storage import faults
from tests.unit.storage.faults import Fault

pytestmark = pytest.mark.s3

KINDS = {
    "500": {"before": faults.error(500, "InternalError")},
    "503": {"before": faults.error(503, "SlowDown")},
    "403": {"before": faults.error(403, "AccessDenied")},
    "clock": {"before": faults.error(403, "RequestTimeTooSkewed")},
    "lost answer": {"after": faults.lost},
    "wrong checksum": {"after": faults.with_header("x-amz-checksum-sha256", "AAAA")},
    "cut answer": {"after": faults.cut_at(3)},
    "cut request": {"cut_request_at": 100},
}
MAX_TRIES = 20
"""Four faults of five requests each, every one of which may end one try."""


@pytest.fixture(scope="module")
def proxied(s3_server):
    with faults.proxy_to(s3_server.endpoint) as proxy, pytest.MonkeyPatch.context() as patch:
        s3server.set_environment(s3_server, patch)
        patch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        patch.setattr(botocore.retries.standard.ExponentialBackoff, "delay_amount", lambda *_: 0)
        yield proxy, connect()


def whole_captures(plain: S3Store) -> list[str]:
    """Captures that are listed as whole, each looked at past our own code's idea of them."""
    whole = []
    for name in plain.list_folders("captures/"):
        keys = {info.key for info in plain.list(f"captures/{name}/")}
        if f"captures/{name}/record.json" not in keys:
            continue
        record = json.loads(plain.open(f"captures/{name}/record.json").read())
        for one in record["artifacts"]:
            stored = plain.open(f"captures/{name}/{one['path']}").read()
            assert hashlib.sha256(stored).hexdigest() == one["sha256"]
        whole.append(name)
    return whole


plans = st.lists(
    st.tuples(
        st.sampled_from(["PUT", "HEAD", "GET", "POST"]),
        st.integers(0, 10),
        st.sampled_from(sorted(KINDS)),
        st.integers(1, 5),
    ),
    min_size=1,
    max_size=4,
)


def faults_of(plan, prefix: str) -> list[Fault]:
    """So many requests of a method go through, then so many fail."""
    found = []
    for method, skip, kind, times in plan:
        found += [Fault(method, prefix, times=skip), Fault(method, prefix, times=times, **KINDS[kind])]
    return found


def one_try(store: S3Store) -> StoreError | None:
    """Store a capture; return the error that kept it from being stored."""
    try:
        put_capture(store)
    except StoreError as error:
        return error
    return None


@given(plan=plans)
@settings(max_examples=30)
def test_whatever_fails_nothing_acknowledged_is_lost_and_nothing_half_is_whole(
    proxied, s3_server, s3_client, plan
):
    """Faults of any kind at any request of any kind: each try ends in a store error or in a whole capture."""
    proxy, client = proxied
    prefix = secrets.token_hex(8)
    plain, store = (S3Store(s3_server.bucket, prefix, one) for one in (s3_client, client))
    proxy.faults[:] = faults_of(plan, prefix)
    tries = 0
    while error := one_try(store):
        tries += 1
        assert tries <= MAX_TRIES
        assert error.code.startswith("E6")
        assert s3server.SECRET_KEY not in str(error)
        assert len(whole_captures(plain)) <= 1
    assert whole_captures(plain) == [capture_id(1)]
    proxy.faults.clear()
    progress = Progress()
    audit_store(plain, (), Extent(1000, "seed"), progress, mend=False)
    assert progress.findings == []


def test_a_server_that_is_away_for_a_while_is_met_again(s3_server, s3_client, monkeypatch):
    """Refused connections are a store error; the same put goes through when the server is back."""
    monkeypatch.setattr(botocore.retries.standard.ExponentialBackoff, "delay_amount", lambda *_: 0)
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        s3server.set_environment(s3_server, monkeypatch)
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{held.getsockname()[1]}")
        away = S3Store(s3_server.bucket, secrets.token_hex(8), connect())
    with pytest.raises(StoreUnavailable, match="E639"):
        away.put("k", b"evidence")
    away.client = s3_client
    assert away.put("k", b"evidence").created


def test_a_server_that_never_answers_ends_in_an_error(s3_server, proxied, monkeypatch):
    """Each request is waited for so long and no longer; the same put goes through when the server is back."""
    proxy, _ = proxied
    monkeypatch.setattr("storage.s3.client._READ_TIMEOUT_S", 0.2)
    answers = threading.Event()
    store = S3Store(s3_server.bucket, secrets.token_hex(8), connect())
    assert store.put("first", b"x").created
    proxy.faults[:] = [Fault("PUT", store.prefix, before=lambda: answers.wait() and None, times=99)]
    with pytest.raises(StoreUnavailable, match="E639"):
        store.put("k", b"evidence")
    answers.set()
    proxy.faults.clear()
    assert [info.key for info in store.list()] == ["first"]
    assert store.put("k", b"evidence").created


def upload(store: S3Store, path: Path) -> list[str]:
    """Run an upload in a process of its own; return what it said, the peak of memory in KiB last."""
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("uploading.py")), store.url, str(path)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    return done.stdout.split()


def test_a_large_upload_goes_on_after_a_cut_in_flat_memory(proxied, s3_server, s3_client, tmp_path):
    """300 MB, cut off for good in the 12th part: the next process sends only what was not there yet."""
    proxy, _ = proxied
    store = S3Store(s3_server.bucket, secrets.token_hex(8), s3_client)
    path = tmp_path / "large"
    with path.open("wb") as file:
        for number in range(300):
            file.write(bytes([number % 256]) * MIB)
    with pytest.MonkeyPatch.context() as patch:
        s3server.set_environment(s3_server, patch)
        patch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        proxy.faults[:] = [Fault("PUT", "partNumber=12", cut_request_at=MIB, times=99)]
        *said, first_kib = upload(store, path)
        assert "[E639]" in said
        assert list(store.list()) == []
        proxy.faults.clear()
        proxy.seen.clear()
        (second_kib,) = upload(store, path)
    sent = [name for method, name in proxy.seen if method == "PUT" and "partNumber" in name]
    assert 0 < len(sent) <= 9
    assert max(int(first_kib), int(second_kib)) < 200 * 1024
    with store.open("large") as stored, path.open("rb") as source:
        assert (
            hashlib.file_digest(stored, "sha256").digest() == hashlib.file_digest(source, "sha256").digest()
        )


PART = 5 * MIB
LARGE = hashlib.shake_256(b"large").digest(3 * PART + 5)


@pytest.fixture
def broken_off(proxied, s3_server, tmp_path, monkeypatch):
    """A store in which the upload of a file of four parts was cut off in the third, and the file."""
    proxy, client = proxied
    monkeypatch.setattr("storage.s3.upload.PART_BYTES", PART)
    store = S3Store(s3_server.bucket, secrets.token_hex(8), client)
    path = tmp_path / "large"
    path.write_bytes(LARGE)
    proxy.faults[:] = [Fault("PUT", "partNumber=3", cut_request_at=10, times=99)]
    with pytest.raises(StoreUnavailable):
        store.put("k", path)
    proxy.faults.clear()
    return store, path


def stored(store) -> bytes:
    with store.open("k") as stream:
        return stream.read()


def uploads(store) -> list:
    return store.client.list_multipart_uploads(Bucket=store.bucket, Prefix=store.prefix).get("Uploads", [])


def test_other_bytes_do_not_go_on_in_an_old_upload(broken_off):
    """Parts of another file are compared by digest and replaced, never mixed in."""
    store, path = broken_off
    other = LARGE[:PART] + bytes(2 * PART) + b"x"
    path.write_bytes(other)
    assert store.put("k", path).sha256 == hashlib.sha256(other).hexdigest()
    assert stored(store) == other
    assert uploads(store) == []


def test_a_shorter_file_does_not_inherit_parts(broken_off):
    """Parts beyond the end of the new bytes are left out of the object."""
    store, path = broken_off
    path.write_bytes(LARGE[: PART + 1])
    store.put("k", path)
    assert stored(store) == LARGE[: PART + 1]


def test_an_upload_that_vanishes_is_begun_anew(broken_off, proxied):
    """Where somebody ends the old upload between two steps of ours, the file is sent whole."""
    store, path = broken_off
    proxy, _ = proxied
    proxy.faults[:] = [Fault("POST", "uploadId=", before=faults.error(404, "NoSuchUpload"))]
    assert store.put("k", path).created
    assert stored(store) == LARGE


def test_parts_that_are_not_what_we_think_are_sent_anew(broken_off, proxied):
    """A server that refuses the parts at completion gets all of them again."""
    store, path = broken_off
    proxy, _ = proxied
    proxy.faults[:] = [Fault("POST", "uploadId=", before=faults.error(400, "InvalidPart"))]
    assert store.put("k", path).created
    assert stored(store) == LARGE


def test_a_file_that_changed_is_refused_and_nothing_stays(broken_off):
    """A resumed upload whose bytes have not the announced digest is ended, and makes no object."""
    store, path = broken_off
    with pytest.raises(StoreError, match="E605"):
        store.put("k", path, sha256="0" * 64)
    assert uploads(store) == []
    assert list(store.list()) == []


def test_where_uploads_may_not_be_listed_the_file_is_sent_whole(broken_off, proxied):
    """Credentials without that right lose the resumption and nothing else."""
    store, path = broken_off
    proxy, _ = proxied
    proxy.faults[:] = [Fault("GET", "uploads", before=faults.error(403, "AccessDenied"))]
    assert store.put("k", path).created
    assert stored(store) == LARGE


# --- credentials ---


def test_credentials_are_in_no_object_error_or_list_of_processes(s3_server, tmp_path, monkeypatch, capfd):
    """Neither what is stored, nor what is said, nor the arguments of a process hold the secret or the key."""
    s3server.set_environment(s3_server, monkeypatch)
    for name in ("CONFIG", "CACHE", "STATE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name.lower()))
    monkeypatch.setenv("ARCHIVER_DEBUG", "1")
    store = S3Store(s3_server.locked_bucket, secrets.token_hex(8), connect())
    put_capture(store)
    run(["audit", "--full", "--store", store.url])
    run(["hold", "KZ-1", "--reason", "order", "--store", store.url])
    held = b"".join(store.open(info.key).read() for info in store.list())
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another-secret-0002")
    assert run(["audit", "--full", "--store", store.url]) == ExitCode.STORE_REFUSED
    assert run(["store", "check", store.url]) == ExitCode.STORE_REFUSED
    said = "".join(capfd.readouterr())
    assert "E632" in said
    listed = Path("/proc/self/cmdline").read_text()
    for secret in (s3server.SECRET_KEY, "another-secret-0002", s3server.ACCESS_KEY):
        assert secret not in said + listed
        assert secret.encode() not in held
