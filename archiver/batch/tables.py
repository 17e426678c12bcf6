"""The queue's database file: its tables, how it is opened, and what becomes of a broken one.

SQLite in write-ahead mode. Every transaction begins with ``BEGIN IMMEDIATE``: with the driver's default a
count runs before the lock is taken, and two processes both find room for the one page that a host may have.
A commit is on the disk when it returns (``synchronous = FULL``), so that it survives a power cut.
"""

from __future__ import annotations

import contextlib
import errno
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sql
from sqlalchemy.exc import DatabaseError

from archiver.errors import EnvironmentUnfit

APPLICATION_ID = 0x41525142  # "ARQB"
SCHEMA_VERSION = 2
BUSY_S = 30
CACHE_KB = 256
DATABASE_ERRORS = (DatabaseError, sqlite3.DatabaseError)
_ENDINGS = ("", "-wal", "-shm")
_BUSY_CODES = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})

metadata = sql.MetaData()

jobs = sql.Table(
    "jobs",
    metadata,
    sql.Column("key", sql.Text, primary_key=True),
    sql.Column("store", sql.Text, nullable=False),
    sql.Column("vantage", sql.Text, nullable=False),
    sql.Column("host", sql.Text, nullable=False),
    sql.Column("seed", sql.Text, nullable=False),
    sql.Column("state", sql.Text, nullable=False),
    sql.Column("reason", sql.Text, nullable=False, server_default=""),
    sql.Column("capture_id", sql.Text, nullable=False, server_default=""),
    # Leases: who has the job, whether its page is being loaded, and starts that came to no end.
    sql.Column("owner", sql.Text),
    sql.Column("loading", sql.Integer, nullable=False, server_default="0"),
    sql.Column("starts", sql.Integer, nullable=False, server_default="0"),
    # Captures that did not settle it, and the wait for the next one, on the queue's own clock.
    sql.Column("attempts", sql.Integer, nullable=False, server_default="0"),
    sql.Column("put_off_at", sql.Float, nullable=False, server_default="0"),
    sql.Column("not_before", sql.Float, nullable=False, server_default="0"),
    # Captures in the store that do not count, because the seed was asked for once more after them.
    # Of a memento: the job of the page that was gone.
    sql.Column("original", sql.Text),
    sql.Column("held_before", sql.Integer, nullable=False, server_default="0"),
)
sql.Index("jobs_loading", jobs.c.vantage, jobs.c.host, sqlite_where=jobs.c.loading == 1)
sql.Index("jobs_original", jobs.c.original, sqlite_where=jobs.c.original.is_not(None))
sql.Index("jobs_owner", jobs.c.owner, sqlite_where=jobs.c.owner.is_not(None))

members = sql.Table(
    "members",
    metadata,
    sql.Column("run", sql.Text, primary_key=True),
    sql.Column("key", sql.Text, primary_key=True),
    sql.Column("rank", sql.Integer, nullable=False),
    sql.Column("attempts", sql.Integer, nullable=False, server_default="0"),
    sql.Column("over", sql.Integer, nullable=False, server_default="0"),
)
sql.Index("members_open", members.c.run, members.c.over, members.c.rank)

hosts = sql.Table(
    "hosts",
    metadata,
    sql.Column("vantage", sql.Text, primary_key=True),
    # An empty host stands for the vantage as a whole.
    sql.Column("host", sql.Text, primary_key=True),
    sql.Column("put_off_at", sql.Float, nullable=False),
    sql.Column("not_before", sql.Float, nullable=False),
    sql.Column("troubles", sql.Integer, nullable=False, server_default="0"),
)

owners = sql.Table(
    "owners",
    metadata,
    sql.Column("worker", sql.Text, primary_key=True),
    sql.Column("beats", sql.Integer, nullable=False),
)

boots = sql.Table(
    "boots",
    metadata,
    sql.Column("boot", sql.Text, primary_key=True),
    sql.Column("offset_s", sql.Float, nullable=False),
)

rounds = sql.Table("rounds", metadata, sql.Column("name", sql.Text, primary_key=True))


def open_database(path: Path) -> tuple[sql.Engine, Path | None]:
    """Open the file, or make it; one that is damaged or of another version is put aside first.

    Returns:
        The engine, and where the old file went, or None.

    Raises:
        EnvironmentUnfit: E700, or E110 for a disk that is full.
    """
    with disk_errors(path):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        engine = _engine(path)
        put_aside = None
        if path.exists() and not _is_ours(engine):
            engine.dispose()
            put_aside = _put_aside(path)
            engine = _engine(path)
        with engine.begin() as connection:
            metadata.create_all(connection)
            connection.exec_driver_sql(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.exec_driver_sql(f"PRAGMA user_version = {SCHEMA_VERSION}")
        path.chmod(0o600)
    return engine, put_aside


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn what the database or the disk says into an error of ours."""
    try:
        yield
    except (OSError, *DATABASE_ERRORS) as error:
        reason = error.strerror if isinstance(error, OSError) else str(getattr(error, "orig", error))
        if _is_full(error):
            # Whoever meets a full disk first, page or queue, says the same of it.
            raise EnvironmentUnfit(
                f"spool {path.parent}: expected room on its disk, got: {reason}",
                code="E110",
                hint="free space, or set `spool` to a folder with room for a few captures",
            ) from error
        raise EnvironmentUnfit(
            f"queue {path}: expected a database that can be written, got: {reason}",
            code="E700",
            hint="free space, or set `spool` to a folder of your own; what is stored is not captured twice",
        ) from error


def _is_full(error: BaseException) -> bool:
    if isinstance(error, OSError):
        return error.errno in {errno.ENOSPC, errno.EDQUOT}
    return getattr(getattr(error, "orig", error), "sqlite_errorcode", None) == sqlite3.SQLITE_FULL


def _engine(path: Path) -> sql.Engine:
    engine = sql.create_engine(f"sqlite:///{path}", connect_args={"timeout": BUSY_S})

    @sql.event.listens_for(engine, "connect")
    def _on_connect(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # the driver's own BEGIN would be a deferred one
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA cache_size = -{CACHE_KB}")  # of each thread's connection

    @sql.event.listens_for(engine, "begin")
    def _on_begin(connection: sql.Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def _is_ours(engine: sql.Engine) -> bool:
    """Tell whether the file is a whole database of this version; an empty one is about to become it."""
    try:
        with engine.begin() as connection:
            values = [
                connection.exec_driver_sql(f"PRAGMA {name}").scalar()
                for name in ("application_id", "user_version", "quick_check(1)")
            ]
            names = set(connection.scalars(sql.text("SELECT name FROM sqlite_master WHERE type = 'table'")))
    except DATABASE_ERRORS as error:
        code = getattr(getattr(error, "orig", error), "sqlite_errorcode", None)
        if code in _BUSY_CODES:
            raise
        return False
    return not names or (values == [APPLICATION_ID, SCHEMA_VERSION, "ok"] and names >= set(metadata.tables))


def _put_aside(path: Path) -> Path:
    number = 1
    while (aside := path.with_name(f"{path.name}.broken-{number}")).exists():
        number += 1
    for ending in _ENDINGS:
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + ending).rename(aside.with_name(aside.name + ending))
    return aside
