"""Strict reading of a WACZ 1.1.1 package: what it lists is what it holds, and its index is true.

1. The ZIP has one meaning (``zip_check``).
2. datapackage.json lists every member but itself and datapackage-digest.json, which states its SHA-256.
3. Every listed member has the size and SHA-256 stated; ``archive/`` is stored, not compressed.
4. Every WARC file is sound (``warc_check``).
5. Every line of the index points at a record and says the truth about it; every response, resource and
   revisit is in the index; lines are in bytewise order.
6. pages.jsonl is well-formed.

Each member is read once, in flat memory; only the index is held. Source: WACZ 1.1.1 sections 4 to 6.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any, BinaryIO, Literal

import msgspec

from manifests.canonical import MAX_JSON_BYTES, read_strict
from manifests.errors import MalformedJson
from manifests.findings import Code, Findings
from manifests.proof import ProofError
from manifests.warc_check import WarcRecord, check_warc
from manifests.zip_check import Member, check_zip, member_pieces

MAX_LINES = 1_000_000
DATAPACKAGE, DIGEST = "datapackage.json", "datapackage-digest.json"
INDEX, PAGES = "indexes/index.cdxj", "pages/pages.jsonl"
WARC_NAME = re.compile(r"archive/[A-Za-z0-9._-]+\.warc\.gz")
INDEXED = frozenset({"response", "resource", "revisit"})
_INDEX_LINE = re.compile(rb"([!-~]+) ([0-9]{14}) (\{.*\})")

_Hash = Annotated[str, msgspec.Meta(pattern="^sha256:[0-9a-f]{64}$", max_length=71)]
_Digits = Annotated[str, msgspec.Meta(pattern="^(0|[1-9][0-9]{0,14})$", max_length=15)]


class _Strict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A JSON object without unknown fields."""


class _Resource(_Strict, frozen=True, kw_only=True):
    name: str
    path: str
    hash: _Hash
    bytes: int


class _Datapackage(_Strict, frozen=True, kw_only=True):
    profile: Literal["data-package"]
    wacz_version: Literal["1.1.1"]
    title: str
    created: str
    software: str
    resources: tuple[_Resource, ...]
    mainPageUrl: str = ""  # noqa: N815 - as WACZ names it
    mainPageDate: str = ""  # noqa: N815


class _Digest(_Strict, frozen=True, kw_only=True):
    path: Literal["datapackage.json"]
    hash: _Hash


class _PagesHead(_Strict, frozen=True, kw_only=True):
    format: Literal["json-pages-1.0"]
    id: str
    title: str
    hasText: bool  # noqa: N815


class _Page(_Strict, frozen=True, kw_only=True):
    id: str
    url: str
    ts: str
    title: str
    text: str = ""


class _IndexFields(_Strict, frozen=True, kw_only=True):
    url: str
    length: _Digits
    offset: _Digits
    filename: str
    recordDigest: _Hash  # noqa: N815
    digest: str = ""
    mime: str = ""
    status: str = ""
    method: str = "GET"
    requestBody: str = ""  # noqa: N815 - pywb's name


@dataclass(slots=True)
class PackageContent:
    """What a package was found to hold.

    Args:
        findings: What is wrong with it.
        resources: For each ``WARC-Target-URI`` of a resource record, the SHA-256 of the blocks.
        record_count: WARC records that were read.
    """

    findings: Findings = field(default_factory=Findings)
    resources: dict[str, set[str]] = field(default_factory=dict)
    record_count: int = 0


def check_wacz(stream: BinaryIO, size_bytes: int) -> PackageContent:
    """Check a package.

    Args:
        stream: The package, seekable.
        size_bytes: Its length.

    Raises:
        OSError: The stream could not be read.
    """
    package = _Package(stream)
    members, zip_findings = check_zip(stream, size_bytes)
    for finding in zip_findings:
        package.content.findings.add(finding)
    if members or not zip_findings:
        package.check(members)
    return package.content


class _Package:
    """One package while it is checked."""

    def __init__(self, stream: BinaryIO) -> None:
        self.content = PackageContent()
        self._findings = self.content.findings
        self._stream = stream
        self._records: dict[tuple[str, int], WarcRecord] = {}
        self._indexed: set[tuple[str, int]] = set()

    def check(self, members: list[Member]) -> None:
        by_name = {member.name: member for member in members}
        listed = self._listed(by_name)
        for member in members:
            if member.name in (DATAPACKAGE, DIGEST):
                continue
            if member.name.startswith("archive/") and not member.stored:
                self._report(Code.WACZ_NOT_STORED, member.name, "stored", "deflated")
            sha256 = self._read(member)
            self._compare(member, sha256, listed.pop(member.name, None))
        for path in listed:
            self._report(Code.WACZ_MEMBER_MISSING, path, "the member that is listed", "none")
        for needed in (INDEX, PAGES):
            if needed not in by_name:
                self._report(Code.WACZ_MEMBER_MISSING, needed, "the member", "none")
        if not any(WARC_NAME.fullmatch(name) for name in by_name):
            self._report(Code.WACZ_MEMBER_MISSING, "archive/", "a WARC file", "none")
        if INDEX in by_name:
            self._check_index(by_name[INDEX])

    def _listed(self, by_name: dict[str, Member]) -> dict[str, _Resource]:
        """The resources by path, after checking the two files that fix them."""
        datapackage = self._small(by_name.get(DATAPACKAGE), DATAPACKAGE)
        digest_file = self._small(by_name.get(DIGEST), DIGEST)
        if datapackage is None:
            return {}
        if digest_file is not None:
            digest = self._json(digest_file, _Digest, Code.WACZ_DATAPACKAGE, DIGEST)
            actual = f"sha256:{hashlib.sha256(datapackage).hexdigest()}"
            if digest is not None and digest.hash != actual:
                self._report(Code.WACZ_DIGEST_MISMATCH, DATAPACKAGE, digest.hash, actual)
        facts = self._json(datapackage, _Datapackage, Code.WACZ_DATAPACKAGE, DATAPACKAGE)
        if facts is None:
            return {}
        listed = {resource.path: resource for resource in facts.resources}
        names = {resource.name for resource in facts.resources}
        if not len(listed) == len(names) == len(facts.resources):
            self._report(Code.WACZ_DATAPACKAGE, DATAPACKAGE, "each path and name once", "one twice")
        return listed

    def _read(self, member: Member) -> str | None:
        """Read a member once, for its digest and for what is in it; None when it cannot be read."""
        digest = hashlib.sha256()
        pieces = _digested(member_pieces(self._stream, member), digest.update)
        try:
            if WARC_NAME.fullmatch(member.name):
                name = member.name.removeprefix("archive/")
                self._findings.merge(check_warc(pieces, name, lambda record: self._keep(name, record)))
            elif member.name == PAGES:
                self._check_pages(pieces)
            for _ in pieces:
                pass
        except ProofError as error:
            self._findings.add(error.finding)
            return None
        return digest.hexdigest()

    def _keep(self, filename: str, record: WarcRecord) -> None:
        self.content.record_count += 1
        if record.kind == "resource":
            self.content.resources.setdefault(record.uri, set()).add(record.block_sha256)
        if record.kind in INDEXED:
            self._records[filename, record.offset] = record

    def _compare(self, member: Member, sha256: str | None, resource: _Resource | None) -> None:
        if resource is None:
            self._report(Code.WACZ_MEMBER_UNLISTED, member.name, "a listed member", "an unlisted one")
        elif sha256 is not None and (resource.bytes, resource.hash) != (member.bytes, f"sha256:{sha256}"):
            self._report(
                Code.WACZ_DIGEST_MISMATCH,
                member.name,
                f"{resource.bytes} bytes, {resource.hash}",
                f"{member.bytes} bytes, sha256:{sha256}",
            )

    def _check_pages(self, pieces: Iterable[bytes]) -> None:
        expected: type[_PagesHead | _Page] = _PagesHead
        for line in _lines(pieces, PAGES):
            if self._json(line, expected, Code.WACZ_PAGES, PAGES) is None:
                return
            expected = _Page
        if expected is _PagesHead:
            self._report(Code.WACZ_PAGES, PAGES, "a line that names the format", "none")

    def _check_index(self, member: Member) -> None:
        before = b""
        try:
            for line in _lines(member_pieces(self._stream, member), INDEX):
                if line <= before:
                    self._report(Code.WACZ_INDEX, INDEX, "each line once, in order", repr(line[:80]))
                before = line
                self._check_index_line(line)
        except ProofError as error:
            self._findings.add(error.finding)
        for key, record in self._records.items():
            if key not in self._indexed:
                self._report(Code.WACZ_RECORD_NOT_INDEXED, INDEX, f"{record.kind} {record.uri}", "no line")

    def _check_index_line(self, line: bytes) -> None:
        found = _INDEX_LINE.fullmatch(line)
        if found is None:
            self._report(Code.WACZ_INDEX, INDEX, "a key, 14 digits and an object", repr(line[:80]))
            return
        stated = self._json(found[3], _IndexFields, Code.WACZ_INDEX, INDEX)
        if stated is None:
            return
        key = (stated.filename, int(stated.offset))
        record = self._records.get(key)
        if record is None:
            self._report(Code.WACZ_INDEX_MISMATCH, INDEX, f"a record at {key[0]} byte {key[1]}", "none")
            return
        self._indexed.add(key)
        moment = re.sub(r"\D", "", record.date)[:14]
        actual = (record.uri, record.length, f"sha256:{record.sha256}", moment)
        claimed = (stated.url, int(stated.length), stated.recordDigest, found[2].decode("ascii"))
        for real, claim in zip(actual, claimed, strict=True):
            if real != claim:
                self._report(Code.WACZ_INDEX_MISMATCH, f"{INDEX} {stated.url}", str(real), str(claim))
        payloads = record.payload_digests
        if payloads is not None and stated.digest not in payloads:
            real = " or ".join(sorted(payloads))
            self._report(Code.WACZ_INDEX_MISMATCH, f"{INDEX} {stated.url}", real, stated.digest)

    def _small(self, member: Member | None, name: str) -> bytes | None:
        """The whole of a small member; None, and a finding, when it is not there."""
        if member is None:
            self._report(Code.WACZ_MEMBER_MISSING, name, "the member", "none")
            return None
        if member.bytes > MAX_JSON_BYTES:
            self._report(Code.ZIP_TOO_LARGE, name, f"{MAX_JSON_BYTES} bytes", f"{member.bytes} bytes")
            return None
        try:
            return b"".join(member_pieces(self._stream, member))
        except ProofError as error:
            self._findings.add(error.finding)
            return None

    def _json(self, data: bytes, form: type[Any], code: Code, name: str) -> Any:
        """Read strict JSON of one form; None, and a finding, when it is not."""
        try:
            return msgspec.convert(read_strict(data), form)
        except MalformedJson as error:
            self._report(code, name, "unambiguous JSON", error.message)
        except msgspec.ValidationError as error:
            self._report(code, name, "the fields of its format", str(error))
        return None

    def _report(self, code: Code, name: str, expected: str, got: str) -> None:
        self._findings.report(code, f"package {name}", expected, got)


def _digested(pieces: Iterable[bytes], update: Callable[[bytes], object]) -> Iterator[bytes]:
    for piece in pieces:
        update(piece)
        yield piece


def _lines(pieces: Iterable[bytes], name: str) -> Iterator[bytes]:
    """Yield lines without their line feeds.

    Raises:
        ProofError: ``wacz-index`` or ``wacz-pages``: a line is too long, there are too many, or the last
            has no line feed.
    """
    count = 0
    code = Code.WACZ_PAGES if name == PAGES else Code.WACZ_INDEX
    rest = b""
    for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        yield from lines
        count += len(lines)
        if count > MAX_LINES or len(rest) > MAX_JSON_BYTES:
            limits = f"at most {MAX_LINES} lines of {MAX_JSON_BYTES} bytes"
            raise ProofError(code, f"package {name}", limits, "more")
    if rest:
        raise ProofError(code, f"package {name}", "a line feed at the end", "none")
