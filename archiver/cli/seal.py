"""``archiver seal`` and ``archiver renew``: proof added to captures that lie in a store."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from archiver.cli.custody import publish_daily, required_sealer
from archiver.cli.options import command, settings_of, store_option
from archiver.cli.output import clean, print_json, print_lines, say
from archiver.cli.stores import full_ids, holdings_of
from archiver.config import Settings
from archiver.errors import ExitCode, UsageError
from archiver.preservation.syncing import finish_copies
from archiver.sealing import Sealer, Sealing, pending
from archiver.sealing import renew as renew_captures
from archiver.sealing import seal as seal_captures
from archiver.stores import open_stores
from archiver.summary import load_summary
from manifests.seal import SealState
from storage.interface import Store
from storage.retention import LockingStore


@command("seal")
@click.argument("captures", metavar="[CAPTURE]...", nargs=-1)
@click.option("--pending", "every", is_flag=True, help="Every capture of the store that is not sealed.")
@store_option
def seal(
    *, captures: tuple[str, ...], every: bool, store_url: str | None, config: Path | None, as_json: bool
) -> ExitCode:
    """Sign, stamp and log captures, each as far as proof can be had.

    Exit code 0 when all of them are sealed, 3 when one is not: it says how far it came and why.
    """
    if bool(captures) == every:
        raise UsageError("seal: expected captures or --pending", code="E289", hint="give one of the two")
    settings = settings_of(config, store=store_url)
    store = open_stores(settings)
    sealer = required_sealer(settings, store)
    ids: Iterable[str] = pending(store) if every else full_ids(store, captures)
    done = list(seal_captures(sealer, ids))
    _index(store, done)
    _finish(settings, store, sealer)
    return _told(done, as_json=as_json)


@command("renew")
@click.option(
    "--days", type=click.IntRange(1, 3650), default=365, help="Renew what ends within so many days."
)
@store_option
def renew(*, days: int, store_url: str | None, config: Path | None, as_json: bool) -> ExitCode:
    """Stamp again what nears the end of its authority's certificate: old tokens under a new one."""
    settings = settings_of(config, store=store_url)
    store = open_stores(settings)
    sealer = required_sealer(settings, store)
    before = datetime.now(UTC) + timedelta(days=days)
    done = list(renew_captures(sealer, store.list_folders("captures/"), before))
    _finish(settings, store, sealer)
    return _told(done, as_json=as_json)


def _finish(settings: Settings, store: LockingStore, sealer: Sealer) -> None:
    """Publish what is due, and bring seals and log to every one of several stores."""
    for problem in (*publish_daily(settings, sealer), *finish_copies(store)):
        say(f"warning: {clean(problem, 300)}")


def _index(store: Store, done: Sequence[Sealing]) -> None:
    with holdings_of(store) as holdings:
        for one in done:
            if one.record:
                holdings.catalogue.add(load_summary(store, one.capture_id))


def _told(done: Sequence[Sealing], *, as_json: bool) -> ExitCode:
    facts = [
        {
            "capture_id": one.capture_id,
            "state": one.state.value,
            "problems": list(dict.fromkeys(one.problems)),
        }
        for one in done
    ]
    if as_json:
        print_json({"captures": facts})
    else:
        print_lines(
            f"{one.capture_id}: {one.state.value}"
            + "".join(f"\n  {clean(text, 300)}" for text in dict.fromkeys(one.problems))
            for one in done
        )
        print_lines([f"{len(done)} captures"])
    whole = all(one.state is SealState.SEALED and not one.problems for one in done)
    return ExitCode.DONE if whole else ExitCode.PARTIAL
