"""``archiver batch``."""

from __future__ import annotations

from pathlib import Path

import click

from archiver.cli.options import capture_options, command, settings_of
from archiver.cli.output import say
from archiver.cli.running import print_run, run_seeds, say_row
from archiver.errors import ExitCode, UsageError
from archiver.incidents.register import read_register


@command("batch")
@click.argument("register", type=click.Path(path_type=Path))
@capture_options
def batch(
    *,
    register: Path,
    store_url: str | None,
    resolve: tuple[str, ...],
    allow_private_network: bool | None,
    allowed_addresses: tuple[str, ...],
    ca_files: tuple[str, ...],
    jobs: int | None,
    again: bool,
    config: Path | None,
    as_json: bool,
) -> ExitCode:
    """Capture every page that a register names.

    REGISTER is a CSV, XLSX or JSON Lines file with the columns incident_id and url. Further
    columns travel into the evidence record. A row that cannot be read is told with its line and stops
    no other; what is in the store already is not captured again.
    """
    settings = settings_of(
        config,
        store=store_url,
        resolve=resolve,
        allow_private_network=allow_private_network,
        allowed_addresses=allowed_addresses,
        ca_files=ca_files,
        jobs=jobs,
    )
    reading = read_register(register)
    if reading.encoding == "windows-1251":
        say(f"{register.name}: read as Windows-1251, since it is not UTF-8")
    for problem in (*reading.problems, *reading.duplicates):
        say_row(register.name, problem)
    if not reading.seeds:
        raise UsageError(
            f"register {register.name}: expected one good row, got {len(reading.problems)} bad ones",
            code="E272",
            hint="correct the rows named above",
        )
    run = run_seeds(reading.seeds, settings, repeat=again)
    print_run(run, as_json=as_json, rows=reading.problems, duplicates=reading.duplicates)
    return ExitCode.PARTIAL if reading.problems else run.exit_code
