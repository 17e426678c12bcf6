"""The queue's questions in SQL."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import sqlalchemy as sql
from sqlalchemy.dialects.sqlite import insert

from archiver.batch.tables import hosts, jobs, members

STARTS_RANK = 2**32
"""More than any register has rows: a seed that a program died over comes after all that it did not."""
URGENT_ROOM = 2**20
"""Ranks taken at once for what is put before all others."""
OPEN_STATES = ("waiting", "put-off")
OPEN, OVER, CANCELLED = 0, 1, 2
"""What a run still wants of a job."""

JOB_COLUMNS = (
    jobs.c.key,
    members.c.run,
    jobs.c.seed,
    jobs.c.host,
    jobs.c.starts,
    jobs.c.attempts,
    members.c.attempts.label("in_run"),
    jobs.c.held_before,
)
_host = hosts.alias("host")
_vantage = hosts.alias("vantage")
_loading = jobs.alias("loading_jobs")


def reopened(*, afresh: bool) -> Any:
    """Return the state of a job that is asked for again."""
    closed = ("done", "skipped", "failed", "put-off") if afresh else ("done", "skipped")
    # Not IN, whose list SQLAlchemy cannot spell out for many rows at once.
    is_closed = sql.or_(*(jobs.c.state == state for state in closed))
    return sql.case((is_closed, "waiting"), else_=jobs.c.state)


def rank_by_starts(connection: sql.Connection, where: Any) -> None:
    """Put jobs that a program died over behind those that none did."""
    starts = sql.select(jobs.c.starts).where(jobs.c.key == members.c.key).scalar_subquery()
    rank = members.c.rank % STARTS_RANK + starts * STARTS_RANK
    connection.execute(sql.update(members).where(where, members.c.rank != rank).values(rank=rank))


def late_mementos(run: str) -> Any:
    """Select mementos that an earlier run had found for pages of this one, and not captured."""
    pages = sql.select(members.c.key).where(members.c.run == run)
    open_states = (*OPEN_STATES, "running")
    return sql.select(jobs.c.key).where(jobs.c.original.in_(pages), jobs.c.state.in_(open_states))


def close_failed(connection: sql.Connection, run: str) -> None:
    """Let a run want nothing of jobs that have failed."""
    failed = sql.select(jobs.c.key).where(jobs.c.state == "failed")
    theirs = (members.c.run == run, members.c.key.in_(failed))
    connection.execute(sql.update(members).where(*theirs).values(over=OVER))


def pause(vantage: str, host: str, *, now: float, until: float, troubles: int) -> Any:
    """Leave a host alone from *vantage* until then; with an empty host, the whole vantage."""
    values = {"put_off_at": now, "not_before": until, "troubles": troubles}
    made = insert(hosts).values(vantage=vantage, host=host, **values)
    return made.on_conflict_do_update(index_elements=["vantage", "host"], set_=values)


def wanted(run: str | None, vantages: Collection[str] | None) -> tuple[Any, ...]:
    """Return the conditions for the jobs of one run or of all, from some vantages or from all."""
    of_run = () if run is None else (members.c.run == run,)
    return of_run if vantages is None else (*of_run, jobs.c.vantage.in_(vantages))


def _open_jobs(wanted: tuple[Any, ...], *columns: Any) -> Any:
    """Select from the jobs that wait, with the waits of their hosts and vantages."""
    joined = (
        members.join(jobs, jobs.c.key == members.c.key)
        .outerjoin(_host, (_host.c.vantage == jobs.c.vantage) & (_host.c.host == jobs.c.host))
        .outerjoin(_vantage, (_vantage.c.vantage == jobs.c.vantage) & (_vantage.c.host == ""))
    )
    is_open = (members.c.over == OPEN, jobs.c.state.in_(OPEN_STATES))
    return sql.select(*columns).select_from(joined).where(*wanted, *is_open)


def _due(table: Any, now: float) -> Any:
    """Tell whether a wait is over; a host without a row was never asked for anything.

    A clock that reads less than when the wait began was wrong then or is now, which a boot can bring: nobody
    knows how much of the wait is left, and it counts as over rather than last for as long as the clock was
    wrong.
    """
    return table.c.not_before.is_(None) | (table.c.not_before <= now) | (table.c.put_off_at > now)


def claimable(wanted: tuple[Any, ...], now: float, pages_per_host: int) -> Any:
    """Select the first job that is due and whose host and vantage are free."""
    loading = (
        sql.select(sql.func.count())
        .select_from(_loading)
        .where(
            _loading.c.loading == 1,
            _loading.c.vantage == jobs.c.vantage,
            _loading.c.host == jobs.c.host,
        )
        .scalar_subquery()
    )
    due = (_due(jobs, now), _due(_host, now), _due(_vantage, now), loading < pages_per_host)
    return _open_jobs(wanted, *JOB_COLUMNS).where(*due).order_by(members.c.rank).limit(1)


def soonest(wanted: tuple[Any, ...], now: float) -> Any:
    """Select when the next waiting job is due."""
    times = [sql.case((_due(table, now), 0), else_=table.c.not_before) for table in (jobs, _host, _vantage)]
    return _open_jobs(wanted, sql.func.min(sql.func.max(*times)))


def count_running(wanted: tuple[Any, ...]) -> Any:
    """Count the jobs that are under way, in whatever process."""
    joined = members.join(jobs, jobs.c.key == members.c.key)
    running = (members.c.over != OVER, jobs.c.state == "running")
    return sql.select(sql.func.count()).select_from(joined).where(*wanted, *running)


def state_in_run() -> Any:
    """Return the state of a job for a run, which may have been cancelled where the job was not."""
    cancelled = (members.c.over == CANCELLED) & jobs.c.state.in_(OPEN_STATES)
    return sql.case((cancelled, "cancelled"), else_=jobs.c.state)


def count_states(run: str) -> Any:
    """Count the jobs of a run by state."""
    joined = members.join(jobs, jobs.c.key == members.c.key)
    state = state_in_run()
    return sql.select(state, sql.func.count()).select_from(joined).where(members.c.run == run).group_by(state)
