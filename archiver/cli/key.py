"""``archiver key``: the key that signs evidence records."""

from __future__ import annotations

import os
from pathlib import Path

import click

from archiver.cli.options import EXIT_CODES, command, settings_of
from archiver.cli.output import print_json, print_lines, say
from archiver.config import Settings, trust_path
from archiver.custodian import PASSPHRASE_VARIABLE, end_key, key_path, make_key, rotate_key
from archiver.errors import ExitCode
from archiver.identity import make_annex_key
from manifests.keys import fingerprint, read_key_file
from manifests.trust import TrustedKey

_PRINCIPAL = click.option(
    "--principal", default="collector", metavar="NAME", help="Whose key it is, as verdicts name them."
)


@click.group("key", epilog=EXIT_CODES)
def key() -> None:
    """Make, replace and end the key that signs evidence records."""


@command("new")
@_PRINCIPAL
def new(*, principal: str, config: Path | None, as_json: bool) -> ExitCode:
    """Make a signing key, protected by a passphrase, and trust it; and a key for annexes (`archiver annex`).

    The passphrase comes from ARCHIVER_KEY_PASSPHRASE, from the file that the setting `key_passphrase_file`
    names, or is asked for.
    """
    settings = settings_of(config)
    passphrase = _passphrase(settings)
    made = make_key(settings, principal, passphrase)
    make_annex_key(settings, passphrase)
    return _told(settings, made, as_json=as_json)


@command("rotate")
@_PRINCIPAL
def rotate(*, principal: str, config: Path | None, as_json: bool) -> ExitCode:
    """Replace the signing key. What the old one signed before now stays good."""
    settings = settings_of(config)
    return _told(settings, rotate_key(settings, principal, _passphrase(settings)), as_json=as_json)


@command("revoke")
@click.argument("name", metavar="FINGERPRINT")
def revoke(*, name: str, config: Path | None, as_json: bool) -> ExitCode:
    """Revoke a trusted key from now on. What is proven to be older stays good."""
    settings = settings_of(config)
    return _told(settings, end_key(settings, name, revoked=True), as_json=as_json)


for _command in (new, rotate, revoke):
    key.add_command(_command)


def _passphrase(settings: Settings) -> str:
    if given := os.environ.get(PASSPHRASE_VARIABLE):
        return given
    if settings.key_passphrase_file:
        return read_key_file(Path(settings.key_passphrase_file)).decode("utf-8", "replace").rstrip("\n")
    asked: str = click.prompt("new passphrase", hide_input=True, confirmation_prompt=True, err=True)
    return asked


def _told(settings: Settings, one: TrustedKey, *, as_json: bool) -> ExitCode:
    facts = {
        "fingerprint": fingerprint(one.public_key),
        "principal": one.principal,
        "key": str(key_path(settings)),
        "trust": str(trust_path(settings)),
    }
    if as_json:
        print_json(facts)
    else:
        print_lines(f"{name} {value}" for name, value in facts.items())
        say("keep a copy of the key and of its passphrase in another place: nobody can restore them")
    return ExitCode.DONE
