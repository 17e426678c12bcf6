"""One artefact of a capture out of a store, checked against its record."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from archiver.errors import UsageError
from archiver.summary import capture_prefix
from storage.errors import DigestMismatch

if TYPE_CHECKING:
    from pathlib import Path

    from manifests.record import EvidenceRecord
    from storage.interface import Store

CHUNK_BYTES = 256 * 1024


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
    if digest.hexdigest() != found.sha256:
        raise DigestMismatch(
            f"capture {record.capture_id}: file {found.path}: expected sha256 {found.sha256}, "
            f"got {digest.hexdigest()}",
            code="E118",
            hint="run `archiver verify` on this capture",
        )
    return path
