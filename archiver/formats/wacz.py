"""WACZ 1.1.1 packages: one WARC, its index and its pages in a ZIP that is the same for the same input.

Every member is stored, not deflated: replay reads the WARC by offset, and zlib versions differ in
what they make of the same bytes. Source: WACZ 1.1.1 (specs.webrecorder.net/wacz/1.1.1).
"""

from __future__ import annotations

import hashlib
import json
import stat
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import blake3

from archiver.errors import EnvironmentUnfit
from archiver.formats.cdxj import IndexEntry, index_lines

CHUNK_BYTES = 1024 * 1024
WARC_NAME = "data.warc.gz"
ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)
FILE_MODE = stat.S_IFREG | 0o644


@dataclass(frozen=True, slots=True)
class Page:
    """One page as a reader of the package lists it.

    Args:
        url: Of the page.
        at: Aware time it was captured.
        title: As the page states it, or empty.
        text: Its visible text, for full-text search, or empty.
    """

    url: str
    at: datetime
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class FileDigests:
    """Size in bytes and lower-case hex digests of a whole file."""

    size_bytes: int
    sha256: str
    blake3: str


def write_wacz(
    out: Path,
    warc: Path,
    entries: Iterable[IndexEntry],
    pages: Sequence[Page],
    *,
    title: str,
    created_at: datetime,
    software: str,
) -> FileDigests:
    """Pack *warc* with its index and *pages* into *out*, which is replaced.

    Args:
        out: The package.
        warc: Gzipped WARC file; read once.
        entries: What ``WarcWriter`` returned for every record of *warc*.
        pages: The first is the main page; empty when nothing was loaded.
        title: Of the package.
        created_at: Aware time of packing.
        software: Name and version of what made the package.

    Raises:
        EnvironmentUnfit: *warc* cannot be read or *out* not written (E235).
    """
    try:
        with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as package:
            resources = [
                _add_file(package, f"archive/{WARC_NAME}", warc),
                _add(package, "indexes/index.cdxj", index_lines(entries, WARC_NAME)),
                _add(package, "pages/pages.jsonl", _page_lines(pages)),
            ]
            facts = _datapackage(resources, pages, title=title, created_at=created_at, software=software)
            listed = _add(package, "datapackage.json", _json(facts, indent=2))
            digest = {"path": listed["path"], "hash": listed["hash"]}
            _add(package, "datapackage-digest.json", _json(digest, indent=2))
        return _digest_file(out)
    except OSError as error:
        raise EnvironmentUnfit(
            f"package {out.name}: packing failed: expected a WARC and room, got {error.strerror}",
            code="E235",
            hint="free disk space or choose another spool folder",
        ) from error


def _datapackage(
    resources: list[dict[str, Any]], pages: Sequence[Page], *, title: str, created_at: datetime, software: str
) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "profile": "data-package",
        "wacz_version": "1.1.1",
        "title": title,
        "created": _time(created_at),
        "software": software,
    }
    if pages:
        facts |= {"mainPageUrl": pages[0].url, "mainPageDate": _time(pages[0].at)}
    return facts | {"resources": resources}


def _page_lines(pages: Sequence[Page]) -> bytes:
    head = {
        "format": "json-pages-1.0",
        "id": "pages",
        "title": "All Pages",
        "hasText": any(page.text for page in pages),
    }
    return b"".join(_json(line) + b"\n" for line in [head, *map(_page, pages)])


def _page(page: Page) -> dict[str, str]:
    time = _time(page.at)
    page_id = hashlib.sha256(f"{time} {page.url}".encode("utf-8", "replace")).hexdigest()[:32]
    facts = {"id": page_id, "url": page.url, "ts": time, "title": page.title or page.url}
    return facts | {"text": page.text} if page.text else facts


def _member(name: str) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(name, ZIP_EPOCH)
    member.create_system = 3  # Unix, on every system, or the bytes would tell where it was made
    member.external_attr = FILE_MODE << 16
    return member


def _add(package: zipfile.ZipFile, name: str, data: bytes) -> dict[str, Any]:
    package.writestr(_member(name), data)
    return _resource(name, hashlib.sha256(data).hexdigest(), len(data))


def _add_file(package: zipfile.ZipFile, name: str, source: Path) -> dict[str, Any]:
    member = _member(name)
    member.file_size = source.stat().st_size  # decides on ZIP64 before the first byte
    digest = hashlib.sha256()
    size = 0
    with source.open("rb") as file, package.open(member, "w") as target:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
            size += len(chunk)
            target.write(chunk)
    return _resource(name, digest.hexdigest(), size)


def _resource(name: str, sha256: str, size_bytes: int) -> dict[str, Any]:
    return {
        "name": name.rpartition("/")[2].lower(),
        "path": name,
        "hash": f"sha256:{sha256}",
        "bytes": size_bytes,
    }


def _digest_file(path: Path) -> FileDigests:
    sha256, fast, size = hashlib.sha256(), blake3.blake3(), 0
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            sha256.update(chunk)
            fast.update(chunk)
            size += len(chunk)
    return FileDigests(size, sha256.hexdigest(), fast.hexdigest())


def _json(value: Any, indent: int | None = None) -> bytes:
    # Remote text can hold lone surrogates, which no UTF-8 file can.
    return json.dumps(value, ensure_ascii=False, indent=indent).encode("utf-8", "replace")


def _time(at: datetime) -> str:
    return at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"
