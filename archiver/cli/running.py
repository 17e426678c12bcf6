"""A run of captures: started, shown while it goes on, and told in the end."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

from archiver.batch.account import Account
from archiver.cli.custody import publish_daily, sealer_of
from archiver.cli.output import clean, error_console, print_captures, print_json, say
from archiver.cli.run_view import RunView
from archiver.confidential import check_recipients
from archiver.config import Settings
from archiver.custodian import key_path
from archiver.identity import unfixed
from archiver.incidents.register import RowProblem, Seed
from archiver.preservation.syncing import finish_copies
from archiver.sealing import Sealer
from archiver.stores import broken_promises, open_stores
from archiver.storing import begin_store
from archiver.summary import summary_of
from storage.retention import LockingStore

MAX_SHOWN = 200
"""Captures, or seeds left undone, that are printed one by one; `archiver list` prints more."""


def run_seeds(
    seeds: Iterable[Seed],
    settings: Settings,
    account: Account,
    *,
    repeat: bool,
    register: str = "",
    quiet: bool = False,
) -> None:
    """Capture *seeds* into the store of *settings*, show how it goes, and enter it into *account*.

    Args:
        seeds: Taken one by one, before the first page is loaded.
        settings: Of the run.
        account: Takes what comes of it, also when this raises.
        repeat: Capture also what the store holds already.
        register: As of ``run_captures``.
        quiet: Show problems and nothing else.
    """
    account.to_be_sealed = key_path(settings).exists()
    check_recipients(settings.recipients)
    store = open_stores(settings)
    begin_store(store)
    _note(account, [*broken_promises(store, settings), *unfixed(settings)])
    sealer = sealer_of(settings, store, account.problems)
    with RunView(account, error_console(), quiet=quiet) as view:
        asyncio.run(_run(seeds, settings, store, sealer, view, repeat=repeat, register=register))
    _note(account, publish_daily(settings, sealer) if sealer else [])
    _note(account, finish_copies(store))


def print_run(
    account: Account,
    *,
    as_json: bool,
    rows: Sequence[RowProblem] = (),
    duplicates: Sequence[RowProblem] = (),
    lost: Sequence[RowProblem] = (),
    quiet: bool = False,
) -> None:
    """Print what came of a run, and the rows of the register that took no part in it."""
    if as_json:
        print_json(_as_json(account, {"row": rows, "duplicate": duplicates, "lost": lost}))
        return
    if len(account.captures) <= MAX_SHOWN and not quiet:
        print_captures(summary_of(one) for one in account.captures)
    for one in _first(account.captures, lambda one: one["outcome"] != "captured"):
        say(f"{one['capture_id']}: {one['outcome']}: {clean(one['outcome_reason'], 200)}")
    for one in _first(account.left, lambda _: True):
        say(f"{clean(one['url'], 200)}: {clean(one['why'], 200)}")
    if quiet:
        return
    say(_in_words(account))
    if account.skipped:
        say(f"{len(account.skipped)} skipped: captured before; --again captures them once more")


def say_row(register: str, problem: RowProblem) -> None:
    """Tell what is wrong with a row of a register."""
    hint = f" ({problem.hint})" if problem.hint else ""
    say(f"{clean(register)}: line {problem.line}: {clean(problem.what, 200)}{hint}")


def _first(items: Iterable[dict[str, Any]], wanted: Any) -> Iterable[dict[str, Any]]:
    found = 0
    for one in items:
        if wanted(one):
            found += 1
            if found > MAX_SHOWN:
                say(f"and more than these {MAX_SHOWN}; --json prints them all")
                return
            yield one


def _in_words(account: Account) -> str:
    told = account.summary()
    parts = [f"{told['captures']} captures"]
    parts += [f"{count} {name}" for name, count in told["outcomes"].items()]
    parts += [f"{told[name]} {name.replace('_', ' ')}" for name in ("put_off", "failed") if told[name]]
    return ", ".join(parts)


def _note(account: Account, problems: Iterable[str]) -> None:
    for problem in problems:
        account.problems.append(problem)
        say(f"warning: {clean(problem, 400)}")


async def _run(
    seeds: Iterable[Seed],
    settings: Settings,
    store: LockingStore,
    sealer: Sealer | None,
    view: RunView,
    *,
    repeat: bool,
    register: str,
) -> None:
    # Here, so that commands that need no browser start without Playwright.
    from archiver.pipeline import run_captures  # noqa: PLC0415

    async for summary in run_captures(
        seeds,
        store,
        settings,
        jobs=settings.jobs,
        progress=view,
        repeat=repeat,
        register=register,
        sealer=sealer,
    ):
        view.account.take(summary)


def _as_json(account: Account, kinds: dict[str, Sequence[RowProblem]]) -> dict[str, Any]:
    problems: list[dict[str, Any]] = [
        {"kind": kind, "line": row.line, "what": row.what, "hint": row.hint}
        for kind, problems in kinds.items()
        for row in problems
    ]
    problems += [{"kind": "run", "what": text} for text in account.problems]
    problems += [{"kind": "failure", "what": text} for text in account.failures]
    return {
        "captures": account.captures,
        "skipped": account.skipped,
        "left": account.left,
        "problems": problems,
        "summary": account.summary(),
    }
