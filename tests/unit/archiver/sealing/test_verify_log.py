"""``archiver verify`` with the custody log: what is missing, cut back or split is found."""

from __future__ import annotations

import shutil

import pytest

from archiver.custodian import seen_folder
from manifests.checkpoint import claimed_origin
from tests.unit.archiver.sealing.lab import capture_id


def codes(told, part="logs"):
    return {one["code"] for report in told[part] for one in report["findings"] if one["severity"] != "note"}


def test_a_sealed_store_passes_with_its_log(sealed):
    """Captures and log pass; the log is told apart from the captures; that it was verified is logged."""
    told = sealed.call("verify", "--all")
    assert told["overall"] == "passed"
    assert [report["overall"] for report in told["logs"]] == ["passed"]
    assert len(told["reports"]) == 3
    assert sealed.events()[-1]["type"] == "verified"
    assert sealed.events()[-1]["details"].startswith("3 captures")


def test_a_capture_that_was_taken_away_with_everything_is_missed(sealed):
    """Its folder, links and receipts are gone; only the log remembers, and verify --all asks it."""
    gone = capture_id(1)
    shutil.rmtree(sealed.root / "captures" / gone)
    shutil.rmtree(sealed.root / "receipts" / gone)
    told = sealed.call("verify", "--all", code=4)
    assert codes(told) == {"log-capture-missing"}
    assert {report["overall"] for report in told["reports"]} == {"passed"}
    assert sealed.call("verify", capture_id(0))["overall"] == "passed"


def test_a_log_that_was_cut_back_is_found_by_whoever_verified_before(sealed):
    """An installation remembers the checkpoint that it saw; the store of before that fails."""
    before = {path: path.read_bytes() for path in (sealed.root / "log").rglob("*") if path.is_file()}
    sealed.put(7)
    sealed.call("seal", "--pending")
    sealed.call("verify", "--all")
    shutil.rmtree(sealed.root / "log")
    shutil.rmtree(sealed.root / "captures" / capture_id(7))
    for path, data in before.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    assert "log-rolled-back" in codes(sealed.call("verify", "--all", code=4))
    assert "log-rolled-back" in codes(sealed.call("verify", capture_id(0), code=4))
    sealed.put(8)
    sealed.call("seal", "--pending", code=4)  # and nothing is signed on top of it
    shutil.rmtree(seen_folder())  # whoever saw nothing cannot know
    assert "log-rolled-back" not in codes(sealed.call("verify", capture_id(0)))


def test_a_log_that_was_removed_is_found(sealed):
    """The proofs beside the captures speak of a log that is not there."""
    shutil.rmtree(sealed.root / "log")
    shutil.rmtree(seen_folder())
    assert "log-rolled-back" in codes(sealed.call("verify", "--all", code=4))


def test_a_store_that_lost_its_identity_is_not_called_complete(sealed):
    """Without store.json nobody can say which log it should have."""
    (sealed.root / "store.json").unlink()
    assert codes(sealed.call("verify", "--all", code=5)) == {"log-not-compared"}


def test_an_export_carries_what_ties_it_to_a_published_checkpoint(sealed, tmp_path):
    """Its captures are in one log, which is the one of the checkpoint that was published before or after."""
    (early,) = sealed.call("log", "publish", str(tmp_path / "copies"))["written"]
    sealed.put(7)
    sealed.call("seal", "--pending")
    sealed.call("export", capture_id(0), capture_id(7), "--output", "out")
    told = sealed.call("verify", "out")
    assert [report["overall"] for report in told["logs"]] == ["passed"]
    assert "extends" in " ".join(told["logs"][0]["proven"])
    names = {path.name for path in (tmp_path / "out" / "data" / "log").iterdir()}
    assert names == {"checkpoint", "tile"}
    assert not (tmp_path / "out" / "data" / "log" / "tile" / "entries").exists()
    (middle,) = sealed.call("log", "publish", str(tmp_path / "copies"))["written"]
    assert codes(sealed.call("verify", "out", "--checkpoint", middle, code=5)) == {"log-not-compared"}
    sealed.call("export", capture_id(1), "--output", "out")  # an export that goes on
    for published in (early, middle):
        assert sealed.call("verify", "out", "--checkpoint", published)["overall"] == "passed"
        assert sealed.call("verify", capture_id(0), "--checkpoint", published)["overall"] == "passed"


def test_the_log_in_an_export_is_checked_too(sealed, tmp_path):
    """A changed checkpoint is found; without any log the captures pass and what is not shown is said."""
    sealed.call("export", capture_id(0), "--output", "out")
    path = tmp_path / "out" / "data" / "log" / "checkpoint"
    data = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(data.replace(b"\n4\n", b"\n5\n").replace(b"\n3\n", b"\n5\n").replace(b"\n6\n", b"\n5\n"))
    assert path.read_bytes() != data
    assert "log-checkpoint-signature-wrong" in codes(sealed.call("verify", "out", code=4))
    shutil.rmtree(tmp_path / "out" / "data" / "log")
    told = sealed.call("verify", "out")
    assert told["overall"] == "passed"
    assert any("extends" in text for text in told["logs"][0]["unchecked"])


def test_an_export_as_a_zip_brings_its_log(sealed, tmp_path):
    """The log is looked at before the unpacked files are gone."""
    sealed.call("export", capture_id(0), "--output", "out")
    shutil.make_archive(str(tmp_path / "case"), "zip", tmp_path / "out")
    told = sealed.call("verify", "case.zip")
    assert [report["overall"] for report in told["logs"]] == ["passed"]


def test_a_log_that_nobody_trusts_leaves_the_verdict_open(sealed):
    """An unknown log is indeterminate, never passed."""
    origin = claimed_origin((sealed.root / "log" / "checkpoint").read_bytes())
    sealed.call("trust", "remove", origin)
    told = sealed.call("verify", "--all", code=5)
    assert codes(told) == {"log-unknown"}


@pytest.mark.parametrize(
    ("text", "code"), [(b"", 2), (b"x\n1\ny\n", 2), (None, 4)], ids=["empty", "foreign", "unsigned"]
)
def test_a_checkpoint_that_cannot_be_relied_on_is_refused(sealed, tmp_path, text, code):
    """One of an unknown log is a mistake of the caller, one that the log did not sign is a lie."""
    if text is None:
        text = (sealed.root / "log" / "checkpoint").read_bytes().replace(b"\n3\n", b"\n4\n")
        text = text[:-6] + b"AAAA\n" if b"\n4\n" not in text else text
    (tmp_path / "cp").write_bytes(text)
    sealed.call("verify", "--all", "--checkpoint", "cp", code=code)


def test_a_checkpoint_of_a_log_that_no_capture_is_in_compares_nothing(sealed, tmp_path):
    """The caller is told, and nothing is called passed for it."""
    (tmp_path / "cp").write_bytes((sealed.root / "log" / "checkpoint").read_bytes())
    shutil.copytree(sealed.root / "captures" / capture_id(0), tmp_path / "one")
    shutil.rmtree(tmp_path / "one" / "seal")
    told = sealed.call("verify", "one", "--checkpoint", "cp", code=5)
    assert codes(told) == {"log-not-compared"}


def test_what_cannot_be_remembered_is_said(sealed):
    """A folder of the state that is damaged stops nothing silently."""
    (path,) = seen_folder().iterdir()
    path.write_bytes(b"nonsense")
    sealed.capfd.readouterr()
    sealed.call("verify", "--all", code=1)


def test_verify_writes_nothing_without_a_key(sealed, tmp_path, monkeypatch):
    """A stranger who verifies changes nothing in the store."""
    trust = tmp_path / "config" / "archiver" / "trust.toml"
    shutil.copy(trust, tmp_path / "trust.toml")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "stranger"))
    before = {path: path.stat().st_mtime_ns for path in sealed.root.rglob("*")}
    assert sealed.call("verify", "--all", "--trust", "trust.toml")["overall"] == "passed"
    assert {path: path.stat().st_mtime_ns for path in sealed.root.rglob("*")} == before
