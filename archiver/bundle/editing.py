"""One capture as it may be published: what is kept, what is left out, and the redacted copies in its place.

The record and its seal go in as they are, since a change would end what they prove. So what the record tells
in plain must be fit to be told, and a record that tells a name or a credential is refused. Files that hold
credentials are left out, others only where a value that must not be told is in them. Of a package, and
of texts, a redacted copy is made. The list of all this is ``edition.json`` (``manifests.edition``).

The salts of the list come from the original file, whose bytes nobody else can guess (every WARC record has a
random ID). Whoever holds the original can therefore open any single entry of the list, and so can a judge.
"""

from __future__ import annotations

import hashlib
import hmac
import io
import re
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, BinaryIO

import msgspec
import zstandard
from warcio.bufferedreaders import ChunkedDataException

from archiver.capture.recorder.coding import CodingError
from archiver.capture.recorder.exchange import Exchange
from archiver.confidential import CIPHERTEXT
from archiver.errors import ArchiverError, ExitCode
from archiver.formats.cdxj import IndexEntry
from archiver.formats.payload import entity
from archiver.formats.wacz import Page, write_wacz
from archiver.formats.warc import WarcWriter
from archiver.formats.warc_reading import Resource, read_records
from archiver.redaction import Removal, Secrets, redact
from archiver.summary import capture_prefix
from archiver.version import tool_version
from archiver.withheld import SEALED_ROLE, clear_form
from manifests.commitments import Opening, commitment_of
from manifests.digests import digest_stream
from manifests.edition import EDITION, Derivative, Edition, Withheld, encode_edition
from manifests.edition import Removal as Listed
from manifests.record import Artifact, EvidenceRecord
from storage.interface import Store

COPY = "public-"
"""Begins the name of every redacted copy."""
MAX_LOOKED_INTO_BYTES = 64 * 1024 * 1024
"""Larger files are looked through as they are, and not unpacked."""
PIECE_BYTES = 1024 * 1024
OVERLAP_BYTES = 64 * 1024
_WARC = "archive/data.warc.gz"
_TOLD_ANYWAY = re.compile(r"https?://[^\s?#]*|[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9:.]+Z?)?|\[removed\]")
"""What cookies hold, and records too: addresses without parameters, times."""
_ADDRESSES = re.compile(
    rb"(?im)^(?:(?:x-|cf-|true-)?(?:client|real|remote|connecting|your|forwarded)[a-z-]*(?:ip|for|addr)):"
    rb"[ \t]*([^\r\n]+)"
)
"""Header fields in which servers tell a visitor his own address."""
_ADDRESS = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}|[0-9a-fA-F:]{2,39}:[0-9a-fA-F:]+")
_PACKAGE_RULES = (
    "values of Cookie, Set-Cookie, Authorization and of fields named like tokens are taken out of heads",
    "bodies of requests, WebSocket messages and bodies that cannot be decoded are taken out",
    "the values known from there, and names, addresses and paths of the collector, are blackened everywhere",
    "exhibits that show such a value are left out; record IDs are new",
)
_TEXT_RULES = ("known credentials, and names, addresses and paths of the collector, are blackened",)


class EditionRefused(ArchiverError):
    """A capture cannot be published as it is."""

    exit_code = ExitCode.USAGE


@dataclass(frozen=True, slots=True)
class Plan:
    """What edition is made.

    Args:
        audience: Whose it is.
        identity_of: Gives the names, addresses and paths that must not be told of a capture.
    """

    audience: str
    identity_of: Callable[[EvidenceRecord], Sequence[str]]


@dataclass(frozen=True, slots=True)
class Edited:
    """What an edition has of a capture.

    Args:
        kept: Files of the record that are in it.
        copies: Names of redacted copies, by the file that each was made from.
        secrets: What must be in no byte of the bundle.
    """

    kept: tuple[Artifact, ...]
    copies: dict[str, str]
    secrets: Secrets


@dataclass
class _Editing:
    store: Store
    target: Store
    record: EvidenceRecord
    folder: Path
    secrets: Secrets = field(default_factory=Secrets)
    kept: list[Artifact] = field(default_factory=list)
    withheld: list[Withheld] = field(default_factory=list)
    derivatives: list[Derivative] = field(default_factory=list)
    removals: list[Listed] = field(default_factory=list)
    cleared: dict[str, bytes | None] = field(default_factory=dict)
    """Exhibits as they may be told, by path; None for not at all."""

    @property
    def prefix(self) -> str:
        return capture_prefix(self.record.capture_id)

    def open(self, artifact: Artifact) -> IO[bytes]:
        return self.store.open(self.prefix + artifact.path)

    def leave_out(self, artifact: Artifact, reason: str) -> None:
        self.withheld.append(Withheld(path=artifact.path, sha256=artifact.sha256, reason=reason))
        self.cleared[artifact.path] = None

    def add_copy(self, artifact: Artifact, file: BinaryIO, rules: tuple[str, ...]) -> None:
        found = digest_stream(file)
        file.seek(0)
        name = f"{COPY}{artifact.path}"
        self.target.put(self.prefix + name, file, sha256=found.sha256)
        self.derivatives.append(
            Derivative(
                id=f"{self.record.capture_id}.{found.sha256[:12]}",
                path=name,
                media_type=artifact.media_type,
                bytes=found.bytes,
                sha256=found.sha256,
                blake3=found.blake3,
                source_path=artifact.path,
                source_sha256=artifact.sha256,
                rules=rules,
            )
        )

    def list_removals(self, artifact: Artifact, removals: Iterable[Removal]) -> None:
        with self.open(artifact) as file:
            key = hashlib.file_digest(file, "sha512").digest()  # type: ignore[arg-type]  # a file all the same
        for number, one in enumerate(removals):
            where = self.secrets.text(one.where)
            made = commitment_of(Opening(where, salt_of(key, number, where), one.value))
            self.removals.append(Listed(path=f"{COPY}{artifact.path}", where=where, digest=made.digest))


def salt_of(key: bytes, number: int, where: str) -> str:
    """Return the salt of entry *number* of a copy; *key* is the SHA-512 of the original file."""
    return hmac.new(key, f"{number}\n{where}".encode(), hashlib.sha256).hexdigest()


def edit_capture(
    store: Store, target: Store, record: EvidenceRecord, record_bytes: bytes, plan: Plan
) -> Edited:
    """Put redacted copies and the list of the edition into *target*, and say which files may be copied.

    Args:
        store: Holds the capture.
        target: The store in the bundle.
        record: Of the capture.
        record_bytes: Its bytes.
        plan: For whom, and what must not be told.

    Raises:
        EditionRefused: E265, the record itself tells one of the values; E266, one is in a copy all the same.
        WarcUnreadable: E264.
        StoreError: Store or bundle failed.
    """
    with tempfile.TemporaryDirectory(prefix="archiver-edition-") as name:
        editing = _Editing(store, target, record, Path(name))
        packages = [_local(editing, one) for one in record.artifacts if one.role == "package"]
        editing.secrets = _learnt(packages)
        editing.secrets.insist(plan.identity_of(record))
        _check_record(record, record_bytes, editing.secrets)
        text = next((one for one in record.artifacts if one.role == "text"), None)
        told_on_page = text is not None and _holds(editing, text)
        for artifact in record.artifacts:
            _edit(editing, artifact, told_on_page=told_on_page)
        for artifact, package in zip(
            [one for one in record.artifacts if one.role == "package"], packages, strict=True
        ):
            _edit_package(editing, artifact, package)
    edition = Edition(
        audience=plan.audience,
        capture_id=record.capture_id,
        record_sha256=hashlib.sha256(record_bytes).hexdigest(),
        fields=record.commitments,
        withheld=tuple(editing.withheld),
        derivatives=tuple(editing.derivatives),
        removals=tuple(editing.removals),
        remarks=("the custody events, which name roles, machines and places",),
    )
    target.put(f"{editing.prefix}{EDITION}", encode_edition(edition))
    copies = {one.source_path: one.path for one in editing.derivatives}
    return Edited(tuple(editing.kept), copies, editing.secrets)


def check_no_leak(folder: Path, secrets: Sequence[Secrets]) -> None:
    """Look through every file of a bundle for every value that must not be in it.

    Raises:
        EditionRefused: E266.
    """
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            with path.open("rb") as file:
                if any(_is_in(one, file) for one in secrets):
                    raise _leak(path.relative_to(folder).as_posix())


def _leak(name: str) -> EditionRefused:
    return EditionRefused(
        f"file {name}: expected none of the values that must not be told, got one",
        code="E266",
        hint="do not hand the bundle over; remove it, and report this",
    )


def _local(editing: _Editing, artifact: Artifact) -> Path:
    """Copy a package out of the store, since a ZIP is read from its end."""
    path = editing.folder / artifact.path
    with editing.open(artifact) as source, path.open("wb") as file:
        while piece := source.read(PIECE_BYTES):
            file.write(piece)
    return path


def _records(package: Path) -> Iterator[Exchange | Resource]:
    with zipfile.ZipFile(package) as wacz, wacz.open(_WARC) as warc:
        yield from read_records(warc)


def _learnt(packages: Iterable[Path]) -> Secrets:
    secrets = Secrets()
    addresses: set[str] = set()
    for package in packages:
        for one in _records(package):
            if isinstance(one, Exchange):
                secrets.learn(one)
                for value in _ADDRESSES.findall(one.response_head or b""):
                    addresses |= set(_ADDRESS.findall(value.decode("latin-1")))
    found = secrets.without(_TOLD_ANYWAY)
    found.insist(addresses)
    return found


def _check_record(record: EvidenceRecord, data: bytes, secrets: Secrets) -> None:
    if not secrets.are_in(data):
        return
    tree = msgspec.to_builtins(record)
    where = sorted({place for place, text in _leaves(tree, "") if secrets.are_in(text.encode())})
    raise EditionRefused(
        f"capture {record.capture_id}: its record tells what must not be published, and cannot be changed: "
        f"expected no credential, name, address or path of the collector, got one in {', '.join(where[:8])}",
        code="E265",
        hint="hand it over --for court, or change the settings that told it and capture again with --again",
    )


def _leaves(value: Any, place: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield place or "it", value
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from _leaves(inner, f"{place}.{name}".lstrip("."))
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _leaves(inner, place)


def _edit(editing: _Editing, artifact: Artifact, *, told_on_page: bool) -> None:
    if artifact.role == "package":
        editing.leave_out(artifact, "holds cookies and tokens; a redacted copy is here")
    elif artifact.role in {CIPHERTEXT, SEALED_ROLE}:
        editing.leave_out(artifact, "is encrypted, for its recipients alone")
    elif artifact.holds_secrets:
        editing.leave_out(artifact, "holds what was sent and received, with the secrets of the connections")
    elif artifact.bytes > MAX_LOOKED_INTO_BYTES:
        with editing.open(artifact) as file:
            is_told = _is_in(editing.secrets, file)
        if is_told:
            editing.leave_out(artifact, "holds a value that must not be told")
        else:
            editing.kept.append(artifact)
    else:
        _edit_exhibit(editing, artifact, told_on_page=told_on_page)


def _edit_exhibit(editing: _Editing, artifact: Artifact, *, told_on_page: bool) -> None:
    with editing.open(artifact) as file:
        data = file.read()
    clear = clear_form(artifact.role, data, editing.secrets, told_on_page=told_on_page)
    if clear is not None and any(editing.secrets.are_in(one) for one in unpacked(clear)):
        clear = None
    if clear == data:
        editing.kept.append(artifact)
    elif clear is None:
        editing.leave_out(artifact, "shows or holds a value that must not be told")
    else:
        editing.leave_out(artifact, "holds a value that must not be told; a redacted copy is here")
        editing.cleared[artifact.path] = clear
        editing.add_copy(artifact, io.BytesIO(clear), _TEXT_RULES)
        whole = Removal(f"texts in {artifact.path}", hashlib.sha256(data).hexdigest())
        editing.list_removals(artifact, [whole])


def _edit_package(editing: _Editing, artifact: Artifact, package: Path) -> None:
    record, secrets = editing.record, editing.secrets
    now = datetime.now(UTC)
    software = f"archiver {tool_version()}"
    warc, out = editing.folder / "data.warc.gz", editing.folder / "copy.wacz"
    info = {
        "software": software,
        "format": "WARC File Format 1.1",
        "isPartOf": ", ".join(record.incident_ids),
        "description": f"redacted copy of {artifact.path} of capture {record.capture_id}",
        "redacted": f"made from the package with SHA-256 {artifact.sha256}; see {EDITION}",
    }
    removals: list[Removal] = []
    entries: list[IndexEntry] = []
    by_uri = {one.warc_target_uri: one for one in record.artifacts if one.warc_target_uri}
    with WarcWriter(warc, filename=warc.name, info=info, created_at=now) as writer:
        for one in _records(package):
            if isinstance(one, Resource):
                entries += _write_resource(editing, writer, one, by_uri.get(one.uri))
                continue
            clear, removed = redact(one, secrets)
            clear.notes = [secrets.text(note) for note in clear.notes]
            removals += removed
            entries += writer.write_exchange(clear, tls_version=one.tls_version, cipher=one.cipher_suite)
    shown = record.target.final_url or record.seed.url
    page = Page(
        url=secrets.text(shown),
        at=datetime.fromisoformat(record.started_at),
        title=secrets.text(record.target.title or ""),
        text="",
    )
    title = f"{', '.join(record.incident_ids)}: redacted copy of capture {record.capture_id}"
    write_wacz(out, warc, entries, [page], title=title, created_at=now, software=software)
    if any(_tells(secrets, one) for one in _records(out)):
        raise _leak(f"{COPY}{artifact.path}")
    with out.open("rb") as file:
        editing.add_copy(artifact, file, _PACKAGE_RULES)
    editing.list_removals(artifact, removals)


def _write_resource(
    editing: _Editing, writer: WarcWriter, one: Resource, artifact: Artifact | None
) -> list[IndexEntry]:
    data = one.file.read()
    uri = editing.secrets.text(one.uri)
    if artifact is not None:
        clear = editing.cleared.get(artifact.path, data)
        return [] if clear is None else [writer.write_resource(uri, one.media_type, clear, one.at)]
    if one.media_type == "application/json":
        data = msgspec.json.encode(editing.secrets.tree(msgspec.json.decode(data)))
    if editing.secrets.are_in(data):
        return []
    return [writer.write_resource(uri, one.media_type, data, one.at)]


def _tells(secrets: Secrets, one: Exchange | Resource) -> bool:
    if isinstance(one, Resource):
        return secrets.are_in(one.uri.encode()) or _is_in(secrets, one.file)
    heads = [one.request_head, one.response_head or b"", *one.interim_heads]
    texts = [text.encode() for text in (one.url, *one.notes)]
    if any(secrets.are_in(data) for data in (*heads, *texts)):
        return True
    if one.response_body is None:
        return False
    try:
        plain = b"".join(entity(one))
    except (CodingError, zstandard.ZstdError, ChunkedDataException):
        plain = b""
    one.response_body.file.seek(0)
    return secrets.are_in(plain) or _is_in(secrets, one.response_body.file)


def _holds(editing: _Editing, artifact: Artifact) -> bool:
    with editing.open(artifact) as file:
        return _is_in(editing.secrets, file)


def _is_in(secrets: Secrets, file: IO[bytes]) -> bool:
    tail = b""
    while piece := file.read(PIECE_BYTES):
        if secrets.are_in(tail + piece):
            return True
        tail = piece[-OVERLAP_BYTES:]
    return False


def unpacked(data: bytes) -> Iterator[bytes]:
    """Yield what a PDF or an office document holds deflated; nothing for other files."""
    if data.startswith(b"%PDF-"):
        for found in re.finditer(rb"stream\r?\n", data):
            try:
                yield zlib.decompressobj().decompress(data[found.end() :], MAX_LOOKED_INTO_BYTES)
            except zlib.error:
                continue
    elif data.startswith(b"PK"):
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                for member in archive.infolist():
                    if member.file_size <= MAX_LOOKED_INTO_BYTES:
                        yield archive.read(member)
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError, zlib.error):
            return
