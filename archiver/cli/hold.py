"""``archiver hold``, ``release`` and ``delete``: what may leave a store, and what may not."""

from __future__ import annotations

from pathlib import Path

import click

from archiver.cli.custody import required_sealer, sealer_of
from archiver.cli.options import check_text, command, settings_of, store_option
from archiver.cli.output import clean, print_json, print_lines, say
from archiver.cli.stores import full_ids
from archiver.errors import ExitCode, UsageError
from archiver.incidents.rules import check_incident_id
from archiver.preservation.deletion import delete_capture
from archiver.preservation.holding import Locked, hold_incident, release_incident, require_hold
from archiver.preservation.syncing import finish_copies
from archiver.seal_run import log_events
from archiver.sealing import Sealer
from archiver.stores import open_stores
from manifests.custody_event import CustodyEvent, EventType, new_event
from storage.retention import LockingStore

MAX_REASON_CHARS = 2_000
reason_option = click.option(
    "--reason", required=True, metavar="TEXT", help="Why, and on whose order; goes into the custody log."
)


@command("hold")
@click.argument("incident_id", metavar="INCIDENT")
@reason_option
@store_option
def hold(
    *, incident_id: str, reason: str, store_url: str | None, config: Path | None, as_json: bool
) -> ExitCode:
    """Keep everything that belongs to INCIDENT, now and later, until `archiver release`.

    Exit code 3 where a store keeps no locks and the hold binds this tool alone, 6 where one is out of reach.
    """
    settings = settings_of(config, store=store_url)
    incident, why = check_incident_id(incident_id), reason_text(reason)
    store = open_stores(settings)
    sealer = sealer_of(settings, store, [])
    done = hold_incident(store, incident, why, settings.actor)
    code = _told("held", incident, done, as_json=as_json)
    if sealer is not None:
        log_events(sealer, [_event("held", sealer, incident, why)])
    else:
        say("warning: not in the custody log, only under `holds/` in the store: no signing key opens")
    _finish(store)
    return code


@command("release")
@click.argument("incident_id", metavar="INCIDENT")
@reason_option
@store_option
def release(
    *, incident_id: str, reason: str, store_url: str | None, config: Path | None, as_json: bool
) -> ExitCode:
    """Take the hold off INCIDENT; retention stays, and so does the hold of other incidents."""
    settings = settings_of(config, store=store_url)
    incident, why = check_incident_id(incident_id), reason_text(reason)
    store = open_stores(settings)
    sealer = required_sealer(settings, store)
    require_hold(store, incident)
    log_events(sealer, [_event("released", sealer, incident, why)])  # first: no release without a trace
    done = release_incident(store, incident, why, settings.actor)
    _finish(store)
    return _told("released", incident, done, as_json=as_json)


@command("delete")
@click.argument("capture", metavar="CAPTURE")
@reason_option
@store_option
def delete(
    *, capture: str, reason: str, store_url: str | None, config: Path | None, as_json: bool
) -> ExitCode:
    """Delete one capture from every store, for good.

    Refused under retention or a hold, and without a signing key: the custody log keeps that it was there.
    """
    settings = settings_of(config, store=store_url)
    why = reason_text(reason)
    store = open_stores(settings)
    (capture_id,) = full_ids(store, [capture])
    sealer = required_sealer(settings, store)
    count = delete_capture(store, capture_id, why, settings.actor, lambda event: log_events(sealer, [event]))
    _finish(store)
    if as_json:
        print_json({"capture_id": capture_id, "objects": count})
    else:
        print_lines([f"capture {capture_id}: deleted, {count} objects"])
    return ExitCode.DONE


def _finish(store: LockingStore) -> None:
    for problem in finish_copies(store):
        say(f"warning: {clean(problem, 300)}")


def reason_text(text: str) -> str:
    """Return the text of ``--reason``. Raises ``UsageError`` E178 without one."""
    text = check_text("--reason", text, MAX_REASON_CHARS).strip()
    if not text:
        raise UsageError("option --reason: expected a reason, got none", code="E178", hint="say why")
    return text


def _event(kind: EventType, sealer: Sealer, incident_id: str, reason: str) -> CustodyEvent:
    return new_event(kind, sealer.actor, incident_id=incident_id, purpose=reason)


def _told(what: str, incident_id: str, done: Locked, *, as_json: bool) -> ExitCode:
    if as_json:
        print_json(
            {
                "incident_id": incident_id,
                "act": what,
                "captures": done.captures,
                "objects": done.objects,
                "noted_only": done.noted_only,
                "failed": done.failed,
                "left": done.left,
            }
        )
    else:
        print_lines([f"incident {incident_id}: {what}, {done.captures} captures, {done.objects} objects"])
        print_lines(f"store {one}: keeps no locks, so this binds this tool alone" for one in done.noted_only)
        print_lines(
            f"store {one}: not done, run it again: {clean(why, 300)}" for one, why in done.failed.items()
        )
        print_lines(f"capture {one}: stays held: {clean(why, 300)}" for one, why in done.left.items())
    if done.failed:
        return ExitCode.STORE_REFUSED
    return ExitCode.PARTIAL if done.noted_only or done.left else ExitCode.DONE
