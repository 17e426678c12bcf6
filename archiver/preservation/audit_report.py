"""What an audit leaves: a report as canonical JSON, ready to be signed, and as text; its state while it runs.

A report lies at ``audits/<start>-<SHA-256 of its bytes>.json`` with its text beside it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from archiver.preservation.auditing import FINE, MAX_FINDINGS, Finding, Progress
from archiver.spool import utc_text
from archiver.stores import store_label
from archiver.version import tool_version
from manifests.canonical import canonical_bytes
from manifests.custody_event import CustodyEvent, new_event
from storage.audit import Condition

FORMAT = "audit-report/1"
MAX_LOGGED_REPAIRS = 1_000
MAX_STATE_AGE = timedelta(days=7)
"""A state that is older is of an audit that nobody means to go on with."""

_MEANINGS = {
    Condition.SOUND: "read, and what they should be",
    Condition.LISTED: "there with the right size, not read by this sample",
    Condition.DAMAGED: "damaged",
    Condition.MISSING: "missing",
    Condition.UNLISTED: "there, and expected by nobody",
    Condition.UNACKNOWLEDGED: "left by something that was broken off",
    Condition.UNREADABLE: "not to be read",
}


class State(msgspec.Struct, kw_only=True):
    """One audit, finished or not.

    Args:
        store: How the store is named to people.
        permille: How much it reads, of 1,000.
        seed: Of the sample.
        started_at: RFC 3339 in UTC with milliseconds.
        resumed_count: How often it was broken off.
        progress: How far it has come.
    """

    store: str
    permille: int
    seed: str
    started_at: str
    resumed_count: int = 0
    progress: Progress = msgspec.field(default_factory=Progress)


def begin(path: Path, url: str, permille: int) -> State:
    """Return the state that an unfinished audit of the same kind left at *path*, or a new one."""
    now = datetime.now(UTC)
    try:
        state = msgspec.json.decode(path.read_bytes(), type=State)
        fresh = now - datetime.fromisoformat(state.started_at) < MAX_STATE_AGE
    except (OSError, msgspec.DecodeError, ValueError, TypeError):
        fresh = False
    if fresh and state.permille == permille and state.store == store_label(url):
        state.resumed_count += 1
        return state
    started_at = utc_text(now)
    return State(store=store_label(url), permille=permille, seed=started_at, started_at=started_at)


def state_path(cache: Path, url: str, permille: int) -> Path:
    """Return where the state of an audit lies while it runs."""
    name = url if "://" in url else str(Path(url).absolute())
    digest = hashlib.sha256(f"{permille}\n{name}".encode()).hexdigest()
    return cache / "audits" / f"{digest[:32]}.json"


def save(path: Path, state: State) -> None:
    """Write the state whole, or leave the old one."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}.part")
    part.write_bytes(msgspec.json.encode(state))
    part.replace(path)


def report_of(state: State, *, mended: bool) -> dict[str, Any]:
    """Return the report of a finished audit as JSON values."""
    progress = state.progress
    return {
        "format": FORMAT,
        "tool": tool_version(),
        "store": state.store,
        "started_at": state.started_at,
        "finished_at": utc_text(datetime.now(UTC)),
        "resumed_count": state.resumed_count,
        "extent": "full" if state.permille == 1000 else "sample",
        "sample_permille": state.permille,
        "sample_seed": state.seed,
        "repairs": mended,
        "counts": dict(progress.counts),
        "read_bytes": progress.read_bytes,
        "repaired_count": progress.repaired_count,
        "findings_omitted": _omitted(progress),
        "findings": [_finding(one) for one in progress.findings],
    }


def report_key(report: dict[str, Any], data: bytes) -> str:
    """Return the key of a report, which ends in the SHA-256 of its bytes."""
    began = datetime.fromisoformat(report["started_at"])
    return f"audits/{began:%Y%m%dt%H%M%Sz}-{hashlib.sha256(data).hexdigest()}.json"


def report_bytes(report: dict[str, Any]) -> bytes:
    """Return the bytes to be stored and signed (RFC 8785)."""
    return canonical_bytes(report)


def report_lines(report: dict[str, Any]) -> Iterator[str]:
    """Yield the report as lines for a person."""
    extent = (
        "all of it" if report["extent"] == "full" else f"a sample of {report['sample_permille'] / 10:g} %"
    )
    yield f"audit of {report['store']}: {extent}, {report['read_bytes']:,} bytes read"
    yield f"from {report['started_at']} to {report['finished_at']}"
    for condition, meaning in _MEANINGS.items():
        if count := report["counts"][condition.value]:
            yield f"  {count:>8,} {meaning}"
    if report["repaired_count"]:
        yield f"  {report['repaired_count']:>8,} repaired"
    for one in report["findings"]:
        source = f"; repaired from {one['repaired_from']}" if one["repaired_from"] else ""
        yield f"{one['condition']}: {one['key']}: {one['detail']}{source}"
    if report["findings_omitted"]:
        yield f"and {report['findings_omitted']:,} more, which this report has no room for"


def events_of(actor: str, key: str, data: bytes, report: dict[str, Any]) -> list[CustodyEvent]:
    """Return what the custody log should know of an audit: that it was done, and each repair."""
    digests = {"audit-report.json": hashlib.sha256(data).hexdigest()}
    events = [new_event("audited", actor, digests=digests, details=f"{key}: {report['counts']}"[:4000])]
    for one in [one for one in report["findings"] if one["repaired_from"]][:MAX_LOGGED_REPAIRS]:
        parts = one["key"].split("/")
        events.append(
            new_event(
                "repaired",
                actor,
                capture_id=parts[1][:200] if parts[0] == "captures" else "",
                digests={parts[-1]: one["sha256"]} if one["sha256"] else {},
                details=f"{one['key']}: {one['detail']}; from {one['repaired_from']}"[:4000],
            )
        )
    return events


def _omitted(progress: Progress) -> int:
    wrong = sum(count for condition, count in progress.counts.items() if condition not in FINE)
    return max(0, wrong - MAX_FINDINGS)


def _finding(one: Finding) -> dict[str, str]:
    return {
        "key": one.key,
        "condition": one.condition.value,
        "detail": one.detail,
        "sha256": one.sha256,
        "repaired_from": store_label(one.repaired_from),
    }
