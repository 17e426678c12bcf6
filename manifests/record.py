"""The evidence record: what was captured, when, by whom, by what means, and the digests that fix it.

Frozen values without rules of I/O; ``manifests.codec`` writes and reads them. Every field is written,
null where nothing is known, and no number is a float: a new field means a new ``format``, and old
formats are read for ever. Field descriptions are published as ``docs/evidence-record.schema.json``.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from manifests.record_network import Network, Recording
from manifests.record_process import (
    Access,
    Action,
    CaptureError,
    Clock,
    Collector,
    Commitment,
    Environment,
    Limit,
    LowerTimeBound,
    Origin,
    PreviousCapture,
    Statement,
)
from manifests.record_types import (
    Blake3,
    CaptureId,
    Count,
    HttpStatus,
    IncidentId,
    Line,
    MediaType,
    Part,
    Path,
    Percent,
    Sha256,
    Text,
    Timestamp,
    Token,
    Url,
)

FORMAT: Literal["evidence-record/1"] = "evidence-record/1"


class RegisterCell(Part, frozen=True, kw_only=True):
    """One cell of a register row.

    Args:
        column: Heading of the column, as written.
        value: Content of the cell, as written.
    """

    column: Annotated[str, Meta(max_length=4_096)]
    value: Annotated[str, Meta(max_length=256 * 1024)]


class RegisterRow(Part, frozen=True, kw_only=True):
    """The row of a register that asked for the capture, unknown columns included.

    Args:
        register: File name of the register.
        register_sha256: SHA-256 of the register file.
        line: Line (CSV, JSON Lines) or row (XLSX) in the file, the first being 1.
        cells: Cells in the order of the columns.
    """

    register: Line
    register_sha256: Sha256
    line: Count
    cells: tuple[RegisterCell, ...]


class Seed(Part, frozen=True, kw_only=True):
    """What was asked for.

    Args:
        url: URL exactly as given.
        role: Role of the URL in the incident, as given.
        note: Note, as given.
        row: Register row it came from; null when asked for by hand.
    """

    url: Url
    role: Line | None = None
    note: Text | None = None
    row: RegisterRow | None = None


class Outcome(Part, frozen=True, kw_only=True):
    """What became of the page.

    Args:
        kind: ``captured``, ``removed``, ``blocked``, ``login-wall``, ``unreachable``, ``failed`` and more.
        reason: One sentence that says why.
        signals: Observations that led to it.
        confidence_percent: How sure the classification is, 0 to 100.
    """

    kind: Token
    reason: Line
    signals: tuple[Line, ...] = ()
    confidence_percent: Percent


class MissingPart(Part, frozen=True, kw_only=True):
    """A part that a whole capture would have and this one has not.

    Args:
        part: Which: an artifact role, ``exchanges``, ``scrolling`` and the like.
        reason: Why it is missing.
    """

    part: Token
    reason: Line


class Completeness(Part, frozen=True, kw_only=True):
    """Whether the capture is whole.

    Args:
        state: ``complete``; ``incomplete`` when something is missing; ``interrupted`` when the capture
            was broken off and later made up from what was on disk.
        missing: What is missing; empty only when complete.
    """

    state: Literal["complete", "incomplete", "interrupted"]
    missing: tuple[MissingPart, ...] = ()


class Redirect(Part, frozen=True, kw_only=True):
    """One step from the URL asked for to the URL shown.

    Args:
        url: URL that redirected.
        status: HTTP status; null when a script or a meta element did it.
        location: URL it led to, resolved.
    """

    url: Url
    status: HttpStatus | None = None
    location: Url


class PageDate(Part, frozen=True, kw_only=True):
    """A date that the page itself states; never the date of the capture.

    Args:
        kind: ``published``, ``modified`` or ``shown`` (meaning unknown).
        value: The date as the page writes it.
        source: Where on the page, such as ``meta article:published_time``.
    """

    kind: Literal["published", "modified", "shown"]
    value: Line
    source: Line


class PlatformIds(Part, frozen=True, kw_only=True):
    """Identifiers that survive a rename of the page or its author.

    Args:
        platform: Name of the platform.
        account_id: Identifier of the account.
        post_id: Identifier of the post.
    """

    platform: Line
    account_id: Line | None = None
    post_id: Line | None = None


class Target(Part, frozen=True, kw_only=True):
    """The page as it answered.

    Args:
        url: URL that the browser was sent to.
        final_url: URL shown when the load was over; null when nothing loaded.
        redirects: Redirect chain in order.
        http_status: HTTP status of the main document.
        title: Title of the page.
        language: Language the page declares (BCP 47).
        canonical_url: URL that the page calls its own.
        dates: Dates that the page states.
        platform: Identifiers on a platform.
    """

    url: Url
    final_url: Url | None = None
    redirects: tuple[Redirect, ...] = ()
    http_status: HttpStatus | None = None
    title: Text | None = None
    language: Line | None = None
    canonical_url: Url | None = None
    dates: tuple[PageDate, ...] = ()
    platform: PlatformIds | None = None


class Artifact(Part, frozen=True, kw_only=True):
    """One file of the capture.

    Args:
        role: What it is: ``package``, ``screenshot-full``, ``dom`` and so on.
        path: File name beside the evidence record.
        media_type: Media type.
        bytes: Length.
        sha256: SHA-256 of the file.
        blake3: BLAKE3 of the file (256 bit).
        holds_secrets: True when it holds session secrets and so stays out of public editions.
        warc_target_uri: ``WARC-Target-URI`` of the record in the package that holds the same bytes.
        taken_at: When it was taken from the page.
        width_px: Width in pixels of the image.
        height_px: Height in pixels of the image.
        scale_percent: Image pixels per CSS pixel, times 100.
        offset_y_px: For a tile: image pixels between the top of the page and the top of the tile.
    """

    role: Token
    path: Path
    media_type: MediaType
    bytes: Count
    sha256: Sha256
    blake3: Blake3
    holds_secrets: bool = False
    warc_target_uri: Url | None = None
    taken_at: Timestamp | None = None
    width_px: Count | None = None
    height_px: Count | None = None
    scale_percent: Count | None = None
    offset_y_px: Count | None = None


class EvidenceRecord(Part, frozen=True, kw_only=True):
    """The evidence record of one capture.

    Args:
        format: Name and version of this format.
        capture_id: ID of the capture.
        incident_ids: Incidents it belongs to, at least one, each once.
        seed: What was asked for.
        requested_at: When the capture was asked for.
        started_at: When the load began.
        finished_at: When the last exhibit was taken, or the last byte received if it was interrupted.
        created_at: When this record was made.
        local_utc_offset_min: Local time of the machine minus UTC at the start, in minutes.
        clock: How the machine's clock compared with a time server.
        not_before: Fresh public value bound in before the capture; null when none was fetched.
        outcome: What became of the page.
        completeness: Whether the capture is whole.
        target: The page as it answered.
        network: The network side.
        recording: What the recorder holds.
        environment: The means.
        collector: Who answers for it.
        commitments: Facts fixed but not shown, each name once.
        statement: The four answers, and the purpose.
        access: How the page was open to the collector.
        origin: Whether it was observed live.
        previous: Capture of the same seed before this one.
        actions: What was done, in order.
        limits: Limits in force.
        errors: Errors met.
        alterations: Every conversion that the process made, in plain words.
        artifacts: The files, at least one, each path once; the record itself and its seal are not listed.
    """

    format: Literal["evidence-record/1"] = FORMAT
    capture_id: CaptureId
    incident_ids: Annotated[tuple[IncidentId, ...], Meta(min_length=1)]
    seed: Seed
    requested_at: Timestamp
    started_at: Timestamp
    finished_at: Timestamp
    created_at: Timestamp
    local_utc_offset_min: Annotated[int, Meta(ge=-1_080, le=1_080)]
    clock: Clock
    not_before: LowerTimeBound | None = None
    outcome: Outcome
    completeness: Completeness
    target: Target
    network: Network
    recording: Recording
    environment: Environment
    collector: Collector
    commitments: tuple[Commitment, ...] = ()
    statement: Statement
    access: Access
    origin: Origin
    previous: PreviousCapture | None = None
    actions: tuple[Action, ...] = ()
    limits: tuple[Limit, ...] = ()
    errors: tuple[CaptureError, ...] = ()
    alterations: tuple[Text, ...] = ()
    artifacts: Annotated[tuple[Artifact, ...], Meta(min_length=1)]
