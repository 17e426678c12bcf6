"""Parts of the evidence record about the process: means, conditions and order of use, people, limits."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from manifests.record_types import (
    CaptureId,
    Count,
    Line,
    Number,
    Part,
    Sha256,
    Text,
    Timestamp,
    Token,
    Url,
)


class Clock(Part, frozen=True, kw_only=True):
    """How the machine's clock compared with a time server.

    Args:
        checked: True when a server answered.
        server: The time server asked.
        checked_at: When it was asked, by the machine's clock.
        offset_ms: Server's time minus the machine's; positive when the machine is slow.
        round_trip_ms: Time the question took, which bounds the error of the offset.
        reason: Why it was not checked.
    """

    checked: bool
    server: Line | None = None
    checked_at: Timestamp | None = None
    offset_ms: Number | None = None
    round_trip_ms: Count | None = None
    reason: Line | None = None


class Software(Part, frozen=True, kw_only=True):
    """A program and its very code.

    Args:
        name: Its name.
        version: Its version.
        sha256: SHA-256 of its executable, or of its installed code as the tool's manual defines it.
        path: Where it was started from, when it is one file.
    """

    name: Line
    version: Line
    sha256: Sha256 | None = None
    path: Line | None = None


class Library(Part, frozen=True, kw_only=True):
    """A library that took part.

    Args:
        name: Its name in its package index.
        version: Its version.
    """

    name: Line
    version: Line


class Script(Part, frozen=True, kw_only=True):
    """A script that ran inside the page, besides the page's own.

    Args:
        name: Its name.
        sha256: SHA-256 of its source.
        purpose: What it does to the page, in plain words.
    """

    name: Line
    sha256: Sha256
    purpose: Line


class Viewport(Part, frozen=True, kw_only=True):
    """The window that the page was shown in.

    Args:
        width_px: Width in CSS pixels.
        height_px: Height in CSS pixels.
        scale_percent: Device pixels per CSS pixel, times 100.
    """

    width_px: Count
    height_px: Count
    scale_percent: Count


class Environment(Part, frozen=True, kw_only=True):
    """The means of the capture: programs, machine, browser and its settings.

    Args:
        tool: This program.
        python_version: Version of the Python that ran it.
        libraries: Libraries that took part.
        operating_system: Name and version of the operating system.
        architecture: Processor architecture.
        browser: The browser; null when none was started.
        browser_flags: Its command line options.
        headless: True when the browser drew no visible window.
        viewport: Window size.
        locale: Locale the browser was set to, such as ``kk-KZ``.
        timezone: Time zone the browser was set to (IANA name).
        languages: Languages the browser asked for, best first.
        user_agent: User agent it sent.
        scripts: Scripts run inside the page besides the page's own.
        login_session: Name of the stored session that was used; null when not logged in.
        vantage: Name of the observer's place, from the settings.
        vantage_country: Country of the network exit (ISO 3166-1, two letters), as set.
        vantage_place: Place of the machine, as set.
    """

    tool: Software
    python_version: Line
    libraries: tuple[Library, ...] = ()
    operating_system: Line
    architecture: Line
    browser: Software | None = None
    browser_flags: tuple[Text, ...] = ()
    headless: bool = True
    viewport: Viewport | None = None
    locale: Line | None = None
    timezone: Line | None = None
    languages: tuple[Line, ...] = ()
    user_agent: Line | None = None
    scripts: tuple[Script, ...] = ()
    login_session: Line | None = None
    vantage: Line | None = None
    vantage_country: Annotated[str, Meta(pattern="^[A-Z]{2}$", max_length=2)] | None = None
    vantage_place: Line | None = None


class Collector(Part, frozen=True, kw_only=True):
    """Who answers for the capture. Null where unknown or where only a commitment is recorded.

    Args:
        operator: Name of the person, where the settings allow it in plain.
        staff_id: The organisation's number or pseudonym for the person.
        role: The person's role or post.
        training: What the person was trained in, and when.
        organisation: Name of the organisation, where the settings allow it in plain.
        witness: Whether the person is willing to testify.
        witness_conditions: On what conditions.
        requested_by: Who asked for the capture.
    """

    operator: Line | None = None
    staff_id: Line | None = None
    role: Line | None = None
    training: Line | None = None
    organisation: Line | None = None
    witness: Literal["yes", "no", "on-conditions", "not-stated"] = "not-stated"
    witness_conditions: Text | None = None
    requested_by: Line | None = None


class Commitment(Part, frozen=True, kw_only=True):
    """A fact fixed now and shown, if ever, later.

    Args:
        name: Which fact, such as ``collector.operator`` or ``vantage.access_ip``.
        digest: SHA-256 over canonical JSON ``[salt, name, value]``; see ``manifests.commitments``.
    """

    name: Token
    digest: Sha256


class Statement(Part, frozen=True, kw_only=True):
    """The four answers about how a recording was made (Kazakhstan, CPC article 99(2)), and its purpose.

    Optional in the record; an export for a court refuses while one of the four is null.

    Args:
        when: When it was recorded, in words.
        by_whom: By whom.
        conditions: In what conditions: place, device, network.
        circumstances: In what circumstances: how the page came to notice, what was done.
        purpose: Why it was collected and how it bears on the incident.
    """

    when: Text | None = None
    by_whom: Text | None = None
    conditions: Text | None = None
    circumstances: Text | None = None
    purpose: Text | None = None


class Access(Part, frozen=True, kw_only=True):
    """How the page was open to the collector.

    Args:
        kind: ``public``; ``login`` behind an ordinary account; ``closed`` for a group with admission.
        pretext_used: Whether anybody was deceived to get access; null when not stated.
        personal_data: Whether the page shows personal data; null when not stated.
        note: More, in plain words.
    """

    kind: Literal["public", "login", "closed", "not-stated"] = "not-stated"
    pretext_used: bool | None = None
    personal_data: bool | None = None
    note: Text | None = None


class Action(Part, frozen=True, kw_only=True):
    """One step of what was done, in order.

    Args:
        kind: What: ``navigate``, ``wait``, ``scroll``, ``screenshot``, ``print`` and the like.
        started_at: When it began.
        duration_ms: How long it took.
        detail: Amounts with their units, and on what.
    """

    kind: Token
    started_at: Timestamp
    duration_ms: Count
    detail: Text | None = None


class Limit(Part, frozen=True, kw_only=True):
    """A limit that was in force.

    Args:
        name: Its name in the settings, such as ``page_load``.
        value: Its value.
        unit: Unit of the value: ``bytes``, ``ms``, ``px``, ``count``.
        reached: True when it cut something off.
    """

    name: Token
    value: Count
    unit: Literal["bytes", "ms", "px", "count"]
    reached: bool = False


class CaptureError(Part, frozen=True, kw_only=True):
    """An error of the capture in the words of the part that met it.

    Args:
        source: Part that met it: ``relay``, ``resolver``, ``browser``, ``page``, ``exhibits``, ``packer``.
        occurred_at: When.
        code: The part's own name for it, such as ``ERR_CONNECTION_RESET``.
        message: Its words.
        url: URL concerned.
    """

    source: Token
    occurred_at: Timestamp
    code: Line | None = None
    message: Text
    url: Url | None = None


class Origin(Part, frozen=True, kw_only=True):
    """Whether the page was observed at its own address or comes from somewhere else.

    Args:
        kind: ``live`` from its own address; ``memento`` from a web archive; ``received`` as a file.
        source_url: Where it was taken from, for the last two.
        source_name: Archive or person it came from.
        archived_at: When the source says it was made, as the source writes it.
        source_sha256: SHA-256 of what was received.
        note: Where the original is, and more.
    """

    kind: Literal["live", "memento", "received"] = "live"
    source_url: Url | None = None
    source_name: Line | None = None
    archived_at: Line | None = None
    source_sha256: Sha256 | None = None
    note: Text | None = None


class PreviousCapture(Part, frozen=True, kw_only=True):
    """The capture of the same seed before this one.

    Args:
        capture_id: Its ID.
        record_sha256: SHA-256 of its evidence record.
    """

    capture_id: CaptureId
    record_sha256: Sha256


class LowerTimeBound(Part, frozen=True, kw_only=True):
    """A fresh public value fetched before the capture: the record cannot be older than it.

    Args:
        source: Kind of source, such as ``tlog-checkpoint`` or ``drand``.
        url: Where it was fetched.
        value: The value, as text.
        published_at: The time the source gives for the value; null when it gives none.
        fetched_at: When it was fetched.
    """

    source: Token
    url: Url
    value: Text
    published_at: Timestamp | None = None
    fetched_at: Timestamp
