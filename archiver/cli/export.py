"""``archiver export``."""

from __future__ import annotations

from pathlib import Path

import click

from archiver.bundle.editing import Plan
from archiver.bundle.identities import Identities
from archiver.bundle.making import Bundle, make_bundle
from archiver.cli.custody import log_quietly
from archiver.cli.options import command, settings_of, store_option
from archiver.cli.output import print_json, print_lines, say
from archiver.cli.stores import full_ids, holdings_of
from archiver.config import trust_path
from archiver.custodian import load_trust
from archiver.errors import ExitCode, UsageError
from archiver.incidents.rules import check_incident_id
from archiver.seal_run import event
from archiver.sealing import Sealer
from archiver.stores import open_stores
from archiver.summary import load_record, load_summary
from manifests.custody_event import CustodyEvent
from manifests.record import EvidenceRecord
from storage.interface import Store

_ANSWERS = ("when", "by_whom", "conditions", "circumstances")


@command("export")
@click.argument("captures", metavar="[CAPTURE]...", nargs=-1)
@click.option("--incident", "incident_id", metavar="ID", help="Every capture of this incident.")
@click.option(
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    metavar="DIR|ZIP",
    help="Folder to write to (new, empty, or an earlier export), or a new file that ends in .zip.",
)
@click.option(
    "--for",
    "audience",
    type=click.Choice(["any", "court", "counsel", "public"]),
    default="any",
    help="For a court: refuse captures whose statement leaves one of its four answers open. For the public "
    "(and for counsel, with the setting counsel_redacted): leave out what could harm a collector.",
)
@store_option
def export(
    *,
    captures: tuple[str, ...],
    incident_id: str | None,
    output: Path,
    audience: str,
    store_url: str | None,
    config: Path | None,
    as_json: bool,
) -> ExitCode:
    """Copy captures out of the store, each file's digest checked on the way.

    What comes of it stands alone: index.html to look at, VERIFY.md to check it without this program, and the
    manifests of a BagIt bag. `archiver verify DIR|ZIP` checks it; DIR/data is a store itself.

    The public edition holds no cookies, tokens, names, addresses or paths of the collector: files that do are
    left out, each listed with its digest, or stand there as redacted copies.
    """
    settings = settings_of(config, store=store_url)
    store = open_stores(settings)
    chosen = _chosen(store, captures, incident_id)
    if audience == "court":
        _check_statements(store, chosen)
    trusted = trust_path(settings)
    trust = load_trust(trusted) if trusted.exists() else None
    identities = Identities(settings, store)
    is_edition = audience == "public" or (audience == "counsel" and settings.counsel_redacted)
    plan = Plan(audience, identities.of) if is_edition else None
    made = make_bundle(store, trust, chosen, output, plan)
    for one in made.captures:
        _warn_of_told(one.record) if plan else _warn_of_secrets(one.record)
    for capture_id in identities.unopened:
        say(f"warning: capture {capture_id}: its annex does not open here; names in it were not looked for")
    is_logged = log_quietly(settings, store, lambda sealer: _events(sealer, store, made, audience))
    if as_json:
        print_json({"output": str(output), "captures": chosen, "bytes": made.size_bytes, "logged": is_logged})
    else:
        print_lines([f"{len(chosen)} captures, {made.size_bytes:,} bytes, in {output}"])
        if not is_logged:
            say("not entered in the custody log: no signing key opens without a question")
    return ExitCode.DONE


def _chosen(store: Store, captures: tuple[str, ...], incident_id: str | None) -> list[str]:
    if bool(captures) == bool(incident_id):
        raise UsageError(
            "export: expected captures or --incident, got " + ("both" if captures else "neither"),
            code="E276",
            hint="name the captures, or give --incident ID",
        )
    if incident_id is None:
        return full_ids(store, captures)
    check_incident_id(incident_id)
    with holdings_of(store) as holdings:
        holdings.warn()
        found = [one.capture_id for one in holdings.catalogue.find(incident_id=incident_id)]
    if not found:
        raise UsageError(
            f"incident {incident_id}: expected captures in store {store.url}, got none",
            code="E277",
            hint="run `archiver list` to see which incidents there are",
        )
    return found


def _check_statements(store: Store, chosen: list[str]) -> None:
    """Refuse what a court of Kazakhstan would not examine (CPC article 99(2)): see docs/verification.md."""
    missing = []
    for capture_id in chosen:
        record, _ = load_record(store, capture_id)
        missing += [f"{capture_id}: {name}" for name in _ANSWERS if not getattr(record.statement, name)]
    if missing:
        raise UsageError(
            f"export for a court: expected four answers in each statement, got none for {'; '.join(missing)}",
            code="E295",
            hint="set by_whom, conditions and circumstances in the settings and capture again with --again",
        )


def _events(sealer: Sealer, store: Store, made: Bundle, audience: str) -> list[CustodyEvent]:
    events = []
    for one in made.captures:
        summary = load_summary(store, one.summary.capture_id)
        events.append(event("exported", sealer, summary, purpose=f"for {audience}"))
        if one.edited:
            copies = ", ".join(sorted(one.edited.copies.values()))
            events.append(
                event("redacted", sealer, summary, purpose=f"for {audience}", details=copies[:4000])
            )
    return events


def _warn_of_secrets(record: EvidenceRecord) -> None:
    secret = [artifact.path for artifact in record.artifacts if artifact.holds_secrets]
    if secret:
        say(f"warning: capture {record.capture_id}: {', '.join(secret)} may hold passwords and cookies")


def _warn_of_told(record: EvidenceRecord) -> None:
    """Name the fields that a person filled: they are signed, and no program knows whom they endanger."""
    told = {f"statement.{name}": getattr(record.statement, name) for name in _ANSWERS}
    told |= {
        "seed.note": record.seed.note,
        "seed.row": record.seed.row,
        "collector.organisation": record.collector.organisation,
        "environment.vantage_place": record.environment.vantage_place,
    }
    names = [name for name, value in told.items() if value]
    say(
        f"warning: capture {record.capture_id}: read before you publish, since its record tells them: "
        + ", ".join(["environment.vantage", "collector.staff_id", *names])
    )
