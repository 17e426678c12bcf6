"""A register and its sidecar on the disk: read before an import, written after it, the sidecar first."""

from __future__ import annotations

import csv
import io
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from archiver.errors import UsageError
from archiver.incidents import csv_rows
from archiver.incidents.quarters import Quarter
from archiver.incidents.rows import BrokenRow, Unreadable
from archiver.incidents.safe_cells import guarded, unguarded
from archiver.incidents.sidecar import Sidecar, decode_sidecar, encode_sidecar, sidecar_path


def read_before(
    register: Path, country: str, quarter: Quarter
) -> tuple[Sidecar | None, list[dict[str, str]]]:
    """Return the sidecar and the rows of a register that is to be carried on; nothing where there is none.

    Raises:
        UsageError: E245, there is a register that cannot be carried on without losing its IDs.
    """
    try:
        sidecar = _read_sidecar(sidecar_path(register))
        if sidecar is None:
            if register.exists():
                raise Unreadable(  # noqa: TRY301  # one place turns all of these into errors
                    f"expected {sidecar_path(register).name} beside it, got none",
                    "restore that file, or write to another name: without it the IDs would be given anew",
                )
            return None, []
        if (sidecar.country, sidecar.quarter) != (country, str(quarter)):
            raise Unreadable(  # noqa: TRY301  # as above
                f"expected {country} {quarter}, got {sidecar.country} {sidecar.quarter}",
                "write to another name",
            )
        return sidecar, _read_rows(register)
    except Unreadable as error:
        raise UsageError(f"register {register.name}: {error.what}", code="E245", hint=error.hint) from error


def read_sidecar(register: Path) -> Sidecar | None:
    """Return the sidecar of a register, or None.

    Raises:
        UsageError: E245, it is damaged.
    """
    try:
        return _read_sidecar(sidecar_path(register))
    except Unreadable as error:
        raise UsageError(f"register {register.name}: {error.what}", code="E245", hint=error.hint) from error


def write_register(
    register: Path, sidecar: Sidecar, columns: Sequence[str], rows: Iterable[Mapping[str, str]]
) -> None:
    """Write both files, each whole or not at all.

    Raises:
        UsageError: E247.
    """
    try:
        _replace(sidecar_path(register), encode_sidecar(sidecar))
        _replace(register, csv_bytes(columns, rows))
    except OSError as error:
        raise UsageError(
            f"register {register.name}: expected to write it, got {error.strerror}",
            code="E247",
            hint="choose a folder of your own that has room",
        ) from error


def csv_bytes(columns: Sequence[str], rows: Iterable[Mapping[str, str]]) -> bytes:
    """Return a register as CSV in UTF-8, no cell of which a spreadsheet computes.

    With a byte order mark where there are letters that Excel would garble without one.
    """
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow([guarded(name) for name in columns])
    writer.writerows([guarded(row[name]) for name in columns] for row in rows)
    text = out.getvalue()
    marked = any(char.isalpha() and not char.isascii() for char in set(text))
    return text.encode("utf-8-sig" if marked else "utf-8")


def _read_sidecar(path: Path) -> Sidecar | None:
    try:
        return decode_sidecar(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Unreadable(
            f"sidecar: expected to read it, got {error.strerror}", "check its permissions"
        ) from error


def _read_rows(register: Path) -> list[dict[str, str]]:
    try:
        data = register.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise Unreadable(f"expected to read it, got {error.strerror}", "check its permissions") from error
    rows = []
    for row in csv_rows.read_rows(data)[1]:
        if isinstance(row, BrokenRow):
            raise Unreadable(
                row.what, "correct it before you import again, so that nothing you wrote is lost"
            )
        rows.append({name: unguarded(cell) for name, cell in row.cells.items()})
    return rows


def _replace(path: Path, data: bytes) -> None:
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        Path(name).chmod(0o666 & ~umask)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
