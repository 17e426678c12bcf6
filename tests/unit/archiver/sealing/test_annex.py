"""Who made a capture: fixed in the record, told by the annex alone, held to the record when told."""

from __future__ import annotations

import json
import subprocess

import pyrage
import pytest

from archiver.config import load_settings
from archiver.identity import fix, fixed_parts, unfixed
from archiver.preservation.receipts import ANNEX_NAME
from archiver.storing import store_capture
from manifests.codec import decode
from manifests.record_process import Commitment
from tests.unit.archiver.sealing.lab import capture_id
from tests.vectors.make import loose, record_of

OPERATOR = "Әсем Қайратқызы"


def settings(**facts):
    return load_settings(None, {}, {"operator": OPERATOR, "access_ip": "203.0.113.9"} | facts)


@pytest.fixture
def captured(lab):
    """A sealed capture with an annex, as the packer leaves it."""
    fixed = fix(settings())
    one, files = capture_id(1), loose()
    data = record_of(files, capture_id=one, commitments=fixed.commitments)
    folder = lab.folder / "out"
    folder.mkdir()
    for name, content in (files | {ANNEX_NAME: fixed.annex}).items():
        (folder / name).write_bytes(content)
    lab.put(2)
    store_capture(lab.store, folder, decode(data), data)
    lab.call("seal", "--pending")
    return lab


def test_names_and_addresses_are_not_in_the_record(lab):
    """The request that the record is made of holds digests; the annex is not readable."""
    parts = fixed_parts(settings())
    text = json.dumps(parts, ensure_ascii=False)
    assert OPERATOR not in text
    assert "203.0.113.9" not in text
    names = {one["name"] for one in parts["commitments"]}
    assert {"collector.operator", "machine.host_name", "vantage.access_ip"} <= names


def test_the_same_facts_look_different_in_every_capture(lab):
    """Salts are fresh, so that captures of one person cannot be told from those of another."""
    one, two = (fix(settings()).commitments for _ in range(2))
    assert not {each.digest for each in one} & {each.digest for each in two}


def test_without_an_annex_key_nothing_is_fixed_and_the_run_says_so(home):
    """No name is recorded in plain for want of a key."""
    assert fix(settings()).commitments == ()
    assert "not recorded" in unfixed(settings())[0]
    assert unfixed(load_settings(None, {}, {})) == []


def test_an_annex_opens_by_the_passphrase_and_the_log_keeps_it(captured):
    """The facts are those that the record fixed, and that somebody looked is an event with its reason."""
    told = captured.call("annex", "open", capture_id(1), "--reason", "order of the court 17")
    values = {one["name"]: one["value"] for one in told["openings"]}
    assert values["collector.operator"] == OPERATOR
    event = captured.events()[-1]
    assert (event["type"], event["purpose"]) == ("annex-opened", "order of the court 17")


def test_a_recipient_opens_an_annex_with_a_key_of_their_own(lab, tmp_path):
    """A key on another machine, that capturing never saw, opens it too."""
    other = pyrage.x25519.Identity.generate()
    fixed = fix(settings(annex_recipients=(str(other.to_public()),)))
    assert OPERATOR.encode() in pyrage.decrypt(fixed.annex, [other])


def opened(captured, tmp_path):
    told = captured.call("annex", "open", capture_id(1), "--reason", "for the hearing")
    path = tmp_path / "opened.json"
    path.write_text(json.dumps(told))
    return told, path


def test_opened_facts_are_held_to_the_record_by_whoever_verifies(captured, tmp_path):
    """A judge needs no key: the verifier shows that the record fixed exactly these facts."""
    _, path = opened(captured, tmp_path)
    report = captured.call("verify", capture_id(1), "--opened", str(path))["reports"][0]
    assert any(OPERATOR in text for text in report["proven"])


def test_a_fact_is_confirmed_by_sha256sum(captured, tmp_path):
    """The command of the manual gives the digest in the record."""
    told, _ = opened(captured, tmp_path)
    one = told["openings"][0]
    text = f'["{one["salt"]}","{one["name"]}","{one["value"]}"]'
    done = subprocess.run(["sha256sum"], input=text.encode(), capture_output=True, check=True)
    fixed = {each.name: each.digest for each in captured.record(capture_id(1)).commitments}
    assert done.stdout.decode().split()[0] == fixed[one["name"]]


@pytest.mark.parametrize(
    "lie",
    [{"value": "somebody else"}, {"salt": "0" * 64}, {"name": "collector.organisation"}, {"salt": "x"}],
    ids=["value", "salt", "name", "no-salt"],
)
def test_another_fact_than_the_fixed_one_fails(captured, tmp_path, lie):
    """Nobody can put another person into a capture, and nobody can deny having been in it."""
    told, path = opened(captured, tmp_path)
    told["openings"][0] |= lie
    path.write_text(json.dumps(told))
    report = captured.call("verify", capture_id(1), "--opened", str(path), code=4)["reports"][0]
    assert [one["code"] for one in report["findings"] if one["severity"] == "failure"] == ["commitment-wrong"]
    assert report["verdicts"]["identity"] == "failed"


def test_facts_of_another_capture_fail(captured, tmp_path):
    """The salts of one capture open nothing in another."""
    told, path = opened(captured, tmp_path)
    path.write_text(json.dumps(told | {"capture_id": capture_id(2)}))
    captured.call("verify", capture_id(2), "--opened", str(path), code=4)


@pytest.mark.parametrize("text", ["", "[]", '{"capture_id": "x"}', '{"capture_id": 1, "openings": []}'])
def test_a_file_that_holds_no_facts_is_refused(captured, tmp_path, text):
    """What cannot be read is not taken for nothing to check."""
    (tmp_path / "bad.json").write_text(text)
    captured.call("verify", capture_id(1), "--opened", "bad.json", code=1)


def test_an_annex_that_says_something_else_than_the_record_is_refused(captured):
    """An annex put in the place of the right one is found, whoever encrypted it."""
    other = fix(settings(operator="somebody else"))
    path = captured.root / "keys" / capture_id(1) / ANNEX_NAME
    path.chmod(0o644)
    path.write_bytes(other.annex)
    captured.call("annex", "open", capture_id(1), "--reason", "x", code=4)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ((capture_id(2), "--reason", "x"), 2),  # it has none
        ((capture_id(1), "--reason", " "), 2),
        ((capture_id(1),), 2),
        ((capture_id(1), "--reason", "x", "--identity", "stranger.txt"), 4),
        ((capture_id(1), "--reason", "x", "--identity", "absent.txt"), 2),
    ],
    ids=["no-annex", "blank-reason", "no-reason", "stranger", "no-file"],
)
def test_who_has_no_business_there_opens_nothing(captured, tmp_path, words, code):
    """Without a reason, a fitting key and an annex nothing is told, and nothing is logged."""
    (tmp_path / "stranger.txt").write_text(f"{pyrage.x25519.Identity.generate()}\n")
    before = len(captured.events())
    captured.call("annex", "open", *words, code=code)
    assert len(captured.events()) == before


def test_the_annex_does_not_leave_with_an_export_and_goes_with_a_deletion(captured, tmp_path):
    """Who made a capture is not handed over with it; who deletes a capture deletes its annex."""
    captured.call("export", capture_id(1), "--output", "handed")
    assert not list((tmp_path / "handed").rglob(ANNEX_NAME))
    captured.call("delete", capture_id(1), "--reason", "a mistake")
    assert not list(captured.root.rglob(ANNEX_NAME))


def test_destroying_an_annex_harms_no_evidence(captured):
    """A person can be forgotten: the capture verifies, and an audit finds nothing missing."""
    (captured.root / "keys" / capture_id(1) / ANNEX_NAME).unlink()
    assert captured.call("verify", "--all")["overall"] == "passed"


def test_a_commitment_needs_no_annex_to_be_valid():
    """A record of another installation with commitments is a record like any other."""
    fact = Commitment(name="collector.operator", digest="0" * 64)
    assert decode(record_of(loose(), commitments=(fact,))).commitments == (fact,)
