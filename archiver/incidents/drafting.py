"""From a document to incidents: one set of rules for every format. No I/O.

The rules, in their order; ``docs/registers.md`` gives them with examples:

1. A paragraph that was broken off (by a page) is joined with what follows.
2. A heading with a number begins a section; a document without numbers is numbered by its headings.
3. A month alone on its line, or before a full stop at the start of a paragraph, holds until the next month or
   section.
4. What stands before the first section, directly below a section's heading without a link, or at the end as
   the editors' address, is no incident.
5. A paragraph with a link begins an incident, unless it begins with a word that goes on ("Furthermore").
6. A paragraph without one begins an incident when it opens with a date, or with a name in full; else it goes
   on with the incident before it.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from archiver.incidents.document import (
    Document,
    Paragraph,
    Run,
    drop_start,
    is_link,
    squeeze,
    target_is_lost,
    tidy,
)
from archiver.incidents.quarters import Quarter
from archiver.incidents.wording import any_of, months, named, phrases, proposed_role

MAX_TITLE_CHARS = 160
MAX_SECTION_CHARS = 200
OPENING_WORDS = 5
"""Within so many words a paragraph names whom it is about."""

_NUMBERED = re.compile(r"(\d{1,2})\s?[.)]\s?(?=\D|$)(.*)")
_NUMBER_ALONE = re.compile(r"(?:section|раздел|бөлім|№)?\s*(\d{1,2})\.?", re.IGNORECASE)
_BARE_URL = re.compile(r"https?://[^\s<>\"«»]+", re.IGNORECASE)
_ENDS = re.compile(r"[.!?…:;](?:[\"'’”»)\]]*)$")
_SENTENCE = re.compile(r"(?<=\w[\w)’”»\"'][.!?…])\s+(?=[«“‘\"'(]?[A-ZА-ЯЁӘҒҚҢӨҰҮҺІ])")
_EMAIL = re.compile(r"[\w.+-]+@[\w-]+\.[\w.-]+")
_TRAILING_PAGE = re.compile(r"[\s.…·_]*\d*$")
_QUOTED_SPEECH = re.compile(r"[‘'“\"«][^’'”\"»]{60,}")
_TITLED = re.compile(r"(?:The|A|An)\s+(?=[A-Z])")


@dataclass(frozen=True, slots=True)
class DraftLink:
    """A link of an incident; *url* is empty where the target is lost."""

    anchor: str
    url: str
    target: str
    role: str


@dataclass(frozen=True, slots=True)
class DraftIncident:
    """An incident as the document tells it; it has no ID yet."""

    section: int
    month: str
    title: str
    text: str
    links: tuple[DraftLink, ...]
    outlets: tuple[str, ...]
    platforms: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DraftSection:
    """A section: its number, its heading without the number, and what introduces it."""

    number: int
    title: str
    introduction: str = ""


@dataclass(frozen=True, slots=True)
class Draft:
    """What a document tells.

    Args:
        sections: In the order of the document.
        incidents: In the order of the document.
        outside: Paragraphs that are no incidents: introduction and address of the editors.
        notes: What a person should look at.
    """

    sections: tuple[DraftSection, ...]
    incidents: tuple[DraftIncident, ...]
    outside: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(slots=True)
class _Open:
    """An incident that is being read."""

    section: int
    month: str
    title: str
    paragraphs: list[Paragraph] = field(default_factory=list)


def draft(document: Document, quarter: Quarter) -> Draft:
    """Return the incidents of *document*; no section, no incident."""
    paragraphs = _joined([one for one in map(_prepared, document.paragraphs) if one.runs])
    headings = _section_headings(paragraphs)
    end = _end_of_incidents(paragraphs)
    reading = _Reading(quarter, notes=list(document.notes))
    for place, paragraph in enumerate(paragraphs[:end]):
        reading.take(paragraph, headings.get(place))
    reading.outside += [one.text for one in paragraphs[end:]]
    return reading.result()


class _Reading:
    """Where in the document we are."""

    def __init__(self, quarter: Quarter, notes: list[str]) -> None:
        self.outside: list[str] = []
        self._quarter = quarter
        self._notes = notes
        self._sections: dict[int, DraftSection] = {}
        self._incidents: list[_Open] = []
        self._section: int | None = None
        self._month = ""
        self._at_start = False
        """Directly below a section's heading."""
        self._fresh = False
        """Directly below a heading: whatever comes begins an incident."""

    def take(self, paragraph: Paragraph, heading: tuple[int, str] | None) -> None:
        if heading:
            number, title = heading
            if number not in self._sections:
                self._sections[number] = DraftSection(number, title)
            self._section, self._month, self._at_start, self._fresh = number, "", True, True
            return
        if self._section is None:
            self.outside.append(paragraph.text)
            if paragraph.linked:
                self._notes.append(
                    f"a link before the first section is in no incident: {paragraph.text[:80]!r}"
                )
            return
        month, paragraph = self._month_of(paragraph)
        if month:
            self._month, self._at_start, self._fresh = month, False, True
        if not paragraph.runs:
            return
        self._place(paragraph)

    def _place(self, paragraph: Paragraph) -> None:
        assert self._section is not None
        told = paragraph.begins is not None
        if self._at_start and not paragraph.linked and not told:
            self._introduce(paragraph.text)
            return
        begins = paragraph.begins if told else (self._fresh or begins_incident(paragraph, self._before()))
        if begins or not self._incidents:
            self._incidents.append(_Open(self._section, self._month, paragraph.title, [paragraph]))
        else:
            self._incidents[-1].paragraphs.append(paragraph)
        self._at_start = self._fresh = False

    def _before(self) -> str:
        return "\n".join(one.text for one in self._incidents[-1].paragraphs) if self._incidents else ""

    def _introduce(self, text: str) -> None:
        assert self._section is not None
        section = self._sections[self._section]
        words = f"{section.introduction}\n{text}".strip()
        self._sections[self._section] = replace(section, introduction=words)
        self.outside.append(text)

    def _month_of(self, paragraph: Paragraph) -> tuple[str, Paragraph]:
        found = month_at_start(paragraph.text)
        if found is None or (paragraph.begins is not None and not paragraph.heading):
            return "", paragraph
        number, year, length = found
        if number not in self._quarter.months:
            self._notes.append(f"month outside the quarter {self._quarter}: {paragraph.text[:40]!r}")
        rest = drop_start(paragraph.runs, length)
        month = f"{year or self._quarter.year}-{number:02d}"
        return month, tidy(replace(paragraph, runs=rest, heading=0))

    def result(self) -> Draft:
        incidents = tuple(map(_finished, self._incidents))
        return Draft(tuple(self._sections.values()), incidents, tuple(self.outside), tuple(self._notes))


def month_at_start(text: str) -> tuple[int, int | None, int] | None:
    """Return number, year if told, and length of a month that stands alone or before a full stop."""
    found = _month_pattern().match(text)
    if found:
        return months()[found["name"].casefold()], int(found["year"]) if found["year"] else None, found.end()
    if digits := re.fullmatch(r"(20\d\d)-(\d\d)", text.strip()):
        number = int(digits[2])
        return (number, int(digits[1]), len(text)) if 1 <= number <= 12 else None
    return None


@functools.cache
def _month_pattern() -> re.Pattern[str]:
    names = "|".join(sorted(map(re.escape, months()), key=len, reverse=True))
    year = r"(?:,?\s+(?P<year>20\d\d)(?:\s*(?:г\.?|года|year|ж\.?))?)?"
    return re.compile(rf"(?P<name>{names}){year}\s*(?:[.:]?\s*$|[.:]\s+|\s[—–-]\s+)", re.IGNORECASE)


def begins_incident(paragraph: Paragraph, before: str) -> bool:
    """Whether a paragraph begins an incident, *before* being the one it would go on with. Rules 5 and 6."""
    text = paragraph.text
    if _goes_on().match(text):
        return False
    if paragraph.linked:
        return True
    if _QUOTED_SPEECH.match(text):
        return False
    words = text.split()
    opening = words[:OPENING_WORDS]
    if _opens_with_date(opening):
        return True
    if _TITLED.match(text):
        # "The Prosecutor's Office noted ...", but "The Ministry of Culture removed ..." is news.
        adding = set(phrases()["continues"]["adding"])
        return not adding & {word.casefold().strip(",.") for word in words[:8]}
    named_in_full = [word for word in opening[1:] if _is_name(word)]
    if named_in_full:
        return True
    first = opening[0].strip("‘’'\"«»“”,.") if opening else ""
    return _is_subject(first) and first.casefold() not in before.casefold()


def _is_name(word: str) -> bool:
    bare = word.strip("‘’'\"«»“”(),.;:")
    return bare[:1].isupper() or bool(re.fullmatch(r"\S+\.[a-z]{2,5}", bare))


def _is_subject(first: str) -> bool:
    """Whether a first word is a name for certain or may be one: not one of those that begin any sentence."""
    return first[:1].isupper() and first.casefold() not in phrases()["continues"]["ordinary"]


def _opens_with_date(words: Sequence[str]) -> bool:
    names = months()
    bare = [word.strip(",.").casefold() for word in words]
    return any(
        (word.isdigit() or _LEADING_DAY.fullmatch(word)) and (around & names.keys())
        for word, around in ((word, set(bare[max(0, at - 1) : at + 2])) for at, word in enumerate(bare))
    )


_LEADING_DAY = re.compile(r"\d{1,2}(?:st|nd|rd|th|-го|-е)?")


@functools.cache
def _goes_on() -> re.Pattern[str]:
    return any_of(phrases()["continues"]["always"])


def _prepared(paragraph: Paragraph) -> Paragraph:
    """Return a paragraph with plain spacing, addresses that stand in it as links."""
    runs = [piece for run in paragraph.runs for piece in _with_bare_urls(run)]
    return tidy(replace(paragraph, runs=tuple(runs)))


def _with_bare_urls(run: Run) -> Iterator[Run]:
    if run.target is not None or not run.shown:
        yield run
        return
    place = 0
    for found in _BARE_URL.finditer(run.text):
        url = _address(found[0])
        yield Run(run.text[place : found.start()])
        yield Run(url, url)
        place = found.start() + len(url)
    yield Run(run.text[place:])


def _address(text: str) -> str:
    """Return an address without the punctuation of the sentence that it stands in."""
    while text[-1] in ".,;:!?’”»" or (text[-1] == ")" and text.count(")") > text.count("(")):
        text = text[:-1]
    return text


def _joined(paragraphs: list[Paragraph]) -> list[Paragraph]:
    joined: list[Paragraph] = []
    for paragraph in paragraphs:
        last = joined[-1] if joined else None
        if last and _broken_off(last, paragraph):
            joined[-1] = tidy(replace(last, runs=(*last.runs, Run(" "), *paragraph.runs)))
        else:
            joined.append(paragraph)
    return joined


def _broken_off(left: Paragraph, right: Paragraph) -> bool:
    """Whether *right* is the rest of the sentence that *left* begins."""
    if left.heading or right.heading or left.begins is not None or right.begins is not None:
        return False
    text = left.text
    if _ENDS.search(text) or _NUMBERED.match(right.text) or _is_month(text) or month_at_start(right.text):
        return False
    following = right.text.lstrip("‘’'\"«»“”(–—-")
    if following[:1].islower() and not _looks_like_section(left):
        return True
    last_word = re.split(r"[\s’'‘“”\"«»(]+", text.rstrip())[-1].casefold()
    return text.endswith((",", "(", "–", "—")) or last_word in phrases()["continues"]["dangling"]


def _is_month(text: str) -> bool:
    found = month_at_start(text)
    return found is not None and found[2] == len(text)


def _looks_like_section(paragraph: Paragraph) -> bool:
    return bool(_NUMBERED.match(paragraph.text)) and not paragraph.linked


def _section_headings(paragraphs: Sequence[Paragraph]) -> dict[int, tuple[int, str]]:
    """Return the places of sections' headings with their number and title."""
    found: dict[int, tuple[int, str]] = {}
    last = 0
    for place, paragraph in enumerate(paragraphs):
        numbered = _section_number(paragraph)
        if numbered is None:
            continue
        number, title = numbered
        earlier = _same_heading(found, number, title)
        if earlier is not None and not paragraph.heading:
            # A table of contents names every section before it comes.
            found = {at: one for at, one in found.items() if at != earlier}
        elif not paragraph.heading and number != last + 1:
            continue
        found[place] = (number, title)
        last = number
    return found or _unnumbered(paragraphs)


def _section_number(paragraph: Paragraph) -> tuple[int, str] | None:
    if (
        month_at_start(paragraph.text)
        or paragraph.begins is not None
        or len(paragraph.text) > MAX_SECTION_CHARS
    ):
        return None
    external = any(is_link(run) and not target_is_lost(run.target or "") for run in paragraph.runs)
    if external or (paragraph.linked and not paragraph.heading):
        return None
    if found := _NUMBERED.fullmatch(paragraph.text):
        return int(found[1]), found[2].strip()
    if paragraph.heading and (found := _NUMBER_ALONE.fullmatch(paragraph.text)):
        return int(found[1]), ""
    return None


def _same_heading(found: dict[int, tuple[int, str]], number: int, title: str) -> int | None:
    plain = _TRAILING_PAGE.sub("", title).casefold()
    for place, (other_number, other) in found.items():
        if other_number == number and _TRAILING_PAGE.sub("", other).casefold() == plain:
            return place
    return None


def _unnumbered(paragraphs: Sequence[Paragraph]) -> dict[int, tuple[int, str]]:
    """Number a document's headings: those of the highest level that comes more than once, months left out."""
    places: dict[int, list[int]] = {}
    for place, paragraph in enumerate(paragraphs):
        if paragraph.heading and month_at_start(paragraph.text) is None:
            places.setdefault(paragraph.heading, []).append(place)
    several = [level for level in sorted(places) if len(places[level]) > 1] or sorted(places)
    if not several:
        return {}
    numbers: dict[str, int] = {}
    found = {}
    for place in places[several[0]]:
        title = paragraphs[place].text
        found[place] = (numbers.setdefault(title.casefold(), len(numbers) + 1), title)
    return found


def _end_of_incidents(paragraphs: Sequence[Paragraph]) -> int:
    """Return the place where the last paragraphs begin that only say how to reach the editors."""
    contact = re.compile("|".join(map(re.escape, phrases()["contact"]["words"])), re.IGNORECASE)
    end = len(paragraphs)
    while end:
        one = paragraphs[end - 1]
        says_where = contact.search(one.text) or (
            _EMAIL.search(one.text) and len(one.text) < MAX_SECTION_CHARS
        )
        if one.linked or one.begins is not None or not says_where:
            break
        end -= 1
    return end


def _finished(one: _Open) -> DraftIncident:
    text = "\n".join(paragraph.text for paragraph in one.paragraphs if paragraph.text)
    links = tuple(_links(itertools.chain.from_iterable(paragraph.runs for paragraph in one.paragraphs)))
    outlets, platforms = named(text)
    title = squeeze(one.title).strip() or first_sentence(text)
    return DraftIncident(one.section, one.month, title, text, links, outlets, platforms)


def _links(runs: Iterable[Run]) -> Iterator[DraftLink]:
    for run in runs:
        if is_link(run):
            target = (run.target or "").strip()
            url = "" if target_is_lost(target) else target
            anchor = squeeze(run.text).strip()
            yield DraftLink(anchor, url, target, run.role or proposed_role(anchor, url))


def first_sentence(text: str) -> str:
    """Return the first sentence of *text*, cut at a word after ``MAX_TITLE_CHARS``."""
    sentence = _SENTENCE.split(text.partition("\n")[0], maxsplit=1)[0]
    if len(sentence) <= MAX_TITLE_CHARS:
        return sentence
    return sentence[:MAX_TITLE_CHARS].rpartition(" ")[0].rstrip(",;:–— ") + "…"
