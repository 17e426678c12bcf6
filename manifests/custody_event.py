"""Custody events: who did what, when, to which digests. The entries of the custody log.

An entry is the canonical JSON (RFC 8785) of a ``CustodyEvent``, shorter than 64 KiB. Nothing personal
belongs in one: actors are pseudonyms, for a log cannot forget.
"""

from __future__ import annotations

import re
import secrets
from datetime import UTC, datetime
from typing import Annotated, Literal, get_args

import msgspec

from manifests.errors import ManifestError
from manifests.findings import Code
from manifests.proof import ProofError
from manifests.tiles import MAX_ENTRY_BYTES

EventType = Literal[
    "captured",
    "failed",
    "retried",
    "signed",
    "sealed",
    "renewed",
    "verified",
    "audited",
    "repaired",
    "linked",
    "unlinked",
    "reclassified",
    "viewed",
    "exported",
    "copied",
    "redacted",
    "transcribed",
    "translated",
    "published",
    "handed-over",
    "annex-opened",
    "access-refused",
    "held",
    "released",
    "deletion-requested",
    "deleted",
    "key-added",
    "key-rotated",
    "key-revoked",
]
EVENT_TYPES: tuple[str, ...] = get_args(EventType)

_Short = Annotated[str, msgspec.Meta(max_length=200)]
_Text = Annotated[str, msgspec.Meta(max_length=4000)]
_Sha256 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
_Name = Annotated[str, msgspec.Meta(pattern="^[A-Za-z0-9._-]{1,200}$")]
_Digests = Annotated[dict[_Name, _Sha256], msgspec.Meta(max_length=256)]
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


class CustodyEvent(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One event.

    Args:
        format: Version of this form.
        id: 32 hex digits at random: tells equal acts apart, and an act from its repetition by a retry.
        type: What was done.
        at: When, by the actor's clock: RFC 3339, UTC, milliseconds.
        actor: Who, as a pseudonym or the name of the program's role.
        role: In what function.
        device: On which machine, by a name the organisation gave it.
        place: Where, as coarse as is fit.
        capture_id: Which capture, or empty.
        incident_id: Which incident, or empty.
        digests: SHA-256 of what there was after the act, by name.
        digests_before: SHA-256 of what there was before, by name.
        purpose: Why, and on whose order.
        details: What else a reader should know: receipt numbers, the error of a failure.
    """

    format: Literal["custody-event/1"] = "custody-event/1"
    id: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{32}$")]
    type: EventType
    at: str
    actor: _Short
    role: _Short = ""
    device: _Short = ""
    place: _Short = ""
    capture_id: _Short = ""
    incident_id: _Short = ""
    digests: _Digests = {}
    digests_before: _Digests = {}
    purpose: _Text = ""
    details: _Text = ""


_DECODER = msgspec.json.Decoder(CustodyEvent)


class EventInvalid(ManifestError):
    """What was to be logged is no custody event."""


def new_event(type: EventType, actor: str, **facts: str | dict[str, str]) -> CustodyEvent:  # noqa: A002  the field's name
    """Make the event of something done now; *facts* are the other fields of ``CustodyEvent``."""
    now = datetime.now(UTC)
    at = f"{now:%Y-%m-%dT%H:%M:%S}.{now.microsecond // 1000:03d}Z"
    return CustodyEvent(id=secrets.token_hex(16), type=type, at=at, actor=actor, **facts)  # type: ignore[arg-type]  # checked by encode_event


def encode_event(event: CustodyEvent) -> bytes:
    """The entry's bytes.

    Raises:
        EventInvalid: A field has the wrong form, or the whole is too long.
    """
    try:
        entry = _canonical(event)
        parse_event(entry)
    except (ProofError, UnicodeEncodeError, TypeError) as error:
        raise EventInvalid(
            f"custody event {event.type}: {error}", code="E492", hint="shorten or correct the field"
        ) from error
    return entry


def _canonical(event: CustodyEvent) -> bytes:
    """RFC 8785: the same as its general form for text under ASCII names, as a test holds, and much faster."""
    return msgspec.json.encode(event, order="sorted")


def parse_event(entry: bytes) -> CustodyEvent:
    """Read an entry.

    Raises:
        ProofError: ``log-entry-malformed``.
    """
    if len(entry) > MAX_ENTRY_BYTES:
        expected, got = f"at most {MAX_ENTRY_BYTES} bytes", f"{len(entry)} bytes"
        raise ProofError(Code.LOG_ENTRY_MALFORMED, "log entry", expected, got)
    try:
        event = _DECODER.decode(entry)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ProofError(Code.LOG_ENTRY_MALFORMED, "log entry", "a custody event", str(error)) from error
    # Equal to what we write: so there is no second spelling of an event, no key given twice, no rounding.
    if _canonical(event) != entry:
        raise ProofError(Code.LOG_ENTRY_MALFORMED, "log entry", "the canonical form", "another")
    if not _MOMENT.fullmatch(event.at):
        raise ProofError(Code.LOG_ENTRY_MALFORMED, "log entry time", "RFC 3339 in UTC with ms", event.at)
    return event
