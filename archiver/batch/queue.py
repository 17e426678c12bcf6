"""What is still to do: a table of jobs with leases that outlives any kill. No rules, no browser.

A job is one seed from one vantage for one store. The queue knows waits, starts and leases; whether a capture
exists only the store knows. So a lost queue costs a few waits and never a capture.

Times are Unix seconds of the caller's clock.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import msgspec
import sqlalchemy as sql
from sqlalchemy.dialects.sqlite import insert

from archiver.batch import queries
from archiver.batch.politeness import host_of
from archiver.batch.tables import disk_errors, hosts, jobs, members, open_database, owners, rounds
from archiver.incidents.register import Seed
from archiver.incidents.rules import url_identity

State = Literal["waiting", "running", "put-off", "done", "skipped", "failed"]

ROWS_AT_ONCE = 500
MAX_REASON_CHARS = 500


@dataclass(frozen=True, slots=True)
class Job:
    """One seed from one vantage.

    Args:
        key: Its identity in the queue.
        seed: To capture.
        host: That its page burdens.
        starts: Starts that came to no end, the present one included.
        attempts: Captures so far that did not settle it.
        in_run: Those of them in the present run.
        held_before: Captures in the store that do not count.
    """

    key: str
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
        due_at: When the next one is due; None when none is waiting.
        running: Of the run's jobs, those under way anywhere.
    """

    job: Job | None
    due_at: float | None = None
    running: int = 0


@dataclass(frozen=True, slots=True)
class Rest:
    """What a run leaves undone.

    Args:
        seed: Not captured, or not so that it is settled.
        state: ``waiting``, ``put-off``, ``failed`` or ``running`` (elsewhere).
        reason: Why.
        not_before: For ``put-off``.
    """

    seed: Seed
    state: State
    reason: str
    not_before: float


def job_key(store: str, seed: Seed) -> str:
    """Return what tells one job from all others."""
    parts = (store, seed.incident_ids[0], url_identity(seed.url), seed.vantage)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


class Queue:
    """The queue of one spool folder; any number of processes use it at once.

    Args:
        path: Of the database file.

    Raises:
        EnvironmentUnfit: E700, here and from every method.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._engine, self.put_aside = open_database(path)

    def close(self) -> None:
        """Let go of the file."""
        self._engine.dispose()

    def begin(self, run_id: str) -> None:
        """Enter a run, which owns nothing yet. Vantages get another chance: they may have been mended."""
        with self._transaction() as connection:
            connection.execute(sql.insert(owners), {"run_id": run_id, "beats": 0})
            connection.execute(sql.delete(hosts).where(hosts.c.host == ""))

    def enrol(self, run_id: str, store: str, seeds: Iterable[Seed], *, afresh: bool = False) -> int:
        """Make *seeds* jobs of the run, in their order; return how many it has then, each counted once.

        Mementos of theirs that an earlier run had found and not captured join them. What was done or
        skipped is looked at again, since the store may have lost it.

        Args:
            run_id: Of the run.
            store: URL of the store they are for.
            seeds: Checked; read once.
            afresh: Forget waits, starts and failures of earlier runs.
        """
        rank = itertools.count()
        for part in _parts(seeds, ROWS_AT_ONCE):
            rows = [_row(store, seed) for seed in part]
            with self._transaction() as connection:
                _put_jobs(connection, rows, afresh=afresh)
                keys = [row["key"] for row in rows]
                late = jobs.c.original.in_(keys) & jobs.c.state.in_(("waiting", "put-off", "running"))
                keys += connection.scalars(sql.select(jobs.c.key).where(late))
                links = [{"run_id": run_id, "key": key, "rank": next(rank)} for key in keys]
                connection.execute(insert(members).on_conflict_do_nothing(), links)
                theirs = (members.c.run_id == run_id) & members.c.key.in_(keys)
                failed = sql.select(jobs.c.key).where(jobs.c.state == "failed", jobs.c.key.in_(keys))
                over = members.c.key.in_(failed)
                connection.execute(sql.update(members).where(theirs, over).values(over=1))
                queries.rank_by_starts(connection, theirs)
        with self._transaction() as connection:
            mine = members.c.run_id == run_id
            return connection.scalar(sql.select(sql.func.count()).select_from(members).where(mine)) or 0

    def enrol_memento(self, run_id: str, store: str, seed: Seed, original: Job) -> None:
        """Make the memento of a page that is gone a job of the run, after all others."""
        row = _row(store, seed)
        mine = members.c.run_id == run_id
        last = sql.select(sql.func.max(members.c.rank)).where(mine)
        with self._transaction() as connection:
            _put_jobs(connection, [row], afresh=False)
            connection.execute(sql.update(jobs).where(jobs.c.key == row["key"]).values(original=original.key))
            rank = (connection.scalar(last) or 0) + 1
            link = {"run_id": run_id, "key": row["key"], "rank": rank}
            connection.execute(insert(members).on_conflict_do_nothing(), link)

    def open_round(self, name: str) -> bool:
        """Begin a round of capturing everything once more; False when it is under way already."""
        with self._transaction() as connection:
            made = connection.execute(insert(rounds).on_conflict_do_nothing(), {"name": name})
            return made.rowcount == 1

    def close_round(self, name: str) -> None:
        """End a round."""
        with self._transaction() as connection:
            connection.execute(sql.delete(rounds).where(rounds.c.name == name))

    def count_from(self, run_id: str, held: Callable[[Seed], int]) -> None:
        """Let only captures count that are made from now on; *held* tells how many a seed has."""
        found = self._pages(run_id, (jobs.c.key, jobs.c.seed), sql.true())
        while part := list(itertools.islice(found, ROWS_AT_ONCE)):
            values = [{"of": row.key, "count": held(_seed(row.seed))} for row in part]
            change = sql.update(jobs).where(jobs.c.key == sql.bindparam("of"))
            with self._transaction() as connection:
                connection.execute(change.values(held_before=sql.bindparam("count")), values)

    def claim(self, run_id: str, now: float, pages_per_host: int) -> Claim:
        """Lease the first job of the run that is due and whose host and vantage are free."""
        with self._transaction() as connection:
            found = connection.execute(queries.claimable(run_id, now, pages_per_host)).first()
            if found is None:
                due_at = connection.scalar(queries.soonest(run_id))
                running = connection.scalar(queries.count_running(run_id)) or 0
                return Claim(None, due_at, running)
            lease = {"state": "running", "owner": run_id, "loading": 1, "starts": found.starts + 1}
            connection.execute(sql.update(jobs).where(jobs.c.key == found.key).values(lease))
        job = _job(found)
        return Claim(replace(job, starts=job.starts + 1))

    def loaded(self, job: Job, now: float, *, busy: bool, pause_s: Callable[[int], float]) -> None:
        """Free the host of a page that was loaded, after a pause.

        Args:
            job: Leased to the caller.
            now: The time.
            busy: The host answered that it wants to be left alone, or did not answer.
            pause_s: From the number of such answers in a row to the pause, in seconds.
        """
        where = (hosts.c.vantage == job.seed.vantage, hosts.c.host == job.host)
        with self._transaction() as connection:
            before = connection.scalar(sql.select(hosts.c.troubles).where(*where)) or 0
            troubles = before + 1 if busy else 0
            until = now + pause_s(troubles)
            connection.execute(
                queries.pause(job.seed.vantage, job.host, now=now, until=until, troubles=troubles)
            )
            connection.execute(sql.update(jobs).where(jobs.c.key == job.key).values(loading=0))

    def pause_vantage(self, vantage: str, now: float, until: float) -> None:
        """Start no page from *vantage* before *until*."""
        with self._transaction() as connection:
            connection.execute(queries.pause(vantage, "", now=now, until=until, troubles=0))

    def end(
        self,
        run_id: str,
        job: Job,
        state: State,
        *,
        reason: str = "",
        capture_id: str = "",
        attempts: int | None = None,
        now: float = 0,
        not_before: float = 0,
        over: bool = True,
    ) -> bool:
        """Give a lease back.

        Args:
            run_id: Whose lease it is.
            job: Leased.
            state: What the job is from now on.
            reason: Why, for people.
            capture_id: The capture that came of it.
            attempts: Captures that did not settle it; None leaves the number.
            now: The time.
            not_before: For ``put-off``.
            over: The run is through with it.

        Returns:
            False when the lease had been lost to another run; then nothing is changed.
        """
        values: dict[str, Any] = {
            "state": state,
            "reason": reason[:MAX_REASON_CHARS],
            "owner": None,
            "loading": 0,
            "put_off_at": now,
            "not_before": not_before,
        }
        if capture_id:
            values |= {"capture_id": capture_id, "starts": 0}
        if attempts is not None:
            values["attempts"] = attempts
        with self._transaction() as connection:
            mine = (jobs.c.key == job.key, jobs.c.owner == run_id)
            if connection.execute(sql.update(jobs).where(*mine).values(values)).rowcount == 0:
                return False
            link = sql.update(members).where(members.c.run_id == run_id, members.c.key == job.key)
            in_run = members.c.attempts + (1 if attempts is not None and attempts > job.attempts else 0)
            connection.execute(link.values(over=int(over), attempts=in_run))
        return True

    def unstart(self, run_id: str, job: Job) -> None:
        """Give a lease back as if it had never been taken, such as when its vantage turns out to be dead."""
        values = {"state": "waiting", "owner": None, "loading": 0, "starts": job.starts - 1}
        with self._transaction() as connection:
            mine = (jobs.c.key == job.key, jobs.c.owner == run_id)
            connection.execute(sql.update(jobs).where(*mine).values(values))

    def beat(self, run_id: str) -> dict[str, int]:
        """Show that the run is alive, and return the beats of every other run."""
        with self._transaction() as connection:
            mine = owners.c.run_id == run_id
            connection.execute(sql.update(owners).where(mine).values(beats=owners.c.beats + 1))
            others = connection.execute(sql.select(owners.c.run_id, owners.c.beats).where(~mine))
            return {row.run_id: row.beats for row in others}

    def reap(self, run_ids: Iterable[str]) -> int:
        """End runs that are dead: their leases are free again, their starts counted. Returns the leases."""
        dead = list(run_ids)
        with self._transaction() as connection:
            theirs = jobs.c.owner.in_(dead)
            keys = list(connection.scalars(sql.select(jobs.c.key).where(theirs)))
            freed = {"state": "waiting", "owner": None, "loading": 0}
            connection.execute(sql.update(jobs).where(theirs).values(freed))
            queries.rank_by_starts(connection, members.c.key.in_(keys))
            for table in (members, owners):
                connection.execute(sql.delete(table).where(table.c.run_id.in_(dead)))
        return len(keys)

    def rest(self, run_id: str) -> Iterator[Rest]:
        """Yield what the run leaves undone, in order."""
        columns = (jobs.c.seed, jobs.c.state, jobs.c.reason, jobs.c.not_before)
        for row in self._pages(run_id, columns, jobs.c.state.not_in(("done", "skipped"))):
            yield Rest(_seed(row.seed), row.state, row.reason, row.not_before)

    def leave(self, run_id: str) -> None:
        """End the run; its jobs stay, with what became of them."""
        with self._transaction() as connection:
            freed = {"state": "waiting", "owner": None, "loading": 0, "starts": jobs.c.starts - 1}
            connection.execute(sql.update(jobs).where(jobs.c.owner == run_id).values(freed))
            for table in (members, owners):
                connection.execute(sql.delete(table).where(table.c.run_id == run_id))

    def _pages(self, run_id: str, columns: Iterable[Any], where: Any) -> Iterator[Any]:
        """Yield rows of the run's jobs by rank; no transaction is open while the caller has one."""
        after = -1
        while True:
            query = (
                sql.select(*columns, members.c.rank)
                .join(members, members.c.key == jobs.c.key)
                .where(members.c.run_id == run_id, members.c.rank > after, where)
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
    return Job(row.key, _seed(row.seed), row.host, row.starts, row.attempts, row.in_run, row.held_before)
