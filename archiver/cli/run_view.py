"""How a run is shown while it goes on: a live view on a terminal, lines elsewhere, nothing when quiet."""

from __future__ import annotations

import time
from collections import Counter
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from archiver.batch.account import Account, Pace
from archiver.cli.output import clean
from archiver.incidents.register import Seed
from archiver.progress import Progress
from archiver.summary import CaptureSummary

MAX_NOW_SHOWN = 8
BAR_WIDTH = 30


class RunView(Progress):
    """Keeps what is told in a run, and shows it; a context manager.

    Args:
        account: Takes what the run tells.
        console: Standard error.
        quiet: Show problems and nothing else.
    """

    def __init__(self, account: Account, console: Console, *, quiet: bool) -> None:
        self.account = account
        self.total = 0
        self.over = 0
        self._console = console
        self._quiet = quiet
        self._pace = Pace()
        self._outcomes: Counter[str] = Counter()
        self._now: dict[tuple[str, str], str] = {}
        self._waits_until: float | None = None
        live = console.is_terminal and not quiet
        self._live = Live(self, console=console, refresh_per_second=2, transient=True) if live else None

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def __rich__(self) -> Group:
        """Show totals and pace, what runs now, and what went wrong, a line each."""
        head = Table.grid(padding=(0, 1))
        bar = ProgressBar(total=max(self.total, 1), completed=self.over, width=BAR_WIDTH)
        head.add_row(bar, f"{self.over}/{self.total}", self.pace())
        now = [
            Text(f"  {phase} {clean(url, 90)}{_from(vantage)}")
            for (url, vantage), phase in list(self._now.items())[:MAX_NOW_SHOWN]
        ]
        if self._waits_until is not None and not self._now:
            left = max(self._waits_until - time.monotonic(), 0)
            now = [Text(f"  waiting {_duration(left)}: hosts or vantages are to be left alone")]
        return Group(head, *now, Text(self.kinds()))

    def pace(self) -> str:
        """Say how fast it goes and how long it will take."""
        rate, left_s = self._pace.per_minute(), self._pace.left_s(max(self.total - self.over, 0))
        if rate is None or left_s is None:
            return ""
        if self._waits_until is not None and not self._now:
            return (
                f"{rate:.1f} a minute before this wait"  # how many of the rest will have to wait nobody knows
            )
        return f"{rate:.1f} a minute, about {_duration(left_s)} left"

    def kinds(self) -> str:
        """Say how many captures had which outcome."""
        kinds = [f"{count} {name}" for name, count in self._outcomes.most_common()]
        if skipped := len(self.account.skipped):
            kinds.append(f"{skipped} skipped")
        if self.account.failures:
            kinds.append(f"{len(self.account.failures)} failed here")
        return ", ".join(kinds)

    def enrolled(self, count: int) -> None:
        """See ``Progress``; so for every method below."""
        self.total += count

    def started(self, seed: Seed) -> None:
        """One more runs now."""
        self._waits_until = None
        self._now[seed.url, seed.vantage] = "load"

    def phase(self, seed: Seed, name: str) -> None:
        """What runs now has got on."""
        self._now[seed.url, seed.vantage] = name

    def finished(self, summary: CaptureSummary) -> None:
        """A capture is stored."""
        vantage = summary.vantage if (summary.url, summary.vantage) in self._now else ""
        loading = self._now.pop((summary.url, vantage), None)
        if loading is None:  # a capture that an earlier run left, besides the seeds of this one
            self.total += 1
        self.over += 1
        self._outcomes[summary.outcome] += 1
        self._pace.took(time.monotonic())
        self._line(f"{summary.outcome}: {clean(summary.url)}{_from(vantage)}")

    def skipped(self, seed: Seed, why: str) -> None:
        """A seed is not captured."""
        self.account.skip(seed, why)
        self.over += 1

    def left(self, seed: Seed, why: str, *, failed: bool) -> None:
        """A seed stays undone."""
        self.account.leave(seed, why, failed=failed)

    def waiting(self, seconds: float) -> None:
        """Nothing can be done for a while."""
        self._waits_until = time.monotonic() + seconds
        self._line(f"waiting {_duration(seconds)}: hosts or vantages are to be left alone")

    def failed(self, text: str) -> None:
        """This program failed over a capture."""
        self.account.failures.append(text)
        self.over += 1
        self._line(f"failure: {clean(text, 300)}", always=True)

    def problem(self, text: str) -> None:
        """Something went wrong that ends no capture."""
        self.account.problems.append(text)
        self._line(f"note: {clean(text, 200)}")

    def _line(self, text: str, *, always: bool = False) -> None:
        if always or not self._quiet:
            self._console.print(Text(text), soft_wrap=True)


def _from(vantage: str) -> str:
    return f" from {clean(vantage, 30)}" if vantage else ""


def _duration(seconds: float) -> str:
    """Say a time as precisely as an estimate deserves: seconds below two minutes, minutes below two days."""
    if seconds < 2 * 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 48 * 60:
        hours, minutes = divmod(minutes, 60)
        return f"{hours} h {minutes} min" if hours else f"{minutes} min"
    return f"{minutes / 60 / 24:.0f} days"
