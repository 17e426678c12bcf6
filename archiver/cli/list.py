"""``archiver list``."""

from __future__ import annotations

from pathlib import Path

import click

from archiver.cli.options import command, settings_of, store_option
from archiver.cli.output import print_captures, print_json, say
from archiver.cli.stores import holdings_of
from archiver.errors import ExitCode
from archiver.incidents.rules import check_incident_id, check_seed_url
from archiver.stores import open_stores


@command("list")
@click.option("--incident", "incident_id", metavar="ID", help="Only captures of this incident.")
@click.option("--url", metavar="URL", help="Only captures of this URL, asked for or arrived at.")
@store_option
def list_captures(
    *, incident_id: str | None, url: str | None, store_url: str | None, config: Path | None, as_json: bool
) -> ExitCode:
    """List what the store holds, oldest first."""
    settings = settings_of(config, store=store_url)
    if incident_id is not None:
        check_incident_id(incident_id)
    if url is not None:
        check_seed_url(url)
    with holdings_of(open_stores(settings)) as holdings:
        holdings.warn()
        found = list(holdings.catalogue.find(incident_id=incident_id, url=url))
    if as_json:
        print_json({"captures": [one.to_json() for one in found]})
    elif found:
        print_captures(found)
    else:
        say(f"no captures in {settings.store}")
    return ExitCode.DONE
