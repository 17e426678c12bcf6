"""An export that came as a ZIP, unpacked to be verified: nothing outside its folder, nothing unbounded."""

from __future__ import annotations

import re
import shutil
import zipfile
from pathlib import Path

from archiver.errors import UsageError

MAX_MEMBERS = 100_000
MAX_UNPACKED_BYTES = 256 * 1024**3
MAX_RATIO = 200
"""Captures hold pictures and packages, which barely compress; far more is a bomb."""

_OWN = re.compile(r"\.(lock|locks|tmp|damaged|retention)(/|$)")
"""What a folder store keeps for itself, and is no part of what was exported."""
_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}(/[A-Za-z0-9][A-Za-z0-9._-]{0,199}){0,7}")


def unpack_export(archive: Path, folder: Path) -> None:
    """Unpack *archive* into *folder*.

    Raises:
        UsageError: E166, no ZIP, or one that no export of ours is.
    """
    try:
        with zipfile.ZipFile(archive) as source:
            members = [one for one in source.infolist() if not one.is_dir() and not _OWN.match(one.filename)]
            _check(archive, members)
            for member in members:
                path = folder / member.filename
                path.parent.mkdir(parents=True, exist_ok=True)
                with source.open(member) as packed, path.open("xb") as file:
                    shutil.copyfileobj(packed, file, 1024 * 1024)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, EOFError) as error:
        raise _refused(archive, f"a readable ZIP, got: {error}") from error


def _check(archive: Path, members: list[zipfile.ZipInfo]) -> None:
    names = [member.filename.casefold() for member in members]
    if len(members) > MAX_MEMBERS:
        raise _refused(archive, f"at most {MAX_MEMBERS} members, got {len(members)}")
    if len(set(names)) != len(names):
        raise _refused(archive, "each name once, got one twice")
    for member in members:
        if not _SAFE.fullmatch(member.filename) or ".." in member.filename:
            raise _refused(archive, f"names of an export, got {ascii(member.filename)[:80]}")
        if (member.external_attr >> 28) == 0xA:
            raise _refused(archive, f"plain files, got a link {member.filename[:80]}")
        if member.flag_bits & 1:
            raise _refused(archive, f"no encryption, got it on {member.filename[:80]}")
    size = sum(member.file_size for member in members)
    packed = sum(member.compress_size for member in members)
    if size > MAX_UNPACKED_BYTES or size > MAX_RATIO * max(packed, 1024):
        raise _refused(archive, f"a plausible size, got {size} bytes out of {packed}")


def _refused(archive: Path, what: str) -> UsageError:
    return UsageError(
        f"export {archive.name}: refused: expected {what}",
        code="E166",
        hint="unpack it yourself and look at it",
    )
