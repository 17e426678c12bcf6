"""Reading what a report tells: a register with its sidecar, and the captures of a store."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from archiver.errors import ArchiverError
from archiver.incidents.register import read_rows
from archiver.incidents.register_files import read_sidecar
from archiver.incidents.rows import Row, column_key
from archiver.incidents.rules import url_identity
from archiver.reports.report_model import Incident, Link, Report, Sight, fate_of
from archiver.summary import CaptureSummary, load_record
from manifests.errors import ManifestError
from storage.errors import StoreError
from storage.interface import Store

MAX_SIGNAL_CHARS = 120


@dataclass(frozen=True, slots=True)
class Captures:
    """The captures of a store that a report may tell of.

    Args:
        store: Where they are.
        summaries: Oldest first.
    """

    store: Store
    summaries: Sequence[CaptureSummary]

    def of(self, incident_id: str) -> dict[str, list[CaptureSummary]]:
        """Return those of an incident, by the identity of the URL that was asked for."""
        found: dict[str, list[CaptureSummary]] = {}
        for one in self.summaries:
            if incident_id in one.incident_ids:
                found.setdefault(_identity(one.url), []).append(one)
        return found


def quarter_report(register: Path, captures: Captures, previous: Report | None = None) -> Report:
    """Report on every incident of a register.

    Raises:
        UsageError: E242 or E245, the register or its sidecar cannot be read.
    """
    sidecar = read_sidecar(register)
    kept = {one.incident_id: one for one in sidecar.incidents} if sidecar else {}
    by_incident = {name: list(rows) for name, rows in _grouped(register)}
    indexed = _index(captures)
    incidents = []
    for incident_id, rows in by_incident.items():
        known = kept.get(incident_id)
        first = rows[0]
        incidents.append(
            Incident(
                incident_id=incident_id,
                section=str(known.section) if known else first.get("section", ""),
                month=known.month if known else first.get("month", ""),
                title=known.title if known else first.get("title", ""),
                text=known.text if known else "",
                links=tuple(_links(rows, indexed.get(incident_id, {}), captures.store)),
            )
        )
    return Report(
        title=f"{sidecar.country} {sidecar.quarter}" if sidecar else register.stem,
        incidents=tuple(incidents),
        sections={str(one.number): one.title for one in sidecar.sections} if sidecar else {},
        made_at=_now(),
        previous=tuple(previous.by_section()) if previous else (),
        previous_title=previous.title if previous else "",
    )


def incident_report(incident_id: str, captures: Captures, register: Path | None) -> Report:
    """Report on one incident: by its register where there is one, else by its captures alone."""
    if register is not None:
        whole = quarter_report(register, captures)
        found = tuple(one for one in whole.incidents if one.incident_id == incident_id)
        if found:
            return Report(incident_id, found, whole.sections, whole.made_at)
    by_url = captures.of(incident_id)
    links = tuple(
        Link(url=ones[0].url, sights=tuple(_sights(ones, captures.store))) for ones in by_url.values()
    )
    return Report(incident_id, (Incident(incident_id, links=links),), made_at=_now())


def _grouped(register: Path) -> Iterator[tuple[str, list[dict[str, str]]]]:
    groups: dict[str, list[dict[str, str]]] = {}
    for row in read_rows(register):
        if isinstance(row, Row):
            cells = {column_key(name): value.strip() for name, value in row.cells.items()}
            if cells.get("incident_id"):
                groups.setdefault(cells["incident_id"], []).append(cells)
    yield from groups.items()


def _index(captures: Captures) -> dict[str, dict[str, list[CaptureSummary]]]:
    found: dict[str, dict[str, list[CaptureSummary]]] = {}
    for one in captures.summaries:
        for incident_id in one.incident_ids:
            found.setdefault(incident_id, {}).setdefault(_identity(one.url), []).append(one)
    return found


def _links(
    rows: Iterable[Mapping[str, str]], by_url: Mapping[str, list[CaptureSummary]], store: Store
) -> Iterator[Link]:
    for cells in rows:
        url = cells.get("url", "")
        yield Link(
            url=url,
            anchor=cells.get("anchor", ""),
            role=cells.get("role", ""),
            outlets=_several(cells.get("outlets", "")),
            platforms=_several(cells.get("platforms", "")),
            sights=tuple(_sights(by_url.get(_identity(url), []), store)) if url else (),
        )


def _sights(summaries: Sequence[CaptureSummary], store: Store) -> Iterator[Sight]:
    """Tell of each capture; the record is read only where a digest or a signal is printed of it."""
    cited = next(
        (one for one in summaries if fate_of(one.outcome) == "present"), summaries[0] if summaries else None
    )
    for one in summaries:
        digest, signal = ("", "")
        if one is cited or one is summaries[-1]:
            digest, signal = _read(store, one.capture_id)
        yield Sight(
            capture_id=one.capture_id,
            at=one.started_at,
            outcome=one.outcome,
            signal=signal,
            state=one.state,
            record_sha256=digest,
            title=one.title,
            vantage=one.vantage,
        )


def _read(store: Store, capture_id: str) -> tuple[str, str]:
    try:
        record, data = load_record(store, capture_id)
    except (ArchiverError, ManifestError, StoreError):
        return "", ""
    signals = record.outcome.signals
    # The address is the link's own: without it equal signals count together.
    signal = (signals[0] if signals else record.outcome.reason).split(" at http")[0]
    return hashlib.sha256(data).hexdigest(), signal[:MAX_SIGNAL_CHARS]


def _identity(url: str) -> str:
    try:
        return url_identity(url)
    except ArchiverError:
        return url


def _several(text: str) -> tuple[str, ...]:
    return tuple(one for one in (part.strip() for part in text.replace(";", ",").split(",")) if one)


def _now() -> str:
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
