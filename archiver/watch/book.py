"""The book of watches, in SQLite beside the queue: what is watched, and every change that was seen.

Unlike queue and catalogue it cannot be made again from the store, so a file that is not whole is never
replaced. It holds addresses in clear, also those of confidential captures; the file is 0600.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sql
from sqlalchemy.exc import DatabaseError

from archiver.errors import EnvironmentUnfit
from archiver.watch.rules import Event, Watch

BOOK_NAME = "watches.sqlite"
APPLICATION_ID = 0x41525754  # "ARWT"
SCHEMA_VERSION = 1
BUSY_S = 30

_metadata = sql.MetaData()
_watches = sql.Table(
    "watches",
    _metadata,
    sql.Column("key", sql.Text, primary_key=True),
    sql.Column("store", sql.Text, nullable=False, index=True),
    sql.Column("facts", sql.LargeBinary, nullable=False),
)
_events = sql.Table(
    "events",
    _metadata,
    sql.Column("number", sql.Integer, primary_key=True),
    sql.Column("key", sql.Text, nullable=False, index=True),
    sql.Column("store", sql.Text, nullable=False, index=True),
    sql.Column("facts", sql.LargeBinary, nullable=False),
)


class Book:
    """The watches of one store.

    Args:
        path: The file, made when missing.
        store: URL of the store.

    Raises:
        EnvironmentUnfit: E730, the file can be neither used nor made; so do all methods.
    """

    def __init__(self, path: Path, store: str) -> None:
        self._path = path
        self._store = store
        self._engine = sql.create_engine(f"sqlite:///{path}", connect_args={"timeout": BUSY_S})
        sql.event.listen(self._engine, "connect", _on_connect)
        sql.event.listen(self._engine, "begin", _on_begin)
        with self._errors():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            is_new = not path.exists()
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        with self._transaction() as connection:
            if is_new:
                _metadata.create_all(connection)
                connection.exec_driver_sql(f"PRAGMA application_id = {APPLICATION_ID}")
                connection.exec_driver_sql(f"PRAGMA user_version = {SCHEMA_VERSION}")
            marks = [
                connection.exec_driver_sql(f"PRAGMA {name}").scalar()
                for name in ("application_id", "user_version")
            ]
        if marks != [APPLICATION_ID, SCHEMA_VERSION]:
            raise _unfit(path, f"another database or version ({marks[0]}, {marks[1]})")

    def close(self) -> None:
        """Let go of the file."""
        self._engine.dispose()

    @contextmanager
    def alone(self) -> Iterator[bool]:
        """Be the one run at work on this book; yields False when another is."""
        with self._errors():
            lock = os.open(self._path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True
        finally:
            os.close(lock)

    def add(self, watches: Iterable[Watch]) -> int:
        """Enter *watches* and return how many are new; one that is there takes interval and incidents."""
        new = 0
        with self._transaction() as connection:
            for one in watches:
                old = _get(connection, self._key(one))
                new += old is None or bool(old.ended_at)
                if old is not None:
                    incidents = tuple(dict.fromkeys((*old.incident_ids, *one.incident_ids)))
                    one = msgspec.structs.replace(  # noqa: PLW2901  # the same watch, with what was known
                        old, every_s=one.every_s, incident_ids=incidents, ended_at="", due_s=0.0
                    )
                self._put(connection, one)
        return new

    def update(self, watch: Watch, event: Event | None = None) -> None:
        """Keep what became of a watch, and the event with it; one that was ended meanwhile stays ended."""
        with self._transaction() as connection:
            now = _get(connection, self._key(watch))
            if now is not None and now.ended_at:
                watch = msgspec.structs.replace(watch, ended_at=now.ended_at)
            self._put(connection, watch)
            if event is not None:
                values = {"key": self._key(watch), "store": self._store}
                connection.execute(sql.insert(_events), values | {"facts": msgspec.json.encode(event)})

    def watches(self) -> list[Watch]:
        """Return every watch of the store, in the order of addresses and vantages."""
        query = sql.select(_watches.c.facts).where(_watches.c.store == self._store)
        with self._transaction() as connection:
            found = [msgspec.json.decode(facts, type=Watch) for facts in connection.scalars(query)]
        return sorted(found, key=lambda one: (one.url, one.vantage))

    def events(self) -> list[Event]:
        """Return every change that was seen, in the order of seeing."""
        query = sql.select(_events.c.facts).where(_events.c.store == self._store)
        with self._transaction() as connection:
            rows = connection.scalars(query.order_by(_events.c.number))
            return [msgspec.json.decode(facts, type=Event) for facts in rows]

    def _put(self, connection: sql.Connection, watch: Watch) -> None:
        key = self._key(watch)
        connection.execute(sql.delete(_watches).where(_watches.c.key == key))
        values = {"key": key, "store": self._store, "facts": msgspec.json.encode(watch)}
        connection.execute(sql.insert(_watches), values)

    def _key(self, watch: Watch) -> str:
        return hashlib.sha256(f"{self._store}\0{watch.vantage}\0{watch.url}".encode()).hexdigest()

    @contextmanager
    def _transaction(self) -> Iterator[sql.Connection]:
        with self._errors(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise _unfit(self._path, error.strerror or type(error).__name__) from error
        except DatabaseError as error:
            raise _unfit(self._path, str(error.orig)) from error
        except msgspec.DecodeError as error:
            raise _unfit(self._path, f"an entry that cannot be read ({error})") from error


def _get(connection: sql.Connection, key: str) -> Watch | None:
    facts = connection.scalar(sql.select(_watches.c.facts).where(_watches.c.key == key))
    return msgspec.json.decode(facts, type=Watch) if facts is not None else None


def _on_connect(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # the driver's own BEGIN would be a deferred one
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")


def _on_begin(connection: sql.Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _unfit(path: Path, got: str) -> EnvironmentUnfit:
    return EnvironmentUnfit(
        f"watches {path}: expected a database of watches that can be written, got: {got}",
        code="E730",
        hint="free space, or move the file away and add the watches again; captures are not touched",
    )
