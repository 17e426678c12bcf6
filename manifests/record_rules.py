"""What the statements of one evidence record must not say against each other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from manifests.findings import Code, Finding
from manifests.record import EvidenceRecord


def contradictions(record: EvidenceRecord) -> Iterator[str]:
    """Yield each contradiction as ``what: expected x, got y``.

    Only what the maker of a record controls: a clock that was set back during a capture is no
    contradiction but an observation, see ``observations``.
    """
    yield from _times_that_exist(record)
    yield from _uniqueness(record)
    yield from _parts(record)


def observations(record: EvidenceRecord) -> Iterator[Finding]:
    """Yield what a sound record says about itself that its reader must be told."""
    subject = f"evidence record {record.capture_id}"
    times = (record.requested_at, record.started_at, record.finished_at, record.created_at)
    # The fixed form of Timestamp makes the order of texts the order of times.
    if list(times) != sorted(times):
        order = "requested <= started <= finished <= created"
        yield Finding(Code.TIMES_OUT_OF_ORDER, subject, order, ", ".join(times))
    if not record.clock.checked:
        yield Finding(Code.CLOCK_NOT_CHECKED, subject, "an offset", record.clock.reason or "")
    if record.completeness.state != "complete":
        missing = "; ".join(f"{item.part}: {item.reason}" for item in record.completeness.missing)
        yield Finding(
            Code.CAPTURE_INCOMPLETE, subject, "complete", f"{record.completeness.state} ({missing})"
        )
    collector = record.collector
    committed = any(item.name.startswith("collector.") for item in record.commitments)
    if not (collector.operator or collector.staff_id or collector.organisation or committed):
        yield Finding(Code.COLLECTOR_NOT_NAMED, subject)


def timestamp(unix_ns: int) -> str:
    """Write Unix time in nanoseconds as a ``Timestamp``; fractions of a millisecond are cut off."""
    seconds, rest_ns = divmod(unix_ns, 1_000_000_000)
    moment = datetime.fromtimestamp(seconds, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{rest_ns // 1_000_000:03d}Z"


def parse_time(text: str) -> datetime:
    """Read a ``Timestamp`` as aware UTC.

    Raises:
        ValueError: No such day or time of day.
    """
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)


def _times_that_exist(record: EvidenceRecord) -> Iterator[str]:
    for name in ("requested_at", "started_at", "finished_at", "created_at"):
        try:
            parse_time(getattr(record, name))
        except ValueError:
            yield f"{name}: expected a time that exists, got {getattr(record, name)}"


def _uniqueness(record: EvidenceRecord) -> Iterator[str]:
    yield from _repeated("incident_ids", record.incident_ids)
    yield from _repeated("commitments", (item.name for item in record.commitments))
    yield from _repeated("connections", (str(item.number) for item in record.network.connections))
    # Folded, because two names that differ by case only are one file on some file systems.
    yield from _repeated("artifacts", (item.path.casefold() for item in record.artifacts))


def _repeated(what: str, values: Iterable[str]) -> Iterator[str]:
    for value, count in Counter(values).items():
        if count > 1:
            yield f"{what}: expected {value} once, got it {count} times"


def _parts(record: EvidenceRecord) -> Iterator[str]:
    complete = record.completeness.state == "complete"
    if complete == bool(record.completeness.missing):
        yield f"completeness: expected missing parts unless complete, got {record.completeness.state}"
    clock = record.clock
    if clock.checked and (clock.offset_ms is None or clock.server is None):
        yield "clock: expected server and offset_ms of a clock that was checked, got null"
    if not clock.checked and (clock.offset_ms is not None or clock.reason is None):
        yield "clock: expected a reason and no offset_ms of a clock that was not checked"
    for artifact in record.artifacts:
        if artifact.path.casefold() in {"record.json", "seal"}:
            yield f"artifacts: expected no artifact at {artifact.path}, got one"
    packages = sum(artifact.role == "package" for artifact in record.artifacts)
    if packages > 1:
        yield f"artifacts: expected at most one package, got {packages}"
    recording = record.recording
    if recording.browser_matched_count > recording.browser_request_count:
        yield "recording: expected no more requests matched than reported, got more"
