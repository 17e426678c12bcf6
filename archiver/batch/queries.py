"""The queue's questions in SQL."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sql
from sqlalchemy.dialects.sqlite import insert

from archiver.batch.tables import hosts, jobs, members

STARTS_RANK = 2**32
"""More than any register has rows: a seed that a program died over comes after all that it did not."""
OPEN_STATES = ("waiting", "put-off")

JOB_COLUMNS = (
    jobs.c.key,
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
    connection.execute(sql.update(members).where(where).values(rank=rank))


def pause(vantage: str, host: str, *, now: float, until: float, troubles: int) -> Any:
    """Leave a host alone from *vantage* until then; with an empty host, the whole vantage."""
    values = {"put_off_at": now, "not_before": until, "troubles": troubles}
    made = insert(hosts).values(vantage=vantage, host=host, **values)
    return made.on_conflict_do_update(index_elements=["vantage", "host"], set_=values)


def _open_jobs(run_id: str, *columns: Any) -> Any:
    """Select from the run's jobs that wait, with the waits of their hosts and vantages."""
    joined = (
        members.join(jobs, jobs.c.key == members.c.key)
        .outerjoin(_host, (_host.c.vantage == jobs.c.vantage) & (_host.c.host == jobs.c.host))
        .outerjoin(_vantage, (_vantage.c.vantage == jobs.c.vantage) & (_vantage.c.host == ""))
    )
    mine = (members.c.run_id == run_id, members.c.over == 0, jobs.c.state.in_(OPEN_STATES))
    return sql.select(*columns).select_from(joined).where(*mine)


def _due(table: Any, now: float) -> Any:
    """``politeness.is_due`` in SQL; a host without a row was never asked for anything."""
    return table.c.not_before.is_(None) | (table.c.not_before <= now) | (table.c.put_off_at > now)


def claimable(run_id: str, now: float, pages_per_host: int) -> Any:
    """Select the first job of the run that is due and whose host and vantage are free."""
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
    return _open_jobs(run_id, *JOB_COLUMNS).where(*due).order_by(members.c.rank).limit(1)


def soonest(run_id: str) -> Any:
    """Select when the next waiting job of the run is due."""
    times = [sql.func.coalesce(table.c.not_before, 0) for table in (jobs, _host, _vantage)]
    return _open_jobs(run_id, sql.func.min(sql.func.max(*times)))


def count_running(run_id: str) -> Any:
    """Count the jobs of the run that are under way, in whatever process."""
    joined = members.join(jobs, jobs.c.key == members.c.key)
    mine = (members.c.run_id == run_id, members.c.over == 0, jobs.c.state == "running")
    return sql.select(sql.func.count()).select_from(joined).where(*mine)
