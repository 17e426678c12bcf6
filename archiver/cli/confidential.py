"""``archiver decrypt`` and ``archiver rekey``: confidential captures opened, and opened to others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from archiver.cli.options import Command, command, settings_of, store_option
from archiver.cli.output import print_json, print_lines
from archiver.cli.stores import full_ids
from archiver.confidential import (
    KEY_NAME,
    MAX_KEY_BYTES,
    capture_key,
    is_confidential,
    read_identities,
    reveal,
    rewrap,
)
from archiver.errors import EnvironmentUnfit, ExitCode, UsageError
from archiver.preservation.receipts import keys_prefix
from archiver.stores import open_stores
from archiver.summary import capture_prefix, load_record
from manifests.digests import digest_bytes
from manifests.record import EvidenceRecord
from storage.interface import Store


def identity_file_option(*, required: bool) -> Callable[[Command], Command]:
    """Add ``--identity``."""
    return click.option(
        "--identity",
        "identity_file",
        required=required,
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Your secret key: an age identity file, or an SSH private key without passphrase.",
    )


identity_option = identity_file_option(required=True)


@command("decrypt")
@click.argument("captures", metavar="CAPTURE...", nargs=-1, required=True)
@identity_option
@click.option(
    "--output",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Folder to write the plain files to.",
)
@store_option
def decrypt(
    *,
    captures: tuple[str, ...],
    identity_file: Path,
    output: Path,
    store_url: str | None,
    config: Path | None,
    as_json: bool,
) -> ExitCode:
    """Decrypt confidential captures into DIR, each file held to the digests of its inner record.

    The folder of a capture can then be looked at, and `archiver verify DIR/<capture>` checks it. Its seal
    stays with the ciphertext in the store.
    """
    store = open_stores(settings_of(config, store=store_url))
    identities = read_identities(identity_file)
    done = []
    for capture_id in full_ids(store, captures):
        outer = _outer(store, capture_id)
        identity = capture_key(capture_id, _envelopes(store, capture_id), identities)
        folder = _new_folder(output / capture_id)
        prefix = capture_prefix(capture_id)
        inner = reveal(outer, lambda name, at=prefix: store.open(at + name), identity, folder)  # type: ignore[misc]  # bound early
        done.append({"capture_id": capture_id, "folder": str(folder), "url": inner.seed.url})
    print_json({"captures": done}) if as_json else print_lines(f"{one['folder']}" for one in done)
    return ExitCode.DONE


@command("rekey")
@click.argument("captures", metavar="CAPTURE...", nargs=-1, required=True)
@identity_option
@store_option
def rekey(
    *,
    captures: tuple[str, ...],
    identity_file: Path,
    store_url: str | None,
    config: Path | None,
    as_json: bool,
) -> ExitCode:
    """Let today's recipients open captures that were encrypted to earlier ones.

    Nothing of a capture changes. Whoever could open it before still can.
    """
    settings = settings_of(config, store=store_url)
    if not settings.recipients:
        raise UsageError("rekey: expected recipients, got none", code="E185", hint="set `recipients`")
    store = open_stores(settings)
    identities = read_identities(identity_file)
    done = _rekeyed(store, full_ids(store, captures), identities, settings.recipients)
    print_json({"keys": done}) if as_json else print_lines(done)
    return ExitCode.DONE


def _rekeyed(
    store: Store, capture_ids: Sequence[str], identities: Sequence[Any], recipients: Sequence[str]
) -> list[str]:
    done = []
    for capture_id in capture_ids:
        _outer(store, capture_id)
        data = rewrap(capture_key(capture_id, _envelopes(store, capture_id), identities), recipients)
        key = f"{keys_prefix(capture_id)}{digest_bytes(data).sha256}.age"
        store.put(key, data)
        done.append(key)
    return done


def _outer(store: Store, capture_id: str) -> EvidenceRecord:
    record, _ = load_record(store, capture_id)
    if not is_confidential(record):
        raise UsageError(
            f"capture {capture_id}: expected an encrypted one, got one in plain",
            code="E186",
            hint="use archiver export",
        )
    return record


def _envelopes(store: Store, capture_id: str) -> Iterator[bytes]:
    keys = [f"{capture_prefix(capture_id)}{KEY_NAME}"]
    keys += [info.key for info in store.list(keys_prefix(capture_id))]
    for key in keys:
        with store.open(key, length=MAX_KEY_BYTES) as stream:
            yield stream.read()


def _new_folder(folder: Path) -> Path:
    try:
        folder.mkdir(mode=0o700, parents=True)
    except OSError as error:
        raise EnvironmentUnfit(
            f"folder {folder}: expected a new one, got {error.strerror}",
            code="E187",
            hint="name another folder",
        ) from error
    return folder
