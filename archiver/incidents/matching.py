"""Which incident of an edited document is which of the one before. Rules only, no I/O.

By content: place, month and section may change. The same words first, then the most alike, each once.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

ALIKE = 0.6
"""Share of words in common, in order, from which two texts are one incident."""
ALIKE_BY_LINK = 0.3
"""The same when they share a link that no other incident has."""
MAX_CANDIDATES = 8
_MAX_WORDS = 600


@dataclass(frozen=True, slots=True)
class Content:
    """What an incident is known by: its text, and of each link the URL or, where it is lost, the anchor."""

    text: str
    links: frozenset[str]


def match(old: Sequence[Content], new: Sequence[Content], *, alike: float = ALIKE) -> dict[int, int]:
    """Return for places in *new* the place in *old* of the same incident; no place comes twice."""
    old_words = [_words(one.text) for one in old]
    new_words = [_words(one.text) for one in new]
    found = _same(old_words, new_words)
    taken = set(found.values())
    rest_old = [place for place in range(len(old)) if place not in taken]
    rest_new = [place for place in range(len(new)) if place not in found]
    own_links = _own_links(old) & _own_links(new)
    pairs: list[tuple[float, int, int]] = []
    for there, here in _candidates(old, new, old_words, new_words, rest_old, rest_new):
        shared = old[there].links & new[here].links & own_links
        likeness = SequenceMatcher(None, old_words[there], new_words[here], autojunk=False).ratio()
        if likeness >= (min(ALIKE_BY_LINK, alike) if shared else alike):
            pairs.append((-likeness - (1 if shared else 0), there, here))
    for _, there, here in sorted(pairs):
        if here not in found and there not in taken:
            found[here] = there
            taken.add(there)
    return found


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())[:_MAX_WORDS]


def _same(old: Sequence[list[str]], new: Sequence[list[str]]) -> dict[int, int]:
    places: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for place in reversed(range(len(old))):
        places[tuple(old[place])].append(place)
    found = {}
    for place, words in enumerate(new):
        if places.get(tuple(words)):
            found[place] = places[tuple(words)].pop()
    return found


def _own_links(contents: Sequence[Content]) -> set[str]:
    counts = Counter(link for one in contents for link in one.links)
    return {link for link, count in counts.items() if count == 1}


def _candidates(  # noqa: PLR0917  # a step of the above, called there alone
    old: Sequence[Content],
    new: Sequence[Content],
    old_words: Sequence[list[str]],
    new_words: Sequence[list[str]],
    rest_old: Sequence[int],
    rest_new: Sequence[int],
) -> Iterator[tuple[int, int]]:
    """Yield pairs worth comparing: with each new one the old ones that share its rare words or a link."""
    by_word: dict[str, list[int]] = defaultdict(list)
    by_link: dict[str, list[int]] = defaultdict(list)
    for place in rest_old:
        for word in set(old_words[place]):
            by_word[word].append(place)
        for link in old[place].links:
            by_link[link].append(place)
    common = max(20, len(rest_old) // 10)
    for here in rest_new:
        votes: Counter[int] = Counter()
        for word in set(new_words[here]):
            places = by_word.get(word, ())
            if len(places) <= common:
                votes.update({place: 1 / len(places) for place in places})  # type: ignore[arg-type,unused-ignore]
        for link in new[here].links:
            votes.update(dict.fromkeys(by_link.get(link, ())[:MAX_CANDIDATES], 10))
        for there, _ in votes.most_common(MAX_CANDIDATES):
            yield there, here
