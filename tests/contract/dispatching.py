"""What the contract of dispatch needs of an implementation, and the worker process that it is tried with.

``python -m tests.contract.dispatching ADDRESS RUN POISON`` takes jobs until none is left, and tells each
start and end on its standard output; it kills itself over the URL POISON as often as it meets it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Protocol

from archiver.batch.dispatch import Dispatch
from archiver.batch.queue import Queue
from archiver.incidents.register import Seed

STORE = "/store"
SIXTY = 60


def seed(number: int, host: str = "", incident: str = "T-1", vantage: str = "") -> Seed:
    return Seed(f"http://{host or f'h{number}.test'}/{number}", (incident,), line=number + 1, vantage=vantage)


def sixty() -> list[Seed]:
    """Half of them on one host."""
    return [seed(n, "a.test" if n % 2 else "") for n in range(SIXTY)]


class Lab(Protocol):
    """One implementation under test."""

    address: str
    """From which a process finds the same jobs, by ``dispatch_at``."""

    def open(self) -> Dispatch:
        """Return another handle on the same jobs, on a clock that ``advance`` moves."""
        ...

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        ...


class Embedded:
    def __init__(self, folder: Path) -> None:
        self.address = f"embedded:{folder / 'queue.sqlite'}"
        self._path = folder / "queue.sqlite"
        self._now = 1_000_000.0

    def open(self) -> Dispatch:
        return Queue(self._path, lambda: self._now)

    def advance(self, seconds: float) -> None:
        self._now += seconds


def dispatch_at(address: str) -> Dispatch:
    kind, _, place = address.partition(":")
    assert kind == "embedded"
    return Queue(Path(place))


def start(address: str, run: str, poison: str = "") -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.contract.dispatching", address, run, poison]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def say(*words: str) -> None:
    sys.stdout.write(" ".join(words) + "\n")
    sys.stdout.flush()


def work(address: str, run: str, poison: str) -> None:
    dispatch = dispatch_at(address)
    worker = dispatch.join()
    dispatch.enrol(run, STORE, sixty())
    say("ready")
    sys.stdin.readline()
    while True:
        claim = dispatch.claim(worker, 1, run=run)
        if claim.job is None:
            if claim.due_in_s is None and claim.running == 0:
                return
            dispatch.reap(dispatch.dead(worker))
            continue
        say("start", claim.job.host, claim.job.seed.url)
        if claim.job.seed.url == poison:
            os.kill(os.getpid(), signal.SIGKILL)
        say("end", claim.job.host, claim.job.seed.url)
        dispatch.loaded(claim.job, busy=False, pause_s=lambda _: 0)
        dispatch.end(worker, claim.job, "done", capture_id="c")


if __name__ == "__main__":
    work(*sys.argv[1:])
