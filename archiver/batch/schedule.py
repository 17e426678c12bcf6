"""One run over its jobs: which page is next, when, and what its capture means for the seed.

The rules are in ``retry`` and ``politeness``, the memory in ``queue``; this is what happens in time.
A seed counts as captured when the store holds a capture that settles it, whatever the queue says.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from archiver.batch.dispatch import Claim, Dispatch, Job, Rest, State
from archiver.batch.egress import VantageUnusable, check_vantage
from archiver.batch.mementos import ROLE, TimeMapUnavailable, ask_to_save, find_memento, memento_seed
from archiver.batch.politeness import Answer, Line, host_pause_ms
from archiver.batch.presence import BEAT_S
from archiver.batch.queue import Queue
from archiver.batch.retry import GONE, ending_of, is_settled, next_step
from archiver.batch.settings import MINUTE_MS
from archiver.batch.vantage import settings_at
from archiver.config import Settings
from archiver.errors import EnvironmentUnfit
from archiver.incidents.register import Seed
from archiver.progress import Progress
from archiver.summary import CaptureSummary

MAX_STARTS = 3
"""A page that the program died over so often is left alone."""
POLL_S = 1.0
"""How often to look for what other processes of this machine have changed."""
VANTAGE_PAUSE_S = 5 * 60
MAX_SAVE_FAILURES = 3
STATES: dict[str, State] = {"settled": "done", "failed": "failed", "again": "put-off", "later": "put-off"}
QUEUE_NAME = "queue.sqlite"

_UNREACHED = re.compile(
    "ERR_(NAME_|SOCKS_|CONNECTION_|TIMED_OUT|EMPTY_RESPONSE|ADDRESS_|HTTP2_|NETWORK_|INTERNET_|PROXY_|TUNNEL_)"
)

Held = Callable[[Seed], list[CaptureSummary]]
"""Gives the captures of a seed that the store holds, oldest first."""
TakeOver = Callable[[], Awaitable[None]]
"""Completes what dead runs left in the spool."""


@dataclass(slots=True)
class Schedule:
    """Hands out jobs of one run. Build it with ``begin``.

    Args:
        settings: Of the run.
        queue: Hands out the jobs.
        worker: Name of this process in it, and of its run.
        progress: Is told what happens to seeds.
        held: From a seed to its captures in the store.
        take_over: Called when other runs were found dead, before their jobs are given out again.
        by_hand: Somebody waits for it: try each seed once, and now.
        round_name: Of what is captured once more when the run repeats; empty by hand.
        in_hand: Jobs given out and not yet stored.
        waited_s: Spent with nothing but waiting to do.
    """

    settings: Settings
    queue: Dispatch
    worker: str
    progress: Progress
    held: Held
    take_over: TakeOver
    by_hand: bool = False
    round_name: str = ""
    in_hand: int = 0
    waited_s: float = 0
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    lines: dict[str, Line] = field(default_factory=dict)
    usable: set[str] = field(default_factory=set)
    looked_at: float = -POLL_S
    save_failures: int = 0

    async def enrol(self, seeds: Iterable[Seed], *, repeat: bool) -> None:
        """Take the *seeds* of the run in; with *repeat* captures that the store holds do not count.

        A run with *repeat* that was broken off is continued by the next one, for the same register.
        """
        afresh = repeat
        if repeat and self.round_name:
            afresh = await asyncio.to_thread(self.queue.open_round, self.round_name)
        await asyncio.to_thread(self.queue.free_vantages, ("", *self.settings.vantages))
        store = self.settings.store
        total = await asyncio.to_thread(
            self.queue.enrol, self.worker, store, seeds, afresh=afresh or self.by_hand
        )
        if afresh:
            await asyncio.to_thread(self.queue.count_from, self.worker, lambda seed: len(self._settled(seed)))
        self.progress.enrolled(total)

    async def next(self) -> Job | None:
        """Return the next job, leased and polite to start now; None when the run is over."""
        async with self.turn:
            while True:
                self.changed.clear()
                await self._look_at_others()
                claim = await asyncio.to_thread(
                    self.queue.claim, self.worker, self.settings.batch.pages_per_host, run=self.worker
                )
                if claim.job is None:
                    if not await self._wait(claim):
                        return None
                elif await self._is_to_be_captured(claim.job):
                    self.in_hand += 1
                    return claim.job

    async def loaded(self, job: Job, observed: Mapping[str, Any]) -> None:
        """Free the host of a page whose load has ended, after the pause that its answer asks for."""
        answer = answer_of(observed)
        now = datetime.now(UTC)

        def pause_s(troubles: int) -> float:
            return host_pause_ms(answer, self.settings.batch, troubles, now, random.random) / 1000

        await asyncio.to_thread(self.queue.loaded, job, busy=answer.busy, pause_s=pause_s)
        vantage = job.seed.vantage
        if not answer.reached:
            self.usable.discard(vantage)  # its proxy may have died: ask it before the next page
        line = self.lines.setdefault(vantage, Line())
        if pause_ms := line.saw(job.host, reached=answer.reached):
            why = f"{len(line.dead)} hosts in a row were not reached"
            await self._pause_vantage(vantage, pause_ms / 1000, why)
        self.changed.set()

    async def stored(self, job: Job, summary: CaptureSummary) -> None:
        """Say that a capture of the job is in the store, and decide what becomes of its seed."""
        ending = ending_of(summary)
        attempts = job.attempts + (0 if is_settled(ending) else 1)
        rules = self.settings.batch
        step = next_step(ending, rules, in_run=job.in_run + 1, in_all=attempts, random=random.random)
        state = STATES[step.step]
        over = step.step != "again" or self.by_hand
        if not over:
            self.progress.enrolled(1)  # another attempt
        else:
            # Before the lease ends, so that a kill in between is not the end of the memento.
            await self._ask_archives(job, summary)
        reason = f"{summary.outcome}: {summary.outcome_reason}"
        await asyncio.to_thread(
            self.queue.end,
            self.worker,
            job,
            state,
            reason=reason if step.step != "failed" else f"captured {attempts} times; at last {reason}",
            capture_id=summary.capture_id,
            attempts=attempts,
            wait_s=step.wait_ms / 1000,
            over=over,
        )
        self._let_go()

    async def broke(self, job: Job, why: str) -> None:
        """Say that this program failed over the job; its spool is completed by the next run."""
        await asyncio.to_thread(self.queue.end, self.worker, job, "waiting", reason=why)
        self.progress.failed(why)
        self._let_go()

    async def end(self, *, whole: bool) -> None:
        """Tell what is left undone, and leave. *whole*: the run came to its own end."""
        if whole:
            await asyncio.to_thread(self._tell_rest)
            if self.round_name:
                await asyncio.to_thread(self.queue.close_round, self.round_name)
        await asyncio.to_thread(self.queue.end_run, self.worker)
        await asyncio.to_thread(self.queue.leave, self.worker)

    def _tell_rest(self) -> None:
        for rest in self.queue.rest(self.worker):
            settled = self._settled(rest.seed)
            if len(settled) > rest.held_before and rest.state != "running":
                # It was never its turn, such as because its host was to be left alone.
                why = f"captured before as {settled[-1].capture_id}"
                self.queue.skip(rest.key, why)
                self.progress.skipped(rest.seed, why)
            else:
                self.progress.left(rest.seed, left_why(rest), failed=rest.state == "failed")

    def _let_go(self) -> None:
        self.in_hand -= 1
        self.changed.set()

    def _settled(self, seed: Seed) -> list[CaptureSummary]:
        return [one for one in self.held(seed) if is_settled(ending_of(one))]

    async def _is_to_be_captured(self, job: Job) -> bool:
        """Look once more whether there is anything to do for a job just leased; if not, give it back."""
        settled = await asyncio.to_thread(self._settled, job.seed)
        if len(settled) > job.held_before:
            if job.starts > 1:  # the program ended after the capture was stored
                await self._ask_archives(job, settled[-1])
            why = f"captured before as {settled[-1].capture_id}"
            await asyncio.to_thread(self.queue.end, self.worker, job, "skipped", reason=why)
            self.progress.skipped(job.seed, why)
            return False
        if job.starts > MAX_STARTS:
            why = f"started {MAX_STARTS} times, and each time the program ended over it"
            await asyncio.to_thread(self.queue.end, self.worker, job, "failed", reason=why)
            return False
        return await self._vantage_answers(job)

    async def _vantage_answers(self, job: Job) -> bool:
        name = job.seed.vantage
        if not name or name in self.usable:
            return True
        vantage = self.settings.vantages[name]
        try:
            upstream = settings_at(self.settings, name, os.environ).upstream
            await asyncio.to_thread(check_vantage, name, vantage, upstream)
        except VantageUnusable as error:
            await asyncio.to_thread(self.queue.unstart, self.worker, job)
            await self._pause_vantage(name, VANTAGE_PAUSE_S, str(error))
            return False
        self.usable.add(name)
        return True

    async def _pause_vantage(self, name: str, pause_s: float, why: str) -> None:
        await asyncio.to_thread(self.queue.pause_vantage, name, pause_s)
        self.progress.problem(f"vantage {name or self.settings.vantage}: paused for {pause_s:.0f} s: {why}")

    async def _wait(self, claim: Claim) -> bool:
        """Wait until there may be something to do; False when this run has nothing to wait for."""
        # One that is due and cannot be had waits for a page of another run.
        own_s = claim.due_in_s or POLL_S
        if self.in_hand or claim.running:
            await self._pause(min(max(own_s, 0.01), POLL_S))
            return True
        if claim.due_in_s is None:
            return False
        rules = self.settings.batch
        if own_s * 1000 <= max(rules.host_gap_ms, POLL_S * 1000):
            await self._pause(max(own_s, 0.01))
            return True
        if self.by_hand or self.waited_s + own_s > rules.wait_ms / 1000:
            return False
        self.progress.waiting(own_s)
        # Short waits, so that what other processes change is noticed.
        began = time.monotonic()
        await self._pause(min(own_s, MINUTE_MS / 1000))
        self.waited_s += time.monotonic() - began
        return True

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.changed.wait(), seconds)

    async def _look_at_others(self) -> None:
        """Show that this run lives, and take over from runs that do not."""
        now = time.monotonic()
        if now - self.looked_at < POLL_S:
            return
        self.looked_at = now
        if dead := await asyncio.to_thread(self.queue.dead, self.worker):
            # First what they had received, so that nobody loads a page again that is in the spool whole.
            await self.take_over()
            await asyncio.to_thread(self.queue.reap, dead)
            for worker in dead:
                await asyncio.to_thread(self.queue.end_run, worker)

    async def keep_beating(self) -> None:
        """Beat until cancelled."""
        while True:
            await asyncio.sleep(BEAT_S)
            with contextlib.suppress(EnvironmentUnfit):  # the next step of the run meets it too, and tells
                await asyncio.to_thread(self.queue.beat, self.worker)

    async def _ask_archives(self, job: Job, summary: CaptureSummary) -> None:
        """Look for a memento of a page that is gone; have one made of a page that is there."""
        wanted = self.settings.mementos
        if job.seed.role == ROLE:
            return
        if wanted.use == "when-gone" and summary.outcome in GONE:
            await self._enrol_memento(job)
        if wanted.save and summary.outcome == "captured" and self.save_failures < MAX_SAVE_FAILURES:
            try:
                await asyncio.to_thread(ask_to_save, summary.url, wanted.save)
            except TimeMapUnavailable as error:
                self.save_failures += 1
                self.progress.problem(str(error))

    async def _enrol_memento(self, job: Job) -> None:
        seed = job.seed
        for timemap in self.settings.mementos.timemaps:
            try:
                found = await asyncio.to_thread(find_memento, seed.url, timemap, datetime.now(UTC))
            except TimeMapUnavailable as error:
                self.progress.problem(str(error))
                continue
            if found:
                one = memento_seed(seed, found, timemap)
                await asyncio.to_thread(self.queue.enrol_memento, job, self.settings.store, one)
                self.progress.enrolled(1)
                return
        self.progress.problem(f"no web archive holds a memento of {seed.url}")


@contextlib.asynccontextmanager
async def begin(
    settings: Settings,
    progress: Progress,
    held: Held,
    take_over: TakeOver,
    *,
    register: str = "",
) -> AsyncIterator[Schedule]:
    """Open the queue of the spool folder and enter a run; leave it at the end, however that comes.

    Args:
        settings: Of the run.
        progress: As of ``Schedule``.
        held: Likewise.
        take_over: Likewise.
        register: Name of what the seeds come from; empty when somebody waits for them.

    Raises:
        EnvironmentUnfit: E700, the queue cannot be used.
    """
    root = Path(settings.spool)
    queue = await asyncio.to_thread(Queue, root / QUEUE_NAME)
    if queue.put_aside:
        why = "damaged, or of another version"
        progress.problem(f"queue {QUEUE_NAME}: {why}; put aside as {queue.put_aside.name} and begun anew")
    worker = await asyncio.to_thread(queue.join)
    round_name = f"{settings.store}\0{register}" if register else ""
    schedule = Schedule(settings, queue, worker, progress, held, take_over, not register, round_name)
    beating = asyncio.create_task(schedule.keep_beating())
    whole = False
    try:
        yield schedule
        whole = True
    finally:
        beating.cancel()
        await asyncio.gather(beating, return_exceptions=True)
        try:
            await schedule.end(whole=whole)
        except EnvironmentUnfit:
            # What ended the run is what is to be told; a run that could not leave is found dead by the next.
            if whole:
                raise
        finally:
            queue.close()


def answer_of(observed: Mapping[str, Any]) -> Answer:
    """Read from what a session saw how the host answered."""
    status = observed.get("status")
    # A page that broke this browser says nothing of its host; nor does a certificate that it refused.
    failed = _UNREACHED.search(observed.get("load_error") or "") and "crashed" not in observed
    reached = status is not None or not failed
    return Answer(status, observed.get("retry_after", ""), reached)


def left_why(rest: Rest) -> str:
    """Say why a seed is left undone."""
    if rest.state == "put-off":
        until = datetime.now(UTC) + timedelta(seconds=rest.due_in_s)
        return f"put off until {until:%Y-%m-%dT%H:%M:%SZ}: {rest.reason}"
    if rest.state == "failed":
        return f"failed: {rest.reason}"
    return rest.reason or "not begun: its host or its vantage is put off"
