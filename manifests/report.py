"""What a verifier says in the end: four verdicts, the findings, and what was not looked at."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from manifests.checkpoint import Checkpoint
from manifests.findings import Area, Code, Finding, Findings, Severity, shown
from manifests.record import EvidenceRecord

REPORT_FORMAT = "verification-report/1"
RESULT_FORMAT = "verification/1"


class Verdict(enum.Enum):
    """The answer to one question about the evidence."""

    PASSED = "passed"
    FAILED = "failed"
    INDETERMINATE = "indeterminate"


@dataclass(slots=True)
class Report:
    """The result of verifying one capture, or the custody log of several.

    Args:
        subject: The capture, by its ID where one is known, else by where it was found; or the log.
        record: The evidence record; None when it cannot be read as one.
        record_sha256: Hex SHA-256 of its bytes, or empty.
        findings: Everything that was found.
        proven: What was shown, one sentence each.
        unchecked: What was not looked at, and why, one sentence each.
        file_count: Files whose bytes were digested.
        file_bytes: Their length together.
        checkpoint: Of the log that was shown to hold the seal, or None.
    """

    subject: str
    record: EvidenceRecord | None = None
    record_sha256: str = ""
    findings: Findings = field(default_factory=Findings)
    proven: list[str] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)
    file_count: int = 0
    file_bytes: int = 0
    checkpoint: Checkpoint | None = None

    @property
    def verdicts(self) -> dict[Area, Verdict]:
        """The verdict of each area."""
        return {
            area: _verdict([item for item in self.findings.items if item.code.area is area]) for area in Area
        }

    @property
    def overall(self) -> Verdict:
        """Passed only when every area passed; failed when any failed."""
        return _verdict(self.findings.items)

    def codes(self) -> set[Code]:
        """The kinds of findings."""
        return {item.code for item in self.findings.items}


def _verdict(findings: list[Finding]) -> Verdict:
    severities = {item.code.severity for item in findings}
    if Severity.FAILURE in severities:
        return Verdict.FAILED
    return Verdict.INDETERMINATE if Severity.INDETERMINATE in severities else Verdict.PASSED


def result_object(
    verdict: Verdict, reports: Iterable[Report], logs: Iterable[Report], unfinished: Iterable[str]
) -> dict[str, Any]:
    """What one verification found, as JSON values; ``manifests.report_schema`` is its schema.

    Args:
        verdict: Of everything together.
        reports: Of the captures.
        logs: Of the custody logs.
        unfinished: IDs of captures without a record.
    """
    return {
        "format": RESULT_FORMAT,
        "overall": verdict.value,
        "reports": [report_object(report) for report in reports],
        "logs": [report_object(report) for report in logs],
        "unfinished": list(unfinished),
    }


def report_object(report: Report) -> dict[str, Any]:
    """The report as JSON values."""
    return {
        "format": REPORT_FORMAT,
        "subject": shown(report.subject),
        "capture_id": report.record.capture_id if report.record else None,
        "incident_ids": list(report.record.incident_ids) if report.record else [],
        "record_sha256": report.record_sha256 or None,
        "overall": report.overall.value,
        "verdicts": {area.value: verdict.value for area, verdict in report.verdicts.items()},
        "findings": [_finding_object(item) for item in report.findings.items],
        "findings_left_out": {code.code: count for code, count in report.findings.left_out.items()},
        "proven": report.proven,
        "unchecked": report.unchecked,
        "file_count": report.file_count,
        "file_bytes": report.file_bytes,
    }


def _finding_object(finding: Finding) -> dict[str, str]:
    return {
        "code": finding.code.code,
        "number": finding.code.number,
        "severity": finding.code.severity.value,
        "area": finding.code.area.value,
        "subject": shown(finding.subject),
        "text": finding.code.text,
        "expected": shown(finding.expected),
        "got": shown(finding.got),
    }


def report_lines(report: Report) -> Iterator[str]:
    """The report as text, a line each."""
    areas = ", ".join(f"{area.value} {verdict.value}" for area, verdict in report.verdicts.items())
    yield f"{shown(report.subject)}: {report.overall.value.upper()} ({areas})"
    for item in report.findings.items:
        yield f"  {item.code.severity.value}: {item.code.code}: {item}"
    for code, count in report.findings.left_out.items():
        yield f"  {count} more of {code.code}"
    for sentence in report.proven:
        yield f"  proven: {sentence}"
    for sentence in report.unchecked:
        yield f"  not checked: {sentence}"
