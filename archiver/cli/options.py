"""What the commands have in common: options, settings, exit codes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from archiver.config import Settings, load_settings
from archiver.errors import ExitCode, UsageError

Command = TypeVar("Command", bound=Callable[..., Any])

EXIT_MEANINGS = {
    ExitCode.DONE: "done",
    ExitCode.FAILED: "the tool or the machine failed",
    ExitCode.USAGE: "the command cannot be carried out as given",
    ExitCode.PARTIAL: "done in part: a page was not captured as a page, a row was not read",
    ExitCode.EVIDENCE_FAILED: "evidence failed verification",
    ExitCode.EVIDENCE_INDETERMINATE: "evidence is neither proven nor refuted",
    ExitCode.STORE_REFUSED: "the store refused or cannot be reached",
    ExitCode.INTERRUPTED: "interrupted",
}

# The mark keeps click from filling the lines into a paragraph.
EXIT_CODES = "\b\nExit codes:\n" + "\n".join(
    f"  {code.value:>3}  {meaning}" for code, meaning in EXIT_MEANINGS.items()
)


def command(name: str) -> Callable[[Callable[..., ExitCode]], click.Command]:
    """Make a command of a function, with ``--config`` and ``--json``, and the exit codes in its help."""

    def decorate(function: Callable[..., ExitCode]) -> click.Command:
        made = click.command(name, epilog=EXIT_CODES)(function)
        made.params += [
            click.Option(
                ["--config"],
                type=click.Path(path_type=Path),
                metavar="FILE",
                help="Read settings from FILE instead of ./archiver.toml.",
            ),
            click.Option(["--json", "as_json"], is_flag=True, help="Print the result as one JSON document."),
        ]
        return made

    return decorate


def store_option(function: Command) -> Command:
    """Add ``--store``."""
    text = "Folder or s3://bucket/prefix; by default as set, else ./archive."
    return click.option("--store", "store_url", metavar="STORE", help=text)(function)


def capture_options(function: Command) -> Command:
    """Add what every command that captures takes besides its seeds."""
    options = (
        click.option(
            "--resolve",
            multiple=True,
            metavar="HOST[:PORT]:ADDRESS",
            help="Dial ADDRESS for HOST; repeatable, * for every host. Recorded.",
        ),
        click.option(
            "--allow-private-network",
            is_flag=True,
            default=None,
            help="Let pages be fetched from private and loopback addresses. Recorded.",
        ),
        click.option(
            "--allow-address",
            "allowed_addresses",
            multiple=True,
            metavar="ADDRESS",
            help="Let pages be fetched from this address or network (10.1.2.0/24); repeatable. Recorded.",
        ),
        click.option(
            "--ca",
            "ca_files",
            multiple=True,
            type=click.Path(exists=True, dir_okay=False, resolve_path=True),
            metavar="FILE",
            help="Trust the root certificates in FILE too; repeatable. Recorded.",
        ),
        click.option(
            "--behaviours/--no-behaviours",
            default=None,
            help="Close overlays, expand, load more and play, or leave pages as they are. Recorded.",
        ),
        click.option(
            "--media",
            type=click.Choice(["off", "platforms", "always"]),
            help="Fetch video and sound with yt-dlp: on platforms that it knows, or of every page. Recorded.",
        ),
        click.option(
            "--session",
            metavar="NAME",
            help="Capture as the login that `archiver session new NAME` kept. Recorded without its secrets.",
        ),
        click.option("--jobs", type=int, metavar="N", help="Pages captured at once."),
        click.option("--again", is_flag=True, help="Capture also what this store has captured already."),
    )
    for option in reversed(options):
        function = option(function)
    return store_option(function)


def settings_of(config: Path | None, **options: Any) -> Settings:
    """Return the settings with *options*, by key, on top."""
    return load_settings(config, os.environ, options)


def check_text(name: str, text: str, limit: int) -> str:
    """Return the text of an option, which the terminal may have garbled.

    Raises:
        UsageError: E271, not Unicode or longer than *limit* characters.
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise UsageError(
            f"option {name}: expected text in the terminal's encoding, got other bytes",
            code="E271",
            hint="use a UTF-8 locale",
        ) from error
    if len(text) > limit:
        raise UsageError(
            f"option {name}: expected at most {limit} characters, got {len(text)}",
            code="E271",
            hint="shorten it",
        )
    return text
