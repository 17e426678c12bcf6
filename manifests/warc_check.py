"""Strict reading of a WARC 1.1 file that is gzipped record by record, in one pass and flat memory.

1. Every gzip member is plain, sound, and holds exactly one record; nothing lies between or after them.
2. Every record has a well-formed header, a type that we write, and the length it states.
3. The block digest is that of the block; the payload digest is that of a payload the block may hold.
4. The first record is the one ``warcinfo``; no two records have one ID; references lead to records.

Block digest: over the whole block. Payload digest: over the entity body, without HTTP head and without
chunk framing. Source: ISO 28500:2017 (WARC 1.1), sections 4 to 6 and annex D.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from manifests.findings import Code, Finding, Findings
from manifests.inflate import GzipMembers
from manifests.proof import ProofError
from manifests.warc_record import RecordParser


@dataclass(frozen=True, slots=True)
class WarcRecord:
    """One record that was read to its end.

    Args:
        offset: Of its gzip member in the file, bytes.
        length: Of its gzip member, bytes.
        sha256: Hex SHA-256 of its gzip member.
        kind: ``WARC-Type``.
        uri: ``WARC-Target-URI``, or empty.
        date: ``WARC-Date``.
        payload_digests: What an index may state: ``WARC-Payload-Digest`` as written; where there is none,
            nothing or what its payload may have; None when the payload cannot be told.
        block_sha256: Hex SHA-256 of its block, as computed.
        block_bytes: Length of its block.
    """

    offset: int
    length: int
    sha256: str
    kind: str
    uri: str
    date: str
    payload_digests: frozenset[str] | None
    block_sha256: str
    block_bytes: int


def check_warc(pieces: Iterable[bytes], name: str, take: Callable[[WarcRecord], None]) -> Findings:
    """Check a WARC file and hand over its records.

    Args:
        pieces: The bytes of the file; always read to their end.
        name: Of the file, for the findings.
        take: Called with each sound record, in file order.

    Raises:
        ProofError, OSError: Whatever *pieces* raises.
    """
    members = GzipMembers(pieces, f"warc {name}")
    check = _Check(name, take)
    try:
        while members.more():
            check.record(members)
    except ProofError as error:
        check.findings.add(error.finding)
        members.skip_rest()
    check.end()
    return check.findings


class _Check:
    """What one file's records have in common."""

    def __init__(self, name: str, take: Callable[[WarcRecord], None]) -> None:
        self.findings = Findings()
        self._name = name
        self._take = take
        self._count = 0
        self._ids: set[str] = set()
        self._references: set[str] = set()
        self._payloads: set[str] = set()

    def record(self, members: GzipMembers) -> None:
        """Read the next record, or raise ``ProofError`` when what follows cannot be told apart."""
        parser = RecordParser(f"warc {self._name} at byte {members.offset + members.length}")
        fault = None
        for piece in members.member():
            if fault is None:
                fault = _fault(lambda: parser.feed(piece))  # noqa: B023 - called before the next turn
        fault = fault or _fault(parser.end)
        if fault is not None:
            self.findings.add(fault)
        self._count += 1
        # A record with a wrong digest is still a record, which index and references may name.
        if parser.fields:
            self._relate(parser)
            self._take(_facts(parser, members))

    def end(self) -> None:
        """Check what can be checked only when all records are known."""
        if not self._count:
            self.findings.report(Code.WARC_MALFORMED, f"warc {self._name}", "a warcinfo record", "none")
        for missing in sorted(self._references - self._ids):
            self.findings.report(Code.WARC_DANGLING_REFERENCE, f"warc {self._name}", missing)

    def _relate(self, parser: RecordParser) -> None:
        record_id = parser.fields["warc-record-id"]
        if (parser.kind == "warcinfo") != (self._count == 1):
            self._report(Code.WARC_RECORD_TYPE, record_id, "warcinfo first and nowhere else", parser.kind)
        if record_id in self._ids:
            self._report(Code.WARC_DUPLICATE_RECORD_ID, record_id, "once", "twice")
        self._ids.add(record_id)
        self._references.update(parser.concurrent_to)
        payload = parser.fields.get("warc-payload-digest", "")
        if parser.kind != "revisit":
            self._payloads.add(payload)
        elif payload not in self._payloads:
            self._report(
                Code.WARC_DANGLING_REFERENCE, record_id, "an earlier record with this payload", payload
            )

    def _report(self, code: Code, record_id: str, expected: str, got: str) -> None:
        self.findings.report(code, f"warc {self._name} record {record_id}", expected, got)


def _fault(step: Callable[[], None]) -> Finding | None:
    try:
        step()
    except ProofError as error:
        return error.finding
    return None


def _facts(parser: RecordParser, members: GzipMembers) -> WarcRecord:
    return WarcRecord(
        offset=members.offset,
        length=members.length,
        sha256=members.sha256.hexdigest(),
        kind=parser.kind,
        uri=parser.fields.get("warc-target-uri", ""),
        date=parser.fields["warc-date"],
        payload_digests=parser.payload_digests,
        block_sha256=parser.block_sha256,
        block_bytes=parser.block_bytes,
    )
