"""The check of an edition: that its list fits the record, and its redacted copies are those it lists."""

from __future__ import annotations

from collections.abc import Mapping

from manifests.digests import digest_stream
from manifests.edition import EDITION, MAX_EDITION_BYTES, Derivative, Edition, EditionMalformed, parse_edition
from manifests.evidence_set import Entry, EvidenceSet, read_whole
from manifests.findings import Code, shown
from manifests.record import EvidenceRecord
from manifests.report import Report
from manifests.wacz_check import check_wacz


def check_edition(
    evidence: EvidenceSet, entries: Mapping[str, Entry], record: EvidenceRecord, report: Report
) -> Edition | None:
    """Read the list of an edition and hold it to the record.

    1. It is canonical JSON of its format.
    2. It is of this very record, by ID and SHA-256.
    3. Every file it withholds is one that the record lists, with the same SHA-256, and is named once.
    4. Every fact it withholds is one that the record fixes, with the same digest.
    5. Every redacted copy is there as listed, is made from a file of the record, and bears no name of one.
    6. A copy that is a package is sound.

    Returns:
        The list; None when there is none, or one that does not fit, which then excuses nothing.
    """
    if EDITION not in entries:
        return None
    try:
        edition = parse_edition(read_whole(evidence, EDITION, MAX_EDITION_BYTES))
    except (EditionMalformed, OSError) as error:
        report.findings.report(Code.EDITION_WRONG, f"file {EDITION}", "the list of an edition", str(error))
        return None
    wrong = _contradictions(edition, record, report)
    for expected, got in wrong:
        report.findings.report(Code.EDITION_WRONG, f"file {EDITION}", expected, got)
    if wrong:
        return None
    for one in edition.derivatives:
        _check_derivative(one, evidence, entries, report)
    for fixed in edition.fields:
        report.unchecked.append(
            f"fact {shown(fixed.name)}: left out of this edition; the record fixes it as {fixed.digest}"
        )
    report.unchecked += [f"left out of this edition: {shown(remark)}" for remark in edition.remarks]
    return edition


def _contradictions(edition: Edition, record: EvidenceRecord, report: Report) -> list[tuple[str, str]]:
    listed = {artifact.path: artifact.sha256 for artifact in record.artifacts}
    fixed = {one.name: one.digest for one in record.commitments}
    pairs = [
        (record.capture_id, edition.capture_id),
        (report.record_sha256, edition.record_sha256),
        *((f"{one.path} {listed.get(one.path)}", f"{one.path} {one.sha256}") for one in edition.withheld),
        *((f"{one.name} {fixed.get(one.name)}", f"{one.name} {one.digest}") for one in edition.fields),
        *(
            (f"{one.source_path} {listed.get(one.source_path)}", f"{one.source_path} {one.source_sha256}")
            for one in edition.derivatives
        ),
    ]
    wrong = [(expected, got) for expected, got in pairs if expected != got]
    copies = [one.path for one in edition.derivatives]
    for names in ([one.path for one in edition.withheld], [*copies, *listed, EDITION]):
        wrong += [
            ("each name once", f"{name} twice") for name in sorted({n for n in names if names.count(n) > 1})
        ]
    return wrong


def _check_derivative(
    one: Derivative, evidence: EvidenceSet, entries: Mapping[str, Entry], report: Report
) -> None:
    subject = f"redacted copy {one.path}"
    entry = entries.get(one.path)
    if entry is None or entry.size_bytes != one.bytes:
        got = f"{entry.size_bytes} bytes" if entry else "nothing"
        report.findings.report(Code.DERIVATIVE_WRONG, subject, f"{one.bytes} bytes", got)
        return
    try:
        with evidence.open(one.path) as file:
            actual = digest_stream(file)
        if (actual.sha256, actual.blake3) != (one.sha256, one.blake3):
            report.findings.report(
                Code.DERIVATIVE_WRONG, subject, f"sha256 {one.sha256}", f"sha256 {actual.sha256}"
            )
            return
        report.findings.report(Code.DERIVATIVE_NOT_SEALED, subject, "", f"made from {one.source_path}")
        if one.media_type == "application/wacz+zip":
            with evidence.open(one.path) as file:
                report.findings.merge(check_wacz(file, one.bytes).findings)
    except OSError as error:
        report.findings.report(Code.ARTIFACT_UNREADABLE, subject, "its bytes", str(error))
