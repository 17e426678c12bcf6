"""A packed capture into a store: artefacts, the incidents' links, the record last, then the receipt."""

from __future__ import annotations

import contextlib
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from archiver.preservation.holding import hold_capture, is_held
from archiver.preservation.receipts import ANNEX_NAME, keys_prefix, put_receipt
from archiver.spool import utc_text
from archiver.stores import copies_of
from archiver.summary import capture_prefix
from manifests.canonical import canonical_bytes
from manifests.digests import digest_bytes
from storage.errors import ObjectConflict, ObjectMissing, StoreRefused, StoreUnavailable

if TYPE_CHECKING:
    from pathlib import Path

    from manifests.record import EvidenceRecord
    from storage.retention import LockingStore

PUTS_IN_FLIGHT = 4

STORE_KEY = "store.json"


def begin_store(store: LockingStore) -> None:
    """Give a store its identity at its first use; also shows that it can be written, before pages load.

    Raises:
        StoreError: It cannot be written.
    """
    if not _is_begun(store):
        identity = {
            "format": "store/1",
            "store_id": str(uuid.uuid4()),
            "created_at": utc_text(datetime.now(UTC)),
        }
        with contextlib.suppress(ObjectConflict):  # another process was first
            store.put(STORE_KEY, canonical_bytes(identity))


def _is_begun(store: LockingStore) -> bool:
    """Tell whether any of the stores has an identity; raises where the only one that may have it is away."""
    away = None
    for copy in copies_of(store):
        try:
            copy.stat(STORE_KEY)
        except (ObjectMissing, StoreRefused):
            continue
        except StoreUnavailable as error:
            away = error
        else:
            return True
    if away:
        raise away
    return False


def store_capture(store: LockingStore, folder: Path, record: EvidenceRecord, data: bytes) -> None:
    """Put the files of a capture into *store*. Doing it again after a break is harmless.

    Args:
        store: Where to.
        folder: Holds exactly the artefacts of *record*, and the annex of who made it, if there is one.
        record: The evidence record.
        data: Its bytes.

    Raises:
        StoreError: The capture is not in the store; what was put stays and is found there next time.
    """
    prefix = capture_prefix(record.capture_id)
    with ThreadPoolExecutor(PUTS_IN_FLIGHT) as pool:
        puts = [
            pool.submit(store.put, prefix + artifact.path, folder / artifact.path, sha256=artifact.sha256)
            for artifact in record.artifacts
        ]
        receipts = [put.result() for put in puts]
    annex = folder / ANNEX_NAME
    if annex.exists():
        receipts.append(store.put(f"{keys_prefix(record.capture_id)}{ANNEX_NAME}", annex))
    digest = digest_bytes(data).sha256
    for incident_id in record.incident_ids:
        link = link_of(record, incident_id, digest)
        receipts.append(store.put(f"incidents/{incident_id}/{record.capture_id}.json", link))
    receipts.append(store.put(f"{prefix}record.json", data, sha256=digest))
    put_receipt(store, record.capture_id, receipts)
    held = tuple(incident_id for incident_id in record.incident_ids if is_held(store, incident_id))
    if held:
        hold_capture(store, record.capture_id, held)


def link_of(record: EvidenceRecord, incident_id: str, digest: str) -> bytes:
    """What a person who browses the store by hand finds under an incident."""
    return canonical_bytes(
        {
            "incident_id": incident_id,
            "capture_id": record.capture_id,
            "url": record.seed.url,
            "outcome": record.outcome.kind,
            "started_at": record.started_at,
            "record": f"{capture_prefix(record.capture_id)}record.json",
            "record_sha256": digest,
        }
    )
