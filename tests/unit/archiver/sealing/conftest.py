from __future__ import annotations

import pytest

from archiver.tsa_server import serve
from tests.unit.archiver.sealing.lab import Lab


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    with serve(tmp_path_factory.mktemp("tsa")) as running:
        yield running


@pytest.fixture
def home(tmp_path, monkeypatch, capfd) -> Lab:
    """An installation without a key."""
    for name in ("CONFIG", "CACHE", "STATE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name.lower()))
    monkeypatch.setenv("ARCHIVER_KEY_PASSPHRASE", "x")
    monkeypatch.setenv("ARCHIVER_TSA", "")
    monkeypatch.setenv("ARCHIVER_SPOOL", str(tmp_path / "spool"))
    monkeypatch.chdir(tmp_path)
    return Lab(tmp_path, capfd)


@pytest.fixture
def lab(home, authority) -> Lab:
    """An installation with a key and a test authority."""
    home.call("key", "new", "--principal", "tester")
    root = authority.state_dir / "root.pem"
    home.call("trust", "add-tsa", "test", "--url", authority.url, "--root", str(root))
    return home


@pytest.fixture
def sealed(lab) -> Lab:
    """Three sealed captures."""
    for number in range(3):
        lab.put(number)
    lab.call("seal", "--pending")
    return lab
