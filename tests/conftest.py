from __future__ import annotations

import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests import s3server

# No test asks a time server: nothing here may need a network beyond loopback.
os.environ["ARCHIVER_NTP_SERVERS"] = ""

# No test asserts a time: a loaded machine is no defect. Examples share a fixture where that does no harm.
settings.register_profile(
    "untimed",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("untimed")


def pytest_make_parametrize_id(config: pytest.Config, val: object, argname: str) -> str | None:
    """Name parameters of bytes by their place: keys and nonces differ in each worker of a parallel run."""
    del config
    return argname if isinstance(val, bytes) else None


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory):
    """One real S3 server for the whole run, also where several workers share the tests."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        server = s3server.start(tmp_path_factory.mktemp("s3"))
        yield server
        s3server.stop(server)
        return
    shared = tmp_path_factory.getbasetemp().parent / "s3"
    with _locked(shared):
        users = _users(shared, +1)
        if users == 1:
            _start_shared(shared)
        server = s3server.S3Server(**json.loads((shared / "server.json").read_text()))
    yield server
    with _locked(shared):
        if _users(shared, -1) == 0:
            s3server.stop(server)


@pytest.fixture
def s3_url(s3_server: s3server.S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of an empty S3 store, with the AWS variables set that lead to it."""
    s3server.set_environment(s3_server, monkeypatch)
    return f"s3://{s3_server.bucket}/{secrets.token_hex(8)}"


@pytest.fixture(scope="session")
def s3_client(s3_server: s3server.S3Server):
    """The client that our own code makes for the server; one for all tests, as it takes 0.3 s to make."""
    from storage.s3 import connect

    with pytest.MonkeyPatch.context() as patch:
        s3server.set_environment(s3_server, patch)
        return connect()


@pytest.fixture
def s3_store(s3_server: s3server.S3Server, s3_client):
    """An empty S3 store."""
    from storage.s3 import S3Store

    return S3Store(s3_server.bucket, secrets.token_hex(8), s3_client)


@pytest.fixture
def s3_locked_store(s3_server: s3server.S3Server, s3_client):
    """An empty S3 store in a bucket with Object Lock."""
    from storage.s3 import S3Store

    return S3Store(s3_server.locked_bucket, secrets.token_hex(8), s3_client)


def _start_shared(shared: Path) -> None:
    server = s3server.start(shared / secrets.token_hex(4))
    (shared / "server.json").write_text(json.dumps(asdict(server)))


@contextmanager
def _locked(shared: Path) -> Iterator[None]:
    shared.mkdir(exist_ok=True)
    with (shared / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _users(shared: Path, change: int) -> int:
    counter = shared / "users"
    count = (int(counter.read_text()) if counter.exists() else 0) + change
    counter.write_text(str(count))
    return count
