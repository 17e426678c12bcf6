"""The embedded dispatch: a table of jobs with leases in one file that outlives any kill. No rules.

Each worker holds the lock of a file of its own (``presence``). Times in the table are seconds of a clock that
is set by the time of day once a boot and then counts on its own, so that waits neither stall nor end when
somebody sets the time.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sql
from sqlalchemy.dialects.sqlite import insert

from archiver.batch import queries
from archiver.batch.clock import boot_id, since_boot_s
from archiver.batch.dispatch import Claim, Job, Rest, State, job_key
from archiver.batch.politeness import host_of
from archiver.batch.presence import Presence, Silence, dead_of
from archiver.batch.queries import CANCELLED, OPEN, OVER
from archiver.batch.tables import boots, disk_errors, hosts, jobs, members, open_database, owners, rounds
from archiver.incidents.register import Seed

ROWS_AT_ONCE = 2_000
MAX_REASON_CHARS = 500


class Queue:
    """The dispatch of one spool folder; any number of processes of this machine use it at once.

    Args:
        path: Of the database file; the lock files of workers lie in ``runs`` beside it.
        clock: Gives the time in seconds; by default the machine's own, which nobody sets.

    Raises:
        EnvironmentUnfit: E700 or E110, here and from every method.
    """

    def __init__(self, path: Path, clock: Callable[[], float] | None = None) -> None:
        self._path = path
        self._engine, self.put_aside = open_database(path)
        self._now = clock or self._clock_of_this_boot()
        self._presences: dict[str, Presence] = {}
        self._silence = Silence()

    def close(self) -> None:
        """See ``Dispatch``; so for every method below."""
        self._engine.dispose()

    def join(self) -> str:
        """The worker lives for as long as this process, or until it leaves."""
        with disk_errors(self._path):
            presence = Presence(self._path.parent / "runs")
        self._presences[presence.worker] = presence
        with self._transaction() as connection:
            connection.execute(sql.insert(owners), {"worker": presence.worker, "beats": 0})
        return presence.worker

    def leave(self, worker: str) -> None:
        """Its lock goes last: whoever sees it gone finds nothing that it holds."""
        try:
            with self._transaction() as connection:
                freed = {"state": "waiting", "owner": None, "loading": 0, "starts": jobs.c.starts - 1}
                connection.execute(sql.update(jobs).where(jobs.c.owner == worker).values(freed))
                connection.execute(sql.delete(owners).where(owners.c.worker == worker))
        finally:
            self._presences.pop(worker).end()

    def enrol(
        self, run: str, store: str, seeds: Iterable[Seed], *, afresh: bool = False, urgent: bool = False
    ) -> int:
        """In transactions of ``ROWS_AT_ONCE``, so that other processes need not wait long."""
        mine = members.c.run == run
        with self._transaction() as connection:
            rank = itertools.count(self._first_rank(connection, run) if urgent else 0)
        for part in _parts(seeds, ROWS_AT_ONCE):
            rows = [_row(store, seed) for seed in part]
            with self._transaction() as connection:
                _put_jobs(connection, rows, afresh=afresh)
                _put_members(connection, run, (row["key"] for row in rows), rank, urgent=urgent)
        with self._transaction() as connection:
            _put_members(connection, run, connection.scalars(queries.late_mementos(run)), rank, urgent=urgent)
            queries.close_failed(connection, run)
            queries.rank_by_starts(connection, mine)
            return connection.scalar(sql.select(sql.func.count()).select_from(members).where(mine)) or 0

    def enrol_memento(self, original: Job, store: str, seed: Seed) -> None:
        """Linked to its original, so that a later run over the same seeds finds it."""
        row = _row(store, seed)
        last = sql.select(sql.func.max(members.c.rank)).where(members.c.run == original.run)
        with self._transaction() as connection:
            _put_jobs(connection, [row], afresh=False)
            connection.execute(sql.update(jobs).where(jobs.c.key == row["key"]).values(original=original.key))
            rank = (connection.scalar(last) or 0) + 1
            link = {"run": original.run, "key": row["key"], "rank": rank}
            connection.execute(insert(members).on_conflict_do_nothing(), link)

    def open_round(self, name: str) -> bool:
        """A row stands for a round under way."""
        with self._transaction() as connection:
            made = connection.execute(insert(rounds).on_conflict_do_nothing(), {"name": name})
            return made.rowcount == 1

    def close_round(self, name: str) -> None:
        """The row goes."""
        with self._transaction() as connection:
            connection.execute(sql.delete(rounds).where(rounds.c.name == name))

    def count_from(self, run: str, held: Callable[[Seed], int]) -> None:
        """Page by page; *held* is called with no transaction open."""
        found = self._pages(run, (jobs.c.key, jobs.c.seed), sql.true())
        while part := list(itertools.islice(found, ROWS_AT_ONCE)):
            values = [{"of": row.key, "count": held(_seed(row.seed))} for row in part]
            change = sql.update(jobs).where(jobs.c.key == sql.bindparam("of"))
            with self._transaction() as connection:
                connection.execute(change.values(held_before=sql.bindparam("count")), values)

    def claim(
        self,
        worker: str,
        pages_per_host: int,
        *,
        run: str | None = None,
        vantages: Collection[str] | None = None,
    ) -> Claim:
        """One transaction that holds the write lock from its start, so that no two find the same job."""
        wanted = queries.wanted(run, vantages)
        with self._transaction() as connection:
            now = self._now()
            found = connection.execute(queries.claimable(wanted, now, pages_per_host)).first()
            if found is None:
                due_at = connection.scalar(queries.soonest(wanted, now))
                running = connection.scalar(queries.count_running(wanted)) or 0
                return Claim(None, None if due_at is None else max(due_at - now, 0), running)
            lease = {"state": "running", "owner": worker, "loading": 1, "starts": found.starts + 1}
            connection.execute(sql.update(jobs).where(jobs.c.key == found.key).values(lease))
        job = _job(found)
        return Claim(replace(job, starts=job.starts + 1))

    def loaded(self, job: Job, *, busy: bool, pause_s: Callable[[int], float]) -> None:
        """The host's row holds its pause and the count of its troubles."""
        where = (hosts.c.vantage == job.seed.vantage, hosts.c.host == job.host)
        with self._transaction() as connection:
            before = connection.scalar(sql.select(hosts.c.troubles).where(*where)) or 0
            troubles = before + 1 if busy else 0
            now = self._now()
            until = now + pause_s(troubles)
            connection.execute(
                queries.pause(job.seed.vantage, job.host, now=now, until=until, troubles=troubles)
            )
            connection.execute(sql.update(jobs).where(jobs.c.key == job.key).values(loading=0))

    def pause_vantage(self, vantage: str, pause_s: float) -> None:
        """A row without a host stands for the vantage."""
        with self._transaction() as connection:
            now = self._now()
            connection.execute(queries.pause(vantage, "", now=now, until=now + pause_s, troubles=0))

    def free_vantages(self, vantages: Collection[str]) -> None:
        """Those rows go."""
        theirs = (hosts.c.host == "", hosts.c.vantage.in_(vantages))
        with self._transaction() as connection:
            connection.execute(sql.delete(hosts).where(*theirs))

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
        """Nothing changes unless the job is still the worker's."""
        now = self._now()
        values: dict[str, Any] = {
            "state": state,
            "reason": reason[:MAX_REASON_CHARS],
            "owner": None,
            "loading": 0,
            "put_off_at": now,
            "not_before": now + wait_s,
        }
        if capture_id:
            values |= {"capture_id": capture_id, "starts": 0}
        if attempts is not None:
            values["attempts"] = attempts
        with self._transaction() as connection:
            mine = (jobs.c.key == job.key, jobs.c.owner == worker)
            if connection.execute(sql.update(jobs).where(*mine).values(values)).rowcount == 0:
                return False
            link = sql.update(members).where(members.c.run == job.run, members.c.key == job.key)
            more = {"attempts": members.c.attempts + int(attempts is not None and attempts > job.attempts)}
            # Not back to open: it may have been cancelled meanwhile.
            connection.execute(link.values(more | ({"over": OVER} if over else {})))
        return True

    def unstart(self, worker: str, job: Job) -> None:
        """The start is taken back too."""
        values = {"state": "waiting", "owner": None, "loading": 0, "starts": job.starts - 1}
        with self._transaction() as connection:
            mine = (jobs.c.key == job.key, jobs.c.owner == worker)
            connection.execute(sql.update(jobs).where(*mine).values(values))

    def skip(self, job_key: str, reason: str) -> None:
        """Not one that is under way."""
        at_rest = (jobs.c.key == job_key, jobs.c.state != "running")
        values = {"state": "skipped", "reason": reason[:MAX_REASON_CHARS]}
        with self._transaction() as connection:
            connection.execute(sql.update(jobs).where(*at_rest).values(values))

    def beat(self, worker: str) -> None:
        """A count, which needs no clock."""
        with self._transaction() as connection:
            mine = owners.c.worker == worker
            connection.execute(sql.update(owners).where(mine).values(beats=owners.c.beats + 1))

    def dead(self, worker: str) -> list[str]:
        """Dead by the lock at once; hung, by beats that do not come, after ``presence.SILENT_S``."""
        with self._transaction() as connection:
            others = connection.execute(
                sql.select(owners.c.worker, owners.c.beats).where(owners.c.worker != worker)
            )
            beats = {row.worker: row.beats for row in others}
        with disk_errors(self._path):
            ended = dead_of(self._path.parent / "runs", beats)
        silent = self._silence.silent(beats, time.monotonic())
        return ended + [other for other in silent if other not in ended]

    def reap(self, workers: Iterable[str]) -> int:
        """Their jobs go behind those that no program died over."""
        dead = list(workers)
        with self._transaction() as connection:
            theirs = jobs.c.owner.in_(dead)
            keys = list(connection.scalars(sql.select(jobs.c.key).where(theirs)))
            freed = {"state": "waiting", "owner": None, "loading": 0}
            connection.execute(sql.update(jobs).where(theirs).values(freed))
            queries.rank_by_starts(connection, members.c.key.in_(keys))
            connection.execute(sql.delete(owners).where(owners.c.worker.in_(dead)))
        return len(keys)

    def cancel(self, run: str) -> int:
        """Those of other runs are theirs still."""
        mine = (members.c.run == run, members.c.over == OPEN)
        with self._transaction() as connection:
            running = sql.select(jobs.c.key).where(jobs.c.state == "running")
            ended = sql.update(members).where(*mine, members.c.key.not_in(running)).values(over=CANCELLED)
            count = connection.execute(ended).rowcount
            connection.execute(sql.update(members).where(*mine).values(over=CANCELLED))
        return count

    def progress(self, run: str) -> dict[State, int]:
        """Counted in the database."""
        with self._transaction() as connection:
            return {state: count for state, count in connection.execute(queries.count_states(run))}  # noqa: C416

    def rest(self, run: str) -> Iterator[Rest]:
        """No transaction is open while the caller looks at one."""
        state = queries.state_in_run().label("state")
        columns = (jobs.c.key, jobs.c.seed, state, jobs.c.reason, jobs.c.not_before, jobs.c.held_before)
        for row in self._pages(run, columns, state.not_in(("done", "skipped"))):
            due_in_s = max(row.not_before - self._now(), 0)
            yield Rest(row.key, _seed(row.seed), row.state, row.reason, due_in_s, row.held_before)

    def end_run(self, run: str) -> None:
        """Its rows go."""
        with self._transaction() as connection:
            connection.execute(sql.delete(members).where(members.c.run == run))

    def _first_rank(self, connection: sql.Connection, run: str) -> int:
        lowest = sql.select(sql.func.min(members.c.rank)).where(members.c.run == run)
        return min(connection.scalar(lowest) or 0, 0) - queries.URGENT_ROOM

    def _clock_of_this_boot(self) -> Callable[[], float]:
        """Set by the time of day when the first process of a boot asks; then it counts on its own."""
        boot = boot_id()
        with self._transaction() as connection:
            set_now = {"boot": boot, "offset_s": time.time() - since_boot_s()}
            connection.execute(sql.delete(boots).where(boots.c.boot != boot))
            connection.execute(insert(boots).on_conflict_do_nothing(), set_now)
            offset_s = connection.scalar(sql.select(boots.c.offset_s)) or 0.0
        return lambda: offset_s + since_boot_s() if boot else time.time()

    def _pages(self, run: str, columns: Iterable[Any], where: Any) -> Iterator[Any]:
        """Yield rows of the run's jobs by rank; no transaction is open while the caller has one."""
        after = -(2**62)
        while True:
            query = (
                sql.select(*columns, members.c.rank)
                .join(members, members.c.key == jobs.c.key)
                .where(members.c.run == run, members.c.rank > after, where)
                .order_by(members.c.rank)
                .limit(ROWS_AT_ONCE)
            )
            with self._transaction() as connection:
                rows = connection.execute(query).all()
            yield from rows
            if len(rows) < ROWS_AT_ONCE:
                return
            after = rows[-1].rank

    @contextmanager
    def _transaction(self) -> Iterator[sql.Connection]:
        with disk_errors(self._path), self._engine.begin() as connection:
            yield connection


def _parts(seeds: Iterable[Seed], size: int) -> Iterator[list[Seed]]:
    rest = iter(seeds)
    while part := list(itertools.islice(rest, size)):
        yield part


def _put_members(
    connection: sql.Connection, run: str, keys: Iterable[str], rank: Iterator[int], *, urgent: bool
) -> None:
    """Make jobs members of a run that wants them; those that are in it keep their rank unless urgent."""
    made = insert(members)
    again = {"over": sql.literal(OPEN)} | ({"rank": made.excluded.rank} if urgent else {})
    put = made.on_conflict_do_update(index_elements=["run", "key"], set_=again)
    if rows := [{"run": run, "key": key, "rank": next(rank)} for key in keys]:
        connection.execute(put, rows)


def _row(store: str, seed: Seed) -> dict[str, Any]:
    return {
        "key": job_key(store, seed),
        "store": store,
        "vantage": seed.vantage,
        "host": host_of(seed.url),
        "seed": msgspec.json.encode(seed).decode(),
        "state": "waiting",
    }


def _put_jobs(connection: sql.Connection, rows: list[dict[str, Any]], *, afresh: bool) -> None:
    """Put jobs in, or bring those that are there up to date, unless they are under way."""
    made = insert(jobs)
    changed: dict[str, Any] = {"seed": made.excluded.seed, "state": queries.reopened(afresh=afresh)}
    if afresh:
        forgotten = ("starts", "attempts", "put_off_at", "not_before", "held_before")
        changed |= dict.fromkeys(forgotten, sql.literal(0))
    at_rest = jobs.c.state != "running"
    connection.execute(made.on_conflict_do_update(index_elements=["key"], set_=changed, where=at_rest), rows)


def _seed(text: str) -> Seed:
    return msgspec.json.decode(text, type=Seed)


def _job(row: Any) -> Job:
    return Job(
        row.key,
        row.run,
        _seed(row.seed),
        row.host,
        row.starts,
        row.attempts,
        row.in_run,
        row.held_before,
    )
