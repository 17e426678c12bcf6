"""What became of a page, decided by rules that a lawyer can read, with the signals that led to it.

The rules (``outcome_rules/*.toml``) find signals, strong and weak; this file weighs them, in plain steps:

1. What this collector did itself is *failed*, whatever else there is.
2. A load that ended in an error is told by the error.
3. A kind is found by one strong signal, or by two weak ones of different rules.
4. Where the page has content of its own, words in it tell of things and are no notice: it is *captured*.
   Only words in title and heading alike, words together with what the server answered, or where the address
   led, stand against content.
5. One kind found is the outcome. Of two, one may say more than the other (``SAYS_MORE``), or else the page
   is *unclear*.
6. An error status that no rule explains, or a page with nothing to see, is *unclear*. The rest is *captured*.

The words claim only what was observed: "the page showed a notice that ..." and never why.
"""

from __future__ import annotations

from collections import defaultdict
from urllib.parse import urlsplit

import msgspec

from archiver.capture.outcome_rules import OutcomeKind, Signal, Worded, find_in_blocks, find_in_facts
from archiver.capture.page_reading import PageRead, read_page

CONTENT_CHARS = 350
"""Prose beside the sentences that are signals, from which a page has content of its own."""
UNNAMED_CONTENT_CHARS = 200
"""The same, where neither title nor heading speaks of the kind that the sentences speak of."""
MUCH_CONTENT_CHARS = 2_000
"""From here on no words of a page make it a notice, wherever they stand."""
WITHDRAWN_CHARS = 120
"""An article with less text than this whose title is a notice may be an article that was withdrawn."""
PROSE_CHARS = 40
"""A shorter block is a label or a button."""
HINTED_CHARS = 100
"""A page with less prose, whose title or heading gives a weak signal, is not called captured."""
MANY_PICTURES = 6
MAX_SIGNALS = 12

SAYS_MORE: dict[OutcomeKind, frozenset[OutcomeKind]] = {
    "blocked": frozenset({"geo-blocked", "removed", "not-found", "login-wall", "overloaded", "parked"}),
    "geo-blocked": frozenset({"not-found", "challenge", "login-wall"}),
    "rate-limited": frozenset({"challenge", "login-wall", "overloaded", "not-found"}),
    "removed": frozenset({"not-found", "login-wall"}),
    "challenge": frozenset({"overloaded", "login-wall"}),
    "parked": frozenset({"not-found", "removed"}),
    "login-wall": frozenset({"not-found"}),
    "overloaded": frozenset({"not-found"}),
    "not-found": frozenset(),
    "captured": frozenset(),
    "certificate": frozenset(),
    "unreachable": frozenset(),
    "failed": frozenset(),
    "unclear": frozenset(),
}
"""Which kinds a kind explains: a takedown notice says more than the 404 that it came with. A named law goes
before everything that a page may say besides."""


_EMPTY_ANSWER = "ERR_HTTP_RESPONSE_CODE_FAILURE"
"""The browser's own page for an error status without a body: the server answered, and its status decides."""


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What the rules may look at.

    Args:
        url: As asked for.
        final_url: Where the browser ended.
        status: Of the main response, or None when none arrived.
        headers: Of the main response, name and value.
        title: Of the document.
        text: Visible text, frames behind ``[frame ADDRESS]``.
        markup: The document as the scripts left it; empty when it was not had.
        load_error: The browser's error, or empty.
        network_errors: The relay's errors for the host of the page: ``stage: text``.
        refused_by_guard: The address was refused by our own guard.
        crashed: The browser's or page's process ended, or empty.
        is_document: The main response is a file, not a page.
        is_shown: Whether the browser gave a picture of the page.
    """

    url: str
    final_url: str = ""
    status: int | None = None
    headers: tuple[tuple[str, str], ...] = ()
    title: str = ""
    text: str = ""
    markup: str = ""
    load_error: str = ""
    network_errors: tuple[str, ...] = ()
    refused_by_guard: bool = False
    crashed: str = ""
    is_document: bool = False
    is_shown: bool = True


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """The decision.

    Args:
        kind: One of ``OutcomeKind``.
        reason: One sentence, observed facts only.
        signals: Each sign that led to it, strongest first, and those that were set aside.
        confidence_percent: How sure the rules are, 0 to 100. A rank, no probability.
    """

    kind: OutcomeKind
    reason: str
    signals: tuple[Signal, ...] = ()
    confidence_percent: int


def judge(facts: Facts) -> Outcome:
    """Decide the outcome; total, and the same for the same facts."""
    if (failure := _by_failure(facts)) is not None:
        return failure
    answered = _of_the_answer(facts)
    if facts.is_document:
        return _decided(_Case(answered), facts)
    read = read_page(facts.markup, facts.text, facts.title)
    worded = find_in_blocks(read.blocks, _host(facts.final_url or facts.url))
    found = [*answered, *_of_the_page(facts, read)]
    if _is_login_page(facts.url):  # it was asked for, so it is no wall in front of something else
        found = [one for one in found if one.kind != "login-wall"]
        worded = [one for one in worded if one.signal.kind != "login-wall"]
    return _decided(_Case(found, read, worded), facts)


def _outcome(kind: OutcomeKind, reason: str, signals: list[Signal], confidence: int) -> Outcome:
    return Outcome(
        kind=kind, reason=reason, signals=tuple(signals[:MAX_SIGNALS]), confidence_percent=confidence
    )


def _seen(rule: str, kind: OutcomeKind, says: str, matched: str, *, weak: bool = False) -> Signal:
    return Signal(rule=rule, kind=kind, says=says, where="page", matched=matched[:200], is_weak=weak)


def _by_failure(facts: Facts) -> Outcome | None:
    if facts.refused_by_guard:
        says = "the address is not a public one and was refused by this collector"
        said = facts.network_errors[0] if facts.network_errors else "refused"
        return _outcome("failed", says, [_seen("own-guard", "failed", says, said)], 100)
    if facts.crashed:
        says = "the browser ended during the capture"
        return _outcome(
            "failed", f"{says}: {facts.crashed}", [_seen("own-browser", "failed", says, facts.crashed)], 100
        )
    if not facts.load_error or (facts.status and _EMPTY_ANSWER in facts.load_error):
        return None
    signals = list(find_in_facts("error", [facts.load_error, *facts.network_errors[:3]], facts.status))
    if not signals:
        says = f"the load ended with {facts.load_error}"
        return _outcome("failed", says, [_seen("unknown-error", "failed", says, facts.load_error)], 60)
    first = signals[0]
    # The relay knows more of a failed connection than the browser says.
    said = facts.network_errors[0] if facts.network_errors and first.kind == "unreachable" else ""
    return _outcome(first.kind, f"{first.says} ({said})" if said else first.says, signals, 95)


def _of_the_answer(facts: Facts) -> list[Signal]:
    status = facts.status
    found = list(find_in_facts("status", [str(status)], status)) if status is not None else []
    found += find_in_facts(
        "header", [f"{name.lower()}: {value}"[:1000] for name, value in facts.headers], status
    )
    if facts.final_url and facts.final_url != facts.url:
        found += find_in_facts("redirect", [f"{facts.url[:2000]} -> {facts.final_url[:2000]}"], status)
    return found


def _of_the_page(facts: Facts, read: PageRead) -> list[Signal]:
    """Signals of structure, and those that addresses and names within the markup give."""
    found = list(dict.fromkeys(find_in_facts("mark", read.marks, facts.status)))
    if read.password_fields:
        says = "a form asks for a password"
        found.append(_seen("password-field", "login-wall", says, f"{read.password_fields} fields", weak=True))
    return found


def _is_login_page(url: str) -> bool:
    led = find_in_facts("redirect", [f"x -> {url[:2000]}"], None)
    return any(one.kind == "login-wall" for one in led)


def _host(url: str) -> str:
    try:
        return (urlsplit(url).hostname or "").removeprefix("www.")
    except ValueError:
        return ""


class _Case:
    """The signals of one page, and how they stand to its content."""

    def __init__(
        self, signals: list[Signal], read: PageRead | None = None, worded: list[Worded] | None = None
    ) -> None:
        by_rule = {
            (one.rule, one.where): one for one in reversed([*signals, *(one.signal for one in worded or ())])
        }
        self.signals = list(reversed(by_rule.values()))
        self.read = read or PageRead()
        self._worded = worded or []

    def kinds(self) -> list[OutcomeKind]:
        """The kinds that are found: by a strong signal, else by two weak ones; *unclear* only if none is."""
        strong = {one.kind for one in self.signals if not one.is_weak and not one.is_told}
        if told := strong - {"unclear"}:
            return sorted(told)
        rules = defaultdict(set)
        for one in self.signals:
            if not one.is_told and one.kind != "unclear":
                rules[one.kind].add(one.rule)
        return sorted(kind for kind, names in rules.items() if len(names) > 1) or sorted(strong)

    def hint(self) -> Signal | None:
        """A weak signal in title or heading of a page that shows little else."""
        if self.has_content() or self.own_chars() >= HINTED_CHARS:
            return None
        named = (one for one in self.signals if one.where in {"title", "heading"} and not one.is_told)
        return next(named, None)

    def of(self, kind: OutcomeKind) -> list[Signal]:
        """The signals of *kind*, strong ones first."""
        return sorted(
            (one for one in self.signals if one.kind == kind), key=lambda one: (one.is_told, one.is_weak)
        )

    def own_chars(self, kind: OutcomeKind | None = None) -> int:
        """Characters of prose beside the sentences that speak of *kind*, if one of these is strong."""
        prose = sum(
            len(block.text)
            for block in self.read.blocks
            if block.place in {"text", "frame", "post"} and len(block.text) >= PROSE_CHARS
        )
        has_strong = any(not one.signal.is_weak for one in self._worded if one.signal.kind == kind)
        taken = {
            one.sentence: one.chars
            for one in self._worded
            if has_strong
            and one.signal.kind == kind
            and len(self.read.blocks[one.sentence[0]].text) >= PROSE_CHARS
            and self.read.blocks[one.sentence[0]].place in {"text", "frame", "post"}
        }
        return prose - sum(taken.values())

    def has_content(self, kind: OutcomeKind | None = None) -> bool:
        """Tell whether the page shows more than the notice that *kind* would be."""
        read = self.read
        is_named = any(one.where in {"title", "heading"} for one in self.signals if one.kind == kind)
        enough = CONTENT_CHARS if is_named or kind is None else UNNAMED_CONTENT_CHARS
        return (
            read.is_authored
            or read.players > 0
            or read.pictures >= MANY_PICTURES
            or self.own_chars(kind) >= enough
        )

    def stands_against_content(self, kind: OutcomeKind) -> bool:
        """Tell whether *kind* is said where content does not say it.

        That is where the address led, title and heading alike, or page and answer together.
        """
        strong = {one.where for one in self.of(kind) if not one.is_weak and not one.is_told}
        if "redirect" in strong and not self.read.is_authored:
            return True
        if self.read.is_authored or self.read.players or self.own_chars(kind) >= MUCH_CONTENT_CHARS:
            return False
        named = strong & {"title", "heading"}
        answered = {one.where for one in self.of(kind)} & {"status", "header", "redirect"}
        return len(named) == 2 or bool(named and answered)


def _decided(case: _Case, facts: Facts) -> Outcome:
    kinds = case.kinds()
    explained = {lesser for kind in kinds for lesser in SAYS_MORE[kind]}
    left = [kind for kind in kinds if kind not in explained] or kinds
    if len(left) > 1:
        signals = [one for kind in left for one in case.of(kind)]
        return _outcome("unclear", f"the signs contradict each other: {' and '.join(left)}", signals, 50)
    if not left:
        return _without_signal(case, facts)
    (kind,) = left
    signals = case.of(kind)
    if not case.has_content(kind) or case.stands_against_content(kind):
        return _outcome(kind, signals[0].says, _sorted(signals, case), _confidence(signals))
    return _beside_content(kind, case, facts)


def _beside_content(kind: OutcomeKind, case: _Case, facts: Facts) -> Outcome:
    """Decide where a kind is found and the page has content of its own."""
    signals = case.of(kind)
    strong = {one.where for one in signals if not one.is_weak and not one.is_told}
    if strong & {"status", "header", "redirect"} or (facts.status or 0) >= 400:
        reason = f"the answer says {kind}, and the page has content of its own"
        return _outcome("unclear", signals[0].says if kind == "unclear" else reason, signals, 50)
    if "post" in strong and case.own_chars(kind) < CONTENT_CHARS:
        return _outcome(kind, signals[0].says, _sorted(signals, case), _confidence(signals))
    told = any(one.is_told and not one.is_weak for one in signals)
    if kind == "removed" and "title" in strong and told and case.own_chars() < WITHDRAWN_CHARS:
        return _outcome(
            "unclear", "the title says that it was removed, and a line stands below it", signals, 50
        )
    return _outcome(
        "captured", "the page was received and shown; what it says of such things is content", signals, 85
    )


def _without_signal(case: _Case, facts: Facts) -> Outcome:
    signals = list(case.signals)
    if facts.status is not None and facts.status >= 400:
        says = f"the server answered {facts.status}"
        return _outcome(
            "unclear", says, [_seen("error-status", "unclear", says, str(facts.status)), *signals], 50
        )
    if facts.is_document:
        return _outcome("captured", "the file was received", signals, 90)
    if not facts.is_shown:
        if facts.status is None:
            return _outcome(
                "unclear", "nothing of the page was received and no error was reported", signals, 30
            )
        return _outcome(
            "unclear", "the page was received, and the browser gave no picture of it", signals, 50
        )
    read = case.read
    if facts.markup and not read.seen and not read.pictures and not read.players:
        says = "the page was received, and there was nothing to see on it"
        return _outcome(
            "unclear", says, [_seen("nothing-to-see", "unclear", says, "no text, no picture"), *signals], 50
        )
    if (hint := case.hint()) is not None:
        return _outcome("unclear", f"the page shows little, and {hint.says}", [hint, *signals], 50)
    sure = 95 if case.has_content() else 85 if case.own_chars() else 75
    return _outcome("captured", "the page was received and shown", signals, sure)


def _sorted(signals: list[Signal], case: _Case) -> list[Signal]:
    """The signals that decided, then those that were set aside."""
    return [*signals, *(one for one in case.signals if one.kind != signals[0].kind)]


def _confidence(signals: list[Signal]) -> int:
    """Rank by how many rules agree, and by whether page and answer do."""
    rules = {one.rule for one in signals if not one.is_weak and not one.is_told}
    if not rules:
        return 70
    answered = any(one.where in {"status", "header", "redirect"} and not one.is_weak for one in signals)
    return min(80 + 5 * len(rules) + (5 if answered else 0) + 2 * (len(signals) - len(rules)), 98)
