"""Every case of the corpus is judged as its ``expect.json`` says, for the reason that it says."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import msgspec
import pytest

from archiver.custody import StoreLog
from archiver.preservation.linking import link_notes
from manifests.checkpoint import open_checkpoint
from manifests.commitments import Opening
from manifests.evidence_set import FolderSet
from manifests.log_check import Seen, check_whole_log
from manifests.log_reader import LogReader
from manifests.report import Report, report_object
from manifests.seal_check import seal_check
from manifests.trust import Trust, parse_trust
from manifests.verifier import Expectation, verify_capture
from storage.folder import FolderStore

CORPUS = Path(__file__).parent / "corpus"
CASES = sorted(path.name for path in CORPUS.iterdir())


def judged(folder: Path) -> Report:
    expect = json.loads((folder / "expect.json").read_text())
    trust = parse_trust((folder / "trust.toml").read_bytes())
    if "record_sha256" in expect:
        return judged_log(folder, expect, trust)
    check = seal_check(trust, datetime.fromisoformat(expect["now"]))
    opened = tuple(msgspec.convert(one, Opening) for one in expect.get("opened", ()))
    expected = Expectation(expect["capture_id"], expect.get("incident_id", ""), opened)
    return verify_capture(FolderSet(folder / "capture"), folder.name, expected=expected, seal_check=check)


def judged_log(folder: Path, expect: dict, trust: Trust) -> Report:
    """A case that is the log of a store, with a checkpoint that was seen, and notes of links."""
    reader = LogReader(StoreLog(FolderStore(folder / "store")), trust.logs[0])
    seen = Seen(open_checkpoint((folder / "seen.txt").read_bytes(), trust.logs[0]), "a copy", asked=True)
    captures = {expect["capture_id"]: expect["record_sha256"]}
    notes = dict(link_notes(FolderStore(folder / "store")))
    return check_whole_log(reader, [seen], captures.get, notes)


@pytest.mark.parametrize("name", CASES)
def test_evidence_is_judged_as_expected_for_the_expected_reason(name):
    """Bad evidence does not pass, and the finding that its folder is named for is among those made."""
    expect = json.loads((CORPUS / name / "expect.json").read_text())
    report = judged(CORPUS / name)
    assert report.overall.value == expect["overall"]
    codes = {finding["code"] for finding in report_object(report)["findings"]}
    assert not expect["code"] or expect["code"] in codes, codes


def test_what_must_be_rejected_outnumbers_what_must_pass():
    """The corpus is a corpus of bad evidence."""
    verdicts = [json.loads((CORPUS / name / "expect.json").read_text())["overall"] for name in CASES]
    assert verdicts.count("passed") >= 10
    assert len(verdicts) - verdicts.count("passed") >= 60
