"""Every case of the corpus is judged as its ``expect.json`` says, for the reason that it says."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import pytest

from manifests.evidence_set import FolderSet
from manifests.report import Report, report_object
from manifests.seal_check import seal_check
from manifests.trust import parse_trust
from manifests.verifier import Expectation, verify_capture

CORPUS = Path(__file__).parent / "corpus"
CASES = sorted(path.name for path in CORPUS.iterdir())


def judged(folder: Path) -> Report:
    expect = json.loads((folder / "expect.json").read_text())
    trust = parse_trust((folder / "trust.toml").read_bytes())
    check = seal_check(trust, datetime.fromisoformat(expect["now"]))
    expected = Expectation(capture_id=expect["capture_id"])
    return verify_capture(FolderSet(folder / "capture"), folder.name, expected=expected, seal_check=check)


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
