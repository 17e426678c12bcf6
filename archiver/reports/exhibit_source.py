"""Gathering what an exhibit is made from: the capture out of its store, verified on the way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from archiver.proof_files import custody_events, read_seal
from archiver.reports.exhibit_order import Shot, Source
from archiver.reports.pictures import cut_picture
from archiver.store_set import evidence_set
from archiver.summary import capture_prefix, load_record
from manifests.explain import explain
from manifests.proof import ProofError, utc_text
from manifests.record import EvidenceRecord
from manifests.seal import verify_seal
from manifests.seal_check import captured_at, seal_check
from manifests.trust import Trust, render_trust
from manifests.tsa_token import parse_reply
from manifests.verifier import Expectation, verify_capture
from storage.interface import Store

PRINTED_ROLES = ("failure-sheet", "screenshot-full")
"""What is printed of the pictures; the viewport only where there is nothing else."""
MAX_TEXT_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Gathering:
    """Where from and by whose word.

    Args:
        store: Of the capture.
        trust: Keys, authorities and logs that are relied on; None for none.
        folder: Where cut pictures go.
        now: The verifier's clock, aware UTC.
    """

    store: Store
    trust: Trust | None
    folder: Path
    now: datetime


def gather(gathering: Gathering, capture_id: str) -> Source:
    """Read one capture and verify it.

    Raises:
        UsageError: E260, the store has no such capture.
        StoreError: The store cannot be read.
        PictureUnreadable: E222, a screenshot is none.
    """
    store, trust = gathering.store, gathering.trust
    record, data = load_record(store, capture_id)
    report = verify_capture(
        evidence_set(store, capture_id),
        f"capture {capture_id}",
        expected=Expectation(capture_id=capture_id),
        seal_check=seal_check(trust, gathering.now) if trust else None,
    )
    seal = read_seal(store, capture_id)
    proof = None
    if trust is not None:
        at = captured_at(record)
        proof = verify_seal(data, seal, trust, capture_id=capture_id, captured_at=at, now=gathering.now)
    return Source(
        record=record,
        record_bytes=data,
        seal=seal,
        proof=proof,
        report=report,
        events=custody_events(store, trust, capture_id),
        shots=list(_shots(gathering, record)),
        text=_text(store, record),
        script=explain(record, seal, trust or Trust()),
        trust=render_trust(trust).encode() if trust else b"",
        stamps=list(_stamps(seal)),
    )


def _stamps(seal: dict[str, bytes]) -> Iterator[tuple[str, str, str]]:
    for name in sorted(seal):
        if not name.endswith(".tsr"):
            continue
        try:
            token = parse_reply(seal[name])
        except ProofError:
            continue
        yield name.split(".")[1], utc_text(token.gen_time), str(token.serial)


def _shots(gathering: Gathering, record: EvidenceRecord) -> Iterator[Shot]:
    pictures = [one for one in record.artifacts if one.media_type == "image/png"]
    chosen = [one for role in PRINTED_ROLES for one in pictures if one.role == role]
    chosen = chosen or [one for one in pictures if one.role == "screenshot-viewport"]
    for number, artifact in enumerate(chosen):
        with gathering.store.open(capture_prefix(record.capture_id) + artifact.path) as file:
            yield Shot(artifact, list(cut_picture(file, f"picture-{number:02d}", gathering.folder)))


def _text(store: Store, record: EvidenceRecord) -> str:
    found = next((one for one in record.artifacts if one.role == "text"), None)
    if found is None:
        return ""
    with store.open(capture_prefix(record.capture_id) + found.path, length=MAX_TEXT_BYTES) as file:
        return file.read().decode("utf-8", "replace")
