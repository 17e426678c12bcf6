"""What must be so before a capture goes to a court; each gate answers a rule of evidence.

Only what a program can see is checked here. That a certifier was asked, that a translation is certified, how
many copies are handed in: the exhibit has lines for it, and a person fills them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from manifests.commitments import Opening
from manifests.record import EvidenceRecord
from manifests.report import Report, Verdict

FOUR_ANSWERS = ("when", "by_whom", "conditions", "circumstances")
"""Kazakhstan, CPC article 99(2): without one of them the evidence is not examined."""
_TEMPLATES = ("____", "todo", "tbd", "xxx", "[", "<")


def open_gates(record: EvidenceRecord, report: Report, opened: Sequence[Opening]) -> list[str]:
    """Say which gates are open, one sentence each; none means that nothing here stands in the way.

    Args:
        record: Of the capture.
        report: What the verifier found.
        opened: Facts that are told with it: an opened name answers "by whom".
    """
    return [*_statement(record, opened), *_access(record), *_verdict(report), *_content(record)]


def _statement(record: EvidenceRecord, opened: Sequence[Opening]) -> Iterator[str]:
    names = {one.name for one in opened}
    for answer in FOUR_ANSWERS:
        text = (getattr(record.statement, answer) or "").strip()
        if answer == "by_whom" and "collector.operator" in names:
            continue
        if not text:
            yield f"the statement does not say {answer.replace('_', ' ')} (CPC of Kazakhstan, article 99(2))"
        elif any(mark in text.lower() for mark in _TEMPLATES):
            yield f"the statement's answer to {answer.replace('_', ' ')} is still a template"


def _access(record: EvidenceRecord) -> Iterator[str]:
    if record.access.pretext_used:
        yield "a pretext was used to get access; a lawyer must decide (CPC of Kazakhstan, article 78(4))"


def _verdict(report: Report) -> Iterator[str]:
    if report.overall is not Verdict.PASSED:
        codes = ", ".join(sorted(code.code for code in report.codes()))
        yield f"the verifier says {report.overall.value} ({codes})"


def _content(record: EvidenceRecord) -> Iterator[str]:
    if not any(one.media_type == "image/png" for one in record.artifacts):
        yield "there is no picture of what was shown"
