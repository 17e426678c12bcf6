"""The verifier: does the evidence still say what it said, and what of it is proven?

1. List the set: every entry is a plain file with a safe name.
2. Read the evidence record: canonical JSON of a known format, whole and free of contradictions.
3. It is the record of the capture and incident that the caller expects, and fixed the facts opened to him.
4. Every listed file has the size, SHA-256 and BLAKE3 stated. One that the list of an edition withholds
   (``edition_check``) may be absent, is then told of, and lets nothing pass.
5. The package is sound: ZIP, datapackage, index, pages, every WARC record (``wacz_check``).
6. Files that the record says are in the package too are the same bytes there.
7. The seal proves who made the record and when (``SealCheck``); without one, neither is proven.
8. Nothing lies in the set but the record, what it lists, what its seal uses, and what its edition lists.
9. What the record says against itself: incomplete, clock unchecked, times out of order.

No step stops another, except that without a record (2) nothing can be compared with it. Files are
read as streams. What is not done here: no network, no judgement of what the page says, and no look at
whether other captures were left out, which only the custody log can show.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from manifests.canonical import MAX_JSON_BYTES
from manifests.checkpoint import Checkpoint
from manifests.codec import decode
from manifests.commitments import Opening, open_commitment
from manifests.digests import Digests, digest_stream
from manifests.edition import EDITION, Edition
from manifests.edition_check import check_edition
from manifests.errors import MalformedRecord, VerificationError
from manifests.evidence_set import Entry, EvidenceSet, SetUnreadable, read_whole
from manifests.findings import Code, Finding, shown
from manifests.record import Artifact, EvidenceRecord
from manifests.record_rules import observations
from manifests.report import Report
from manifests.wacz_check import PackageContent, check_wacz

MAX_SEAL_FILE_BYTES = 16 * 1024 * 1024
RECORD = "record.json"
SEAL_PREFIX = "seal/"
SAFE_NAME = re.compile(r"(seal/)?[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
SEAL_NAME = re.compile(
    r"seal/(record\.json\.sig|record\.p7s|record\.tlog-proof"
    r"|(record|certificate|chain|revocation|batch|renewal)"
    r"[a-z0-9.-]{0,100}\.(tsq|tsr|pem|der|crl|ocsp|json|txt))"
)
"""What may lie in the seal's folder while no check of the seal says which files it has used."""


@dataclass(frozen=True, slots=True)
class SealResult:
    """What the check of a seal found.

    Args:
        findings: What is wrong or could not be checked.
        files: Names of the files in the set that the check has accounted for.
        proven: What the seal shows, one sentence each.
        unchecked: What was not looked at, one sentence each.
        checkpoint: Of the log that was shown to hold the seal, or None.
    """

    findings: tuple[Finding, ...]
    files: frozenset[str]
    proven: tuple[str, ...] = ()
    unchecked: tuple[str, ...] = ()
    checkpoint: Checkpoint | None = None


SealCheck = Callable[[Mapping[str, bytes], bytes, EvidenceRecord], SealResult]
"""Given the files under ``seal/`` by their names in the set, the record's bytes, and the record."""


@dataclass(frozen=True, slots=True)
class Expectation:
    """What the caller knows about the capture from where it was found.

    Args:
        capture_id: ID the record must have; empty for any.
        incident_id: Incident the record must name; empty for any.
        openings: Facts that somebody has opened, which the record must have fixed.
    """

    capture_id: str = ""
    incident_id: str = ""
    openings: tuple[Opening, ...] = ()


def verify_capture(
    evidence: EvidenceSet,
    subject: str,
    *,
    expected: Expectation = Expectation(),
    seal_check: SealCheck | None = None,
) -> Report:
    """Verify one capture by the steps of this module, and say everything that was found.

    Args:
        evidence: Its files.
        subject: What to call it while no capture ID is known.
        expected: What the caller knows about it.
        seal_check: Step 7; None leaves a seal unchecked, and says so.

    Returns:
        A report; nothing in the evidence makes this raise.
    """
    report = Report(subject)
    entries = _list_entries(evidence, report)  # 1
    data = _read_record(evidence, entries, report)  # 2
    record = report.record
    if data is None or record is None:
        report.unchecked.append("files, package and seal: there is no evidence record to compare with")
        return report
    _check_expectation(record, expected, report)  # 3
    edition = check_edition(evidence, entries, record, report)
    with ThreadPoolExecutor(1, "package") as pool:
        package = _start_package_check(pool, evidence, entries, record)
        _check_artifacts(evidence, entries, record, edition, report)  # 4
        content = _finish_package_check(package, record, report)  # 5
    if content is not None:
        _compare_exhibits(content, record, report)  # 6
    names = frozenset(name for name in entries if name.startswith(SEAL_PREFIX))
    seal = _check_seal(evidence, names, data, seal_check, report)  # 7
    for finding in seal.findings:
        report.findings.add(finding)
    report.proven += seal.proven
    report.unchecked += seal.unchecked
    report.checkpoint = seal.checkpoint
    _check_unlisted(entries, record, seal.files, edition, report)  # 8
    for finding in observations(record):  # 9
        report.findings.add(finding)
    return report


def _list_entries(evidence: EvidenceSet, report: Report) -> dict[str, Entry]:
    """Step 1: the plain files by name."""
    entries: dict[str, Entry] = {}
    try:
        for entry in evidence.entries():
            if not entry.plain:
                report.findings.report(Code.NOT_A_PLAIN_FILE, f"file {entry.name}")
            elif not SAFE_NAME.fullmatch(entry.name):
                report.findings.report(Code.UNSAFE_NAME, f"file {entry.name}")
            elif entry.name in entries:
                report.findings.report(Code.UNSAFE_NAME, f"file {entry.name}", "once", "twice")
            else:
                entries[entry.name] = entry
    except OSError as error:
        report.findings.report(Code.SET_UNREADABLE, report.subject, "a list of its files", str(error))
    return entries


def _read_record(evidence: EvidenceSet, entries: dict[str, Entry], report: Report) -> bytes | None:
    """Step 2: the record's bytes; ``report.record`` when they are a record."""
    if RECORD not in entries:
        # A set that could not be listed may hold the record all the same.
        if Code.SET_UNREADABLE not in report.codes():
            report.findings.report(Code.RECORD_MISSING, f"file {RECORD}")
        return None
    try:
        if entries[RECORD].size_bytes > MAX_JSON_BYTES:
            limit = f"at most {MAX_JSON_BYTES} bytes"
            report.findings.report(
                Code.RECORD_TOO_LARGE, f"file {RECORD}", limit, f"{entries[RECORD].size_bytes} bytes"
            )
            return None
        data = read_whole(evidence, RECORD, MAX_JSON_BYTES)
    except OSError as error:
        _report_unreadable(report, RECORD, error)
        return None
    report.record_sha256 = hashlib.sha256(data).hexdigest()
    try:
        report.record = decode(data)
    except MalformedRecord as error:
        report.findings.report(error.kind, f"file {RECORD}", "", error.message)
    else:
        report.subject = f"capture {report.record.capture_id}"
    return data


def _check_expectation(record: EvidenceRecord, expected: Expectation, report: Report) -> None:
    """Step 3."""
    if expected.capture_id not in ("", record.capture_id):
        report.findings.report(
            Code.RECORD_OF_OTHER_CAPTURE, f"file {RECORD}", expected.capture_id, record.capture_id
        )
    if expected.incident_id and expected.incident_id not in record.incident_ids:
        got = ", ".join(record.incident_ids)
        report.findings.report(Code.RECORD_OF_OTHER_INCIDENT, f"file {RECORD}", expected.incident_id, got)
    for opening in expected.openings:
        _check_opening(record, opening, report)


def _check_opening(record: EvidenceRecord, opening: Opening, report: Report) -> None:
    subject = f"fact {opening.name}"
    fixed = next((one for one in record.commitments if one.name == opening.name), None)
    if fixed is None:
        report.findings.report(Code.COMMITMENT_WRONG, subject, "a commitment", "none")
        return
    try:
        value = open_commitment(fixed, opening)
    except VerificationError:
        report.findings.report(Code.COMMITMENT_WRONG, subject, f"what {fixed.digest} fixes", "another")
    else:
        report.proven.append(f"{shown(subject)}: the record fixed {shown(value)}")


def _check_artifacts(
    evidence: EvidenceSet,
    entries: dict[str, Entry],
    record: EvidenceRecord,
    edition: Edition | None,
    report: Report,
) -> None:
    """Step 4."""
    withheld = {one.path: one.reason for one in edition.withheld} if edition else {}
    for artifact in record.artifacts:
        entry = entries.get(artifact.path)
        subject = f"file {artifact.path}"
        if entry is None and artifact.path in withheld:
            report.findings.report(
                Code.ARTIFACT_WITHHELD, subject, f"sha256 {artifact.sha256}", withheld[artifact.path]
            )
            continue
        if entry is None:
            report.findings.report(Code.ARTIFACT_MISSING, subject, f"{artifact.bytes} bytes", "nothing")
            continue
        if entry.size_bytes != artifact.bytes:
            # Its digest can only differ too; a file grown without end is not read.
            report.findings.report(
                Code.ARTIFACT_SIZE_MISMATCH, subject, f"{artifact.bytes} bytes", f"{entry.size_bytes} bytes"
            )
            continue
        try:
            with evidence.open(artifact.path) as file:
                actual = digest_stream(file)
        except OSError as error:
            _report_unreadable(report, artifact.path, error)
            continue
        report.file_count += 1
        report.file_bytes += actual.bytes
        _compare_digests(artifact, actual, report)


def _compare_digests(artifact: Artifact, actual: Digests, report: Report) -> None:
    stated = (artifact.bytes, artifact.sha256, artifact.blake3)
    got = (actual.bytes, actual.sha256, actual.blake3)
    for name, expected, found in zip(("bytes", "sha256", "blake3"), stated, got, strict=True):
        if expected != found:
            code = Code.ARTIFACT_SIZE_MISMATCH if name == "bytes" else Code.ARTIFACT_DIGEST_MISMATCH
            report.findings.report(code, f"file {artifact.path}", f"{name} {expected}", f"{name} {found}")


def _start_package_check(
    pool: ThreadPoolExecutor, evidence: EvidenceSet, entries: dict[str, Entry], record: EvidenceRecord
) -> Future[PackageContent] | None:
    """Begin step 5 beside step 4: digests and decompression leave the interpreter to each other."""
    package = next((item for item in record.artifacts if item.role == "package"), None)
    if package is None or package.path not in entries:
        return None
    return pool.submit(_check_package, evidence, entries[package.path])


def _check_package(evidence: EvidenceSet, entry: Entry) -> PackageContent:
    with evidence.open(entry.name) as stream:
        return check_wacz(stream, entry.size_bytes)


def _finish_package_check(
    package: Future[PackageContent] | None, record: EvidenceRecord, report: Report
) -> PackageContent | None:
    """End step 5."""
    if package is None and any(artifact.role == "ciphertext" for artifact in record.artifacts):
        report.unchecked.append("package: it is encrypted; `archiver decrypt` opens it to a recipient")
        return None
    if package is None:
        if not any(artifact.role == "package" for artifact in record.artifacts):
            report.findings.report(Code.PACKAGE_MISSING, report.subject)
        report.unchecked.append("package: it is not here to look into, nor to hold the exhibits to")
        return None
    try:
        content = package.result()
    except OSError as error:
        _report_unreadable(report, "package", error)
        return None
    report.findings.merge(content.findings)
    return content


def _compare_exhibits(content: PackageContent, record: EvidenceRecord, report: Report) -> None:
    """Step 6."""
    for artifact in record.artifacts:
        if artifact.warc_target_uri is None:
            continue
        found = content.resources.get(artifact.warc_target_uri, set())
        if artifact.sha256 not in found:
            report.findings.report(
                Code.ARTIFACT_NOT_IN_PACKAGE,
                f"file {artifact.path}",
                f"{artifact.warc_target_uri} sha256 {artifact.sha256}",
                ", ".join(sorted(found)),
            )


def _check_seal(
    evidence: EvidenceSet, seal: frozenset[str], data: bytes, seal_check: SealCheck | None, report: Report
) -> SealResult:
    """Step 7: given the names under ``seal/``."""
    if not seal:
        codes = (Code.UNSIGNED, Code.UNSEALED, Code.UNLOGGED)
        return SealResult(tuple(Finding(code, report.subject) for code in codes), seal)
    if seal_check is None or report.record is None:
        return SealResult(
            (Finding(Code.SEAL_NOT_CHECKED, report.subject),),
            frozenset(name for name in seal if SEAL_NAME.fullmatch(name)),
            unchecked=("seal: no keys, authorities and logs were given to check it against",),
        )
    files = {}
    for name in sorted(seal):
        try:
            files[name] = read_whole(evidence, name, MAX_SEAL_FILE_BYTES)
        except OSError as error:
            # A proof that cannot be read is not a proof that is missing.
            _report_unreadable(report, name, error)
            return SealResult((Finding(Code.SEAL_NOT_CHECKED, report.subject),), seal)
    return seal_check(files, data, report.record)


def _check_unlisted(
    entries: dict[str, Entry],
    record: EvidenceRecord,
    used: frozenset[str],
    edition: Edition | None,
    report: Report,
) -> None:
    """Step 8."""
    known = {RECORD, *(artifact.path for artifact in record.artifacts), *used}
    if edition is not None:
        known |= {EDITION, *(one.path for one in edition.derivatives)}
    for name in sorted(entries.keys() - known):
        report.findings.report(Code.UNLISTED_FILE, f"file {name}")


def _report_unreadable(report: Report, name: str, error: OSError) -> None:
    reason = error.message if isinstance(error, SetUnreadable) else (error.strerror or str(error))
    report.findings.report(Code.ARTIFACT_UNREADABLE, f"file {name}", "its bytes", reason)
    report.unchecked.append(f"file {name}: it could not be read")
