"""The rules by which outcomes are told: read from TOML, matched against what was observed. No I/O but that.

A rule says of one kind where it looks, for which patterns, and whether a match is a *strong* signal or a
*weak* one. Rules only find signals; ``archiver.capture.outcome`` decides what follows from them together.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from importlib import resources
from typing import Literal

import msgspec

from archiver.capture.page_reading import Block

OutcomeKind = Literal[
    "captured",
    "removed",
    "blocked",
    "geo-blocked",
    "login-wall",
    "challenge",
    "rate-limited",
    "overloaded",
    "not-found",
    "parked",
    "certificate",
    "unreachable",
    "failed",
    "unclear",
]
Where = Literal[
    "title",
    "heading",
    "text",
    "dialog",
    "frame",
    "post",
    "mark",
    "status",
    "header",
    "redirect",
    "error",
    "page",
]

FILES = ("answers", "removed", "blocked", "withheld", "absent")
WORDING: tuple[Where, ...] = ("title", "heading", "text", "dialog", "frame")
"""Where a rule looks that does not say where: words that stand in place of content."""

MAX_SENTENCE_CHARS = 400
MAX_SEARCHED_CHARS = 24_000
"""Words searched of one page. A notice stands at its beginning; a page with more has content of its own."""
MAX_QUOTED_CHARS = 200

_SENTENCE = re.compile(r"(?<=[.!?…])\s+|\s(?:[|•·–—]|::)\s|\s-\s(?=\S+(?:\s\S+)?$)")
_QUOTED = re.compile(r"«[^«»]{3,300}»|“[^“”]{3,300}”|\"[^\"]{3,300}\"")
_NOT_A_NOTICE = re.compile(
    r"^(?:if|when|whenever|why|how|what|who|which|once|unless|should|to (?:avoid|prevent)|"
    r"если|когда|почему|зачем|как|что делать|что значит|кто|чем|введите|узнать|"
    r"егер|неге|қалай|қашан|кім|не істеу)\b",
    re.IGNORECASE,
)
_SLOT = re.compile(r"\{([a-z_]+)\}")


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One rule, as written.

    Args:
        id: Its name, which records cite.
        kind: What a match speaks for.
        says: One sentence for the record, observed facts only.
        patterns: Regular expressions; one is enough. ``{name}`` stands for a list of words.
        where: Where it looks.
        weak: One weak signal alone decides nothing.
        questions: Whether questions count, which are else nobody's notice.
        posts: Whether text with an author and a time counts, which else only tells of things.
        status: Only with one of these statuses.
        hosts: Only on these hosts.
    """

    id: str
    kind: OutcomeKind
    says: str
    patterns: tuple[str, ...]
    where: tuple[Where, ...] = WORDING
    weak: bool = False
    questions: bool = False
    posts: bool = False
    status: tuple[int, ...] = ()
    hosts: tuple[str, ...] = ()


class Signal(msgspec.Struct, frozen=True, kw_only=True):
    """One sign.

    Args:
        rule: ID of the rule that found it.
        kind: What it speaks for.
        says: What the rule says.
        where: Where it was found.
        matched: What was found there, clipped.
        is_weak: Whether it decides nothing alone.
        is_told: It stands in text with an author and a time: told, not shown.
    """

    rule: str
    kind: OutcomeKind
    says: str
    where: Where
    matched: str
    is_weak: bool = False
    is_told: bool = False

    def line(self) -> str:
        """The sign as a record holds it: ``RULE (weak) in PLACE: "WORDS"``."""
        weak = " (weak)" if self.is_weak else ""
        return f'{self.rule}{weak} in {self.where}: "{self.matched}"'


class _Compiled(msgspec.Struct, frozen=True):
    rule: Rule
    pattern: re.Pattern[str]


@cache
def rules() -> tuple[Rule, ...]:
    """Every rule, in the order of the files."""
    found: list[Rule] = []
    for name in FILES:
        found += msgspec.convert(_read(name)["rule"], list[Rule])
    return tuple(found)


def _read(name: str) -> dict[str, object]:
    folder = resources.files("archiver.capture").joinpath("outcome_rules")
    return tomllib.loads(folder.joinpath(f"{name}.toml").read_text(encoding="utf-8"))


@cache
def _compiled() -> tuple[_Compiled, ...]:
    words = msgspec.convert(_read("words")["words"], dict[str, str])

    def filled(pattern: str) -> str:
        while _SLOT.search(pattern):
            pattern = _SLOT.sub(lambda slot: words[slot[1]], pattern)
        return f"(?:{pattern})"

    return tuple(
        _Compiled(rule, re.compile("|".join(map(filled, rule.patterns)), re.IGNORECASE)) for rule in rules()
    )


def find_in_facts(where: Where, values: Iterable[str], status: int | None) -> Iterator[Signal]:
    """Find signals in what is no wording: statuses, header fields, redirects, marks, errors."""
    for value in values:
        for one in _compiled():
            rule = one.rule
            if where not in rule.where or (rule.status and status not in rule.status):
                continue
            if match := one.pattern.search(value):
                yield _signal(rule, where, value, match)


class Worded(msgspec.Struct, frozen=True):
    """A signal in wording.

    Args:
        sentence: Number of its block and of its sentence there.
        chars: Length of the sentence.
        signal: The signal.
    """

    sentence: tuple[int, int]
    chars: int
    signal: Signal


def find_in_blocks(blocks: Sequence[Block], host: str) -> list[Worded]:
    """Find signals in wording, in the order of the page."""
    found = []
    searched = 0
    for number, block in enumerate(blocks):
        if block.place in {"aside", "comment", "quote", "link"}:
            continue
        searched += len(block.text)
        if searched > MAX_SEARCHED_CHARS:
            break
        for at, (sentence, chars) in enumerate(sentences(block.text)):
            found += [
                Worded((number, at), chars, signal) for signal in _in_sentence(sentence, block.place, host)
            ]
    return found


def sentences(text: str) -> Iterator[tuple[str, int]]:
    """Split a block into sentences, clipped and without what they quote from others, each with its length."""
    for part in _SENTENCE.split(text):
        sentence = part.strip()[:MAX_SENTENCE_CHARS]
        quoted = sum(len(match[0]) for match in _QUOTED.finditer(sentence))
        if quoted and quoted < len(sentence) - 2:
            sentence = _QUOTED.sub(_without_quotation, sentence)
        elif quoted:
            continue
        if sentence:
            yield sentence, len(part)


def _without_quotation(match: re.Match[str]) -> str:
    # A name in quotation marks is part of the sentence, what somebody said is not.
    return match[0] if len(match[0].split()) < 3 and "." not in match[0] else "«»"


def _in_sentence(sentence: str, place: str, host: str) -> Iterator[Signal]:
    is_question = sentence.endswith("?") or _NOT_A_NOTICE.match(sentence) is not None
    bare = sentence.rstrip(".!?… ")
    is_post = place == "post"
    for one in _compiled():
        rule = one.rule
        looks = rule.posts or "text" in rule.where if is_post else place in rule.where
        if not looks or (is_question and not rule.questions) or (rule.hosts and host not in rule.hosts):
            continue
        if match := one.pattern.search(bare):
            where: Where = "post" if is_post else place  # type: ignore[assignment]
            yield _signal(rule, where, bare, match, is_told=is_post and not rule.posts)


def _signal(rule: Rule, where: Where, value: str, match: re.Match[str], *, is_told: bool = False) -> Signal:
    start = max(match.start() - 60, 0)
    quoted = " ".join(value[start : start + MAX_QUOTED_CHARS].split())
    return Signal(
        rule=rule.id,
        kind=rule.kind,
        says=rule.says,
        where=where,
        matched=quoted,
        is_weak=rule.weak,
        is_told=is_told,
    )
