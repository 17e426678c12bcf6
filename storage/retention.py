"""Retention and legal holds: the values, the rules, and what a store that keeps them can do.

A store that says ``capabilities.retention`` enforces locks against everybody, within the limits of
their mode. The others (folder, memory) keep locks as notes that this tool obeys and that the owner
of the disk can remove.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

from storage.errors import StoreRefused
from storage.interface import Store
from storage.keys import shown

MAX_RETENTION = timedelta(days=36_525)
"""100 years: nobody can undo a compliance date, so a mistyped one is refused."""
MAX_RETENTION_DAYS = 36_500


class RetentionMode(enum.StrEnum):
    """How firmly an object is kept, in the words of S3 Object Lock.

    ``GOVERNANCE`` can be lifted by an administrator with a special permission, ``COMPLIANCE`` by
    nobody, not even the owner of the account, until the date has come.
    """

    GOVERNANCE = "GOVERNANCE"
    COMPLIANCE = "COMPLIANCE"


@dataclass(frozen=True, slots=True)
class Retention:
    """An object may not be deleted before a date.

    Args:
        mode: How firmly.
        retain_until: Aware UTC, whole seconds.
    """

    mode: RetentionMode
    retain_until: datetime

    def __post_init__(self) -> None:
        """Refuse a date without time zone or with fractions, which servers round differently."""
        if self.retain_until.utcoffset() != timedelta(0) or self.retain_until.microsecond:
            raise ValueError(f"retention: expected whole seconds in UTC, got {self.retain_until.isoformat()}")


@dataclass(frozen=True, slots=True)
class RetentionRule:
    """How long a store keeps every new object.

    Args:
        mode: How firmly.
        days: From the moment an object is stored, 1 to ``MAX_RETENTION_DAYS``.
    """

    mode: RetentionMode
    days: int

    def __post_init__(self) -> None:
        """Refuse what no store can keep."""
        if not 1 <= self.days <= MAX_RETENTION_DAYS:
            raise ValueError(f"retention: expected 1 to {MAX_RETENTION_DAYS} days, got {self.days}")

    def starting(self, moment: datetime) -> Retention:
        """Return the retention of an object that was stored at *moment* (aware)."""
        until = moment.astimezone(UTC) + timedelta(days=self.days)
        return Retention(self.mode, until.replace(microsecond=0))

    def joined(self, other: RetentionRule | None) -> RetentionRule:
        """Return the rule that is at least as strict as this one and *other*."""
        if other is None:
            return self
        strict = RetentionMode.COMPLIANCE in {self.mode, other.mode}
        mode = RetentionMode.COMPLIANCE if strict else RetentionMode.GOVERNANCE
        return RetentionRule(mode, max(self.days, other.days))


@dataclass(frozen=True, slots=True)
class Lock:
    """What keeps one object from being deleted.

    Args:
        retention: Until when, or None.
        held: Whether a legal hold lies on it, which has no end of its own.
    """

    retention: Retention | None = None
    held: bool = False


class LockingStore(Store, Protocol):
    """A store whose objects can be locked. Each call reads the lock back and returns what is kept."""

    def lock_of(self, key: str) -> Lock:
        """Return the lock of *key*.

        Raises:
            InvalidKey, ObjectMissing, StoreRefused, StoreUnavailable.
        """
        ...

    def retain(self, key: str, retention: Retention) -> Lock:
        """Keep *key* until a date; an earlier date or a weaker mode than it has is refused.

        A server may ask for a special permission for a stronger mode, and then this is refused as well:
        give the right mode at first.

        Raises:
            StoreRefused: The store keeps no locks, or the date or mode is less than there is.
        """
        ...

    def hold(self, key: str) -> Lock:
        """Lay a legal hold on *key*; it is kept until ``release``, whatever its retention."""
        ...

    def release(self, key: str) -> Lock:
        """Take the legal hold off *key*; its retention stays."""
        ...


def check_stricter(key: str, current: Lock, wanted: Retention) -> None:
    """Refuse a retention that is less than the current one, in the past, or beyond ``MAX_RETENTION``."""
    now = datetime.now(UTC)
    if not now < wanted.retain_until <= now + MAX_RETENTION:
        raise StoreRefused(
            f"object {shown(key)}: retention date: expected one within the next 100 years, "
            f"got {wanted.retain_until.isoformat()}",
            code="E650",
            hint="check the year",
        )
    there = current.retention
    if there is None or there.retain_until <= now:
        return
    weaker = there.mode is RetentionMode.COMPLIANCE and wanted.mode is RetentionMode.GOVERNANCE
    if weaker or wanted.retain_until < there.retain_until:
        raise StoreRefused(
            f"object {shown(key)}: retention cannot be loosened: expected at least "
            f"{there.mode} until {there.retain_until.isoformat()}, "
            f"got {wanted.mode} until {wanted.retain_until.isoformat()}",
            code="E651",
            hint="give the same date or a later one",
        )


def check_deletable(key: str, lock: Lock) -> None:
    """Refuse to delete an object that is held or retained."""
    if lock.held:
        raise StoreRefused(
            f"object {shown(key)}: cannot be deleted: expected no legal hold, got one",
            code="E652",
            hint="release the hold first, with a reason",
        )
    if lock.retention is not None and lock.retention.retain_until > datetime.now(UTC):
        raise StoreRefused(
            f"object {shown(key)}: cannot be deleted: expected a retention that has ended, "
            f"got one until {lock.retention.retain_until.isoformat()}",
            code="E653",
            hint="wait for that date",
        )


def require_kept(key: str, wanted: Lock, kept: Lock) -> Lock:
    """Return *kept* when it is what was asked for; servers drop locks silently."""
    if kept != wanted:
        raise StoreRefused(
            f"object {shown(key)}: lock not kept: expected {_words(wanted)}, got {_words(kept)}",
            code="E654",
            hint="use a server and a bucket with S3 Object Lock; archiver store init checks both",
        )
    return kept


def is_live(lock: Lock) -> bool:
    """Tell whether *lock* keeps its object now by a retention."""
    return lock.retention is not None and lock.retention.retain_until > datetime.now(UTC)


def weakest(locks: Sequence[Lock]) -> Lock:
    """Return what all of *locks*, at least one, have in common: held if all are, retained as the least is."""
    retentions = [lock.retention for lock in locks if lock.retention is not None]
    held = all(lock.held for lock in locks)
    if len(retentions) < len(locks):
        return Lock(held=held)
    modes = {retention.mode for retention in retentions}
    mode = RetentionMode.COMPLIANCE if modes == {RetentionMode.COMPLIANCE} else RetentionMode.GOVERNANCE
    return Lock(Retention(mode, min(retention.retain_until for retention in retentions)), held=held)


def to_note(lock: Lock) -> bytes:
    """Write *lock* as a line of JSON, for stores that keep locks as notes."""
    retention = lock.retention
    note = {
        "held": lock.held,
        "mode": retention.mode if retention else None,
        "retain_until": retention.retain_until.isoformat() if retention else None,
    }
    return json.dumps(note).encode() + b"\n"


def from_note(key: str, note: bytes) -> Lock:
    """Read what ``to_note`` wrote.

    Raises:
        StoreRefused: It is something else; an unreadable lock is not an open one.
    """
    try:
        facts = json.loads(note)
        mode, until, held = facts["mode"], facts["retain_until"], facts["held"]
        retention = Retention(RetentionMode(mode), datetime.fromisoformat(until)) if mode or until else None
        return Lock(retention, held=held is not False)
    except (ValueError, TypeError, KeyError) as exc:
        raise StoreRefused(
            f"object {shown(key)}: its lock cannot be read: expected JSON with mode, retain_until and held, "
            "got something else",
            code="E656",
            hint="restore the file of that name under .locks from another copy of the store",
        ) from exc


def to_rule_note(rule: RetentionRule) -> bytes:
    """Write *rule* as a line of JSON, for stores that keep it as a note."""
    return json.dumps({"mode": rule.mode, "days": rule.days}).encode() + b"\n"


def from_rule_note(store: str, note: bytes) -> RetentionRule:
    """Read what ``to_rule_note`` wrote.

    Raises:
        StoreRefused: It is something else; an unreadable rule is not none.
    """
    try:
        facts = json.loads(note)
        return RetentionRule(RetentionMode(facts["mode"]), int(facts["days"]))
    except (ValueError, TypeError, KeyError) as exc:
        raise StoreRefused(
            f"store {shown(store)}: its retention cannot be read: expected JSON with mode and days, "
            "got something else",
            code="E657",
            hint="restore the file .retention from another copy, or from what archiver store init was given",
        ) from exc


def longer(note: Retention | None, rule: Retention) -> Retention:
    """Return what keeps an object that has *note* of its own, perhaps, and falls under *rule*."""
    if note is None:
        return rule
    strict = RetentionMode.COMPLIANCE in {note.mode, rule.mode}
    mode = RetentionMode.COMPLIANCE if strict else RetentionMode.GOVERNANCE
    return Retention(mode, max(note.retain_until, rule.retain_until))


def _words(lock: Lock) -> str:
    retention = lock.retention
    until = f"{retention.mode} until {retention.retain_until.isoformat()}" if retention else "no retention"
    return f"{until} and {'a' if lock.held else 'no'} hold"
