"""``archiver replay-check``: what a reader of the package would see, held against what the browser showed."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from archiver.cli.options import command, settings_of, store_option
from archiver.cli.output import clean, print_json, print_lines
from archiver.cli.stores import full_ids
from archiver.errors import ExitCode
from archiver.replay_checking import FLOOR, STATEMENT, check_replay
from archiver.stores import open_stores


@command("replay-check")
@click.argument("capture")
@store_option
def replay_check(*, capture: str, store_url: str | None, config: Path | None, as_json: bool) -> ExitCode:
    """Replay a capture with the network cut, and score how like the page it is.

    Window, text and answered requests are compared with what was captured. The result is kept in the
    store under quality/, outside the capture. It tells of the package, and is no evidence of the page.
    """
    settings = settings_of(config, store=store_url)
    store = open_stores(settings)
    (capture_id,) = full_ids(store, [capture])
    found = check_replay(store, capture_id, settings)
    if as_json:
        facts = asdict(found) | {"capture_id": capture_id, "passed": found.passed, "floor": FLOOR}
        print_json(facts | {"is_evidence": False, "statement": STATEMENT})
    else:
        scores = {"screenshot": found.screenshot, "text": found.text, "requests": found.requests}
        print_lines(f"{name:<11} {value / 10:5.1f} %" for name, value in scores.items())
        print_lines(f"not in the package: {clean(url, 200)}" for url in found.missing)
        print_lines(f"went past the package: {clean(url, 200)}" for url in found.outside)
        least = f"at least {FLOOR / 10:.0f} % in each"
        print_lines(
            [f"{'good' if found.passed else 'NOT GOOD'}: {least} is asked for", f"kept as {found.key}"]
        )
        print_lines([STATEMENT])
    return ExitCode.DONE if found.passed else ExitCode.PARTIAL
