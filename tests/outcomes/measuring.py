"""Holds the rules against the labelled pages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from archiver.capture.outcome import Facts, Outcome, judge
from tests.outcomes.corpus import LabelledPage, pages


def facts_of(page: LabelledPage) -> Facts:
    """What a capture of *page* would have observed; without a browser the visible text is not known."""
    return Facts(
        url=page.url,
        final_url=page.final_url,
        status=page.status,
        headers=tuple(page.headers.items()),
        markup=page.html,
        load_error=page.facts.get("load_error", ""),
        network_errors=tuple(page.facts.get("network", ())),
        refused_by_guard=page.facts.get("guarded", False),
        crashed=page.facts.get("crashed", ""),
        is_document=page.facts.get("document", False),
        is_shown=bool(page.html),
    )


FLOOR = 0.95


@dataclass(frozen=True)
class Measured:
    """One part of the corpus, judged."""

    judged: tuple[tuple[LabelledPage, Outcome], ...]

    @property
    def confusion(self) -> Counter[tuple[str, str]]:
        """How often a label (first) was told as a kind (second)."""
        return Counter((page.label, outcome.kind) for page, outcome in self.judged)

    @property
    def kinds(self) -> list[str]:
        return sorted({kind for pair in self.confusion for kind in pair})

    @property
    def wrong(self) -> list[tuple[LabelledPage, Outcome]]:
        return [(page, outcome) for page, outcome in self.judged if page.label != outcome.kind]

    def precision(self, kind: str) -> tuple[int, int]:
        """Right ones, and all that were told as *kind*."""
        return self.confusion[kind, kind], sum(n for (_, told), n in self.confusion.items() if told == kind)

    def recall(self, kind: str) -> tuple[int, int]:
        """Right ones, and all that are labelled *kind*."""
        return self.confusion[kind, kind], sum(n for (label, _), n in self.confusion.items() if label == kind)


def measure(part: Iterable[LabelledPage]) -> Measured:
    return Measured(tuple((page, judge(facts_of(page))) for page in part))


def tuning() -> Measured:
    return measure(page for page in pages() if not page.held_back)


def held_back() -> Measured:
    return measure(page for page in pages() if page.held_back and not page.later)


def later() -> Measured:
    return measure(page for page in pages() if page.later)
