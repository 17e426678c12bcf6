from __future__ import annotations

import json
import os

import pytest

from archiver.cli.main import run
from archiver.errors import ExitCode
from archiver.watch.book import Book
from tests.unit.archiver.cli.stored import put


@pytest.fixture(autouse=True)
def machine(tmp_path, monkeypatch):
    """A home and a spool of its own for each test."""
    for variable in [name for name in os.environ if name.startswith(("ARCHIVER_", "XDG_"))]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ARCHIVER_SPOOL", str(tmp_path / "spool"))
    monkeypatch.setenv("ARCHIVER_VANTAGE", "here")
    monkeypatch.chdir(tmp_path)
    put(tmp_path / "archive", 1, url="https://a.test/1")
    put(tmp_path / "archive", 2, url="https://a.test/1", kind="not-found")
    put(tmp_path / "archive", 3, url="https://b.test/2", kind="unreachable", vantage="kz-ala")


@pytest.fixture
def call(capfd):
    def call(*arguments, code=ExitCode.DONE):
        assert run([*arguments, "--json"]) == code
        out, err = capfd.readouterr()
        assert "Traceback" not in out + err
        return json.loads(out) if out.strip() else {}, err

    return call


def settings(tmp_path, text):
    path = tmp_path / "archiver.toml"
    path.write_text(text)


def test_a_watch_begins_with_what_the_store_holds(call, tmp_path):
    """What was seen last, and when, is the near side of the first interval."""
    settings(tmp_path, '[vantages.kz-ala]\nlocale = "kk-KZ"\n')
    told, _ = call("watch", "add", "KZ-1", "--every", "2d")
    assert told["new"] == 2
    assert [(one["url"], one["vantage"], one["state"], one["was_present"]) for one in told["watches"]] == [
        ("https://a.test/1", "", "removed", True),
        ("https://b.test/2", "kz-ala", "unreachable", False),
    ]
    assert all(one["seen_at"] and one["capture_id"] and one["every_s"] == 172_800 for one in told["watches"])


def test_a_vantage_whose_proxy_is_dead_says_nothing_of_its_pages(call, tmp_path):
    """A watch from a dead proxy is told and stays due; its page is not entered as out of reach."""
    settings(tmp_path, '[vantages.kz-ala]\nupstream = "socks5h://127.0.0.1:1"\n')
    before, _ = call("watch", "add", "https://b.test/2")
    assert before["watches"][0]["vantage"] == "kz-ala"
    told, _ = call("watch", "run", code=ExitCode.PARTIAL)
    assert (told["checks"], told["captures"], told["events"]) == (0, [], [])
    assert "E711" in told["problems"][0]
    after, _ = call("watch", "status")
    assert after["watches"] == before["watches"]


def test_a_vantage_that_is_set_no_more_is_told(call, tmp_path):
    """Captures from a place that this machine does not know are not watched from another instead."""
    _, said = call("watch", "add", "https://b.test/2", code=ExitCode.USAGE)
    assert "no such vantage" in said
    assert "E733" in said


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["add", "KZ-9"], "E733"),
        (["add", "https://never.test/"], "E733"),
        (["add", "https://a.test/", "--incident", "no incident"], "E240"),
        (["add", "https://a.test/", "--incident", "KZ-1", "--every", "1s"], "E731"),
        (["add", "file://etc/passwd"], "E241"),
        (["end", "KZ-1"], "E733"),
    ],
)
def test_what_cannot_be_watched_is_refused(call, words, code):
    """One line that says what was expected, and nothing entered."""
    _, said = call("watch", *words, code=ExitCode.USAGE)
    assert code in said
    assert call("watch", "status")[0]["watches"] == []


def test_a_page_that_was_never_captured_can_be_watched_for_an_incident(call):
    """So can one that never answered; it is looked at from the vantage of the settings."""
    told, _ = call("watch", "add", "https://never.test/", "--incident", "KZ-7")
    assert [(one["state"], one["vantage"], one["incident_ids"]) for one in told["watches"]] == [
        ("", "", ["KZ-7"])
    ]
    assert call("watch", "end", "KZ-7")[0]["ended"][0]["url"] == "https://never.test/"


def test_a_second_run_ends_at_once(call, tmp_path):
    """Crons that overlap do not look twice; the second says so and is no failure."""
    call("watch", "add", "https://never.test/", "--incident", "KZ-7")
    with Book(tmp_path / "spool" / "watches.sqlite", "archive").alone():
        _, said = call("watch", "run")
    assert "another" in said
