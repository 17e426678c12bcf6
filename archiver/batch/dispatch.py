"""The port that jobs are handed out through: what any implementation promises. No rules, no I/O, no clock.

A *job* is one seed from one vantage for one store. A *run* is a set of jobs that somebody asked for. A
*worker* is a process that holds leases. Whether a capture exists only the store knows: what is lost here
costs a few waits and never a capture.

Waits are given and told as durations, so that no two machines need agree on the time of day: an
implementation counts them on a clock of its own that nobody's wrong clock moves. Every method may block for
as long as a disk or a server takes; call it from a thread. ``tests/contract/test_dispatch.py`` holds all of
this against each implementation.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from archiver.incidents.register import Seed
from archiver.incidents.rules import url_identity

State = Literal["waiting", "running", "put-off", "done", "skipped", "failed", "cancelled"]


@dataclass(frozen=True, slots=True)
class Job:
    """One seed from one vantage, leased.

    Args:
        key: Its identity.
        run: That it was given out for.
        seed: To capture.
        host: That its page burdens.
        starts: Starts that came to no end, the present one included.
        attempts: Captures so far that did not settle it.
        in_run: Those of them in this run.
        held_before: Captures in the store that do not count.
    """

    key: str
    run: str
    seed: Seed
    host: str
    starts: int = 0
    attempts: int = 0
    in_run: int = 0
    held_before: int = 0


@dataclass(frozen=True, slots=True)
class Claim:
    """What there is to do now.

    Args:
        job: Leased to the caller, or None.
        due_in_s: Until the next one is due, 0 for one that is and waits for its host; None when none waits.
        running: Of the jobs looked at, those under way anywhere.
    """

    job: Job | None
    due_in_s: float | None = None
    running: int = 0


@dataclass(frozen=True, slots=True)
class Rest:
    """What a run leaves undone.

    Args:
        key: Of the job.
        seed: Not captured, or not so that it is settled.
        state: Any but ``done`` and ``skipped``; ``running`` means elsewhere.
        reason: Why.
        due_in_s: For ``put-off``.
        held_before: As of ``Job``.
    """

    key: str
    seed: Seed
    state: State
    reason: str
    due_in_s: float
    held_before: int


def job_key(store: str, seed: Seed) -> str:
    """Return what tells one job from all others."""
    parts = (store, seed.incident_ids[0], url_identity(seed.url), seed.vantage)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


class Dispatch(Protocol):
    """Hands out jobs.

    Every method raises EnvironmentUnfit when the disk or the server behind it fails: E700, or E110 for a disk
    that is full.
    """

    put_aside: Path | None
    """Where a damaged one went that this one stands in for, or None."""

    def join(self) -> str:
        """Enter a worker, and return its name, which is unique and cannot be taken twice."""
        ...

    def leave(self, worker: str) -> None:
        """Let a worker go in good order: its leases are free again and their starts are not counted."""
        ...

    def enrol(
        self, run: str, store: str, seeds: Iterable[Seed], *, afresh: bool = False, urgent: bool = False
    ) -> int:
        """Make *seeds* jobs of the run, in their order; return how many it has then, each counted once.

        Mementos of theirs that an earlier run had found and not captured join them. What was done or
        skipped is looked at again, since the store may have lost it.

        Args:
            run: Made when new.
            store: URL of the store they are for.
            seeds: Checked; read once.
            afresh: Forget waits, starts and failures of earlier runs.
            urgent: Put them before all others of the run, those that are in it already included.
        """
        ...

    def enrol_memento(self, original: Job, store: str, seed: Seed) -> None:
        """Make the memento of a page that is gone a job of the same run, after all others."""
        ...

    def open_round(self, name: str) -> bool:
        """Begin a round of capturing everything once more; False when it is under way already."""
        ...

    def close_round(self, name: str) -> None:
        """End a round."""
        ...

    def count_from(self, run: str, held: Callable[[Seed], int]) -> None:
        """Let only captures count that are made from now on; *held* tells how many a seed has."""
        ...

    def claim(
        self,
        worker: str,
        pages_per_host: int,
        *,
        run: str | None = None,
        vantages: Collection[str] | None = None,
    ) -> Claim:
        """Lease the first job that is due and whose host and vantage are free.

        Jobs that a program died over come last. At most *pages_per_host* pages of one host are loaded at once
        from one vantage, over all runs and workers.

        Args:
            worker: Takes the lease.
            pages_per_host: At least 1.
            run: Look at its jobs alone.
            vantages: Look at theirs alone.
        """
        ...

    def loaded(self, job: Job, *, busy: bool, pause_s: Callable[[int], float]) -> None:
        """Free the host of a page that was loaded, after a pause.

        Args:
            job: Leased to the caller.
            busy: The host answered that it wants to be left alone, or did not answer.
            pause_s: From the number of such answers in a row to the pause, in seconds.
        """
        ...

    def pause_vantage(self, vantage: str, pause_s: float) -> None:
        """Start no page from *vantage* for so long."""
        ...

    def free_vantages(self, vantages: Collection[str]) -> None:
        """End the pauses of *vantages*: they may have been mended."""
        ...

    def end(
        self,
        worker: str,
        job: Job,
        state: State,
        *,
        reason: str = "",
        capture_id: str = "",
        attempts: int | None = None,
        wait_s: float = 0,
        over: bool = True,
    ) -> bool:
        """Give a lease back.

        Args:
            worker: Whose lease it is.
            job: Leased.
            state: What the job is from now on.
            reason: Why, for people.
            capture_id: The capture that came of it; its starts are forgotten then.
            attempts: Captures that did not settle it; None leaves the number.
            wait_s: For ``put-off``.
            over: The run is through with it.

        Returns:
            False when the lease had been lost to another worker; then nothing is changed.
        """
        ...

    def unstart(self, worker: str, job: Job) -> None:
        """Give a lease back as if it had never been taken, such as when its vantage turns out to be dead."""
        ...

    def skip(self, job_key: str, reason: str) -> None:
        """Say that a job at rest needs no capture, such as because the store turns out to hold it."""
        ...

    def beat(self, worker: str) -> None:
        """Show that a worker is alive."""
        ...

    def dead(self, worker: str) -> list[str]:
        """Return the other workers that have ended without leaving, or show no life any more."""
        ...

    def reap(self, workers: Iterable[str]) -> int:
        """Let dead workers go: their leases are free again, their starts counted. Returns the leases."""
        ...

    def cancel(self, run: str) -> int:
        """Give out no more jobs of a run, and return how many that ends; what is under way is finished."""
        ...

    def progress(self, run: str) -> dict[State, int]:
        """Count the jobs of a run by their states."""
        ...

    def rest(self, run: str) -> Iterator[Rest]:
        """Yield what the run leaves undone, in order."""
        ...

    def end_run(self, run: str) -> None:
        """Forget which jobs belonged to a run; the jobs stay, with what became of them."""
        ...

    def close(self) -> None:
        """Let go of file or server."""
        ...
