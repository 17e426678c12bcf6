"""``archiver batch REGISTER --store STORE`` with made-up captures: all but browser, packer and store is real.

For registers of 50,000 rows nothing is captured: the run ends at its first page, and the time until then is
told.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import sys
import time
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from archiver import pipeline
from archiver.catalogue import Catalogue
from archiver.cli.main import run
from archiver.config import Settings
from archiver.incidents.register import Seed
from archiver.progress import Progress
from archiver.summary import CaptureSummary, summarise
from storage.retention import LockingStore
from tests.unit.manifests.records import record

GOOD = summarise(record(), "unsealed")
SETTLE = 20_000
"""Rows up to which everything is captured."""


class Stub:
    """Stands in for the run of the pipeline."""

    def __init__(self, store: LockingStore, settings: Settings, progress: Progress, rows: int) -> None:
        self.store, self.settings, self.progress, self.rows = store, settings, progress, rows
        self.spool_root = Path(settings.spool)
        self.spool_root.mkdir(parents=True, exist_ok=True)
        self.catalogue = Catalogue(self.spool_root / "catalogue.sqlite")
        self.numbers = itertools.count()
        self.first_page_s = 0.0

    async def capture(self, seed: Seed) -> Any:
        """Load nothing."""
        if not self.first_page_s:
            self.first_page_s = time.monotonic() - BEGAN
        if self.rows > SETTLE:
            tell(self)
        self.progress.started(seed)
        await asyncio.sleep(0)
        return Loaded(seed)

    async def finish(self, spool: Any) -> CaptureSummary:
        """Put a made-up capture into the catalogue."""
        seed = spool.seed
        name = f"20261124t081203z-{next(self.numbers):010d}"
        made = replace(GOOD, capture_id=name, url=seed.url, incident_ids=seed.incident_ids, vantage="default")
        await asyncio.to_thread(self.catalogue.add, made)
        self.progress.finished(made)
        return made

    def held(self, seed: Seed) -> list[CaptureSummary]:
        """As the pipeline does."""
        return [*self.catalogue.find(incident_id=seed.incident_ids[0], url=seed.url)]


class Loaded:
    """Stands in for a spool."""

    def __init__(self, seed: Seed) -> None:
        self.seed = seed
        self.observed = {"status": 200}


def tell(stub: Stub) -> None:
    """Print what was measured, and end at once."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    peak_kb = int(status.split("VmHWM:")[1].split()[0])
    figures = {
        "peak_mb": round(peak_kb / 1024, 1),
        "first_page_s": round(stub.first_page_s, 2),
        "cpu_s": round(time.process_time(), 2),
        "captures": next(stub.numbers),
    }
    sys.stdout.write("\n" + json.dumps(figures) + "\n")
    sys.stdout.flush()
    os._exit(0)


BEGAN = time.monotonic()


def main() -> None:
    """Run the command line with a pipeline that makes its captures up."""
    register, store = sys.argv[1:]
    made: list[Stub] = []
    with Path(register).open("rb") as file:
        rows = sum(1 for _ in file) - 1

    async def start(
        _stack: AsyncExitStack, store: LockingStore, settings: Settings, progress: Progress, _jobs: int
    ) -> Stub:
        made.append(Stub(store, settings, progress, rows))
        return made[0]

    pipeline._start = start  # type: ignore[assignment]
    try:
        run(["batch", register, "--store", store, "--quiet", "--jobs", "4"])
    finally:
        tell(made[0])


if __name__ == "__main__":
    main()
