"""The custody log as a whole: is it one log, is all of it there, and is every capture in it still there?

What the proof beside a capture cannot show, since it speaks of one entry under one checkpoint:

1. The latest checkpoint is signed by the log's key.
2. It extends every checkpoint that anybody has seen: of the log's history, under the proofs of captures,
   remembered from an earlier check, or given by the caller. Two that exclude each other are a split view.
3. Every entry is there and is the one that the tree was grown with.
4. Every capture that the log says was made and not deleted is in the set, with the record that it names.
5. What lies beside captures about their links to incidents is what the log holds, no less and no more.

A store has the whole log and takes all steps. An export has a checkpoint and as much of the tree as is needed
for step 2; so it cannot show that nothing was left out of it, and says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise

from manifests.checkpoint import Checkpoint
from manifests.custody_event import parse_event
from manifests.findings import Code, Finding
from manifests.log_reader import LogReader, compare_checkpoints
from manifests.proof import ProofError
from manifests.report import Report

_MAKING = frozenset({"captured", "failed", "retried", "sealed"})
_UNMAKING = frozenset({"deletion-requested", "deleted"})


@dataclass(frozen=True, slots=True)
class Seen:
    """A checkpoint that somebody has seen.

    Args:
        checkpoint: Its signature verified.
        where: Where it comes from, in words.
        asked: The caller wants it compared: where that is not possible the verdict stays open.
    """

    checkpoint: Checkpoint
    where: str
    asked: bool = False


Find = Callable[[str], str | None]
"""Gives the SHA-256 of a capture's record in hex; None without such a capture."""


def check_whole_log(
    reader: LogReader, seen: Iterable[Seen], find: Find, links: Mapping[str, bytes] | None = None
) -> Report:
    """Check the log of a store by all the steps of this module.

    Args:
        reader: The log.
        seen: Checkpoints from elsewhere.
        find: Looks for a capture in the store, now: others may have been stored since it was listed.
        links: Notes about links, by their names; None where nobody looked for them.

    Returns:
        A report; nothing in the log makes this raise.
    """
    report = Report(f"log {reader.key.origin}")
    head = _head(reader, report)  # 1
    if head is None:
        return report
    for finding in reader.audit(head):
        report.findings.add(finding)
    _compare(reader, head, seen, report, is_whole=True)  # 2
    try:
        logged = _logged_captures(reader, head)  # 3
    except ProofError as error:
        report.findings.add(error.finding)
        report.unchecked.append("log: whether captures are missing, since its entries cannot be relied on")
        return report
    _check_captures(logged, find, report)  # 4
    if links is not None:
        _check_links(reader, head, links, report)  # 5
    return report


def _check_links(reader: LogReader, head: Checkpoint, links: Mapping[str, bytes], report: Report) -> None:
    """Step 5. Links of a capture that was deleted since went with it."""
    notes, gone, logged = {data: name for name, data in links.items()}, set(), {}
    for _, entry in reader.entries(head):
        if not any(kind in entry for kind in (b"linked", b"deleted")):
            continue
        event = parse_event(entry)
        if event.type == "deleted":
            gone.add(event.capture_id)
        elif event.type in {"linked", "unlinked"}:
            logged[entry] = event
    for data, name in notes.items():
        if data not in logged:
            report.findings.report(Code.LINK_NOT_LOGGED, f"note {name}", "an entry of the log", "none")
    for entry, event in logged.items():
        if entry not in notes and event.capture_id not in gone:
            subject = f"capture {event.capture_id}"
            expected = f"the note that it was {event.type}: {event.incident_id}"
            report.findings.report(Code.LINK_NOT_LOGGED, subject, expected, "none")


def check_part_of_log(reader: LogReader, seen: Iterable[Seen], *, is_whole: bool) -> Report:
    """Take steps 1 and 2 alone: for some captures of a store, or for an export.

    Args:
        reader: The log, or the part of it that an export holds.
        seen: Checkpoints from elsewhere.
        is_whole: The tree is all there, so that a hash that is missing is damage.
    """
    report = Report(f"log {reader.key.origin}")
    head = _head(reader, report)  # 1
    if head is not None:
        _compare(reader, head, seen, report, is_whole=is_whole)  # 2
    report.unchecked.append("log: whether it holds captures that are missing here")
    return report


def _head(reader: LogReader, report: Report) -> Checkpoint | None:
    """Step 1."""
    try:
        head = reader.head()
    except ProofError as error:
        report.findings.add(error.finding)
        return None
    report.checkpoint = head
    return head


def _compare(
    reader: LogReader, head: Checkpoint, seen: Iterable[Seen], report: Report, *, is_whole: bool
) -> None:
    """Step 2."""
    found = {one.checkpoint.note: one for one in sorted(seen, key=lambda one: one.asked)}
    by_size = sorted(found.values(), key=lambda one: one.checkpoint.size)
    for one, other in pairwise(by_size):
        if split := compare_checkpoints(one.checkpoint, other.checkpoint):
            report.findings.add(split)
    proven = 0
    for one in by_size:
        finding = _compared(reader, head, one, is_whole=is_whole)
        if finding is None:
            proven += 1
        elif finding.code is not Code.LOG_NOT_COMPARED or one.asked:
            report.findings.add(finding)
        else:
            report.unchecked.append(
                f"log: whether it extends its checkpoint of size {one.checkpoint.size} ({one.where})"
            )
    if proven:
        report.proven.append(f"log: its checkpoint of size {head.size} extends {proven} seen elsewhere")


def _compared(reader: LogReader, head: Checkpoint, one: Seen, *, is_whole: bool) -> Finding | None:
    if not is_whole and head.size == 0:
        return _not_compared(one, "none")
    if split := compare_checkpoints(one.checkpoint, head):
        return split
    if not is_whole and one.checkpoint.size > head.size:
        return _not_compared(one, f"size {head.size}")  # an export from before it is no rollback
    try:
        reader.check_extends(one.checkpoint, head)
    except ProofError as error:
        if error.finding.code is Code.LOG_DAMAGED and not is_whole:
            return _not_compared(one, f"size {head.size}, without the hashes between")
        return Finding(error.finding.code, f"{error.finding.subject} ({one.where})", *_values(error.finding))
    return None


def _not_compared(one: Seen, got: str) -> Finding:
    subject = f"log {one.checkpoint.origin} ({one.where})"
    return Finding(Code.LOG_NOT_COMPARED, subject, f"size {one.checkpoint.size}", got)


def _values(finding: Finding) -> tuple[str, str]:
    return finding.expected, finding.got


def _logged_captures(reader: LogReader, head: Checkpoint) -> dict[str, str]:
    """Step 3: captures that must be there, by ID, with the digest of the record; the last event counts."""
    logged: dict[str, str] = {}
    for _, event in reader.events(head):
        if event.type in _MAKING and event.capture_id and "record.json" in event.digests:
            logged[event.capture_id] = event.digests["record.json"]
        elif event.type in _UNMAKING:
            logged.pop(event.capture_id, None)
    return logged


def _check_captures(logged: Mapping[str, str], find: Find, report: Report) -> None:
    """Step 4."""
    for capture_id, digest in logged.items():
        found = find(capture_id)
        if found is None:
            report.findings.report(Code.LOG_CAPTURE_MISSING, f"capture {capture_id}")
        elif found != digest:
            report.findings.report(Code.LOG_CAPTURE_DIFFERS, f"capture {capture_id}", digest, found)
    if report.overall.value == "passed":
        report.proven.append(f"log: all {len(logged)} captures that it holds are here, but for deleted ones")
