"""Settings of batches: politeness, second attempts, vantages, mementos, notifications."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

SECOND_MS = 1_000
MINUTE_MS = 60 * SECOND_MS
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS

Line = Annotated[str, Meta(max_length=4_096)]
LanguageTag = Annotated[str, Meta(pattern="^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$", max_length=60)]
Milliseconds = Annotated[int, Meta(ge=0, le=7 * DAY_MS)]


class Batch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a run treats servers, and how long it tries.

    Args:
        pages_per_host: Pages of one host loaded at once, from one vantage.
        host_gap_ms: Between the end of one page and the start of the next one on the same host.
        attempts_per_run: Captures of one seed in one run, while its server is overloaded or out of reach.
        attempts: Of one seed in all runs together; then it has failed.
        retry_ms: Wait before the second attempt; it doubles with each further one.
        retry_max_ms: Longest wait between two attempts, unless the server asks for more.
        wait_ms: What one run may wait in all when nothing but waiting is left to do.
    """

    pages_per_host: Annotated[int, Meta(ge=1, le=32)] = 1
    host_gap_ms: Milliseconds = SECOND_MS
    attempts_per_run: Annotated[int, Meta(ge=1, le=20)] = 2
    attempts: Annotated[int, Meta(ge=1, le=100)] = 6
    retry_ms: Milliseconds = MINUTE_MS
    retry_max_ms: Milliseconds = HOUR_MS
    wait_ms: Milliseconds = HOUR_MS


class Vantage(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A named place that pages are seen from. What is empty is as in the settings without a vantage.

    Args:
        upstream: Proxy to dial through: ``socks5://``, ``socks5h://`` or ``http://``, host and port, and no
            credentials.
        credentials_from: Environment variable that holds ``user:password`` for it; empty for none.
        locale: Language and region of the browser, such as ``ru-RU``.
        timezone: IANA name.
        languages: That the browser asks for, best first, such as ``["kk-KZ", "ru", "en"]``.
        resolver: Address of a name server to ask in place of the system's, unless the proxy resolves.
        country: Country of the network exit, two letters of ISO 3166-1.
        place: Place of the exit, in words.
        country_check: Address that answers with the country of whoever asks, as ``loc=KZ`` or as JSON with
            ``country``; asked through the proxy before the vantage is used. Empty for no such check.
    """

    upstream: Annotated[str, Meta(pattern="^((socks5h?|http)://[^@/]+:[0-9]{1,5}/?)?$", max_length=300)] = ""
    credentials_from: Annotated[str, Meta(pattern="^([A-Za-z_][A-Za-z0-9_]*)?$", max_length=100)] = ""
    locale: Annotated[str, Meta(pattern="^([A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*)?$", max_length=60)] = ""
    timezone: Annotated[
        str, Meta(pattern="^([A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*)?$", max_length=60)
    ] = ""
    languages: Annotated[tuple[LanguageTag, ...], Meta(max_length=20)] = ()
    resolver: Annotated[str, Meta(pattern=r"^[0-9A-Fa-f.:\[\]]*$", max_length=60)] = ""
    country: Annotated[str, Meta(pattern="^([A-Z]{2})?$", max_length=2)] = ""
    place: Line = ""
    country_check: Annotated[str, Meta(pattern="^(https?://.+)?$", max_length=500)] = ""


class Mementos(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Copies that web archives hold.

    Args:
        use: ``off``, or ``when-gone`` to capture the newest memento of a page that is gone.
        timemaps: Addresses of TimeMaps (RFC 7089), ``{url}`` standing for the page; asked in order until one
            knows a memento.
        save: Address that a page is appended to, so that its archive makes a copy of its own of every page
            that was captured; empty for none. The Wayback Machine's is ``https://web.archive.org/save/``.
    """

    use: Literal["off", "when-gone"] = "off"
    timemaps: Annotated[
        tuple[Annotated[str, Meta(pattern=r"^https?://.*\{url\}.*$", max_length=500)], ...],
        Meta(max_length=10),
    ] = ("https://web.archive.org/web/timemap/link/{url}",)
    save: Annotated[str, Meta(pattern="^(https?://.+)?$", max_length=500)] = ""


class Notify(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who is told how a batch ended; both get the summary as JSON.

    Args:
        command: Program and arguments; the summary comes on its standard input.
        webhook: Address that the summary is posted to.
    """

    command: Annotated[tuple[Line, ...], Meta(max_length=50)] = ()
    webhook: Annotated[str, Meta(pattern="^(https?://.+)?$", max_length=1_000)] = ""
