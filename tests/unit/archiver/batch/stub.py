"""A run whose captures are made up: outcomes as told, in the real queue and the real schedule."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec

from archiver.batch.schedule import begin
from archiver.batch.settings import Batch
from archiver.batch.work import work_through
from archiver.config import Settings
from archiver.incidents.register import Seed
from archiver.progress import Progress
from archiver.summary import CaptureSummary, summarise
from tests.unit.manifests.records import record

GOOD = summarise(record(), "unsealed")
QUICK = Batch(host_gap_ms=0, retry_ms=20, retry_max_ms=20, attempts=4, attempts_per_run=2, wait_ms=5_000)
OBSERVED: dict[str, dict[str, Any]] = {
    "unreachable": {"load_error": "net::ERR_CONNECTION_REFUSED"},
    "overloaded": {"status": 503},
    "not-found": {"status": 404},
}


@dataclass
class Heard(Progress):
    """What a run told."""

    skips: list[str] = field(default_factory=list)
    rest: list[tuple[str, str, bool]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    total: int = 0

    def enrolled(self, count: int) -> None:
        self.total += count

    def skipped(self, seed: Seed, why: str) -> None:
        self.skips.append(seed.url)

    def left(self, seed: Seed, why: str, *, failed: bool) -> None:
        self.rest.append((seed.url, why, failed))

    def problem(self, text: str) -> None:
        self.problems.append(text)


@dataclass
class StubSpool:
    seed: Seed
    observed: dict[str, Any]


@dataclass
class Stub:
    """A store of made-up captures that any number of runs fill.

    Args:
        folder: Of the spool.
        outcome: From a seed and the number of its captures before to the outcome of the next one.
    """

    folder: Path
    outcome: Callable[[Seed, int], str] = lambda _seed, _before: "captured"
    captures: list[CaptureSummary] = field(default_factory=list)
    rules: Batch = QUICK
    more: dict[str, Any] = field(default_factory=dict)
    loading: list[str] = field(default_factory=list)
    most_at_once: dict[str, int] = field(default_factory=dict)
    numbers: itertools.count[int] = field(default_factory=itertools.count)

    async def capture(self, seed: Seed) -> StubSpool:
        host = seed.url.split("/")[2]
        self.loading.append(host)
        self.most_at_once[host] = max(self.most_at_once.get(host, 0), self.loading.count(host))
        await asyncio.sleep(0)
        self.loading.remove(host)
        outcome = self.outcome(seed, len(self.held(seed)))
        return StubSpool(seed, {"outcome": outcome} | OBSERVED.get(outcome, {"status": 200}))

    async def finish(self, spool: StubSpool) -> CaptureSummary:
        seed = spool.seed
        made = replace(
            GOOD,
            capture_id=f"c{next(self.numbers)}",
            url=seed.url,
            incident_ids=seed.incident_ids,
            outcome=spool.observed["outcome"],
            vantage=seed.vantage,
            http_status=spool.observed.get("status", 0),
        )
        self.captures.append(made)
        return made

    def held(self, seed: Seed) -> list[CaptureSummary]:
        return [one for one in self.captures if one.url == seed.url and seed.vantage == one.vantage]

    def settings(self) -> Settings:
        own = {"store": "/store", "spool": str(self.folder), "batch": self.rules}
        return msgspec.structs.replace(Settings(), **own | self.more)

    def run(
        self, seeds: Iterable[Seed], *, register: str = "r.csv", repeat: bool = False, jobs: int = 3
    ) -> Heard:
        """Run a batch to its end and return what it told."""
        heard = Heard()

        async def go() -> None:
            done: asyncio.Queue[CaptureSummary] = asyncio.Queue()

            async def take_over() -> None: ...

            async with begin(self.settings(), heard, self.held, take_over, register=register) as schedule:
                await schedule.enrol(seeds, repeat=repeat)
                async for _ in work_through(self, schedule, jobs, done):
                    pass

        asyncio.run(go())
        return heard

    def outcomes(self, url: str) -> list[str]:
        return [one.outcome for one in self.captures if one.url == url]
