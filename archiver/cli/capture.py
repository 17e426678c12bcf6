"""``archiver capture``."""

from __future__ import annotations

from pathlib import Path

import click

from archiver import sessions
from archiver.batch.account import Account
from archiver.cli.options import capture_options, check_text, command, settings_of
from archiver.cli.running import print_run, run_seeds
from archiver.errors import ExitCode
from archiver.incidents.register import Seed
from archiver.incidents.rows import MAX_CELL_CHARS
from archiver.incidents.rules import check_incident_id, check_seed_url


@command("capture")
@click.argument("urls", metavar="URL...", nargs=-1, required=True)
@click.option(
    "--incident",
    "incident_ids",
    multiple=True,
    required=True,
    metavar="ID",
    help="Incident the pages belong to; repeatable.",
)
@click.option("--note", default="", metavar="TEXT", help="Why, or what to look at; goes into the record.")
@capture_options
def capture(
    *,
    urls: tuple[str, ...],
    incident_ids: tuple[str, ...],
    note: str,
    store_url: str | None,
    resolve: tuple[str, ...],
    allow_private_network: bool | None,
    allowed_addresses: tuple[str, ...],
    ca_files: tuple[str, ...],
    behaviours: bool | None,
    session: str | None,
    media: str | None,
    jobs: int | None,
    again: bool,
    config: Path | None,
    as_json: bool,
) -> ExitCode:
    """Capture pages, each from one load, as evidence of an incident.

    A page that is gone, blocked or behind a login is captured as that, and the command exits with 3.
    """
    settings = settings_of(
        config,
        store=store_url,
        resolve=resolve,
        allow_private_network=allow_private_network,
        allowed_addresses=allowed_addresses,
        ca_files=ca_files,
        behaviours=behaviours,
        session=session,
        media=media,
        jobs=jobs,
    )
    incidents = tuple(dict.fromkeys(map(check_incident_id, incident_ids)))
    note = check_text("--note", note, MAX_CELL_CHARS)
    seeds = [Seed(check_seed_url(url), incidents, note=note) for url in dict.fromkeys(urls)]
    sessions.check_use(settings, [settings.session])
    account = Account()
    run_seeds(seeds, settings, account, repeat=again)
    print_run(account, as_json=as_json)
    return account.exit_code
