"""Sealing at the end of a run, and the custody events of what a run did.

A run that captures for hours seals every ``SEAL_EVERY_S``: one token for all captures since the last one.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import replace

from archiver.progress import Progress
from archiver.sealing import Sealer, seal
from archiver.summary import CaptureSummary, load_record
from manifests.custody_event import CustodyEvent, EventType, encode_event, new_event
from manifests.custody_log import MAX_BATCH_ENTRIES
from manifests.seal import SealState

SEAL_EVERY_S = 60

InThread = Callable[..., Awaitable[list[CaptureSummary]]]


def seal_captures(
    sealer: Sealer, captures: Sequence[CaptureSummary], progress: Progress
) -> list[CaptureSummary]:
    """Seal captures that were just stored, log that they were made, and return them with their states.

    What cannot be sealed now keeps the state it reached, and *progress* is told why.

    Raises:
        StoreError, ManifestError, ArchiverError: Store or log failed; sealing again goes on from there.
    """
    log_events(sealer, [_captured(sealer, one) for one in captures])
    reached = {one.capture_id: one for one in seal(sealer, [one.capture_id for one in captures])}
    for one in reached.values():
        if one.state is not SealState.SEALED:
            why = "; ".join(dict.fromkeys(one.problems)) or "proof is missing"
            progress.problem(f"capture {one.capture_id} is {one.state.value}, not sealed: {why}")
    return [replace(one, state=reached[one.capture_id].state.value) for one in captures]


def log_events(sealer: Sealer, events: Sequence[CustodyEvent]) -> None:
    """Append custody events to the log of the store."""
    entries = [encode_event(event) for event in events]
    for at in range(0, len(entries), MAX_BATCH_ENTRIES):
        sealer.log.append(entries[at : at + MAX_BATCH_ENTRIES])


def event(
    kind: EventType, sealer: Sealer, one: CaptureSummary, *, purpose: str = "", details: str = ""
) -> CustodyEvent:
    """Make the event of something done with a capture."""
    return new_event(
        kind,
        sealer.actor,
        capture_id=one.capture_id,
        incident_id=",".join(one.incident_ids)[:200],
        purpose=purpose,
        details=details,
    )


async def sealed_as_they_come(
    sealer: Sealer, captures: AsyncIterator[CaptureSummary], progress: Progress, in_thread: InThread
) -> AsyncIterator[CaptureSummary]:
    """Hold captures back until they are sealed, in batches of what ``SEAL_EVERY_S`` brings."""
    waiting: list[CaptureSummary] = []
    since = time.monotonic()
    async for one in captures:
        waiting.append(one)
        if time.monotonic() - since >= SEAL_EVERY_S:
            for done in await in_thread(seal_captures, sealer, waiting, progress):
                yield done
            waiting, since = [], time.monotonic()
    if waiting:
        for done in await in_thread(seal_captures, sealer, waiting, progress):
            yield done


def _captured(sealer: Sealer, one: CaptureSummary) -> CustodyEvent:
    _, record = load_record(sealer.store, one.capture_id)
    return new_event(
        "failed" if one.outcome == "failed" else "captured",
        sealer.actor,
        capture_id=one.capture_id,
        incident_id=",".join(one.incident_ids)[:200],
        digests={"record.json": hashlib.sha256(record).hexdigest()},
        details=f"outcome {one.outcome}, {one.completeness}: {one.url}"[:4000],
    )


def unsealed(captures: Iterable[CaptureSummary]) -> list[CaptureSummary]:
    """Those whose state is not sealed."""
    return [one for one in captures if one.state != SealState.SEALED.value]
