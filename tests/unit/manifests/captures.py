"""Whole captures in a folder, and the tools to bend each of their parts with all digests made right again."""

from __future__ import annotations

import hashlib
import io
import json
import tempfile
import zipfile
import zlib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from archiver.formats.cdxj import IndexEntry, index_lines
from archiver.formats.wacz import Page, write_wacz
from archiver.formats.warc import WarcWriter
from manifests.codec import encode
from manifests.digests import digest_bytes
from manifests.evidence_set import FolderSet
from manifests.findings import Code
from manifests.record import Artifact
from manifests.verifier import verify_capture
from tests.interop.warc_samples import AT, chunked, plain_ones
from tests.unit.manifests import records

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 8
TEXT = "Әділдік керек".encode()
VIEW, TEXT_URI = "urn:view:https://site.test/page", "urn:text:https://site.test/page"
WARC, INDEX, PAGES = "archive/data.warc.gz", "indexes/index.cdxj", "pages/pages.jsonl"
DATAPACKAGE, DIGEST = "datapackage.json", "datapackage-digest.json"


@lru_cache(maxsize=1)
def wacz() -> bytes:
    """A good package as the writers of this project make it, with exchanges of every kind."""
    with tempfile.TemporaryDirectory() as folder:
        warc, out = Path(folder) / "data.warc.gz", Path(folder) / "capture.wacz"
        entries: list[IndexEntry] = []
        with WarcWriter(warc, filename=warc.name, info={"software": "test"}, created_at=AT) as writer:
            for exchange in [*plain_ones(), chunked()]:
                entries += writer.write_exchange(exchange)
            entries.append(writer.write_resource(VIEW, "image/png", PNG, AT))
            entries.append(writer.write_resource(TEXT_URI, "text/plain", TEXT, AT))
        page = Page("https://site.test/page", AT, "Әділдік", "text")
        write_wacz(out, warc, entries, [page], title="t", created_at=AT, software="test")
        return out.read_bytes()


@lru_cache(maxsize=1)
def _good_parts() -> tuple[tuple[str, bytes], ...]:
    with zipfile.ZipFile(io.BytesIO(wacz())) as package:
        return tuple((name, package.read(name)) for name in package.namelist())


def parts() -> dict[str, bytes]:
    """The members of the good package by name, in order."""
    return dict(_good_parts())


def listed(members: Mapping[str, bytes], **facts: Any) -> dict[str, bytes]:
    """*members* with a datapackage and its digest that fit them; *facts* replace those of the datapackage."""
    content = {name: data for name, data in members.items() if name not in (DATAPACKAGE, DIGEST)}
    resources = [
        {
            "name": name.rpartition("/")[2].lower(),
            "path": name,
            "hash": f"sha256:{hashlib.sha256(data).hexdigest()}",
            "bytes": len(data),
        }
        for name, data in content.items()
    ]
    datapackage = json.loads(parts()[DATAPACKAGE]) | {"resources": resources} | facts
    return digested(content | {DATAPACKAGE: json.dumps(datapackage).encode()})


def digested(members: Mapping[str, bytes]) -> dict[str, bytes]:
    """*members* with a digest file that fits their datapackage."""
    value = f"sha256:{hashlib.sha256(members[DATAPACKAGE]).hexdigest()}"
    return dict(members) | {DIGEST: json.dumps({"path": DATAPACKAGE, "hash": value}).encode()}


def zipped(members: Mapping[str, bytes], deflate: frozenset[str] = frozenset()) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as package:
        for name, data in members.items():
            method = zipfile.ZIP_DEFLATED if name in deflate else zipfile.ZIP_STORED
            package.writestr(plain_member(name), data, method)
    return out.getvalue()


def plain_member(name: str) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(name)
    member.external_attr = 0o100644 << 16
    return member


def split_warc(warc: bytes) -> list[bytes]:
    """The records of a WARC file, unpacked."""
    found = []
    while warc:
        inflater = zlib.decompressobj(31)
        found.append(inflater.decompress(warc) + inflater.flush())
        warc = inflater.unused_data
    return found


def packed(record: bytes) -> bytes:
    deflater = zlib.compressobj(6, zlib.DEFLATED, 31)
    return deflater.compress(record) + deflater.flush()


def joined_warc(found: list[bytes]) -> bytes:
    return b"".join(packed(record) for record in found)


def reindexed(warc: bytes) -> bytes:
    """The index that belongs to *warc*, by its headers alone."""
    entries = []
    offset = 0
    for record in split_warc(warc):
        size = _member_bytes(warc[offset:])
        fields = header_fields(record)
        entries.append(
            IndexEntry(
                record_type=fields.get("WARC-Type", ""),
                record_id=fields.get("WARC-Record-ID", ""),
                uri=fields.get("WARC-Target-URI", ""),
                date=fields.get("WARC-Date", ""),
                mime="",
                status=None,
                payload_digest=fields.get("WARC-Payload-Digest", ""),
                offset=offset,
                length=size,
                sha256=hashlib.sha256(warc[offset : offset + size]).hexdigest(),
            )
        )
        offset += size
    return index_lines(entries, "data.warc.gz")


def _member_bytes(data: bytes) -> int:
    inflater = zlib.decompressobj(31)
    inflater.decompress(data)
    return len(data) - len(inflater.unused_data)


def header_fields(record: bytes) -> dict[str, str]:
    lines = record.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")[1:]
    return dict(line.split(": ", 1) for line in lines if ": " in line)


def write_capture(
    folder: Path, files: Mapping[str, bytes] | None = None, package: bytes | None = None, **changes: Any
) -> Path:
    """Write a capture whose record lists everything as it is.

    Args:
        folder: Where; made when it is not there.
        files: Instead of the good exhibits.
        package: Instead of the good package.
        changes: Fields of the record.
    """
    folder.mkdir(exist_ok=True)
    found = {"capture.wacz": package or wacz(), "screenshot-viewport.png": PNG, "text.txt": TEXT}
    found |= files or {}
    for name, data in found.items():
        (folder / name).write_bytes(data)
    changes.setdefault("artifacts", tuple(artifact(name, data) for name, data in found.items()))
    (folder / "record.json").write_bytes(encode(records.record(**changes)))
    return folder


def artifact(name: str, data: bytes) -> Artifact:
    role, media_type, uri = {
        "capture.wacz": ("package", "application/wacz+zip", None),
        "screenshot-viewport.png": ("screenshot-viewport", "image/png", VIEW),
        "text.txt": ("text", "text/plain", TEXT_URI),
    }.get(name, ("other", "application/octet-stream", None))
    digests = digest_bytes(data)
    return replace_artifact(
        records.artifact(role=role, path=name, media_type=media_type, warc_target_uri=uri),
        bytes=digests.bytes,
        sha256=digests.sha256,
        blake3=digests.blake3,
    )


def replace_artifact(old: Artifact, **changes: Any) -> Artifact:
    return Artifact(**({name: getattr(old, name) for name in old.__struct_fields__} | changes))


def found_codes(folder: Path, **options: Any) -> set[Code]:
    """The codes of failures and doubts, without those of a capture that nothing seals."""
    codes = verify_capture(FolderSet(folder), "test", **options).codes()
    return codes - {Code.UNSEALED, Code.UNSIGNED, Code.UNLOGGED}


def bent(folder: Path, members: Mapping[str, bytes], deflate: frozenset[str] = frozenset()) -> set[Code]:
    """The codes found in a capture whose package has these members."""
    return found_codes(write_capture(folder, package=zipped(members, deflate)))


def case_name(value: Any) -> str:
    """A name for a case whose bytes differ from run to run, so that parallel workers agree on it."""
    return value.code if isinstance(value, Code) else "case"
