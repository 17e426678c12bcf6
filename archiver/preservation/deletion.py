"""Deleting a capture: the one way out of a store, refused under retention or hold, never without a trace.

1. No incident of the capture is held, in any store.
2. No object of it is locked, in any store; all stores can be reached, or the capture would come back.
3. The custody log says that deletion was asked for.
4. ``receipts/<capture_id>/deleted.json`` says so too: whoever audits or syncs knows that nothing was lost.
5. The objects go, the record first: from then on there is no such capture.
6. The custody log says that it was done.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime

from archiver.errors import ArchiverError
from archiver.preservation.holding import Held, is_held, objects_of
from archiver.preservation.linking import incidents_now, link_events
from archiver.preservation.receipts import DELETED, receipts_prefix
from archiver.spool import utc_text
from archiver.stores import copies_of
from archiver.summary import load_record
from manifests.canonical import canonical_bytes
from manifests.custody_event import CustodyEvent, new_event
from manifests.digests import digest_bytes
from manifests.errors import MalformedRecord
from storage.errors import ObjectConflict, ObjectMissing
from storage.interface import Store
from storage.retention import LockingStore, check_deletable

Log = Callable[[CustodyEvent], None]


def delete_capture(store: LockingStore, capture_id: str, reason: str, actor: str, log: Log) -> int:
    """Delete one capture from every store; return how many objects went. Again after a break is harmless.

    Args:
        store: The store or stores.
        capture_id: The capture, whole or what is left of it.
        reason: Why, and on whose order.
        actor: Who, as a pseudonym.
        log: Appends to the custody log.

    Raises:
        Held: E173, an incident of it is held.
        StoreRefused: Retention or a hold lies on an object.
        StoreUnavailable: A store cannot be reached.
    """
    incident_ids, digests = _what_it_is(store, capture_id)
    for incident_id in incident_ids:
        if is_held(store, incident_id):  # 1
            raise Held(
                f"capture {capture_id}: cannot be deleted: expected no legal hold, "
                f"got one on incident {incident_id}",
                code="E173",
                hint="release the incident first, with a reason",
            )
    found = [(copy, objects_of(copy, capture_id, incident_ids)) for copy in copies_of(store)]
    for copy, keys in found:
        for key in keys:
            check_deletable(key, copy.lock_of(key))  # 2
    facts = {"capture_id": capture_id, "incident_id": ",".join(incident_ids)[:200], "purpose": reason}
    log(new_event("deletion-requested", actor, digests_before=digests, **facts))  # 3
    _leave_note(store, capture_id, reason, actor, digests)  # 4
    count = 0
    for copy, keys in found:
        for key in keys:
            with suppress(ObjectMissing):
                copy.delete(key)  # 5
                count += 1
    log(new_event("deleted", actor, digests_before=digests, **facts))  # 6
    return count


def _what_it_is(store: Store, capture_id: str) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return the incidents of a capture and its record's digest; of a broken one by the links to it."""
    try:
        record, data = load_record(store, capture_id)
    except (ArchiverError, MalformedRecord):
        names = store.list_folders("incidents/")
        linked = [name for name in names if any(store.list(f"incidents/{name}/{capture_id}.json"))]
        return tuple(linked), {}
    now = incidents_now(record.incident_ids, link_events(store, capture_id))
    return tuple({*record.incident_ids, *now}), {"record.json": digest_bytes(data).sha256}


def _leave_note(store: Store, capture_id: str, reason: str, actor: str, digests: dict[str, str]) -> None:
    note = {
        "format": "deletion/1",
        "capture_id": capture_id,
        "deleted_at": utc_text(datetime.now(UTC)),
        "reason": reason,
        "actor": actor,
        "record_sha256": digests.get("record.json"),
    }
    with suppress(ObjectConflict):  # an earlier try left one
        store.put(f"{receipts_prefix(capture_id)}{DELETED}", canonical_bytes(note))
