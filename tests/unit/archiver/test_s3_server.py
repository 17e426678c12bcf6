"""The S3 server of one's own: what it leaves on disk, and what it says when it cannot run."""

from __future__ import annotations

import secrets
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from archiver import s3_server
from archiver.errors import EnvironmentUnfit
from archiver.s3_server import PORT_COUNT, start_s3
from storage.open import open_store
from tests.s3server import _free_ports


@pytest.mark.s3
def test_it_is_served_again_with_the_same_data_and_no_secret_leaks(tmp_path, monkeypatch):
    """The command prints variables and no secret, keeps secrets to the owner, and finds its data again."""
    port = str(_free_ports())
    for round_ in (1, 2):
        words = [str(Path(sys.executable).with_name("archiver")), "store", "serve", "data", "--port", port]
        with subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as served:
            lines = [served.stdout.readline().removeprefix("export ") for _ in range(3)]
            told = dict(line.strip().split("=", 1) for line in lines)
            for name, value in told.items():
                monkeypatch.setenv(name, value)
            store = open_store("s3://evidence")
            if round_ == 1:
                store.client.create_bucket(Bucket="evidence", ObjectLockEnabledForBucket=True)
                assert store.put("k", b"evidence").created
            assert store.open("k").read() == b"evidence"
            served.send_signal(signal.SIGINT)
            assert served.wait(30) == 130
    held = (tmp_path / "data/credentials").read_text()
    assert not any(line.split("= ")[-1] in str(told) for line in held.splitlines() if "= " in line)
    for name in ("credentials", "s3.json", "kek"):
        assert stat.S_IMODE((tmp_path / "data" / name).stat().st_mode) == 0o600


@pytest.mark.parametrize("taken", [0, 3, PORT_COUNT - 1])
def test_a_taken_port_is_told_before_anything_runs(tmp_path, taken):
    """Any of its ports that somebody else has is named."""
    port = _free_ports()
    with socket.socket() as held:
        held.bind(("127.0.0.1", port + taken))
        held.listen()
        with pytest.raises(EnvironmentUnfit, match=f"port {port + taken}.*E191"):
            start_s3(tmp_path / "data", port)


def test_without_the_package_the_extra_is_named(tmp_path, monkeypatch):
    """What to install is said in the hint."""
    monkeypatch.setattr(s3_server.sys, "executable", str(tmp_path / "python"))
    with pytest.raises(EnvironmentUnfit, match="E190") as caught:
        start_s3(tmp_path / "data", 20_000)
    assert "archiver[s3-server]" in caught.value.hint


def test_a_server_that_ends_at_once_is_told(tmp_path):
    """A server that does not come up is an error with the place of its log, not a wait for ever."""
    (tmp_path / "data").mkdir()
    port = _free_ports()
    with pytest.raises(EnvironmentUnfit, match="E192"):
        start_s3(tmp_path / "data", port, (f"-no-such-flag-{secrets.token_hex(2)}",))
