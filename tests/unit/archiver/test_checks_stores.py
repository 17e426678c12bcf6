"""What `doctor` says of the stores: each of a set by itself, and whether a quorum is there."""

from __future__ import annotations

import pytest

from archiver.checks import Check, check_machine
from archiver.config import load_settings


def stores_of(tmp_path, *names: str, quorum: int = 2):
    settings = load_settings(
        None, {}, {"stores": tuple(str(tmp_path / name) for name in names)} | {"quorum": quorum}
    )
    return [
        (one.name, one.state, one.found) for one in check_machine(settings) if one.name in {"store", "copies"}
    ]


@pytest.fixture(autouse=True)
def no_network(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("archiver.checks._CHECKS", (lambda _: Check("browser", "works", ""),))


def test_every_store_of_a_set_is_looked_at(tmp_path):
    """Three folders are three checks, and the rule is said in words."""
    found = stores_of(tmp_path, "a", "b", "c")
    assert [(name, state) for name, state, _ in found] == [("store", "works")] * 3 + [("copies", "works")]
    assert "preserved when 2 of 3 stores have confirmed it; 3 can be used" in found[-1][2]


def test_one_dead_store_of_three_is_a_warning(tmp_path):
    """Captures go on with a quorum, and the person is told which store is away and what catches it up."""
    found = stores_of(tmp_path, "a", "gone/b", "c")
    assert [state for _, state, _ in found] == ["works", "warning", "works", "works"]
    assert "gone/b" in found[1][2]
    assert "store sync" in found[-1][2]


def test_fewer_than_a_quorum_fail(tmp_path):
    """Where no capture could be preserved, doctor fails."""
    found = stores_of(tmp_path, "a", "gone/b", "gone/c")
    assert [state for _, state, _ in found] == ["works", "fails", "fails", "fails"]
    found = stores_of(tmp_path, "a", "gone/b", "c", quorum=3)
    assert [state for _, state, _ in found] == ["works", "fails", "works", "fails"]


@pytest.mark.s3
def test_a_bucket_that_locks_nothing_is_a_warning(s3_url, tmp_path):
    """Settings ask for retention, the bucket has no Object Lock: told before the first capture."""
    settings = load_settings(None, {}, {"stores": (str(tmp_path / "a"), s3_url)})
    (found,) = [one for one in check_machine(settings) if s3_url in one.found]
    assert (found.name, found.state) == ("store", "warning")
    assert "no Object Lock" in found.found
    assert "store init" in found.todo
