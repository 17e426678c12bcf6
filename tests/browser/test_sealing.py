from __future__ import annotations

import shutil
from dataclasses import replace

import pytest

from archiver.tsa_server import serve as serve_tsa

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("sealing")]

PAGE = "https://hundred.example/"
GONE = "https://www.airan-live.invalid/"


@pytest.fixture
def custodian(bench):
    """A command line that has a signing key, and no authority yet."""
    bench = replace(bench, extra={"ARCHIVER_KEY_PASSPHRASE": "correct horse", "ARCHIVER_TSA": ""})
    bench.tool("key", "new", "--principal", "tester")
    return bench


def trust(bench, authority, name="test"):
    root = authority.state_dir / "root.pem"
    bench.tool("trust", "add-tsa", name, "--url", authority.url, "--root", str(root))


def test_a_capture_is_sealed_and_passes(custodian, tmp_path):
    """With a key and an authority the run ends with sealed captures, failed loads among them, that verify."""
    with serve_tsa(tmp_path / "tsa") as authority:
        trust(custodian, authority)
        captures = custodian.capture(PAGE, GONE, code=3)
    assert {one["state"] for one in captures} == {"sealed"}
    told = custodian.run("verify", "--all")
    assert {report["overall"] for report in told["reports"] + told["logs"]} == {"passed"}
    events = custodian.run("log", "show")["events"]
    assert [event["type"] for event in events].count("captured") == 2
    assert [event["type"] for event in events].count("sealed") == 2
    assert custodian.run("log", "check")["findings"] == []
    assert {one["state"] for one in custodian.run("list")["captures"]} == {"sealed"}


def test_without_an_authority_in_reach_a_capture_stays_signed_until_it_is_sealed(custodian, tmp_path):
    """Nothing is called sealed before it is: the capture stays signed, and sealing later completes it."""
    with serve_tsa(tmp_path / "tsa") as authority:
        trust(custodian, authority)  # and it is gone again
    (one,) = custodian.capture(PAGE, code=3)
    assert one["state"] == "signed"
    custodian.run("verify", "--all", code=5)
    custodian.run("seal", "--pending", code=3)
    custodian.tool("trust", "remove", "test")
    with serve_tsa(tmp_path / "tsa") as authority:
        trust(custodian, authority)
        done = custodian.run("seal", "--pending")
    assert [each["state"] for each in done["captures"]] == ["sealed"]
    custodian.run("verify", "--all")  # its log, too
    assert custodian.run("list")["captures"][0]["state"] == "sealed"


def test_a_stranger_who_trusts_nothing_calls_nothing_passed(custodian, tmp_path):
    """Trust is explicit: with an empty trust file the same capture is indeterminate."""
    with serve_tsa(tmp_path / "tsa") as authority:
        trust(custodian, authority)
        custodian.capture(PAGE)
    nobody = tmp_path / "nobody.toml"
    nobody.write_text('format = "evidence-trust/1"\n')
    custodian.run("verify", "--all", "--trust", str(nobody), code=5)


def test_a_rotated_key_leaves_old_captures_good_and_a_revoked_one_does_not_sign(custodian, tmp_path):
    """What the old key signed before its end passes, and so does what the new one signs."""
    with serve_tsa(tmp_path / "tsa") as authority:
        trust(custodian, authority)
        custodian.capture(PAGE)
        custodian.tool("key", "rotate", "--principal", "tester-2")
        custodian.capture(GONE, code=3)
    told = custodian.run("verify", "--all")
    assert {report["overall"] for report in told["reports"]} == {"passed"}


def test_a_locked_key_stops_no_capture(custodian):
    """Without the passphrase the page is captured all the same, unsealed, and the run says so."""
    locked = replace(custodian, extra={})
    told = locked.run("capture", PAGE, "--incident", "T-1", *locked.sites.options(), code=3)
    assert [one["state"] for one in told["captures"]] == ["unsealed"]
    assert "passphrase" in str(told["problems"])


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("key", "new"), 1),
        (("key", "revoke", "SHA256:nobody"), 2),
        (("trust", "add-tsa", "unknown-one"), 2),
        (("trust", "add-key", "ssh-rsa AAAA", "--principal", "x"), 1),
        (("trust", "add-log", "nonsense"), 2),
        (("trust", "remove", "nobody"), 2),
    ],
)
def test_bad_input_about_keys_and_trust_is_refused(custodian, words, code):
    """Nothing is written over, and nothing that cannot be read is trusted."""
    custodian.tool(*words, code=code)


def test_an_export_for_a_court_is_refused_until_the_four_answers_are_there(custodian, tmp_path):
    """When, by whom, in what conditions, in what circumstances: without them a court would not look at it."""
    custodian.capture(PAGE, code=3)
    output = tmp_path / "out"
    custodian.run("export", "--incident", "T-1", "--output", str(output), "--for", "court", code=2)
    assert not output.exists()
    answers = {
        "BY_WHOM": "A. B., archivist",
        "CONDITIONS": "office, Almaty",
        "CIRCUMSTANCES": "named in a report",
    }
    filled = replace(custodian, extra=custodian.extra | {f"ARCHIVER_{k}": v for k, v in answers.items()})
    (one,) = filled.capture(PAGE, options=("--again",), code=3)
    told = filled.run("export", one["capture_id"], "--output", str(output), "--for", "court")
    assert told["captures"] == [one["capture_id"]]
    events = filled.run("log", "show", "--capture", one["capture_id"])["events"]
    assert "exported" in [event["type"] for event in events]


def test_a_published_checkpoint_shows_a_log_that_was_rolled_back(custodian, tmp_path):
    """A copy of the checkpoint kept elsewhere passes while the log grows, and finds one that lost entries."""
    with serve_tsa(tmp_path / "tsa") as authority:
        trust(custodian, authority)
        custodian.capture(GONE, code=3)
        before = {path: path.read_bytes() for path in (custodian.store / "log").rglob("*") if path.is_file()}
        custodian.capture(PAGE)
    told = custodian.run("log", "publish", str(tmp_path / "copies"))
    (copy,) = told["written"]
    assert custodian.run("log", "check", "--against", copy)["findings"] == []
    shutil.rmtree(custodian.store / "log")
    for path, data in before.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    found = custodian.run("log", "check", "--against", copy, code=4)
    assert found["findings"], "a shorter log than the one that was published"


def test_a_record_names_nobody_and_the_annex_does(custodian):
    """Operator and machine are fixed by digests in the stored record; the annex tells them, and they fit."""
    named = replace(custodian, extra=custodian.extra | {"ARCHIVER_OPERATOR": "Aigerim Collector"})
    (one,) = named.capture(PAGE, code=3)
    assert b"Aigerim" not in named.file(one, "record.json").read_bytes()
    assert "collector.operator" in {each["name"] for each in named.record(one)["commitments"]}
    told = named.run("annex", "open", one["capture_id"], "--reason", "a test")
    assert "Aigerim Collector" in {each["value"] for each in told["openings"]}
    assert not [path for path in named.store.rglob("*") if path.is_file() and b"Aigerim" in path.read_bytes()]
