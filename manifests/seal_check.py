"""Step 7 of the verifier: a seal judged by a trust file, in the words of a report."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from manifests.proof import utc_text
from manifests.record import EvidenceRecord
from manifests.seal import SealState, SealVerdict, verify_seal
from manifests.trust import Trust
from manifests.verifier import SEAL_PREFIX, SealCheck, SealResult


def seal_check(trust: Trust, now: datetime) -> SealCheck:
    """The check that ``verify_capture`` takes.

    Args:
        trust: What may be relied on.
        now: The verifier's clock, aware UTC.
    """

    def check(files: Mapping[str, bytes], record: bytes, facts: EvidenceRecord) -> SealResult:
        verdict = verify_seal(
            record,
            {name.removeprefix(SEAL_PREFIX): data for name, data in files.items()},
            trust,
            capture_id=facts.capture_id,
            captured_at=captured_at(facts),
            now=now,
        )
        used = frozenset(SEAL_PREFIX + name for name in verdict.files)
        return SealResult(
            tuple(verdict.findings), used, _proven(verdict), _unchecked(verdict), verdict.checkpoint
        )

    return check


def captured_at(facts: EvidenceRecord) -> datetime:
    """When the load began, by the clock of the time server where the machine's was compared with one."""
    clock = facts.clock
    offset_ms = clock.offset_ms or 0 if clock.checked else 0
    return datetime.fromisoformat(facts.started_at) + timedelta(milliseconds=offset_ms)


def _proven(verdict: SealVerdict) -> tuple[str, ...]:
    said = [f"seal: state {verdict.state.value}"]
    if verdict.principal is not None:
        said.append(f"identity: signed by {verdict.principal}, key {verdict.key}")
    if verdict.organisation is not None and verdict.organisation_at is not None:
        at = utc_text(verdict.organisation_at)
        said.append(
            f"identity: signed by the certificate of {verdict.organisation} too, at {at} at the latest"
        )
    if verdict.state in {SealState.STAMPED, SealState.SEALED} and verdict.interval is not None:
        said.append(
            f"time: record and signature existed at {utc_text(verdict.interval.latest)} at the latest"
        )
    if verdict.checkpoint is not None:
        log = verdict.checkpoint
        said.append(f"log: entry {verdict.index} of {log.origin}, under its checkpoint of size {log.size}")
    return tuple(said)


def _unchecked(verdict: SealVerdict) -> tuple[str, ...]:
    if verdict.checkpoint is None:
        return ()
    return ("log: whether its checkpoint agrees with others of the log, which is for the check of the log",)
