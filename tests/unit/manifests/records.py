"""A good evidence record to start from, for every test of this folder."""

from __future__ import annotations

from typing import Any

from manifests.record import (
    Artifact,
    Completeness,
    EvidenceRecord,
    Outcome,
    Seed,
    Target,
)
from manifests.record_network import Network, Recording
from manifests.record_process import Access, Clock, Collector, Environment, Origin, Software, Statement

CAPTURE_ID = "20261124t081203z-7f3k2m9qx4"
INCIDENT_ID = "KZ-2026-Q1-4.03"


def artifact(**changes: Any) -> Artifact:
    facts: dict[str, Any] = {
        "role": "dom",
        "path": "dom.html",
        "media_type": "text/html",
        "bytes": 0,
        "sha256": "0" * 64,
        "blake3": "0" * 64,
    }
    return Artifact(**(facts | changes))


def record(**changes: Any) -> EvidenceRecord:
    facts: dict[str, Any] = {
        "capture_id": CAPTURE_ID,
        "incident_ids": (INCIDENT_ID,),
        "seed": Seed(url="https://example.kz/новости?id=1"),
        "requested_at": "2026-11-24T08:12:03.000Z",
        "started_at": "2026-11-24T08:12:03.100Z",
        "finished_at": "2026-11-24T08:12:09.000Z",
        "created_at": "2026-11-24T08:12:10.000Z",
        "local_utc_offset_min": 300,
        "clock": Clock(checked=True, server="pool.ntp.org", offset_ms=-3),
        "outcome": Outcome(kind="captured", reason="the page answered 200", confidence_percent=99),
        "completeness": Completeness(state="complete"),
        "target": Target(url="https://example.kz/новости?id=1", http_status=200, title="Әділдік 🙂"),
        "network": Network(),
        "recording": Recording(),
        "environment": Environment(
            tool=Software(name="archiver", version="0.1.0"),
            python_version="3.11.7",
            operating_system="Debian 12",
            architecture="x86_64",
        ),
        "collector": Collector(staff_id="A-7"),
        "statement": Statement(),
        "access": Access(kind="public"),
        "origin": Origin(),
        "artifacts": (artifact(),),
    }
    return EvidenceRecord(**(facts | changes))
