"""What a report on incidents tells: links with what became of them, and the counts that are made of them.

Values and rules without I/O; ``report_source`` reads them from a register and a store, the renderers print
them. All figures of a report come from ``tally``, so that tables, pictures and files cannot disagree.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

Fate = Literal["present", "gone", "barred", "unreachable", "unclear", "not-captured", "lost"]
FATES: tuple[Fate, ...] = ("present", "gone", "barred", "unreachable", "unclear", "not-captured", "lost")

_FATE_OF: dict[str, Fate] = {
    "captured": "present",
    "removed": "gone",
    "not-found": "gone",
    "parked": "gone",
    "blocked": "barred",
    "geo-blocked": "barred",
    "login-wall": "barred",
    "challenge": "barred",
    "rate-limited": "barred",
    "overloaded": "unreachable",
    "certificate": "unreachable",
    "unreachable": "unreachable",
}
"""By outcome; what is not named is unclear: a failure of ours says nothing about a page."""


def fate_of(outcome: str) -> Fate:
    """Return what an outcome says of a page, as reports count it."""
    return _FATE_OF.get(outcome, "unclear")


@dataclass(frozen=True, slots=True)
class Sight:
    """One capture of a link.

    Args:
        capture_id: Its ID.
        at: When its load began: RFC 3339, UTC.
        outcome: What became of the page.
        signal: What told, in words; empty where nothing but the answer did.
        state: Of its seal.
        record_sha256: Of its evidence record; empty where that was not read.
        title: Of the page, or empty.
        vantage: Where it was seen from, or empty.
    """

    capture_id: str
    at: str
    outcome: str
    signal: str = ""
    state: str = ""
    record_sha256: str = ""
    title: str = ""
    vantage: str = ""

    @property
    def fate(self) -> Fate:
        """What it says of the page."""
        return fate_of(self.outcome)


@dataclass(frozen=True, slots=True)
class Link:
    """One link of an incident.

    Args:
        url: Its target; empty where that is lost.
        anchor: The words that were linked, or empty.
        role: In the incident, or empty.
        outlets: Named with it.
        platforms: Named with it.
        sights: Captures, oldest first.
    """

    url: str
    anchor: str = ""
    role: str = ""
    outlets: tuple[str, ...] = ()
    platforms: tuple[str, ...] = ()
    sights: tuple[Sight, ...] = ()

    @property
    def fate(self) -> Fate:
        """What became of it, by its newest capture."""
        if self.sights:
            return self.sights[-1].fate
        return "not-captured" if self.url else "lost"

    @property
    def first_fate(self) -> Fate:
        """What it was at its first capture."""
        return self.sights[0].fate if self.sights else self.fate

    @property
    def citable(self) -> Sight | None:
        """The capture to cite: the first that shows the page, else the first there is."""
        shown = (sight for sight in self.sights if sight.fate == "present")
        return next(shown, self.sights[0] if self.sights else None)

    @property
    def title(self) -> str:
        """The title to cite it by."""
        sight = self.citable
        return (sight.title if sight else "") or self.anchor or self.url

    @property
    def outlet(self) -> str:
        """Whose page it is: as named, else the host."""
        return ", ".join(self.outlets) or urlsplit(self.url).hostname or ""


@dataclass(frozen=True, slots=True)
class Incident:
    """One incident.

    Args:
        incident_id: Its ID.
        section: Number of its section, or empty.
        month: ``2026-01``, or empty.
        title: Its title, or empty.
        text: Paragraphs divided by line feeds, or empty.
        links: In the order of the register.
    """

    incident_id: str
    section: str = ""
    month: str = ""
    title: str = ""
    text: str = ""
    links: tuple[Link, ...] = ()


@dataclass(frozen=True, slots=True)
class Tally:
    """How many links of one kind met which fate.

    Args:
        name: Of the kind: a section, a platform, a signal.
        counts: By fate.
    """

    name: str
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def total(self) -> int:
        """All links of the kind."""
        return sum(self.counts.values())


@dataclass(frozen=True, slots=True)
class Report:
    """What is reported.

    Args:
        title: Of the matter: an incident's ID, or a country and quarter.
        incidents: In order.
        sections: Titles by number.
        made_at: RFC 3339, UTC: until when captures were looked at.
        previous: Tallies by section of the quarter before, or empty.
        previous_title: Of that quarter, or empty.
    """

    title: str
    incidents: tuple[Incident, ...]
    sections: dict[str, str] = field(default_factory=dict)
    made_at: str = ""
    previous: tuple[Tally, ...] = ()
    previous_title: str = ""

    @property
    def links(self) -> list[Link]:
        """Every link, incident by incident."""
        return [link for incident in self.incidents for link in incident.links]

    def by_section(self) -> list[Tally]:
        """Tallies by section, in order of their numbers."""
        pairs = [(incident.section or "–", link) for incident in self.incidents for link in incident.links]
        return sorted(tally(pairs), key=lambda one: (not one.name.isdigit(), one.name.zfill(9)))

    def by_platform(self) -> list[Tally]:
        """Tallies by platform, largest first; a link without one counts under its host's kind ``web``."""
        return _largest_first(tally(_named(self.links, lambda link: link.platforms or ("web",))))

    def by_signal(self) -> list[Tally]:
        """Tallies by what told that a link is no longer present, largest first."""
        ended = [link for link in self.links if link.sights and link.fate != "present"]
        return _largest_first(
            tally((link.sights[-1].signal or link.sights[-1].outcome, link) for link in ended)
        )

    def whole(self) -> Tally:
        """All links together."""
        return next(iter(tally((self.title, link) for link in self.links)), Tally(self.title))


def tally(pairs: Iterable[tuple[str, Link]]) -> list[Tally]:
    """Count links by name and fate, names in the order of their first appearance."""
    counted: dict[str, Counter[str]] = {}
    for name, link in pairs:
        counted.setdefault(name, Counter())[link.fate] += 1
    return [Tally(name, counts) for name, counts in counted.items()]


def _named(links: Sequence[Link], names: Callable[[Link], Iterable[str]]) -> list[tuple[str, Link]]:
    return [(name, link) for link in links for name in names(link)]


def _largest_first(tallies: list[Tally]) -> list[Tally]:
    return sorted(tallies, key=lambda one: (-one.total, one.name))
