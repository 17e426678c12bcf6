"""``archiver session``: logins that captures can use."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from datetime import UTC, datetime
from pathlib import Path

import click

from archiver import sessions
from archiver.cli.options import EXIT_CODES, command, settings_of
from archiver.cli.output import print_json, print_lines, say
from archiver.errors import ExitCode
from archiver.incidents.rules import check_seed_url


@click.group("session", epilog=EXIT_CODES)
def session() -> None:
    """Log in once, and let captures be made behind that login.

    A session is kept encrypted: to the passphrase in ARCHIVER_SESSION_PASSPHRASE, else to a key in the
    keyring of this account, else to a passphrase that is asked for. Whoever opens it is logged in as you.
    """


@command("new")
@click.argument("name")
@click.argument("url")
@click.option(
    "--resolve", multiple=True, metavar="HOST[:PORT]:ADDRESS", help="Dial ADDRESS for HOST; repeatable."
)
@click.option(
    "--allow-private-network",
    is_flag=True,
    default=None,
    help="Let private and loopback addresses be reached.",
)
@click.option(
    "--ca",
    "ca_files",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, resolve_path=True),
    metavar="FILE",
    help="Trust the root certificates in FILE too; repeatable.",
)
def new(
    *,
    name: str,
    url: str,
    resolve: tuple[str, ...],
    allow_private_network: bool | None,
    ca_files: tuple[str, ...],
    config: Path | None,
    as_json: bool,
) -> ExitCode:
    """Open a window at URL, wait until you have logged in, and keep the session as NAME.

    Press Enter in the terminal when you are logged in, or close the page. Nothing of the login is recorded.
    """
    settings = settings_of(
        config, resolve=resolve, allow_private_network=allow_private_network, ca_files=ca_files
    )
    sessions.check_name(name)
    address = check_seed_url(url)
    # Here, so that listing and removing need no browser.
    from archiver.logging_in import log_in_with  # noqa: PLC0415

    say(f"log in at {address}; then press Enter here, or close the page")
    state = asyncio.run(log_in_with(settings, address, _told_or_closed))
    made = sessions.Session(
        name=name, url=address, made_at=datetime.now(UTC).isoformat(timespec="seconds"), state=state
    )
    sessions.save(made, _ask)
    told = {"name": name, "cookies": len(state["cookies"]), "origins": len(state["origins"])}
    if as_json:
        print_json(told)
    else:
        say(f"session {name} is kept: {told['cookies']} cookies, local storage of {told['origins']} sites")
    return ExitCode.DONE


@command("list")
def list_sessions(*, config: Path | None, as_json: bool) -> ExitCode:
    """List the sessions that are kept."""
    settings_of(config)
    found = sessions.kept()
    if as_json:
        print_json({"sessions": [{"name": o.name, "kept_at": o.kept_at, "key": o.key} for o in found]})
    else:
        print_lines(f"{one.name}  kept {one.kept_at}, opened by {one.key}" for one in found)
    return ExitCode.DONE


@command("remove")
@click.argument("name")
def remove(*, name: str, config: Path | None, as_json: bool) -> ExitCode:
    """Delete a kept session. The site still knows it: log out there as well."""
    settings_of(config)
    sessions.remove(name)
    if as_json:
        print_json({"removed": name})
    else:
        say(f"session {name} is deleted here; end it on the site too")
    return ExitCode.DONE


for _command in (new, list_sessions, remove):
    session.add_command(_command)


async def _told_or_closed(page: object) -> None:
    """Return when Enter is pressed or the page is closed."""
    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    page.on("close", lambda _: over.set())  # type: ignore[attr-defined]  # of Playwright, which is not imported here
    # Without a terminal, closing the page is the only sign.
    with contextlib.suppress(OSError, ValueError):
        loop.add_reader(sys.stdin.fileno(), over.set)
    try:
        await over.wait()
    finally:
        with contextlib.suppress(OSError, ValueError):
            loop.remove_reader(sys.stdin.fileno())


def _ask() -> str:
    if not sys.stdin.isatty():
        return ""
    return str(click.prompt("Passphrase for the session", hide_input=True, confirmation_prompt=True))
