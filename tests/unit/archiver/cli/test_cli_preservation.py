"""``store``, ``hold``, ``release``, ``delete`` and ``audit`` as a person types them."""

from __future__ import annotations

import json

import pytest

from archiver.cli.main import run
from archiver.errors import ExitCode
from archiver.preservation.holding import is_held
from storage.folder import FolderStore
from tests.unit.archiver.preservation.lab import capture_id, damage, put_capture

SECRET = "archiver-secret-0001"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    for name in ("CONFIG", "CACHE", "STATE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name.lower()))
    monkeypatch.setenv("ARCHIVER_KEY_PASSPHRASE", "x")
    monkeypatch.setenv("ARCHIVER_TSA", "")
    monkeypatch.setenv("ARCHIVER_SPOOL", str(tmp_path / "spool"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def key():
    assert run(["key", "new", "--principal", "me"]) == ExitCode.DONE


@pytest.fixture
def archive(tmp_path) -> FolderStore:
    store = FolderStore(tmp_path / "archive")
    for number in (1, 2):
        put_capture(store, number)
    return store


@pytest.fixture
def settings(tmp_path):
    (tmp_path / "archiver.toml").write_text('stores = ["a", "b"]\nquorum = 2\n')
    return [FolderStore(tmp_path / name) for name in "ab"]


def told(capfd) -> dict:
    return json.loads(capfd.readouterr().out)


def events(capfd, store="archive") -> list[str]:
    capfd.readouterr()
    assert run(["log", "show", "--store", store, "--json"]) == ExitCode.DONE
    return [one["type"] for one in told(capfd)["events"]]


def test_hold_release_and_delete_in_turn(archive, key, capfd):
    """A held capture stays, a released one goes, and the custody log tells the story."""
    one = capture_id(1)
    assert run(["hold", "KZ-1", "--reason", "order 17"]) == ExitCode.DONE
    assert run(["delete", one, "--reason", "a mistake"]) == ExitCode.STORE_REFUSED
    assert "E173" in capfd.readouterr().err
    assert run(["release", "KZ-1", "--reason", "settled"]) == ExitCode.DONE
    assert run(["delete", one, "--reason", "a mistake"]) == ExitCode.DONE
    assert not (archive.root / "captures" / one).exists()
    assert events(capfd) == ["held", "released", "deletion-requested", "deleted"]
    assert run(["audit", "--full"]) == ExitCode.DONE
    assert events(capfd)[-1] == "audited"


@pytest.mark.parametrize("command", ["delete", "release"])
def test_without_a_key_nothing_leaves(archive, command, capfd):
    """What cannot be logged is not done."""
    assert run(["hold", "KZ-1", "--reason", "order"]) == ExitCode.DONE
    target = capture_id(1) if command == "delete" else "KZ-1"
    assert run([command, target, "--reason", "because"]) == ExitCode.USAGE
    assert "E288" in capfd.readouterr().err
    assert is_held(archive, "KZ-1")
    assert (archive.root / "captures" / capture_id(1)).exists()


@pytest.mark.parametrize(
    "words",
    [
        ["hold", "KZ-1"],
        ["hold", "KZ-1", "--reason", ""],
        ["hold", "KZ-1", "--reason", "  "],
        ["hold", "KZ-1", "--reason", "x" * 2_001],
        ["hold", "../x", "--reason", "order"],
        ["hold", "", "--reason", "order"],
        ["release", "KZ-9", "--reason", "order"],
        ["delete", "2026", "--reason", "order"],
        ["delete", "", "--reason", "order"],
        ["audit", "--sample", "5%", "--full"],
        ["audit", "--sample", "0"],
        ["audit", "--sample", "101"],
        ["audit", "--sample", "-5"],
        ["audit", "--sample", "five"],
        ["store", "sync"],
        ["store", "init", "archive", "--days", "0"],
        ["store", "init", "archive", "--days", "40000"],
        ["store", "init", "archive", "--mode", "compliance"],
        ["store", "init", "ftp://x"],
        ["store", "check", "s3://x"],
    ],
)
def test_nonsense_is_refused_and_changes_nothing(archive, key, words, capfd):
    """Each is told in one line with a number, and nothing is held, deleted, kept or stored."""
    before = sorted(archive.root.rglob("*"))
    assert run(words) in {ExitCode.USAGE, ExitCode.STORE_REFUSED}
    err = capfd.readouterr().err
    assert "error: " in err
    assert "E299" not in err
    assert "Traceback" not in err
    after = [path for path in sorted(archive.root.rglob("*")) if "log" not in path.parts]
    assert after == before


def test_a_folder_says_what_it_is_when_it_is_made(tmp_path, capfd):
    """`store init` lays down the retention, and says plainly that a folder cannot enforce it."""
    assert run(["store", "init", "fresh", "--days", "30"]) == ExitCode.DONE
    out, err = capfd.readouterr()
    assert "does not hold: No folder is write-once against its owner" in out
    assert "kept for 30 days (governance)" in err
    assert FolderStore(tmp_path / "fresh").rule.days == 30
    assert run(["store", "check", "fresh", "--json"]) == ExitCode.DONE
    (report,) = told(capfd)["stores"]
    assert {one["name"] for one in report["promises"]} >= {"create-only", "locks"}


def test_compliance_is_explained_before_it_is_done(tmp_path, capfd):
    """Without the word that says it cannot be undone, compliance is told about and not done."""
    assert run(["store", "init", "fresh", "--mode", "compliance"]) == ExitCode.USAGE
    assert "nobody can delete an object" in capfd.readouterr().err
    assert not (tmp_path / "fresh").exists()


def test_a_damaged_byte_is_told_and_mended_from_the_other_store(settings, key, capfd):
    """Exit code 3 where a good copy put it right, 4 where there was none, 0 when all is well."""
    from archiver.config import load_settings
    from archiver.stores import open_stores

    store = open_stores(load_settings(None, {}, {}))
    name = f"captures/{put_capture(store)}/dom.html"
    assert run(["audit", "--full"]) == ExitCode.DONE
    damage(settings[0], name)
    assert run(["audit", "--full", "--dry-run", "--json"]) == ExitCode.EVIDENCE_FAILED
    capfd.readouterr()
    assert run(["audit", "--full", "--json"]) == ExitCode.PARTIAL
    first, second = told(capfd)["reports"]
    assert [one["repaired_from"] for one in first["findings"]] == ["b"]
    assert second["findings"] == []
    assert run(["audit", "--full"]) == ExitCode.DONE
    for one in settings:
        damage(one, name)
    assert run(["audit", "--full"]) == ExitCode.EVIDENCE_FAILED
    assert "repaired" in events(capfd, "a")


def test_each_audit_leaves_a_report_in_its_store(archive, key, capfd):
    """JSON and text, side by side; a dry run leaves none."""
    assert run(["audit", "--full", "--dry-run"]) == ExitCode.DONE
    assert not (archive.root / "audits").exists()
    assert run(["audit", "--sample", "50%"]) == ExitCode.DONE
    names = sorted(path.suffix for path in (archive.root / "audits").iterdir())
    assert names == [".json", ".txt"]


def test_sync_copies_what_a_store_lacks(settings, capfd):
    """A store that was begun later gets everything, once."""
    put_capture(settings[0])
    settings[1].root.mkdir()
    assert run(["store", "sync"]) == ExitCode.DONE
    assert "6 objects copied" in capfd.readouterr().out
    assert run(["store", "sync"]) == ExitCode.DONE
    assert "0 objects copied, 0 problems" in capfd.readouterr().out


@pytest.mark.s3
def test_a_bucket_is_made_checked_and_used(s3_url, key, capfd):
    """`store init` makes a bucket with locks; what is stored there is locked for ten years by itself."""
    url = s3_url.replace("test-", "made-")
    assert run(["store", "init", url, "--json"]) == ExitCode.DONE
    (report,) = told(capfd)["stores"]
    held = {one["name"] for one in report["promises"] if one["verdict"] == "holds"}
    assert held >= {"locks", "default-retention", "versions", "encryption", "checksums", "create-only"}
    assert run(["store", "check", url]) == ExitCode.DONE
    assert SECRET not in "".join(capfd.readouterr())


@pytest.mark.s3
def test_a_bucket_without_locks_is_refused_unless_that_is_said(s3_url, s3_client, capfd):
    """A promise that the server does not keep is refused, and accepted only in so many words."""
    s3_url = s3_url.replace("test-", "plain-")  # one of its own: `store init` turns its versions on
    s3_client.create_bucket(Bucket=s3_url.split("/")[2])
    assert run(["store", "init", s3_url]) == ExitCode.STORE_REFUSED
    assert "E170" in capfd.readouterr().err
    assert run(["store", "check", s3_url]) == ExitCode.STORE_REFUSED
    assert "Nothing here is locked" in capfd.readouterr().out
    assert run(["store", "init", s3_url, "--mode", "none"]) == ExitCode.DONE
