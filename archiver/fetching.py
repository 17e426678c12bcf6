"""One artefact of a capture out of a store, checked against its record."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from archiver.errors import UsageError
from archiver.summary import capture_prefix
from storage.errors import DigestMismatch

if TYPE_CHECKING:
    from pathlib import Path

    from archiver.summary import CaptureSummary
    from manifests.record import Artifact, EvidenceRecord
    from storage.interface import Store

CHUNK_BYTES = 256 * 1024


def text_of(store: Store, summary: CaptureSummary, limit: int) -> str:
    """Return the beginning of a capture's visible text, unchecked; empty when there is none in clear.

    Args:
        store: Where it lies.
        summary: Of the capture.
        limit: Characters at most.
    """
    path = next((one["path"] for one in summary.artifacts if one["role"] == "text"), "")
    if not path or path.endswith(".age"):
        return ""
    with store.open(f"{capture_prefix(summary.capture_id)}{path}", length=4 * limit) as file:
        return file.read().decode("utf-8", "replace")[:limit]


def read_artifact(store: Store, record: EvidenceRecord, artifact: Artifact, limit: int) -> bytes:
    """Return the bytes of an artefact, checked against its record.

    Raises:
        UsageError: E165, it is longer than *limit* bytes.
        DigestMismatch: E118, it is not what the record states.
        StoreError: It cannot be read.
    """
    with store.open(capture_prefix(record.capture_id) + artifact.path, length=limit + 1) as source:
        data = source.read()
    if len(data) > limit:
        raise UsageError(
            f"capture {record.capture_id}: file {artifact.path}: expected at most {limit} bytes, got more",
            code="E165",
        )
    if (got := hashlib.sha256(data).hexdigest()) != artifact.sha256:
        raise _another(record, artifact.path, artifact.sha256, got)
    return data


def fetch_artifact(store: Store, record: EvidenceRecord, role: str, folder: Path) -> Path:
    """Copy the artefact of *role* into *folder* and return its path.

    Raises:
        UsageError: E165, the capture has none, or none that can be read without a key.
        DigestMismatch: E118, it is not what the record states.
        StoreError: It cannot be read.
    """
    found = next((one for one in record.artifacts if one.role == role), None)
    if found is None or found.path.endswith(".age"):
        raise UsageError(
            f"capture {record.capture_id}: expected an artefact of role {role}, got "
            + ("none" if found is None else "an encrypted one"),
            code="E165",
            hint="the public and counsel editions leave it out; check the original, decrypted if need be",
        )
    path = folder / found.path
    digest = hashlib.sha256()
    with store.open(capture_prefix(record.capture_id) + found.path) as source, path.open("wb") as target:
        while piece := source.read(CHUNK_BYTES):
            target.write(piece)
            digest.update(piece)
    if (got := digest.hexdigest()) != found.sha256:
        raise _another(record, found.path, found.sha256, got)
    return path


def _another(record: EvidenceRecord, path: str, expected: str, got: str) -> DigestMismatch:
    return DigestMismatch(
        f"capture {record.capture_id}: file {path}: expected sha256 {expected}, got {got}",
        code="E118",
        hint="run `archiver verify` on this capture",
    )
