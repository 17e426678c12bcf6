"""Works through a schedule: some pages loaded at once, each packed and stored while the next one loads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Protocol

from archiver.batch.dispatch import Job
from archiver.batch.schedule import Schedule
from archiver.errors import ArchiverError
from archiver.incidents.register import Seed
from archiver.spool import Spool
from archiver.summary import CaptureSummary

WAITING_PER_JOB = 2
"""Captures that may wait to be packed and stored, per page loaded at once; then loading waits."""


class PackingFailed(ArchiverError):
    """A capture could not be packed; it lies in the spool and is tried again by the next run."""


class Means(Protocol):
    """What captures a seed."""

    async def capture(self, seed: Seed) -> Spool:
        """Load one page; what was seen and received is in the spool that is returned."""
        ...

    async def finish(self, spool: Spool) -> CaptureSummary:
        """Pack, store and index a spool, and drop it; or raise ``PackingFailed`` and keep it."""
        ...


async def work_through(
    means: Means, schedule: Schedule, jobs: int, done: asyncio.Queue[CaptureSummary]
) -> AsyncIterator[CaptureSummary]:
    """Capture what *schedule* hands out and yield each capture when it is stored.

    Args:
        means: Captures.
        schedule: Says which page is next.
        jobs: Pages loaded at once, at least 1.
        done: Captures to yield; others may put theirs in.

    Raises:
        ArchiverError, StoreError: The run cannot go on.
    """
    work = asyncio.create_task(_all_of_it(means, schedule, jobs, done))
    try:
        while not (work.done() and done.empty()):
            getting = asyncio.ensure_future(done.get())
            await asyncio.wait({work, getting}, return_when=asyncio.FIRST_COMPLETED)
            if getting.done():
                yield getting.result()
            else:
                getting.cancel()
        await work
    except ExceptionGroup as failures:
        raise _first(failures) from failures
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)


async def _all_of_it(
    means: Means, schedule: Schedule, jobs: int, done: asyncio.Queue[CaptureSummary]
) -> None:
    room = asyncio.Semaphore(jobs * WAITING_PER_JOB)
    async with asyncio.TaskGroup() as group:

        async def load() -> None:
            while True:
                await room.acquire()
                try:
                    if (job := await schedule.next()) is None:
                        room.release()
                        return
                    spool = await means.capture(job.seed)
                    await schedule.loaded(job, spool.observed or {})
                except BaseException:
                    room.release()
                    raise
                group.create_task(_finish(means, schedule, job, spool, done, room))

        for _ in range(jobs):
            group.create_task(load())


async def _finish(  # noqa: PLR0917  # a step of the loop above, called there alone
    means: Means,
    schedule: Schedule,
    job: Job,
    spool: Spool,
    done: asyncio.Queue[CaptureSummary],
    room: asyncio.Semaphore,
) -> None:
    try:
        summary = await means.finish(spool)
    except PackingFailed as error:
        spool.let_go()
        await schedule.broke(job, str(error))
    else:
        await schedule.stored(job, summary)
        done.put_nowait(summary)
    finally:
        room.release()


def _first(failures: ExceptionGroup[Exception]) -> Exception:
    found = failures.exceptions[0]
    return _first(found) if isinstance(found, ExceptionGroup) else found
