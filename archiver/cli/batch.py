"""``archiver batch``."""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from archiver import sessions
from archiver.batch.account import Account
from archiver.batch.notify import notify
from archiver.batch.vantage import settings_at, spread
from archiver.cli.options import capture_options, command, settings_of
from archiver.cli.output import clean, say
from archiver.cli.running import print_run, run_seeds, say_row
from archiver.config import Settings
from archiver.errors import ArchiverError, ExitCode, UsageError
from archiver.incidents.register import RegisterReading, RowProblem, Seed, read_register
from storage.errors import StoreError


@command("batch")
@click.argument("register", type=click.Path(path_type=Path))
@click.option("--quiet", is_flag=True, help="Tell what goes wrong and nothing else; for cron.")
@capture_options
def batch(
    *,
    register: Path,
    quiet: bool,
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
    """Capture every page that a register names.

    REGISTER is a CSV, XLSX or JSON Lines file with the columns incident_id and url. Further
    columns travel into the evidence record; a column vantage names the places to capture from. A row that
    cannot be read, or whose target an import found lost, is told with its line and stops no other; what is
    in the store already is not captured again. Broken off in whatever way, the same command goes on where
    it was.
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
    reading = read_register(register)
    seeds, problems = _seeds_of(reading, settings)
    if reading.encoding == "windows-1251":
        say(f"{register.name}: read as Windows-1251, since it is not UTF-8")
    for problem in (*problems, *reading.duplicates, *reading.lost):
        say_row(register.name, problem)
    if not seeds and not reading.lost:
        raise UsageError(
            f"register {register.name}: expected one good row, got {len(problems)} bad ones",
            code="E272",
            hint="correct the rows named above",
        )
    duplicates, lost = reading.duplicates, reading.lost
    digest = seeds[0].register_sha256 if seeds else _digest(register)
    del reading  # its rows are in the queue before the first page is loaded
    account = Account()
    if seeds:
        _run(register, _taken(seeds), settings, account, again=again, quiet=quiet)
    if _digest(register) != digest:
        _tell(account, f"register {register.name}: changed while the batch ran; run it again to take that in")
    in_part = (problems or lost) and account.exit_code is ExitCode.DONE
    code = ExitCode.PARTIAL if in_part else account.exit_code
    for problem_text in notify(settings.notify, _notice(register, settings, account) | {"exit_code": code}):
        _tell(account, problem_text)
    print_run(account, as_json=as_json, rows=problems, duplicates=duplicates, lost=lost, quiet=quiet)
    return code


def _seeds_of(reading: RegisterReading, settings: Settings) -> tuple[deque[Seed], list[RowProblem]]:
    """Return a seed for every row and vantage, and the problems in the order of their rows."""
    seeds: deque[Seed] = deque()
    problems = list(reading.problems)
    for one in spread(reading.seeds, settings):
        if isinstance(one, Seed):
            seeds.append(one)
        else:
            problems.append(one)
    sessions.check_use(settings, {seed.session or settings.session for seed in seeds})
    for name in {seed.vantage for seed in seeds}:
        settings_at(settings, name, os.environ)  # credentials that are missing are told before the run
    return seeds, sorted(problems, key=lambda problem: problem.line)


def _taken(seeds: deque[Seed]) -> Iterator[Seed]:
    while seeds:
        yield seeds.popleft()


def _run(
    register: Path, seeds: Iterator[Seed], settings: Settings, account: Account, *, again: bool, quiet: bool
) -> None:
    """Run the batch; whoever is to be notified of its end is notified of a bad one too."""
    try:
        run_seeds(seeds, settings, account, repeat=again, register=register.name, quiet=quiet)
    except (ArchiverError, StoreError) as error:
        notice = _notice(register, settings, account) | {"exit_code": 1, "error": str(error)}
        for problem in notify(settings.notify, notice):
            say(f"warning: {clean(problem, 400)}")
        raise


def _notice(register: Path, settings: Settings, account: Account) -> dict[str, Any]:
    return {"register": register.name, "store": settings.store} | account.summary()


def _tell(account: Account, problem: str) -> None:
    account.problems.append(problem)
    say(f"warning: {clean(problem, 400)}")


def _digest(register: Path) -> str:
    """Return the register's SHA-256 as it is now; empty when it cannot be read any more."""
    try:
        with register.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""
