"""The catalogue: what a store holds, in SQLite, for quick lists. It can be thrown away at any moment.

Everything in it comes from the evidence records of one store; ``sync`` brings it up to date with them.
Several processes may use one catalogue at once (write-ahead log, waits of up to ``BUSY_S``).
"""

from __future__ import annotations

import fcntl
import hashlib
import itertools
import json
import os
import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import sqlalchemy as sql
from sqlalchemy.exc import DatabaseError

from archiver.errors import ArchiverError, EnvironmentUnfit, UsageError
from archiver.incidents.rules import url_identity
from archiver.summary import CaptureSummary

APPLICATION_ID = 0x41524348  # "ARCH", so that a database of somebody else is told apart
SCHEMA_VERSION = 2
BUSY_S = 30
CACHE_KB = 256
BATCH_CAPTURES = 1_000
READS_IN_FLIGHT = 8
MAX_MATCHES_SHOWN = 5

# What is wrong as the file is opened comes from the driver itself, all else by way of SQLAlchemy.
DATABASE_ERRORS = (DatabaseError, sqlite3.DatabaseError)

_tables = sql.MetaData()
_captures = sql.Table(
    "captures",
    _tables,
    sql.Column("capture_id", sql.Text, primary_key=True),
    sql.Column("url_key", sql.Text, nullable=False, index=True),
    sql.Column("final_url_key", sql.Text, nullable=False, index=True),
    sql.Column("summary", sql.Text, nullable=False),
)
_links = sql.Table(
    "incident_links",
    _tables,
    sql.Column("incident_id", sql.Text, primary_key=True),
    sql.Column("capture_id", sql.Text, primary_key=True, index=True),
)


class CatalogueBroken(ArchiverError):
    """The file is damaged; ``Catalogue.sync`` mends that, and ``replace`` makes a new one."""


def catalogue_path(cache: Path, store_url: str) -> Path:
    """Return where the catalogue of a store lies in the *cache* folder."""
    name = store_url if "://" in store_url else str(Path(store_url).absolute())
    return cache / "catalogues" / f"{hashlib.sha256(name.encode()).hexdigest()[:32]}.sqlite"


class Catalogue:
    """One catalogue file, made when missing and replaced when it is not one of this version.

    Args:
        path: The file; its folder is made.

    Raises:
        EnvironmentUnfit: E262, the file can be neither used nor replaced.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._engine = _engine(path)
        with _disk_errors(path), _locked(path):
            if not self._is_ours():
                self._make()

    def close(self) -> None:
        """Let go of the file."""
        self._engine.dispose()

    def replace(self) -> None:
        """Throw everything away and begin anew."""
        with _disk_errors(self._path), _locked(self._path):
            self._make()

    def add(self, summary: CaptureSummary) -> None:
        """Put one capture in, or in the place of what was known of it."""
        with self._transaction() as connection:
            _put(connection, [summary])

    def sync(self, present: Iterable[str], load: Callable[[str], CaptureSummary | None]) -> None:
        """Take the captures in whose IDs are *present* and not known, and drop those that are gone.

        Args:
            present: Every capture ID of the store.
            load: Reads one, in one of several threads; None when it cannot be read, which is for the caller
                to report.
        """
        in_store = set(present)
        try:
            known = self._known()
        except CatalogueBroken:
            self.replace()
            known = set()
        missing = iter(sorted(in_store - known))
        with ThreadPoolExecutor(READS_IN_FLIGHT) as pool:
            # One transaction for each batch: whatever ends this early, the next sync goes on from there.
            while batch := list(itertools.islice(missing, BATCH_CAPTURES)):
                summaries = [one for one in pool.map(load, batch) if one is not None]
                with self._transaction() as connection:
                    _put(connection, summaries)
        with self._transaction() as connection:
            _drop(connection, known - in_store)

    def find(self, *, incident_id: str | None = None, url: str | None = None) -> Iterator[CaptureSummary]:
        """Yield captures, oldest first: of an incident, of a URL (asked for or shown in the end), or all."""
        query = sql.select(_captures.c.summary).order_by(_captures.c.capture_id)
        if incident_id is not None:
            linked = sql.select(_links.c.capture_id).where(_links.c.incident_id == incident_id)
            query = query.where(_captures.c.capture_id.in_(linked))
        if url is not None:
            key = _url_key(url)
            query = query.where((_captures.c.url_key == key) | (_captures.c.final_url_key == key))
        with self._transaction() as connection:
            for text in connection.scalars(query):
                yield _from_json(text)

    def get(self, capture_id: str) -> CaptureSummary:
        """Return the capture of that ID, or the one whose ID begins so.

        Raises:
            UsageError: E260, none or several.
        """
        # SQLite's LIKE folds case and has wildcards; a range of the key has neither.
        column = _captures.c.capture_id
        query = sql.select(_captures.c.summary).where(
            column >= capture_id, column < capture_id + "\U0010ffff"
        )
        with self._transaction() as connection:
            found = connection.scalars(query.order_by(column).limit(MAX_MATCHES_SHOWN + 1)).all()
        if len(found) == 1 and capture_id:
            return _from_json(found[0])
        what = (
            "none"
            if not found
            else ", ".join(_from_json(one).capture_id for one in found[:MAX_MATCHES_SHOWN])
        )
        raise UsageError(
            f"capture {ascii(capture_id)[1:41]}: expected the ID of one capture or its beginning, got {what}",
            code="E260",
            hint="run `archiver list` and give more of the ID",
        )

    def _known(self) -> set[str]:
        """Return every capture ID, having looked at the whole file for damage."""
        with self._transaction() as connection:
            verdict = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar()
            if verdict != "ok":
                raise sqlite3.DatabaseError(verdict)
            return set(connection.scalars(sql.select(_captures.c.capture_id)))

    @contextmanager
    def _transaction(self) -> Iterator[sql.Connection]:
        try:
            with self._engine.begin() as connection:
                yield connection
        except DATABASE_ERRORS as error:
            raise CatalogueBroken(
                f"catalogue {self._path.name}: expected a usable database, got: {_reason(error)}",
                code="E263",
                hint="run `archiver reindex`",
            ) from error

    def _is_ours(self) -> bool:
        if not self._path.exists():
            return False
        try:
            with self._engine.connect() as connection:
                found = [
                    connection.exec_driver_sql(f"PRAGMA {name}").scalar()
                    for name in ("application_id", "user_version")
                ]
                names = set(connection.scalars(sql.text("SELECT name FROM sqlite_master")))
        except DatabaseError:
            return False
        return found == [APPLICATION_ID, SCHEMA_VERSION] and names >= set(_tables.tables)

    def _make(self) -> None:
        self._engine.dispose()
        for ending in ("", "-wal", "-shm", "-journal"):
            self._path.with_name(self._path.name + ending).unlink(missing_ok=True)
        with self._engine.begin() as connection:
            _tables.create_all(connection)
            connection.exec_driver_sql(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.exec_driver_sql(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _engine(path: Path) -> sql.Engine:
    engine = sql.create_engine(f"sqlite:///{path}", connect_args={"timeout": BUSY_S})

    @sql.event.listens_for(engine, "connect")
    def _on_connect(connection: Any, _record: object) -> None:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute(f"PRAGMA cache_size = -{CACHE_KB}")  # of each thread's connection

    return engine


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Let one process at a time make or replace the file."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, *DATABASE_ERRORS) as error:
        reason = error.strerror if isinstance(error, OSError) else _reason(error)
        raise EnvironmentUnfit(
            f"catalogue {path}: expected a folder that can be written, got {reason}",
            code="E262",
            hint="set XDG_CACHE_HOME to a folder of your own",
        ) from error


def _put(connection: sql.Connection, summaries: Sequence[CaptureSummary]) -> None:
    _drop(connection, [summary.capture_id for summary in summaries])
    rows = [
        {
            "capture_id": summary.capture_id,
            "url_key": _url_key(summary.url),
            "final_url_key": _url_key(summary.final_url),
            "summary": json.dumps(summary.to_json()),
        }
        for summary in summaries
    ]
    links = [
        {"incident_id": one, "capture_id": summary.capture_id}
        for summary in summaries
        for one in summary.incident_ids
    ]
    for table, values in ((_captures, rows), (_links, links)):
        if values:
            connection.execute(sql.insert(table), values)


def _drop(connection: sql.Connection, capture_ids: Collection[str]) -> None:
    for table in (_captures, _links):
        if capture_ids:
            one = sql.delete(table).where(table.c.capture_id == sql.bindparam("gone"))
            connection.execute(one, [{"gone": capture_id} for capture_id in capture_ids])


def _reason(error: Exception) -> str:
    return str(error.orig) if isinstance(error, DatabaseError) else str(error)


def _url_key(url: str) -> str:
    try:
        return url_identity(url)
    except UsageError:
        return url  # an error page or a data URL ends where no host is


def _from_json(text: str) -> CaptureSummary:
    values = json.loads(text)
    values["incident_ids"] = tuple(values["incident_ids"])
    values["artifacts"] = tuple(values["artifacts"])
    return CaptureSummary(**{field.name: values[field.name] for field in fields(CaptureSummary)})
