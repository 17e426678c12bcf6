"""What an exhibit is made from: what was asked for, and the capture with what is known of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from archiver.reports.pictures import PicturePart
from manifests.commitments import Opening
from manifests.custody_event import CustodyEvent
from manifests.record import Artifact, EvidenceRecord
from manifests.report import Report
from manifests.seal import SealVerdict

Form = Literal["neutral", "us", "kz", "ru"]
Audience = Literal["court", "counsel", "public"]


@dataclass(frozen=True, slots=True)
class Order:
    """What the lawyer asked for.

    Args:
        number: Of the exhibit, as the case counts.
        form: Of the declaration.
        audience: For whom; only a court and counsel are shown opened facts.
        case: Name or number of the case, or empty.
        offered: What it is offered to prove, or empty.
        opened: Facts that the record fixes and that this edition tells.
    """

    number: str
    form: Form = "neutral"
    audience: Audience = "court"
    case: str = ""
    offered: str = ""
    opened: tuple[Opening, ...] = ()


@dataclass(frozen=True, slots=True)
class Shot:
    """One screenshot, cut for printing."""

    artifact: Artifact
    parts: Sequence[PicturePart]


@dataclass(frozen=True, slots=True)
class Source:
    """What the exhibit is made from.

    Args:
        record: The evidence record.
        record_bytes: Its bytes, as stored.
        seal: Files of the seal by name, without ``seal/``.
        proof: What the seal proves; None when there was no trust file to judge it by.
        report: What the verifier found.
        events: Of the custody log, oldest first; None when it could not be read.
        shots: Screenshots, in the order to be printed.
        text: The visible text, or empty.
        script: The commands that check the capture by hand.
    """

    record: EvidenceRecord
    record_bytes: bytes
    seal: Mapping[str, bytes]
    proof: SealVerdict | None
    report: Report
    events: Sequence[tuple[int, CustodyEvent]] | None
    shots: Sequence[Shot] = ()
    text: str = ""
    script: str = ""
    trust: bytes = b""
    stamps: Sequence[tuple[str, str, str]] = ()
    """Authority, time and serial number of each token that can be read."""
