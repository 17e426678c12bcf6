"""A register read as seeds: checked row by row, so that a bad row stops nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from archiver.errors import UsageError
from archiver.incidents import csv_rows, jsonl_rows, xlsx_rows
from archiver.incidents.rows import (
    MAX_CELL_CHARS,
    MAX_REGISTER_BYTES,
    MAX_ROWS,
    BrokenRow,
    Row,
    Unreadable,
    column_key,
)
from archiver.incidents.rules import check_incident_id, check_seed_url, url_identity

MAX_ROLE_CHARS = 4_096


@dataclass(frozen=True, slots=True)
class Seed:
    """A URL to capture.

    Args:
        url: As given, checked.
        incident_ids: At least one.
        role: Of the URL in the incident, or empty.
        note: Of whoever asked, or empty.
        row: Every column of the register row as written, in order; empty when asked for by hand.
        line: Line (CSV, JSON Lines) or row (XLSX) of the register, 1 the first; 0 by hand.
        register: File name of the register, or empty.
        register_sha256: Hex SHA-256 of the register file, or empty.
        vantage: Name of the vantage to capture from; empty for that of the settings.
        session: Name of the kept session to use; empty for that of the settings.
        origin: Of a page that is not asked for at its own address, as in the evidence record; else empty.
    """

    url: str
    incident_ids: tuple[str, ...]
    role: str = ""
    note: str = ""
    row: Mapping[str, str] = field(default_factory=dict)
    line: int = 0
    register: str = ""
    register_sha256: str = ""
    vantage: str = ""
    session: str = ""
    origin: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RowProblem:
    """What is wrong with one row.

    Args:
        line: As of ``Seed``.
        what: Expected against got.
        hint: One thing to do.
    """

    line: int
    what: str
    hint: str


@dataclass(frozen=True, slots=True)
class RegisterReading:
    """What a register gave.

    Args:
        seeds: To capture, in the order of the file.
        problems: Rows that cannot be captured.
        duplicates: Rows that repeat an incident and URL; the first of them is in *seeds*.
        lost: Rows of a register of links whose target is lost: there is nothing to capture yet.
        encoding: How its text was read: ``utf-8``, ``utf-16``, ``windows-1251``; ``xlsx`` for a workbook.
    """

    seeds: tuple[Seed, ...]
    problems: tuple[RowProblem, ...]
    duplicates: tuple[RowProblem, ...]
    encoding: str
    lost: tuple[RowProblem, ...] = ()


Importer = Callable[[bytes], tuple[str, Iterator[Row | BrokenRow]]]

IMPORTERS: dict[str, Importer] = {
    ".csv": csv_rows.read_rows,
    ".tsv": csv_rows.read_rows,
    ".txt": csv_rows.read_rows,
    ".jsonl": jsonl_rows.read_rows,
    ".ndjson": jsonl_rows.read_rows,
    ".xlsx": xlsx_rows.read_rows,
}


def read_register(path: Path) -> RegisterReading:
    """Read the register at *path*; its format is told by the end of its name.

    Raises:
        UsageError: E242 when the file cannot be read as a register at all: not there, empty, binary,
            too large, of an unknown format, without the columns ``incident_id`` and ``url``.
    """
    try:
        importer = _importer(path)
        data = _read(path)
        encoding, rows = importer(data)
        reading = _Reading(path.name, hashlib.sha256(data).hexdigest())
        for count, row in enumerate(rows):
            if count >= MAX_ROWS:
                raise Unreadable(f"rows: expected at most {MAX_ROWS}, got more", "split it")  # noqa: TRY301  # one place turns all of these into errors
            reading.take(row)
        if not (reading.seeds or reading.problems or reading.lost):
            raise Unreadable("expected at least one row below the header, got none", "add a row")  # noqa: TRY301  # as above
    except Unreadable as error:
        raise UsageError(f"register {path.name}: {error.what}", code="E242", hint=error.hint) from error
    return RegisterReading(
        tuple(reading.seeds),
        tuple(reading.problems),
        tuple(reading.duplicates),
        encoding,
        tuple(reading.lost),
    )


def read_rows(path: Path) -> Iterator[Row | BrokenRow]:
    """Yield the rows of the register at *path* as they are, for whoever looks a register through.

    Raises:
        UsageError: E242, as of ``read_register``.
    """
    try:
        _, rows = _importer(path)(_read(path))
        for count, row in enumerate(rows):
            if count >= MAX_ROWS:
                raise Unreadable(f"rows: expected at most {MAX_ROWS}, got more", "split it")  # noqa: TRY301  # as above
            yield row
    except Unreadable as error:
        raise UsageError(f"register {path.name}: {error.what}", code="E242", hint=error.hint) from error


def _importer(path: Path) -> Importer:
    importer = IMPORTERS.get(path.suffix.lower())
    if importer is None:
        got = path.suffix or "none"
        raise Unreadable(f"name: expected it to end in {' '.join(IMPORTERS)}, got {got}", "save it as CSV")
    return importer


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_REGISTER_BYTES + 1)
    except OSError as error:
        what = f"expected a readable file, got {error.strerror}"
        raise Unreadable(what, "check the path and its permissions") from error
    if len(data) > MAX_REGISTER_BYTES:
        raise Unreadable(f"size: expected at most {MAX_REGISTER_BYTES} bytes, got more", "split it")
    if not data.strip():
        raise Unreadable("expected rows, got an empty file", "write a header and one row")
    return data


class _TargetLost(Unreadable):
    """A link that a document once had, without where it led."""

    def __init__(self, incident_id: str, anchor: str) -> None:
        super().__init__(
            f"incident {incident_id}: target lost of {anchor!r}", "find the address and fill in url"
        )


class _Reading:
    """Seeds and problems as they are found."""

    def __init__(self, register: str, digest: str) -> None:
        self.seeds: list[Seed] = []
        self.problems: list[RowProblem] = []
        self.duplicates: list[RowProblem] = []
        self.lost: list[RowProblem] = []
        self._register = register
        self._digest = digest
        self._first_lines: dict[tuple[str, str], int] = {}

    def take(self, row: Row | BrokenRow) -> None:
        if isinstance(row, BrokenRow):
            self.problems.append(RowProblem(row.line, row.what, row.hint))
            return
        try:
            seed = self._seed(row)
        except _TargetLost as error:
            self.lost.append(RowProblem(row.line, error.what, error.hint))
        except UsageError as error:
            self.problems.append(RowProblem(row.line, error.message, error.hint))
        except Unreadable as error:
            self.problems.append(RowProblem(row.line, error.what, error.hint))
        else:
            self._keep(seed)

    def _keep(self, seed: Seed) -> None:
        incident = seed.incident_ids[0]
        first = self._first_lines.setdefault((incident, url_identity(seed.url)), seed.line)
        if first == seed.line:
            self.seeds.append(seed)
        else:
            what = f"incident {incident} with this URL: expected once, got it on line {first} already"
            self.duplicates.append(RowProblem(seed.line, what, "remove one of the two rows"))

    def _seed(self, row: Row) -> Seed:
        for column, value in row.cells.items():
            limit = MAX_ROLE_CHARS if column_key(column) == "role" else MAX_CELL_CHARS
            if len(value) > limit:
                what = f"column {column}: expected at most {limit} characters, got {len(value)}"
                raise Unreadable(what, "shorten the cell")
            if not value.isascii() and any("\ud800" <= char <= "\udfff" for char in value):
                what = f"column {column}: expected Unicode text, got half a surrogate pair"
                raise Unreadable(what, "save the register as UTF-8")
        known = {column_key(column): value.strip() for column, value in row.cells.items()}
        if not known.get("url") and known.get("incident_id") and "anchor" in known:
            raise _TargetLost(known["incident_id"], known["anchor"])
        for name in ("incident_id", "url"):
            if not known.get(name):
                raise Unreadable(f"column {name}: expected a value, got none", f"fill in {name}")
        return Seed(
            url=check_seed_url(known["url"]),
            incident_ids=(check_incident_id(known["incident_id"]),),
            role=known.get("role", ""),
            note=known.get("note", ""),
            row=row.cells,
            line=row.line,
            register=self._register,
            register_sha256=self._digest,
            session=known.get("session", ""),
        )
