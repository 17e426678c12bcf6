"""The newest memento of a page that is gone, found in the TimeMaps of web archives. One fetch, else rules.

A memento is captured as a seed of its own with the role ``memento``, and its record says where it comes from
and when the archive says that it was made. It is what an archive shows, and never stands for the original.

Source: RFC 7089 section 5 (TimeMaps), RFC 8288 section 3 (the link format).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import quote, urlsplit

from archiver.errors import ArchiverError, UsageError
from archiver.incidents.register import Seed
from archiver.incidents.rules import check_seed_url
from manifests.http_fetch import FetchError, fetch

ROLE = "memento"
MAX_TIMEMAP_BYTES = 16 * 1024 * 1024
MAX_SAVE_ANSWER_BYTES = 4 * 1024 * 1024
MAX_PAGES = 20
"""Parts of one TimeMap that are followed."""
# Possessive throughout: hostile text is read once, and never tried in other ways.
_LINK = re.compile(
    r"\s*+<([^<>]*+)>((?:\s*+;\s*+[a-z*-]++\s*+(?:=\s*+(?:\"[^\"]*+\"|[^\",;\s]*+))?+)*+)\s*+(?:,|\Z)",
    re.IGNORECASE,
)
_ATTRIBUTE = re.compile(r"([a-z*-]++)\s*+=\s*+(?:\"([^\"]*+)\"|([^\",;\s]*+))", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Memento:
    """One copy of a page in an archive.

    Args:
        url: Of the copy.
        archived_at: When the archive says it was made, as it writes it.
        moment: The same, aware UTC.
    """

    url: str
    archived_at: str
    moment: datetime


@dataclass(frozen=True, slots=True)
class TimeMap:
    """What one answer held.

    Args:
        newest: The newest memento in it whose address can be captured, or None.
        further: Addresses of further parts.
    """

    newest: Memento | None
    further: tuple[str, ...]


class TimeMapUnavailable(ArchiverError):
    """An archive did not say what it holds."""


def read_timemap(text: str, now: datetime) -> TimeMap:
    """Read a TimeMap in link format; what is no link, or dated after *now*, is passed over.

    Args:
        text: As received; anything.
        now: Aware UTC: an archive cannot hold what is yet to come.
    """
    newest: Memento | None = None
    further = []
    for target, attributes in _links(text):
        relations = attributes.get("rel", "").lower().split()
        if "timemap" in relations:
            further.append(target)
        elif "memento" in relations and (found := _memento(target, attributes.get("datetime", ""))):
            is_newer = newest is None or found.moment >= newest.moment
            newest = found if found.moment <= now and is_newer else newest
    return TimeMap(newest, tuple(further))


def find_memento(
    url: str, timemap: str, now: datetime, get: Callable[[str], str] | None = None
) -> Memento | None:
    """Ask one archive for its newest memento of *url*; None when it knows none.

    Args:
        url: Of the original.
        timemap: Address of the TimeMap, with ``{url}`` in it.
        now: Aware UTC.
        get: Gives the text at an address; by default over the network.

    Raises:
        TimeMapUnavailable: E720.
    """
    waiting, asked = [timemap.replace("{url}", url)], set[str]()
    newest: Memento | None = None
    while waiting and len(asked) < MAX_PAGES:
        # Parts follow one another in time: the last one holds the newest.
        address = waiting.pop()
        if address in asked:
            continue
        asked.add(address)
        page = read_timemap((get or _get)(address), now)
        if page.newest and (newest is None or page.newest.moment > newest.moment):
            newest = page.newest
        host = urlsplit(address).netloc
        waiting += [further for further in page.further if urlsplit(further).netloc == host]
    return newest


def memento_seed(seed: Seed, memento: Memento, timemap: str) -> Seed:
    """Make the seed that captures *memento* in the place of *seed*."""
    return replace(
        seed,
        url=memento.url,
        role=ROLE,
        note=f"memento of {seed.url}, which was gone"[:4_000],
        origin={
            "kind": "memento",
            "source_url": memento.url,
            "source_name": urlsplit(memento.url).netloc,
            "archived_at": memento.archived_at,
            "note": f"found in the TimeMap {timemap.replace('{url}', seed.url)}; the original is {seed.url}",
        },
    )


def ask_to_save(url: str, service: str) -> None:
    """Ask a web archive to make a copy of its own of *url*; its answer is not evidence and is not kept.

    Raises:
        TimeMapUnavailable: E721.
    """
    try:
        fetch(service + quote(url, safe=":/?&=%#~+,;@!$'()*[]"), None, "", MAX_SAVE_ANSWER_BYTES)
    except FetchError as error:
        raise TimeMapUnavailable(
            f"web archive {urlsplit(service).netloc}: request to save: expected it to be taken, got {error}",
            code="E721",
            hint="nothing of ours depends on it; set mementos.save to an empty text to stop asking",
        ) from error


def _get(address: str) -> str:
    try:
        return fetch(address, None, "", MAX_TIMEMAP_BYTES).decode("utf-8", "replace")
    except FetchError as error:
        if str(error).endswith("got 404"):  # RFC 7089 section 4.5.2: this archive holds none
            return ""
        raise TimeMapUnavailable(
            f"web archive {urlsplit(address).netloc}: TimeMap: expected one, got {error}",
            code="E720",
            hint="the page is kept as gone; ask again with a later run, or change mementos.timemaps",
        ) from error


def _links(text: str) -> Iterator[tuple[str, dict[str, str]]]:
    at = 0
    while at < len(text):
        match = _LINK.match(text, at)
        if match is None:
            # Not a link: go on behind the next comma that begins one.
            start = text.find("<", at + 1)
            if start < 0:
                return
            at = start
            continue
        at = match.end()
        attributes = _ATTRIBUTE.findall(match[2])
        yield match[1].strip(), {name.lower(): quoted or bare for name, quoted, bare in attributes}


def _memento(target: str, archived_at: str) -> Memento | None:
    try:
        moment = parsedate_to_datetime(archived_at)
        return Memento(check_seed_url(target), archived_at, moment.replace(tzinfo=moment.tzinfo or UTC))
    except (ValueError, TypeError, OverflowError, UsageError):
        return None
