"""Evidence records as bytes: canonical JSON, one reader for each format version."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import msgspec

from manifests.canonical import canonical_bytes, parse_canonical
from manifests.errors import MalformedJson, MalformedRecord
from manifests.findings import Code
from manifests.record import FORMAT, EvidenceRecord
from manifests.record_rules import contradictions

_converting = threading.Lock()


def encode(record: EvidenceRecord) -> bytes:
    """Write *record*; what ``decode`` would refuse is not written.

    Raises:
        MalformedRecord: A field is of the wrong form, or two contradict each other.
    """
    try:
        data = canonical_bytes(msgspec.to_builtins(record))
    except MalformedJson as error:
        raise MalformedRecord(error.kind, error.message) from error
    decode(data)
    return data


def decode(data: bytes) -> EvidenceRecord:
    """Read an evidence record from its stored bytes.

    The bytes must be canonical (RFC 8785), of a known format, with every field of that format and no
    other, and free of contradictions.

    Raises:
        MalformedRecord: ``kind`` is the finding.
    """
    try:
        value = parse_canonical(data)
    except MalformedJson as error:
        raise MalformedRecord(error.kind, f"evidence record: {error.message}", hint=error.hint) from error
    if not isinstance(value, dict):
        raise MalformedRecord(Code.RECORD_SCHEMA, "evidence record: expected an object, got something else")
    version = value.get("format")
    reader = _READERS.get(version) if isinstance(version, str) else None
    if reader is None:
        raise MalformedRecord(
            Code.RECORD_FORMAT_UNKNOWN,
            f"evidence record: format: expected {' or '.join(_READERS)}, got {str(version)[:40]}",
            hint="verify it with a newer version of this program",
        )
    record = reader(value, data)
    for contradiction in contradictions(record):
        raise MalformedRecord(
            Code.RECORD_CONTRADICTION, f"evidence record {record.capture_id}: {contradiction}"
        )
    return record


def _read_version_1(value: dict[str, Any], data: bytes) -> EvidenceRecord:
    try:
        # msgspec 0.22 crashes where two threads are the first to use a type at once.
        with _converting:
            record: EvidenceRecord = msgspec.convert(value, EvidenceRecord)
    except msgspec.ValidationError as error:
        raise MalformedRecord(Code.RECORD_SCHEMA, f"evidence record: {error}") from error
    # The types fill in absent fields, so only writing it again shows that every field was there.
    if canonical_bytes(msgspec.to_builtins(record)) != data:
        raise MalformedRecord(
            Code.RECORD_SCHEMA, f"evidence record {record.capture_id}: expected every field, got some absent"
        )
    return record


_READERS: dict[str, Callable[[dict[str, Any], bytes], EvidenceRecord]] = {FORMAT: _read_version_1}
