"""Holds and deletion: what may not leave a store, and what remains to be known of what did."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from archiver.errors import EnvironmentUnfit
from archiver.preservation.deletion import delete_capture
from archiver.preservation.holding import (
    Held,
    captures_of,
    held_incidents,
    hold_again,
    hold_incident,
    hold_of,
    is_held,
    release_incident,
)
from archiver.preservation.receipts import was_deleted
from storage.errors import StoreRefused, StoreUnavailable
from storage.folder import FolderStore
from storage.memory import MemoryStore
from storage.replicated import ReplicatedStore
from storage.retention import Retention, RetentionMode, RetentionRule
from tests.unit.archiver.preservation.lab import Named, put_capture


@pytest.fixture(params=["folder", "memory", "two", pytest.param("s3", marks=pytest.mark.s3)])
def store(request, tmp_path):
    if request.param == "folder":
        return FolderStore(tmp_path / "store")
    if request.param == "memory":
        return MemoryStore()
    if request.param == "two":
        return ReplicatedStore([FolderStore(tmp_path / "a"), Named("b")], 2)
    return request.getfixturevalue("s3_locked_store")


class Log(list):
    """A custody log that only remembers."""

    def types(self) -> list[str]:
        return [event.type for event in self]


def delete(store, capture_id: str, log=None) -> int:
    return delete_capture(store, capture_id, "a mistake", "me", (log if log is not None else Log()).append)


def keys(store) -> list[str]:
    return [info.key for info in store.list("captures/")] + [info.key for info in store.list("incidents/")]


def test_a_held_incident_keeps_its_captures(store):
    """Nothing of a held capture can be deleted, by this command or object by object, until it is released."""
    one = put_capture(store)
    done = hold_incident(store, "KZ-1", "order 17", "me")
    assert (done.captures, done.failed, done.left) == (1, {}, {})
    before = keys(store)
    log = Log()
    with pytest.raises(Held, match="E173"):
        delete(store, one, log)
    with pytest.raises(StoreRefused, match="E652"):
        store.delete(f"captures/{one}/dom.html")
    assert (keys(store), log) == (before, [])
    release_incident(store, "KZ-1", "order 18", "me")
    assert not is_held(store, "KZ-1")
    assert delete(store, one) == len(before) * (2 if isinstance(store, ReplicatedStore) else 1)
    assert keys(store) == []


def test_what_is_captured_later_for_a_held_incident_is_held_too(store):
    """A hold is on the incident, so captures that come after it are locked as they are stored."""
    put_capture(store, 1)
    hold_incident(store, "KZ-1", "order 17", "me")
    two = put_capture(store, 2)
    assert store.lock_of(f"captures/{two}/dom.html").held
    assert store.lock_of(f"captures/{two}/record.json").held


def test_a_capture_of_two_held_incidents_stays_held(store):
    """Releasing one incident does not free what another one needs."""
    one = put_capture(store, 1, ("KZ-1", "KZ-2"))
    hold_incident(store, "KZ-1", "order 17", "me")
    hold_incident(store, "KZ-2", "order 18", "me")
    done = release_incident(store, "KZ-1", "settled", "me")
    assert list(done.left) == [one]
    assert store.lock_of(f"captures/{one}/dom.html").held
    with pytest.raises(Held, match="KZ-2"):
        delete(store, one)
    assert not release_incident(store, "KZ-2", "settled", "me").left
    assert not store.lock_of(f"captures/{one}/dom.html").held


def test_the_history_of_a_hold_is_kept(store):
    """Each step stays readable with its reason and its actor, and the same step twice is one."""
    put_capture(store)
    for _ in range(2):
        hold_incident(store, "KZ-1", "order 17", "me")
    release_incident(store, "KZ-1", "settled", "you")
    hold_incident(store, "KZ-1", "appeal", "me")
    steps = [json.loads(store.open(info.key).read()) for info in store.list("holds/KZ-1/")]
    assert [(one["act"], one["reason"], one["actor"]) for one in steps] == [
        ("held", "order 17", "me"),
        ("released", "settled", "you"),
        ("held", "appeal", "me"),
    ]
    assert list(held_incidents(store)) == ["KZ-1"]


def test_what_was_never_held_is_not_released(store):
    """A mistyped incident is told, instead of a release that releases nothing."""
    put_capture(store)
    with pytest.raises(Held, match="E172"):
        release_incident(store, "KZ-9", "settled", "me")
    assert hold_of(store, "KZ-9") is None


def test_an_unreadable_hold_is_not_a_release():
    """A damaged step keeps everything: nobody may delete because a hold cannot be read."""
    store = MemoryStore()
    one = put_capture(store)
    hold_incident(store, "KZ-1", "order 17", "me")
    store._objects["holds/KZ-1/000001.json"] = b"{}"
    with pytest.raises(EnvironmentUnfit, match="E171"):
        delete(store, one)


def test_incidents_whose_names_begin_alike_are_told_apart():
    """A hold on KZ-1 is none on KZ-10."""
    store = MemoryStore()
    put_capture(store, 1, ("KZ-1",))
    ten = put_capture(store, 2, ("KZ-10",))
    hold_incident(store, "KZ-1", "order", "me")
    assert captures_of(store, "KZ-10") == [ten]
    assert not store.lock_of(f"captures/{ten}/dom.html").held
    delete(store, ten)


@pytest.mark.s3
def test_a_store_without_locks_is_named(s3_store):
    """Where the server keeps no locks the hold is said to bind this tool alone, and it does."""
    one = put_capture(s3_store)
    assert hold_incident(s3_store, "KZ-1", "order", "me").noted_only == [s3_store.url]
    with pytest.raises(Held, match="E173"):
        delete(s3_store, one)


def test_a_store_out_of_reach_is_named_and_held_later():
    """A hold goes as far as it can, says where it did not, and again completes it."""
    a, b = Named("a"), Named("b")
    store = ReplicatedStore([a, b, Named("c")], 2)
    one = put_capture(store)
    b.down = True
    assert list(hold_incident(store, "KZ-1", "order", "me").failed) == ["b"]
    assert a.lock_of(f"captures/{one}/dom.html").held
    b.down = False
    assert not hold_again(store, "KZ-1").failed
    assert b.lock_of(f"captures/{one}/dom.html").held


# --- deletion ---


def test_a_deletion_leaves_its_traces(store):
    """The log says it was asked for and done, with the record's digest; the store says it was on purpose."""
    one = put_capture(store)
    two = put_capture(store, 2)
    log = Log()
    delete(store, one, log)
    assert log.types() == ["deletion-requested", "deleted"]
    assert len(log[1].digests_before["record.json"]) == 64
    assert (log[0].purpose, log[0].capture_id, log[0].incident_id) == ("a mistake", one, "KZ-1")
    assert was_deleted(store, one)
    assert not was_deleted(store, two)
    assert all(two in key for key in keys(store))


def test_retention_refuses_and_nothing_goes(store):
    """One retained object among many keeps them all, and the log has nothing to tell."""
    one = put_capture(store)
    until = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    store.retain(f"captures/{one}/dom.html", Retention(RetentionMode.GOVERNANCE, until))
    before, log = keys(store), Log()
    with pytest.raises(StoreRefused, match="E653"):
        delete(store, one, log)
    assert (keys(store), log) == (before, [])
    assert not was_deleted(store, one)


def test_the_rule_of_a_folder_refuses_too(tmp_path):
    """What `store init` laid down is obeyed by the command that deletes."""
    store = FolderStore(tmp_path / "store")
    one = put_capture(store)
    store.keep_new(RetentionRule(RetentionMode.GOVERNANCE, 1))
    with pytest.raises(StoreRefused, match="E653"):
        delete(store, one)


def test_a_lock_in_one_of_two_stores_keeps_both_copies(tmp_path):
    """What all locks have in common is too little: the strictest one counts."""
    a, b = FolderStore(tmp_path / "a"), Named("b")
    store = ReplicatedStore([a, b], 2)
    one = put_capture(store)
    b.hold(f"captures/{one}/record.json")
    with pytest.raises(StoreRefused, match="E652"):
        delete(store, one)
    assert a.stat(f"captures/{one}/record.json")


def test_nothing_is_deleted_while_a_store_is_out_of_reach():
    """A copy that nobody can reach would bring the capture back at the next sync."""
    a, b = Named("a"), Named("b")
    store = ReplicatedStore([a, b, Named("c")], 2)
    one = put_capture(store)
    b.down = True
    with pytest.raises(StoreUnavailable):
        delete(store, one)
    assert a.stat(f"captures/{one}/record.json")


@pytest.mark.parametrize("left", [0, 1, 2, 3])
def test_a_deletion_that_was_broken_off_is_completed(left):
    """Whatever was gone when the process died, the next try takes the rest, also without a record."""
    store = MemoryStore()
    one = put_capture(store)
    calls = []

    class Broken(Exception):
        pass

    real = store.delete

    def die(key):
        calls.append(key)
        if len(calls) > left:
            raise Broken
        real(key)

    store.delete = die
    with pytest.raises(Broken):
        delete(store, one)
    store.delete = real
    assert calls[0].endswith("record.json")
    log = Log()
    delete(store, one, log)
    assert keys(store) == []
    assert log.types() == ["deletion-requested", "deleted"]


def test_a_deletion_that_cannot_be_logged_does_not_happen():
    """No log, no deletion."""
    store = MemoryStore()
    one = put_capture(store)

    def refuse(event):
        raise StoreUnavailable("the log is out of reach", code="E639")

    with pytest.raises(StoreUnavailable):
        delete_capture(store, one, "a mistake", "me", refuse)
    assert store.stat(f"captures/{one}/record.json")
    assert not was_deleted(store, one)
