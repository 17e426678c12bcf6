"""Seed in, stored capture out. The one page to read first.

For each seed: **capture** (browser and recorder fill a spool folder), **pack** (another process makes the
files and the evidence record), **store** (artefacts first, the record last: a capture exists when its
record exists), **index**, and the spool is dropped. Packing overlaps the next page's load. Whatever is
killed in between, the next run finds the spool and completes it.
"""

from __future__ import annotations

import asyncio
import ctypes
import dataclasses
import os
import signal
from collections.abc import AsyncIterator, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archiver import circumstances, sessions
from archiver.batch.schedule import begin
from archiver.batch.vantage import settings_at
from archiver.batch.work import PackingFailed, work_through
from archiver.capture import browser as browsers
from archiver.capture.rig import Rigs, describe, policy_for
from archiver.capture.session import Job, capture
from archiver.catalogue import Catalogue, catalogue_path
from archiver.config import Settings, cache_folder, config_folder
from archiver.egress import policy_of
from archiver.errors import ArchiverError, EnvironmentUnfit
from archiver.incidents.register import Seed
from archiver.packing import RECORD_NAME, pack
from archiver.progress import Progress
from archiver.pseudonyms import pseudonym, seed_key
from archiver.redaction import values_of_state
from archiver.seal_run import sealed_as_they_come, unsealed
from archiver.sealing import Sealer, seal
from archiver.spool import Spool, leftovers, new_capture_id
from archiver.storing import begin_store, store_capture
from archiver.summary import CaptureSummary, load_summary, summarise
from manifests.codec import decode
from manifests.errors import ManifestError
from storage.retention import LockingStore

if TYPE_CHECKING:
    from archiver.capture.browser import BrowserFacts
    from manifests.record_process import Clock, LowerTimeBound

PACKER_NICENESS = 5
"""On two cores the browser goes first."""
MAX_PACKERS = 2
PR_SET_PDEATHSIG = 1
"""``prctl`` option of Linux: the signal to get when the parent dies."""


@dataclass(slots=True)
class _Run:
    store: LockingStore
    settings: Settings
    progress: Progress
    rigs: Rigs
    packers: ProcessPoolExecutor
    workers: int
    catalogue: Catalogue
    spool_root: Path
    facts: BrowserFacts
    places: dict[str, tuple[Settings, dict[str, Any]]]
    clock: asyncio.Task[Clock]
    not_before: asyncio.Task[LowerTimeBound | None]
    logins: dict[str, sessions.Session] = field(default_factory=dict)

    async def capture(self, seed: Seed) -> Spool:
        """Load one page; what was seen and received is in the spool that is returned."""
        self.progress.started(seed)
        async with self.rigs.one() as rig:
            now = datetime.now(UTC)
            clock = await self.clock
            settings, means = self._place(seed.vantage)
            name = seed.session or settings.session
            session = await self._session(name) if name else None
            request = circumstances.request_of(
                seed,
                settings,
                means,
                clock,
                not_before=await self.not_before,
                requested_at=now,
                session=name,
            )
            request["key_log"] = str(rig.home.keys)
            if settings.recipients:
                request["recipients"] = list(settings.recipients)
                request["pseudonym"] = self._pseudonym(seed)
            with _spool_errors(self.spool_root):
                spool = Spool.create(self.spool_root, new_capture_id(now), request)
            policy = policy_for(rig, policy_of(settings))
            if session is not None:
                spool.write_secrets(values_of_state(session.state))
            job = Job(
                spool,
                seed.url,
                settings.view,
                settings.limits,
                policy,
                behaviours=settings.behaviours,
                media=settings.media,
                extra_roots=tuple(Path(name) for name in settings.ca_files),
                user_agent=self.facts.user_agent,
                state=session.state if session else None,
            )
            with _spool_errors(self.spool_root):
                await capture(rig, job)
        return spool

    async def finish(self, spool: Spool) -> CaptureSummary:
        """Pack, store and index a spool, and drop it."""
        data = await self._pack(spool)
        record = decode(data)
        await asyncio.to_thread(store_capture, self.store, spool.out, record, data)
        summary = summarise(record, "unsealed")
        await asyncio.to_thread(self.catalogue.add, summary)
        # Whoever runs it gave the addresses, so they are told them also of confidential captures.
        told = dataclasses.replace(
            summary, url=spool.request["seed"]["url"], vantage=spool.request["environment"]["vantage"]
        )
        spool.remove()
        self.progress.finished(told)
        return summary

    def held(self, seed: Seed) -> list[CaptureSummary]:
        """Return the captures of a seed that the store holds, oldest first."""
        incident_id = seed.incident_ids[0]
        found = self.catalogue.find(incident_id=incident_id, url=seed.url)
        plain = [one for one in found if one.url == seed.url and seed.vantage in ("", one.vantage)]
        if not self.settings.recipients:
            return plain
        hidden = list(self.catalogue.find(incident_id=incident_id, url=self._pseudonym(seed)))
        return sorted(plain + hidden, key=lambda one: one.capture_id)

    def _pseudonym(self, seed: Seed) -> str:
        vantage = seed.vantage or self.settings.vantage
        return pseudonym(seed_key(config_folder()), seed.url, seed.incident_ids[0], vantage)

    async def _session(self, name: str) -> sessions.Session:
        """Return a kept session, opened once in a run."""
        if name not in self.logins:
            self.logins[name] = await asyncio.to_thread(sessions.load, name)
        return self.logins[name]

    def _place(self, vantage: str) -> tuple[Settings, dict[str, Any]]:
        """Return the settings and the means at a vantage."""
        if vantage not in self.places:
            settings = settings_at(self.settings, vantage, os.environ)
            self.places[vantage] = (settings, circumstances.environment(settings, self.facts))
        return self.places[vantage]

    async def _pack(self, spool: Spool) -> bytes:
        """Pack in the other process, or take what an earlier run had packed whole."""
        packed = spool.out / RECORD_NAME
        if packed.exists():
            return packed.read_bytes()
        try:
            with _spool_errors(self.spool_root):
                return await asyncio.get_running_loop().run_in_executor(self.packers, pack, spool.folder)
        except BrokenProcessPool as error:
            self.packers = _start_packers(self.workers)
            raise _packing_failed(spool, "the packing process was killed") from error
        except ArchiverError:
            raise
        except Exception as error:  # a page that finds a defect of ours must not stop the others
            raise _packing_failed(spool, f"{type(error).__name__}: {error}"[:300]) from error


def _packing_failed(spool: Spool, what: str) -> PackingFailed:
    return PackingFailed(
        f"capture {spool.capture_id}: packing failed: expected an evidence record, got {what}",
        code="E111",
        hint="run the same command again: what was received is kept in the spool and packed then",
    )


async def run_captures(
    seeds: Iterable[Seed],
    store: LockingStore,
    settings: Settings,
    *,
    jobs: int,
    progress: Progress,
    repeat: bool,
    register: str = "",
    sealer: Sealer | None = None,
) -> AsyncIterator[CaptureSummary]:
    """Capture *seeds* into *store* and yield each capture when it is stored, in the order of finishing.

    With a *sealer* they are yielded when they are sealed, or have come as far as proof can be had.

    What an earlier run left unfinished is completed first. One failed capture stops no other; a failure
    of the machine or the store stops the run, after what was loaded has been kept.

    Args:
        seeds: Checked; taken one by one.
        store: Where captures go.
        settings: Of the run.
        jobs: Pages loaded at once, at least 1.
        progress: Is told what happens.
        repeat: Capture again what the store holds already.
        register: Name of what the seeds come from; a run over it that was broken off is gone on with. Without
            a name somebody waits for them: each is tried once, and now.
        sealer: Seals what was captured; None leaves captures unsealed.

    Raises:
        ArchiverError, StoreError: The run cannot go on.
    """
    await asyncio.to_thread(begin_store, store)
    async with AsyncExitStack() as stack:
        run = await _start(stack, store, settings, progress, jobs)
        captures = _everything(run, seeds, jobs, repeat=repeat, register=register)
        if sealer is None:
            async for summary in captures:
                yield summary
            return
        async for summary in sealed_as_they_come(sealer, captures, progress, asyncio.to_thread):
            await asyncio.to_thread(run.catalogue.add, summary)
            yield summary
        await asyncio.to_thread(_seal_older, run, sealer)


def _seal_older(run: _Run, sealer: Sealer) -> None:
    """Complete what an earlier run could not seal, such as for want of a timestamp authority."""
    older = unsealed(run.catalogue.find())
    for sealing in seal(sealer, [one.capture_id for one in older]):
        run.catalogue.add(load_summary(run.store, sealing.capture_id))


async def _everything(
    run: _Run, seeds: Iterable[Seed], jobs: int, *, repeat: bool, register: str
) -> AsyncIterator[CaptureSummary]:
    async for summary in _complete_leftovers(run):
        yield summary
    await asyncio.to_thread(_bring_up_to_date, run)
    done: asyncio.Queue[CaptureSummary] = asyncio.Queue()

    async def take_over() -> None:
        async for summary in _complete_leftovers(run):
            done.put_nowait(summary)

    async with begin(run.settings, run.progress, run.held, take_over, register=register) as schedule:
        await schedule.enrol(seeds, repeat=repeat)
        async for summary in work_through(run, schedule, jobs, done):
            yield summary


def _bring_up_to_date(run: _Run) -> None:
    """Let the catalogue say what the store holds."""

    def load(capture_id: str) -> CaptureSummary | None:
        try:
            return load_summary(run.store, capture_id)
        except (ArchiverError, ManifestError):
            return None

    run.catalogue.sync(run.store.list_folders("captures/"), load)


async def _start(
    stack: AsyncExitStack, store: LockingStore, settings: Settings, progress: Progress, jobs: int
) -> _Run:
    clock = asyncio.create_task(circumstances.clock_in_time(settings.ntp_servers))
    not_before = asyncio.create_task(circumstances.lower_bound(settings))
    executable = browsers.find_browser(settings.browser or None)
    cache = cache_folder()
    facts = await asyncio.to_thread(describe, executable, cache, settings.view, settings.user_agent)
    spool_root = Path(settings.spool)
    _make_private(spool_root)
    workers = min(jobs, MAX_PACKERS)
    packers = _start_packers(workers)
    roots = tuple(Path(name) for name in settings.ca_files)
    rigs = await stack.enter_async_context(
        Rigs(executable, facts, settings.view, roots, limits=settings.limits, cache=cache)
    )
    catalogue = Catalogue(catalogue_path(cache, store.url))
    stack.callback(catalogue.close)
    run = _Run(
        store, settings, progress, rigs, packers, workers, catalogue, spool_root, facts, {}, clock, not_before
    )
    stack.callback(lambda: run.packers.shutdown(wait=True, cancel_futures=True))
    return run


def _start_packers(workers: int) -> ProcessPoolExecutor:
    # Forking a process that runs an event loop and a browser's pipes would share them.
    packers = ProcessPoolExecutor(
        max_workers=workers,
        mp_context=get_context("spawn"),
        initializer=_become_packer,
        initargs=(os.getpid(),),
    )
    with _interrupts_held():
        for _ in range(workers):  # so that they start and import while the first page loads
            packers.submit(os.getpid)
    return packers


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Start processes that never see Ctrl-C, which reaches the whole group: the run itself ends them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _become_packer(parent: int) -> None:
    """Go behind the browser in the queue for the processor, and end when the run ends, however it ends."""
    os.nice(PACKER_NICENESS)
    libc = ctypes.CDLL(None)
    if hasattr(libc, "prctl"):
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before it was asked to tell
        os._exit(1)


def _make_private(folder: Path) -> None:
    with _spool_errors(folder):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)


@contextmanager
def _spool_errors(folder: Path) -> Iterator[None]:
    """A spool that cannot be used ends the run; what was received stays in it for the next one."""
    try:
        yield
    except OSError as error:
        raise EnvironmentUnfit(
            f"spool {folder}: expected a folder with room that can be written, got {error.strerror or error}",
            code="E110",
            hint="free space, or set `spool` to a folder of your own with room for a few captures",
        ) from error


async def _complete_leftovers(run: _Run) -> AsyncIterator[CaptureSummary]:
    """Finish what an earlier run was killed over, for this store; others' spools are left alone."""
    for spool in leftovers(run.spool_root):
        if spool.request.get("store") != run.settings.store or not spool.hold():
            continue
        try:
            summary = await run.finish(spool)
        except PackingFailed as error:
            run.progress.failed(str(error))
            continue
        finally:
            spool.let_go()
        how = f"it was unfinished and is now stored as {summary.completeness}"
        run.progress.problem(f"capture {summary.capture_id} of an earlier run: {how}")
        yield summary
    await asyncio.to_thread(browsers.clear_leftovers)
