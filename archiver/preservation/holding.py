"""Legal holds: what belongs to an incident is not deleted until the hold is released.

``holds/<incident_id>/<number>.json`` says in turn that the incident is held and that it was released; the
last one counts. Numbers are given out by create-only puts, so two machines cannot both be right. The objects
themselves are locked besides, where a store keeps locks. What is captured later for a held incident is
locked as it is stored.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

import msgspec

from archiver.errors import ArchiverError, EnvironmentUnfit, ExitCode
from archiver.preservation.linking import incidents_now, link_events, linked_captures, links_prefix
from archiver.preservation.receipts import keys_prefix, quality_prefix
from archiver.spool import CAPTURE_ID, utc_text
from archiver.stores import copies_of
from archiver.summary import RecordUnfit, capture_prefix, load_record
from manifests.canonical import canonical_bytes
from manifests.errors import MalformedRecord
from storage.errors import ObjectConflict, StoreRefused, StoreUnavailable
from storage.interface import Store
from storage.retention import LockingStore

MAX_HOLD_BYTES = 64 * 1024
NO_LOCKS = "E655"
LOCKS_IN_FLIGHT = 8


class Held(ArchiverError):
    """Something may not be done because of a hold."""

    exit_code = ExitCode.STORE_REFUSED


class Hold(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One step in the history of an incident's hold.

    Args:
        format: Version of this form.
        incident_id: The incident.
        number: 1 for the first.
        act: What was done.
        reason: Why, and on whose order.
        actor: By whom, as a pseudonym.
        at: When, RFC 3339 in UTC with milliseconds.
    """

    format: Literal["hold/1"] = "hold/1"
    incident_id: str
    number: int
    act: Literal["held", "released"]
    reason: str
    actor: str
    at: str


@dataclass(slots=True)
class Locked:
    """What came of locking or unlocking.

    Args:
        captures: How many captures were gone through.
        objects: How many objects were locked or unlocked.
        noted_only: Stores that keep no locks: there the hold binds this tool alone.
        failed: Stores that could not be reached, and why: run it again.
        left: Captures that stay locked, and why.
    """

    captures: int = 0
    objects: int = 0
    noted_only: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    left: dict[str, str] = field(default_factory=dict)


def hold_of(store: Store, incident_id: str) -> Hold | None:
    """Return the last step of an incident's hold; None when there was never one.

    Raises:
        EnvironmentUnfit: E171, it cannot be read, which is not the same as none.
    """
    last = None
    for info in store.list(f"holds/{incident_id}/"):
        last = info.key
    if last is None:
        return None
    with store.open(last, length=MAX_HOLD_BYTES) as stream:
        data = stream.read()
    try:
        return msgspec.json.decode(data, type=Hold)
    except msgspec.DecodeError as error:
        raise EnvironmentUnfit(
            f"hold of incident {incident_id}: expected {last} as it was written, got something else",
            code="E171",
            hint="run archiver audit, which puts it right from another store",
        ) from error


def is_held(store: Store, incident_id: str) -> bool:
    """Tell whether a hold lies on an incident."""
    hold = hold_of(store, incident_id)
    return hold is not None and hold.act == "held"


def held_incidents(store: Store) -> Iterator[str]:
    """Yield the incidents that are held."""
    return (name for name in store.list_folders("holds/") if is_held(store, name))


def hold_incident(store: LockingStore, incident_id: str, reason: str, actor: str) -> Locked:
    """Lay a hold on everything that belongs to an incident, now and later. Again is harmless.

    Raises:
        StoreError: A store refused, or too few can be reached to say what belongs to it.
    """
    _step(store, incident_id, "held", reason, actor)
    return hold_again(store, incident_id)


def hold_again(store: LockingStore, incident_id: str) -> Locked:
    """Lock what belongs to a held incident and is not locked yet, such as copies made by a sync."""
    done = Locked()
    for capture_id in captures_of(store, incident_id):
        _on_objects(store, "hold", capture_id, (incident_id,), done)
    return done


def release_incident(store: LockingStore, incident_id: str, reason: str, actor: str) -> Locked:
    """Take the hold off an incident, but not off captures that another held incident has too.

    Raises:
        Held: E172, no hold was ever laid on it.
        StoreError: As of ``hold_incident``.
    """
    require_hold(store, incident_id)
    done = Locked()
    for capture_id in captures_of(store, incident_id):
        if why := _held_otherwise(store, capture_id, incident_id):
            done.left[capture_id] = why
        else:
            _on_objects(store, "release", capture_id, (incident_id,), done)
    _step(store, incident_id, "released", reason, actor)
    return done


def require_hold(store: Store, incident_id: str) -> None:
    """Refuse to release what was never held; releasing twice completes what was broken off."""
    if hold_of(store, incident_id) is None:
        raise Held(
            f"incident {incident_id}: cannot be released: expected a hold on it, got none",
            code="E172",
            hint="check the incident's ID",
        )


def hold_capture(store: LockingStore, capture_id: str, incident_ids: tuple[str, ...]) -> None:
    """Lock what was stored just now for held incidents; stores that missed it are locked by a sync.

    Raises:
        StoreUnavailable: No store could be reached.
    """
    done = Locked()
    _on_objects(store, "hold", capture_id, incident_ids, done)
    if len(done.failed) == len(copies_of(store)):
        raise StoreUnavailable(
            f"capture {capture_id}: cannot be held: expected a store in reach, "
            f"got {'; '.join(done.failed.values())}",
            code="E174",
            hint="run the same command again: the capture is kept and completed then",
        )


def captures_of(store: Store, incident_id: str) -> list[str]:
    """Return the captures that belong to an incident, by its links, or were linked to it later.

    What was unlinked counts too: a hold that covers too much does no harm.
    """
    prefix = f"incidents/{incident_id}/"
    names = (info.key.removeprefix(prefix).removesuffix(".json") for info in store.list(prefix))
    found = {*names, *linked_captures(store, incident_id)}
    return sorted(name for name in found if CAPTURE_ID.fullmatch(name))


def _step(store: Store, incident_id: str, act: Literal["held", "released"], reason: str, actor: str) -> None:
    """Write the next step, unless the last one says the same."""
    while True:
        last = hold_of(store, incident_id)
        if last is not None and last.act == act:
            return
        number = last.number + 1 if last else 1
        hold = Hold(
            incident_id=incident_id,
            number=number,
            act=act,
            reason=reason,
            actor=actor,
            at=utc_text(datetime.now(UTC)),
        )
        data = canonical_bytes(msgspec.to_builtins(hold))
        try:
            store.put(f"holds/{incident_id}/{number:06d}.json", data)
        except ObjectConflict:
            continue  # another machine took this number; see what it says
        return


def _held_otherwise(store: Store, capture_id: str, incident_id: str) -> str:
    try:
        record, _ = load_record(store, capture_id)
    except (ArchiverError, MalformedRecord, RecordUnfit) as error:
        return f"its record cannot be read, so nobody knows what else it belongs to: {error}"
    now = incidents_now(record.incident_ids, link_events(store, capture_id))
    others = [one for one in {*record.incident_ids, *now} if one != incident_id and is_held(store, one)]
    return f"incident {others[0]} is held too" if others else ""


def _on_objects(
    store: LockingStore,
    act: Literal["hold", "release"],
    capture_id: str,
    incident_ids: tuple[str, ...],
    done: Locked,
) -> None:
    done.captures += 1
    for copy in copies_of(store):
        if copy.url in done.failed or copy.url in done.noted_only:
            continue
        try:
            with ThreadPoolExecutor(LOCKS_IN_FLIGHT) as pool:
                done.objects += sum(
                    1 for _ in pool.map(getattr(copy, act), objects_of(copy, capture_id, incident_ids))
                )
        except StoreRefused as error:
            if error.code != NO_LOCKS:
                raise
            done.noted_only.append(copy.url)
        except StoreUnavailable as error:
            done.failed[copy.url] = str(error)


def objects_of(copy: Store, capture_id: str, incident_ids: tuple[str, ...]) -> list[str]:
    """Return the keys of what one store has of a capture: the record first, then the links, then the rest."""
    prefix = capture_prefix(capture_id)
    links = [f"incidents/{incident_id}/{capture_id}.json" for incident_id in incident_ids]
    beside = (keys_prefix(capture_id), quality_prefix(capture_id), links_prefix(capture_id))
    places = (prefix, *links, *beside)
    found = [info.key for where in places for info in copy.list(where)]
    return sorted(found, key=lambda key: (key != f"{prefix}record.json", key not in links, key))
