"""What lists and tables show of a capture, made from its evidence record in the store."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from archiver.errors import ArchiverError, UsageError
from archiver.preservation.linking import incidents_now, link_events
from manifests.canonical import MAX_JSON_BYTES
from manifests.codec import decode
from storage.errors import ObjectMissing

if TYPE_CHECKING:
    from collections.abc import Iterable

    from manifests.record import EvidenceRecord
    from storage.interface import Store

_SEAL_STEPS = ((".tlog-proof", "sealed"), (".tsr", "stamped"), (".sig", "signed"))


class RecordUnfit(ArchiverError):
    """What lies under a record's key is not the record of that capture."""


@dataclass(frozen=True, slots=True)
class CaptureSummary:
    """One capture, as ``--json`` prints it.

    Args:
        capture_id: Its ID.
        incident_ids: Incidents it belongs to, by its record and what was linked and unlinked since.
        url: As asked for.
        final_url: As shown in the end, or empty.
        title: Of the page, as the page states it, or empty.
        outcome: What became of the page.
        outcome_reason: Why, one sentence.
        state: How far proof has got; what files there are, not whether they verify.
        completeness: ``complete``, ``incomplete`` or ``interrupted``.
        started_at: RFC 3339 in UTC with milliseconds.
        finished_at: Likewise.
        bytes: All artifacts together.
        seconds: From start to finish.
        artifacts: For each ``path``, ``role``, ``media_type``, ``bytes`` and ``sha256``.
        register: File name of the register that asked for it, or empty.
        register_line: Line in it, or 0.
        vantage: Where it was seen from, or empty.
        http_status: Of the main document, or 0.
        refused: The page was not asked for, since our own guard refused its address.
    """

    capture_id: str
    incident_ids: tuple[str, ...]
    url: str
    final_url: str
    title: str
    outcome: str
    outcome_reason: str
    state: str
    completeness: str
    started_at: str
    finished_at: str
    bytes: int
    seconds: float
    artifacts: tuple[dict[str, Any], ...]
    register: str = ""
    register_line: int = 0
    vantage: str = ""
    http_status: int = 0
    refused: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return asdict(self)


def summary_of(values: dict[str, Any]) -> CaptureSummary:
    """Make a summary of what ``to_json`` gave."""
    lists = {name: tuple(values[name]) for name in ("incident_ids", "artifacts")}
    return CaptureSummary(**values | lists)


def capture_prefix(capture_id: str) -> str:
    """Return the prefix of every key of a capture."""
    return f"captures/{capture_id}/"


def load_record(store: Store, capture_id: str) -> tuple[EvidenceRecord, bytes]:
    """Return a capture's evidence record and its stored bytes.

    Raises:
        UsageError: E260, the store has no such capture.
        RecordUnfit: E261, the record is of another capture or over ``MAX_JSON_BYTES``.
        MalformedRecord: The bytes are no evidence record.
        StoreError: The store cannot be read.
    """
    try:
        with store.open(f"{capture_prefix(capture_id)}record.json") as file:
            data = file.read(MAX_JSON_BYTES + 1)
    except ObjectMissing as error:
        raise UsageError(
            f"capture {capture_id}: no evidence record: expected one in store {store.url}, got none",
            code="E260",
            hint="if a run was broken off, run it again: that completes the capture",
        ) from error
    record = decode(data)
    if record.capture_id != capture_id:
        raise RecordUnfit(
            f"capture {capture_id}: record refused: expected its own, got that of {record.capture_id}",
            code="E261",
            hint=f"run `archiver verify {capture_id}`",
        )
    return record, data


def load_summary(store: Store, capture_id: str) -> CaptureSummary:
    """Return the summary of a stored capture; errors as of ``load_record``."""
    record, _ = load_record(store, capture_id)
    prefix = f"{capture_prefix(capture_id)}seal/"
    made = summarise(record, seal_state(info.key for info in store.list(prefix)))
    now = incidents_now(record.incident_ids, link_events(store, capture_id))
    return replace(made, incident_ids=now)


def seal_state(names: Iterable[str]) -> str:
    """Return how far proof has got by the files of a seal; whether they prove it is for the verifier."""
    present = list(names)
    for ending, state in _SEAL_STEPS:
        if any(name.endswith(ending) for name in present):
            return state
    return "unsealed"


def summarise(record: EvidenceRecord, state: str) -> CaptureSummary:
    """Return the summary of *record*, whose proof has got to *state*."""
    row = record.seed.row
    lasted = datetime.fromisoformat(record.finished_at) - datetime.fromisoformat(record.started_at)
    return CaptureSummary(
        capture_id=record.capture_id,
        incident_ids=record.incident_ids,
        url=record.seed.url,
        final_url=record.target.final_url or "",
        title=record.target.title or "",
        outcome=record.outcome.kind,
        outcome_reason=record.outcome.reason,
        state=state,
        completeness=record.completeness.state,
        started_at=record.started_at,
        finished_at=record.finished_at,
        bytes=sum(artifact.bytes for artifact in record.artifacts),
        seconds=round(lasted.total_seconds(), 3),
        artifacts=tuple(
            {
                "path": artifact.path,
                "role": artifact.role,
                "media_type": artifact.media_type,
                "bytes": artifact.bytes,
                "sha256": artifact.sha256,
            }
            for artifact in record.artifacts
        ),
        register=row.register if row else "",
        register_line=row.line if row else 0,
        vantage=record.environment.vantage or "",
        http_status=record.target.http_status or 0,
        refused=bool(record.network.refusals) and not record.network.connections,
    )
