"""``archiver link`` and ``unlink``: which incidents a capture belongs to, after it was made."""

from __future__ import annotations

from pathlib import Path

import click

from archiver.cli.custody import required_sealer
from archiver.cli.hold import reason_option, reason_text
from archiver.cli.options import command, settings_of, store_option
from archiver.cli.output import clean, print_json, print_lines, say
from archiver.cli.stores import full_ids, holdings_of
from archiver.errors import ExitCode
from archiver.incidents.rules import check_incident_id
from archiver.preservation.holding import hold_capture, is_held
from archiver.preservation.linking import Act, change_link
from archiver.preservation.syncing import finish_copies
from archiver.seal_run import log_events
from archiver.stores import open_stores
from archiver.summary import load_record, load_summary

_incident = click.option("--incident", "incident_id", required=True, metavar="ID", help="The incident.")


@command("link")
@click.argument("capture", metavar="CAPTURE")
@_incident
@reason_option
@store_option
def link(
    *,
    capture: str,
    incident_id: str,
    reason: str,
    store_url: str | None,
    config: Path | None,
    as_json: bool,
) -> ExitCode:
    """Let a capture belong to an incident too. Its record stays as it is: the custody log keeps the link."""
    return _change("linked", capture, incident_id, reason, store_url, config, as_json=as_json)


@command("unlink")
@click.argument("capture", metavar="CAPTURE")
@_incident
@reason_option
@store_option
def unlink(
    *,
    capture: str,
    incident_id: str,
    reason: str,
    store_url: str | None,
    config: Path | None,
    as_json: bool,
) -> ExitCode:
    """Let a capture no longer belong to an incident; the custody log keeps that it did, and why."""
    return _change("unlinked", capture, incident_id, reason, store_url, config, as_json=as_json)


def _change(  # noqa: PLR0917  as the commands pass them on
    act: Act,
    capture: str,
    incident_id: str,
    reason: str,
    store_url: str | None,
    config: Path | None,
    *,
    as_json: bool,
) -> ExitCode:
    settings = settings_of(config, store=store_url)
    incident, why = check_incident_id(incident_id), reason_text(reason)
    store = open_stores(settings)
    (capture_id,) = full_ids(store, [capture])
    record, _ = load_record(store, capture_id)
    sealer = required_sealer(settings, store)
    change_link(
        store,
        act,
        capture_id,
        incident,
        recorded=record.incident_ids,
        reason=why,
        actor=sealer.actor,
        log=lambda event: log_events(sealer, [event]),
    )
    if act == "linked" and is_held(store, incident):
        hold_capture(store, capture_id, (incident,))
    summary = load_summary(store, capture_id)
    with holdings_of(store) as holdings:
        holdings.catalogue.add(summary)
    for problem in finish_copies(store):
        say(f"warning: {clean(problem, 300)}")
    if as_json:
        print_json({"capture_id": capture_id, "act": act, "incident_ids": list(summary.incident_ids)})
    else:
        print_lines([f"capture {capture_id}: incidents {', '.join(summary.incident_ids) or 'none'}"])
    return ExitCode.DONE
