"""The custody log beside captures that were verified: which one it is, what is known of it, and its check."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from archiver.custodian import log_origin, store_identity
from archiver.custody import StoreLog
from archiver.errors import EnvironmentUnfit, UsageError
from archiver.preservation.linking import link_notes
from archiver.seen import SeenCheckpoints
from archiver.summary import capture_prefix
from manifests.canonical import MAX_JSON_BYTES
from manifests.checkpoint import MAX_NOTE_BYTES, LogKey, claimed_origin, open_checkpoint
from manifests.findings import Code
from manifests.log_check import Find, Seen, check_part_of_log, check_whole_log
from manifests.log_reader import LogReader
from manifests.report import Report, Verdict
from manifests.trust import Trust
from storage.errors import ObjectMissing, StoreError
from storage.interface import Store
from storage.memory import MemoryStore

Kind = Literal["store", "some", "export"]
"""A whole store, some captures of one, or captures that were copied out of one."""


class LogChecker:
    """Checks logs by a trust file, and remembers what a store's log was like.

    Args:
        trust: Whose logs are checked.
        given: Checkpoints that the caller wants compared.
        memory: What this installation has seen; it learns from a store, not from an export.
    """

    def __init__(self, trust: Trust, given: Sequence[Seen], memory: SeenCheckpoints) -> None:
        self._trust = trust
        self._given = given
        self._memory = memory

    def check(self, store: Store, kind: Kind, reports: Sequence[Report]) -> list[Report]:
        """Check the log of a store, and every log that captures were shown to be in; a report for each.

        Args:
            store: Where the captures lie, and ``log/``.
            kind: What it is.
            reports: Of the captures.

        Raises:
            EnvironmentUnfit: What is remembered cannot be read.
            StoreError: The store cannot be reached.
        """
        own = _own_origin(store) if kind != "export" else ""
        origins = {report.checkpoint.origin for report in reports if report.checkpoint}
        found = []
        for origin in sorted(origins | {own} - {""}):
            key = next((log for log in self._trust.logs if log.origin == origin), None)
            if key is not None:
                found.append(self._check(store, key, kind if origin == own else "export", reports))
            elif StoreLog(store).get("checkpoint") is not None:
                report = Report(f"log {origin}")
                report.findings.report(Code.LOG_UNKNOWN, report.subject, "a trusted log", "another")
                found.append(report)
        if kind == "store" and not own and found:
            expected = "the identity of the store, which names its log"
            found[0].findings.report(Code.LOG_NOT_COMPARED, "store.json", expected, "none")
        return found

    def _check(self, store: Store, key: LogKey, kind: Kind, reports: Sequence[Report]) -> Report:
        reader = LogReader(StoreLog(store), key)
        if kind == "export" and _is_of_another_log(reader):
            reader = LogReader(StoreLog(MemoryStore()), key)
        seen = self._seen(key, reports)
        try:
            if kind == "store":
                report = check_whole_log(reader, seen, _finder(store, reports), dict(link_notes(store)))
            else:
                report = check_part_of_log(reader, seen, is_whole=kind == "some")
        except StoreError as error:
            report = Report(f"log {key.origin}")
            report.findings.report(Code.SET_UNREADABLE, report.subject, "its objects", str(error))
            return report
        if kind != "export" and report.checkpoint and report.overall is not Verdict.FAILED:
            try:
                self._memory.remember(report.checkpoint)
            except EnvironmentUnfit as error:
                report.unchecked.append(f"log: the next check will not know of this one: {error}")
        return report

    def _seen(self, key: LogKey, reports: Sequence[Report]) -> list[Seen]:
        """What is known of a log: given, remembered, and under the proofs of captures."""
        found = [one for one in self._given if one.checkpoint.origin == key.origin]
        if remembered := self._memory.recall(key):
            found.append(Seen(remembered, "remembered by this installation"))
        found += [
            Seen(report.checkpoint, report.subject)
            for report in reports
            if report.checkpoint and report.checkpoint.origin == key.origin
        ]
        return found


def read_given(path: Path, trust: Trust) -> Seen:
    """Read a checkpoint that was published or kept elsewhere.

    Raises:
        UsageError: E296, it cannot be read, or no trusted log made it.
        ProofError: The log that it names did not sign it.
    """
    try:
        with path.open("rb") as file:
            note = file.read(MAX_NOTE_BYTES + 1)
    except OSError as error:
        raise _unusable(path, "a readable file", error.strerror or "none", "check the path") from error
    origin = claimed_origin(note)
    key = next((log for log in trust.logs if log.origin == origin), None)
    if key is None:
        hint = "trust its log with `archiver trust add-log`"
        raise _unusable(path, "one of a trusted log", f"one of {ascii(origin)[:80]}", hint)
    return Seen(open_checkpoint(note, key), path.name, asked=True)


def _unusable(path: Path, expected: str, got: str, hint: str) -> UsageError:
    return UsageError(f"checkpoint {path}: expected {expected}, got {got}", code="E296", hint=hint)


def not_compared(given: Sequence[Seen], reports: Sequence[Report]) -> list[Report]:
    """A report for each given checkpoint whose log is none of those that were checked."""
    checked = {report.subject for report in reports}
    found = []
    for one in given:
        report = Report(f"log {one.checkpoint.origin}")
        if report.subject not in checked:
            report.findings.report(Code.LOG_NOT_COMPARED, report.subject, one.where, "no capture in this log")
            found.append(report)
    return found


def _own_origin(store: Store) -> str:
    try:
        return log_origin(store_identity(store))
    except (EnvironmentUnfit, ObjectMissing):
        return ""


def _is_of_another_log(reader: LogReader) -> bool:
    note = reader.store.get("checkpoint")
    return note is not None and claimed_origin(note) != reader.key.origin


def _finder(store: Store, reports: Sequence[Report]) -> Find:
    verified = {report.record.capture_id: report.record_sha256 for report in reports if report.record}

    def find(capture_id: str) -> str | None:
        if capture_id in verified:
            return verified[capture_id]
        try:
            with store.open(f"{capture_prefix(capture_id)}record.json") as file:
                return hashlib.sha256(file.read(MAX_JSON_BYTES + 1)).hexdigest()
        except ObjectMissing:
            return None

    return find
