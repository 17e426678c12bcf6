"""Checkpoints leave the store once a day by themselves; seals reach every store; renewals come in time."""

from __future__ import annotations

import datetime as dt
import json
import os
from pathlib import Path

import pytest
from cryptography import x509

from archiver import tsa_server
from archiver.tsa_server import serve
from tests.unit.archiver.sealing.lab import capture_id


@pytest.fixture
def published(sealed, monkeypatch, tmp_path):
    """A sealed store, and a place that is to get its checkpoints."""
    monkeypatch.setenv("ARCHIVER_PUBLISH", str(tmp_path / "away"))
    return sealed


def copies(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "away").glob("*")) if (folder / "away").exists() else []


def test_sealing_publishes_once_a_day(published, tmp_path):
    """The first run after a day takes the checkpoint out; the log was not published in between."""
    published.put(7)
    published.call("seal", "--pending")
    assert len(copies(tmp_path)) == 1
    published.put(8)
    published.call("seal", "--pending")
    assert len(copies(tmp_path)) == 1
    (mark,) = (tmp_path / "state" / "archiver" / "published").iterdir()
    yesterday = mark.stat().st_mtime - 25 * 3600
    os.utime(mark, (yesterday, yesterday))
    assert published.call("log", "publish")["written"]
    assert published.call("log", "publish")["written"] == []
    assert len(copies(tmp_path)) == 2
    words = [word for name in copies(tmp_path) for word in ("--against", str(tmp_path / "away" / name))]
    assert published.call("log", "check", *words)["findings"] == []


def test_a_place_that_does_not_take_it_stops_no_sealing_and_is_tried_again(published, tmp_path, monkeypatch):
    """What is sealed stays sealed; `log publish` says by its exit code that it did not come out."""
    (tmp_path / "away").write_text("a file where a folder should be")
    published.put(7)
    published.call("seal", "--pending")
    published.call("log", "publish", code=3)
    (tmp_path / "away").unlink()
    assert published.call("log", "publish")["written"]


def test_seals_and_log_reach_every_store(lab, monkeypatch, tmp_path):
    """Sealing later, on two stores, leaves the same seal and the same log in both; each verifies alone."""
    monkeypatch.setenv("ARCHIVER_STORES", f"{tmp_path}/archive,{tmp_path}/second")
    lab.put(1)
    (tmp_path / "second").mkdir()
    lab.call("store", "sync")
    lab.call("seal", "--pending")
    first, second = (
        {
            str(path.relative_to(root)): path.read_bytes()
            for part in ("captures", "log")
            for path in (root / part).rglob("*")
            if path.is_file()
        }
        for root in (tmp_path / "archive", tmp_path / "second")
    )
    assert first == second
    assert any(name.endswith(".tlog-proof") for name in second)
    assert lab.call("verify", "--all", "--store", str(tmp_path / "second"))["overall"] == "passed"


def test_renew_stamps_again_before_the_certificate_of_the_authority_ends(home, tmp_path, monkeypatch):
    """A real token of a certificate that ends in a month is renewed by one that ends in a year."""
    issue = x509.CertificateBuilder.not_valid_after

    def brief(self, when):
        soon = dt.datetime.now(dt.UTC).replace(microsecond=0) + dt.timedelta(days=30)
        return issue(self, min(when, soon) if when < soon + dt.timedelta(days=400) else when)

    home.call("key", "new", "--principal", "tester")
    with monkeypatch.context() as patch:
        patch.setattr(tsa_server.x509.CertificateBuilder, "not_valid_after", brief)
        with serve(tmp_path / "tsa") as short:
            trust = ("trust", "add-tsa", "test", "--url", short.url, "--root", str(tmp_path / "tsa/root.pem"))
            home.call(*trust)
            one = home.put(1)
            home.call("seal", one)
            port = int(short.url.rsplit(":", 1)[1].strip("/"))
    with serve(tmp_path / "tsa", port=port):  # a signer of a year
        assert home.call("renew", "--days", "10")["captures"] == []
        assert [each["capture_id"] for each in home.call("renew", "--days", "60")["captures"]] == [one]
        assert home.call("renew", "--days", "60")["captures"] == []
        renewed = [each for each in home.events() if each["type"] == "renewed"]
        assert [each["capture_id"] for each in renewed] == [one]
    seal = home.root / "captures" / one / "seal"
    assert (seal / "renewal-01.test.tsr").exists()
    assert home.call("verify", one)["overall"] == "passed"
    assert json.loads((seal / "renewal-01.json").read_text())
    assert capture_id(1) == one
