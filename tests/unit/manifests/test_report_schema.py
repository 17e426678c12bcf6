"""What ``archiver verify --json`` prints is what its published schema says, and nothing looser."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import jsonschema
import pytest

from manifests.report import Report, Verdict, result_object
from manifests.report_schema import schema_text, verification_schema
from tests.vectors.test_vectors import CASES, CORPUS, judged

ROOT = Path(__file__).parents[3]
FEW = [name for name in CASES if name.startswith(("passed", "record-", "zip-", "log-", "signature-"))]


def result(names):
    return result_object(
        Verdict.FAILED, [judged(CORPUS / name) for name in names], [Report("log x")], ["one"]
    )


def refuses(value):
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(value, verification_schema())


def test_the_published_schema_is_that_of_the_program():
    """docs/verification.schema.json is made by the program."""
    assert (ROOT / "docs" / "verification.schema.json").read_text() == schema_text()
    jsonschema.Draft202012Validator.check_schema(verification_schema())


def test_reports_on_good_and_bad_evidence_fit_the_schema():
    """Findings of every kind fit, also those over evidence that cannot be read."""
    value = json.loads(json.dumps(result(FEW)))
    jsonschema.validate(value, verification_schema())
    assert len(value["reports"]) > 40


@pytest.mark.parametrize("part", ["overall", "reports", "logs", "unfinished", "format"])
def test_a_result_that_lacks_a_part_does_not_fit(part):
    """A reader may rely on every part being there."""
    value = result(FEW[:1])
    del value[part]
    refuses(value)


@pytest.mark.parametrize(
    ("key", "wrong"),
    [
        ("overall", "PASSED"),
        ("verdicts", {}),
        ("findings", [{"code": "invented"}]),
        ("record_sha256", "abc"),
        ("file_count", -1),
        ("file_bytes", 1.5),
        ("proven", None),
        ("surprise", 1),
    ],
)
def test_a_report_of_another_shape_does_not_fit(key, wrong):
    """The schema is strict, so that a test of its own tells a change of the output."""
    value = copy.deepcopy(result(FEW[:1]))
    value["reports"][0][key] = wrong
    refuses(value)
