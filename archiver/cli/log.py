"""``archiver log``: the custody log of a store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import msgspec

from archiver.cli.options import EXIT_CODES, command, settings_of, store_option
from archiver.cli.output import clean, print_json, print_lines, say
from archiver.config import Settings, state_folder, trust_path
from archiver.custodian import load_trust, log_origin, store_identity
from archiver.custody import StoreLog
from archiver.errors import ExitCode, UsageError
from archiver.publishing import publish_checkpoint, publish_due
from archiver.stores import open_stores
from manifests.checkpoint import open_checkpoint
from manifests.log_reader import LogReader
from manifests.proof import ProofError
from storage.interface import Store


@click.group("log", epilog=EXIT_CODES)
def log() -> None:
    """Show, check and publish the custody log of a store."""


@command("show")
@click.option("--capture", "capture_id", default="", metavar="ID", help="Only events of this capture.")
@store_option
def show(*, capture_id: str, store_url: str | None, config: Path | None, as_json: bool) -> ExitCode:
    """List custody events, oldest first."""
    _, reader = _reader(config, store_url)
    events = [{"index": index, **_plain(event)} for index, event in reader.events(reader.head(), capture_id)]
    if as_json:
        print_json({"events": events})
    else:
        print_lines(
            f"{one['index']} {one['at']} {one['type']} {one['capture_id']} {clean(one['details'], 100)}"
            for one in events
        )
    return ExitCode.DONE


@command("check")
@click.option(
    "--against",
    type=click.Path(exists=True, path_type=Path),
    multiple=True,
    metavar="FILE",
    help="A checkpoint that was published earlier; repeatable.",
)
@store_option
def check(
    *, against: tuple[Path, ...], store_url: str | None, config: Path | None, as_json: bool
) -> ExitCode:
    """Check the whole log: every tile, every entry, every checkpoint it has had, and those given."""
    _, reader = _reader(config, store_url)
    head = reader.head()
    findings = reader.audit(head)
    for path in against:
        seen = open_checkpoint(path.read_bytes(), reader.key)
        try:
            reader.check_extends(seen, head)
        except ProofError as error:
            findings.append(error.finding)
    facts = {"origin": head.origin, "size": head.size, "root": head.root.hex()}
    told = [str(finding) for finding in findings]
    if as_json:
        print_json({**facts, "findings": told})
    else:
        print_lines([*(f"{name} {value}" for name, value in facts.items()), *told])
    return ExitCode.EVIDENCE_FAILED if findings else ExitCode.DONE


@command("publish")
@click.argument("destination", metavar="[FOLDER|s3://...|http(s)://...]", default="")
@click.option(
    "--calendar", default="", metavar="URL", help="OpenTimestamps calendar that is to anchor it too."
)
@store_option
def publish(
    *, destination: str, calendar: str, store_url: str | None, config: Path | None, as_json: bool
) -> ExitCode:
    """Copy the newest checkpoint to a folder, another store or a webhook, out of reach of the store's keeper.

    Without a destination: to the places that the setting `publish` names and that got none for a day, for
    cron. `archiver log check --against` compares such copies later.
    """
    store, reader = _reader(config, store_url)
    head, identity, problems = reader.head(), store_identity(store), list[str]()
    if destination:
        written = publish_checkpoint(head, identity, destination, calendar)
    else:
        settings = settings_of(config, store=store_url)
        written, problems = publish_due(head, identity, settings, state_folder() / "published")
    print_json({"written": written, "size": head.size}) if as_json else print_lines(written)
    for problem in problems:
        say(f"warning: {clean(problem, 300)}")
    return ExitCode.PARTIAL if problems else ExitCode.DONE


for _command in (show, check, publish):
    log.add_command(_command)


def _reader(config: Path | None, store_url: str | None) -> tuple[Store, LogReader]:
    settings: Settings = settings_of(config, store=store_url)
    store = open_stores(settings)
    origin = log_origin(store_identity(store))
    key = next((one for one in load_trust(trust_path(settings)).logs if one.origin == origin), None)
    if key is None:
        raise UsageError(
            f"custody log {origin}: expected its key in the trust file, got none",
            code="E292",
            hint="add it with `archiver trust add-log`",
        )
    return store, LogReader(StoreLog(store), key)


def _plain(event: Any) -> dict[str, Any]:
    facts: dict[str, Any] = msgspec.to_builtins(event)
    return facts
