"""``archiver reindex``."""

from __future__ import annotations

from pathlib import Path

from archiver.cli.options import command, settings_of, store_option
from archiver.cli.output import print_json, print_lines
from archiver.cli.stores import holdings_of
from archiver.errors import ExitCode
from archiver.stores import open_stores


@command("reindex")
@store_option
def reindex(*, store_url: str | None, config: Path | None, as_json: bool) -> ExitCode:
    """Make the catalogue anew from the evidence records of the store.

    The catalogue is only an index: nothing is lost with it, and nothing in the store is changed.
    """
    store = open_stores(settings_of(config, store=store_url))
    with holdings_of(store, afresh=True) as holdings:
        holdings.warn()
        count = sum(1 for _ in holdings.catalogue.find())
    if as_json:
        print_json({"captures": count, "unreadable": holdings.unreadable})
    else:
        print_lines([f"{count} captures in the catalogue of {store.url}"])
    return ExitCode.PARTIAL if holdings.unreadable else ExitCode.DONE
