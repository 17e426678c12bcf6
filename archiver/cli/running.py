"""A run of captures: started, shown while it goes on, and told in the end."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar
from rich.text import Text

from archiver.cli.custody import sealer_of
from archiver.cli.output import clean, error_console, print_captures, print_json, say
from archiver.confidential import check_recipients
from archiver.config import Settings
from archiver.custodian import key_path
from archiver.errors import ExitCode
from archiver.incidents.register import RowProblem, Seed
from archiver.preservation.syncing import finish_copies
from archiver.progress import Progress
from archiver.sealing import Sealer
from archiver.stores import broken_promises, open_stores
from archiver.storing import begin_store
from archiver.summary import CaptureSummary
from storage.retention import LockingStore


@dataclass(slots=True)
class Run:
    """What came of a run.

    Args:
        captures: Made now, in the order they were finished.
        skipped: Seeds that were not captured, and why.
        problems: What went wrong besides, none of it the end of a capture.
        failures: Where this program failed; what was received is kept for the next run.
        to_be_sealed: There is a signing key, so that a capture that is not sealed is work left to do.
    """

    captures: list[CaptureSummary] = field(default_factory=list)
    skipped: list[tuple[Seed, str]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    to_be_sealed: bool = False

    @property
    def exit_code(self) -> ExitCode:
        """Done only when every page was captured as a page, and sealed where there is a key to seal with."""
        if self.failures:
            return ExitCode.FAILED
        whole = all(
            one.outcome == "captured" and (one.state == "sealed" or not self.to_be_sealed)
            for one in self.captures
        )
        return ExitCode.DONE if whole else ExitCode.PARTIAL


def run_seeds(seeds: Sequence[Seed], settings: Settings, *, repeat: bool) -> Run:
    """Capture *seeds* into the store of *settings* and show how it goes."""
    run = Run(to_be_sealed=key_path(settings).exists())
    check_recipients(settings.recipients)
    store = open_stores(settings)
    begin_store(store)
    _note(run, broken_promises(store, settings))
    sealer = sealer_of(settings, store, run.problems)
    with _bar() as bar:
        asyncio.run(_run(seeds, settings, store, sealer, _Display(run, bar, len(seeds)), repeat=repeat))
    _note(run, finish_copies(store))
    return run


def _note(run: Run, problems: Iterable[str]) -> None:
    for problem in problems:
        run.problems.append(problem)
        say(f"warning: {clean(problem, 400)}")


def print_run(
    run: Run, *, as_json: bool, rows: Sequence[RowProblem] = (), duplicates: Sequence[RowProblem] = ()
) -> None:
    """Print what came of *run*, and the rows of the register that took no part in it."""
    if as_json:
        print_json(_as_json(run, rows, duplicates))
        return
    print_captures(run.captures)
    for one in run.captures:
        if one.outcome != "captured":
            say(f"{one.capture_id}: {one.outcome}: {clean(one.outcome_reason, 200)}")
    if run.skipped:
        say(f"{len(run.skipped)} skipped: captured before; --again captures them once more")


def say_row(register: str, problem: RowProblem) -> None:
    """Tell what is wrong with a row of a register."""
    hint = f" ({problem.hint})" if problem.hint else ""
    say(f"{clean(register)}: line {problem.line}: {clean(problem.what, 200)}{hint}")


async def _run(
    seeds: Sequence[Seed],
    settings: Settings,
    store: LockingStore,
    sealer: Sealer | None,
    display: _Display,
    *,
    repeat: bool,
) -> None:
    # Here, so that commands that need no browser start without Playwright.
    from archiver.pipeline import run_captures  # noqa: PLC0415

    async for summary in run_captures(
        seeds,
        store,
        settings,
        jobs=settings.jobs,
        progress=display,
        repeat=repeat,
        sealer=sealer,
    ):
        display.run.captures.append(summary)


def _as_json(run: Run, rows: Sequence[RowProblem], duplicates: Sequence[RowProblem]) -> dict[str, Any]:
    kinds = [("row", rows), ("duplicate", duplicates)]
    problems: list[dict[str, Any]] = [
        {"kind": kind, "line": row.line, "what": row.what, "hint": row.hint}
        for kind, problems in kinds
        for row in problems
    ]
    problems += [{"kind": "run", "what": text} for text in run.problems]
    problems += [{"kind": "failure", "what": text} for text in run.failures]
    return {
        "captures": [one.to_json() for one in run.captures],
        "skipped": [
            {"url": seed.url, "incident_ids": seed.incident_ids, "line": seed.line, "why": why}
            for seed, why in run.skipped
        ],
        "problems": problems,
    }


def _bar() -> Bar:
    console = error_console()
    return Bar(
        TextColumn("captured"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[now]}"),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


class _Display(Progress):
    """Keeps what is told in a run, moves the bar, and prints a line for each seed."""

    def __init__(self, run: Run, bar: Bar, total: int) -> None:
        self.run = run
        self._bar = bar
        self._task = bar.add_task("", total=total, now="")
        self._total = total
        self._loading = 0

    def started(self, seed: Seed) -> None:
        self._loading += 1
        self._show(seed, "load")

    def phase(self, seed: Seed, name: str) -> None:
        self._show(seed, name)

    def finished(self, summary: CaptureSummary) -> None:
        if self._loading:
            self._loading -= 1
        else:  # a capture that an earlier run left, besides the seeds of this one
            self._total += 1
        self._bar.update(self._task, total=self._total, advance=1)
        self._line(f"{summary.outcome}: {clean(summary.url)}")

    def skipped(self, seed: Seed, why: str) -> None:
        self.run.skipped.append((seed, why))
        self._bar.advance(self._task)

    def failed(self, text: str) -> None:
        self.run.failures.append(text)
        self._line(f"failure: {clean(text, 300)}")
        self._bar.advance(self._task)

    def problem(self, text: str) -> None:
        self.run.problems.append(text)
        self._line(f"note: {clean(text, 200)}")

    def _show(self, seed: Seed, phase: str) -> None:
        self._bar.update(self._task, now=Text(f"{phase} {clean(seed.url, 60)}"))

    def _line(self, text: str) -> None:
        self._bar.console.print(Text(text), soft_wrap=True)
