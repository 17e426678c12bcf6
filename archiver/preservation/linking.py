"""Incidents of a capture that were added or taken away after it was made.

The evidence record never changes: it says for which incidents the capture was made. That it belongs to
another one too, or no longer to one, is a custody event, *linked* or *unlinked*. The log has it first; then
the same bytes lie at ``links/<capture_id>/<event id>.json``, where lists and holds find them without the log.
``archiver verify --all`` holds such notes to the log, in both directions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Literal

from archiver.errors import UsageError
from manifests.custody_event import CustodyEvent, encode_event, new_event, parse_event
from manifests.proof import ProofError
from manifests.tiles import MAX_ENTRY_BYTES
from storage.errors import ObjectMissing
from storage.interface import Store

PREFIX = "links/"

Act = Literal["linked", "unlinked"]


def links_prefix(capture_id: str) -> str:
    """Return the prefix of the notes about one capture."""
    return f"{PREFIX}{capture_id}/"


def link_events(store: Store, capture_id: str) -> list[CustodyEvent]:
    """Return what was linked and unlinked, oldest first; a note that is no such event counts for nothing."""
    found = []
    for info in store.list(links_prefix(capture_id)):
        try:
            with store.open(info.key, length=MAX_ENTRY_BYTES + 1) as file:
                event = parse_event(file.read())
        except (ProofError, ObjectMissing):
            continue
        if event.type in {"linked", "unlinked"} and event.capture_id == capture_id:
            found.append(event)
    return sorted(found, key=lambda event: (event.at, event.id))


def incidents_now(recorded: Iterable[str], events: Iterable[CustodyEvent]) -> tuple[str, ...]:
    """Return the incidents that a capture belongs to by its record and what came after."""
    found = list(dict.fromkeys(recorded))
    for event in events:
        if event.type == "linked" and event.incident_id not in found:
            found.append(event.incident_id)
        elif event.type == "unlinked" and event.incident_id in found:
            found.remove(event.incident_id)
    return tuple(found)


def link_notes(store: Store) -> Iterator[tuple[str, bytes]]:
    """Yield every note about a link, with its key."""
    for info in store.list(PREFIX):
        with store.open(info.key, length=MAX_ENTRY_BYTES + 1) as file:
            yield info.key, file.read()


def linked_captures(store: Store, incident_id: str) -> Iterator[str]:
    """Yield the captures that were ever linked to *incident_id* after they were made."""
    for capture_id in store.list_folders(PREFIX):
        if any(event.incident_id == incident_id for event in link_events(store, capture_id)):
            yield capture_id


def change_link(
    store: Store,
    act: Act,
    capture_id: str,
    incident_id: str,
    *,
    recorded: Iterable[str],
    reason: str,
    actor: str,
    log: Callable[[CustodyEvent], None],
) -> CustodyEvent:
    """Link a capture to an incident, or undo it: first in the log, then beside the capture.

    Args:
        store: The store or stores.
        act: Which of the two.
        capture_id: The capture.
        incident_id: The incident.
        recorded: Incidents that the capture's record names.
        reason: Why, and on whose order.
        actor: Who, as a pseudonym.
        log: Appends to the custody log.

    Raises:
        UsageError: E199, it is so already.
    """
    has = incident_id in incidents_now(recorded, link_events(store, capture_id))
    if has == (act == "linked"):
        got = "one already" if has else "none"
        expected = "no link" if has else "a link"
        raise UsageError(
            f"capture {capture_id}: incident {incident_id}: expected {expected}, got {got}",
            code="E199",
            hint=f"run `archiver show {capture_id}`",
        )
    event = new_event(act, actor, capture_id=capture_id, incident_id=incident_id, purpose=reason)
    log(event)
    store.put(f"{links_prefix(capture_id)}{event.id}.json", encode_event(event))
    return event
