"""``archiver annex``: who made a capture, told to those who may know."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import msgspec

from archiver.cli.confidential import identity_file_option
from archiver.cli.custody import ask_passphrase, asker, required_sealer
from archiver.cli.hold import reason_option, reason_text
from archiver.cli.options import EXIT_CODES, command, settings_of, store_option
from archiver.cli.output import clean, print_json, print_lines
from archiver.cli.stores import full_ids
from archiver.confidential import read_identities
from archiver.config import Settings
from archiver.custodian import given_passphrase
from archiver.errors import ExitCode, UsageError
from archiver.identity import MAX_ANNEX_BYTES, open_annex, own_identities
from archiver.preservation.receipts import ANNEX_NAME, keys_prefix
from archiver.seal_run import log_events
from archiver.stores import open_stores
from archiver.summary import load_record
from manifests.custody_event import new_event
from storage.errors import ObjectMissing
from storage.interface import Store


@click.group("annex", epilog=EXIT_CODES)
def annex() -> None:
    """Facts about who made a capture, which its record fixes and does not tell."""


@command("open")
@click.argument("capture", metavar="CAPTURE")
@reason_option
@identity_file_option(required=False)
@store_option
def open_it(
    *,
    capture: str,
    reason: str,
    identity_file: Path | None,
    store_url: str | None,
    config: Path | None,
    as_json: bool,
) -> ExitCode:
    """Open the annex of a capture, each fact held to the record; the custody log keeps that it was opened.

    With --json the output is a file for `archiver verify --opened`, which holds the facts to the record.
    """
    settings = settings_of(config, store=store_url)
    why = reason_text(reason)
    store = open_stores(settings)
    (capture_id,) = full_ids(store, [capture])
    record, _ = load_record(store, capture_id)
    data = _annex(store, capture_id)
    openings = open_annex(record, data, _identities(settings, identity_file))
    sealer = required_sealer(settings, store)
    log_events(sealer, [new_event("annex-opened", sealer.actor, capture_id=capture_id, purpose=why)])
    if as_json:
        print_json({"capture_id": capture_id, "openings": msgspec.to_builtins(openings)})
    else:
        print_lines(f"{one.name:<24} {clean(one.value, 300)}" for one in openings)
    return ExitCode.DONE


annex.add_command(open_it)


def _identities(settings: Settings, file: Path | None) -> list[Any]:
    if file is not None:
        return read_identities(file)
    return own_identities(settings, given_passphrase(settings) or (ask_passphrase() if asker() else ""))


def _annex(store: Store, capture_id: str) -> bytes:
    try:
        with store.open(f"{keys_prefix(capture_id)}{ANNEX_NAME}", length=MAX_ANNEX_BYTES) as file:
            return file.read()
    except ObjectMissing as error:
        raise UsageError(
            f"capture {capture_id}: annex: expected one, got none",
            code="E194",
            hint="it was captured without an annex key, or the annex was destroyed",
        ) from error
