"""``archiver doctor``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from archiver.checks import Check, check_machine
from archiver.cli.options import command, settings_of, store_option
from archiver.cli.output import clean, print_json, print_lines
from archiver.errors import ExitCode

_MARKS = {"works": "ok  ", "warning": "warn", "fails": "FAIL"}


@command("doctor")
@store_option
def doctor(*, store_url: str | None, config: Path | None, as_json: bool) -> ExitCode:
    """Say what on this machine works, what does not, and what to do about it."""
    checks = check_machine(settings_of(config, store=store_url))
    if as_json:
        print_json({"checks": [asdict(one) for one in checks]})
    else:
        print_lines(line for one in checks for line in _lines(one))
    return ExitCode.FAILED if any(one.state == "fails" for one in checks) else ExitCode.DONE


def _lines(check: Check) -> list[str]:
    lines = [f"{_MARKS[check.state]}  {check.name:<9} {clean(check.found, 300)}"]
    return [*lines, f"      -> {clean(check.todo, 300)}"] if check.todo else lines
