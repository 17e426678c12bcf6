"""What the commands that seal have in common: opening keys, and asking a person for the passphrase."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable

import click

from archiver.cli.output import clean, say
from archiver.config import Settings, state_folder
from archiver.custodian import KeyLocked, key_path, open_sealer, store_identity
from archiver.errors import ArchiverError, UsageError
from archiver.publishing import publish_due
from archiver.seal_run import log_events
from archiver.sealing import Sealer
from manifests.custody_event import CustodyEvent
from manifests.errors import ManifestError
from storage.errors import StoreError, StoreUnavailable
from storage.interface import Store


def ask_passphrase() -> str:
    """Ask for the passphrase of the signing key."""
    answer: str = click.prompt("passphrase of the signing key", hide_input=True, err=True)
    return answer


def asker() -> Callable[[], str] | None:
    """Return the question, or None when nobody is there to answer it."""
    return ask_passphrase if sys.stdin is not None and sys.stdin.isatty() else None


def sealer_of(settings: Settings, store: Store, problems: list[str]) -> Sealer | None:
    """Open what sealing needs; a locked key or a log out of reach is a problem and stops no capture."""
    try:
        return open_sealer(settings, store, asker())
    except (KeyLocked, StoreUnavailable) as error:
        problems.append(f"{error}; captures of this run stay unsealed ({error.hint})")
        return None


def required_sealer(settings: Settings, store: Store) -> Sealer:
    """Open what sealing needs.

    Raises:
        UsageError: E288, there is no key.
        KeyLocked: It cannot be opened.
    """
    sealer = open_sealer(settings, store, asker())
    if sealer is None:
        raise UsageError(
            "sealing: expected a signing key, got none", code="E288", hint="run `archiver key new`"
        )
    return sealer


def publish_daily(settings: Settings, sealer: Sealer) -> list[str]:
    """Publish the newest checkpoint where that is due; returns why a place did not take it."""
    if not settings.publish:
        return []
    folder = state_folder() / "published"
    try:
        head = sealer.log.head()
        return publish_due(head, store_identity(sealer.store), settings, folder)[1]
    except (ManifestError, StoreError) as error:
        return [f"checkpoint not published: {error}"]


def log_quietly(settings: Settings, store: Store, events: Callable[[Sealer], Iterable[CustodyEvent]]) -> bool:
    """Log what was done where the key opens without a question; False when it was not logged."""
    try:
        sealer = open_sealer(settings, store, None)
    except KeyLocked:
        return False
    if sealer is None:
        return False
    log_events(sealer, list(events(sealer)))
    return True


def log_readily(settings: Settings, store: Store, events: Callable[[Sealer], Iterable[CustodyEvent]]) -> None:
    """Log what was only looked at, where that is possible: it stops nobody from looking."""
    if not key_path(settings).exists():
        return
    why = "the signing key does not open without a question"
    try:
        is_logged = log_quietly(settings, store, events)
    except (ArchiverError, ManifestError, StoreError) as error:
        is_logged, why = False, str(error)
    if not is_logged:
        say(f"warning: not in the custody log: {clean(why, 300)}")
