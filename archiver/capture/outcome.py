"""What became of a page, decided by rules that a lawyer can read, with the signals that led to it.

The words claim only what was observed: "the page showed a notice that ..." and never why. Text notices
count only on pages with little else on them: an article *about* a removal is a captured article.
"""

from __future__ import annotations

import re
import tomllib
from importlib import resources
from typing import Literal

import msgspec

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

NOTICE_CHARS = 1_500
"""Visible text up to this long can be a notice; above it the page has content of its own."""


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What the rules may look at.

    Args:
        url: As asked for.
        final_url: Where the browser ended.
        status: Of the main response, or None when none arrived.
        title: Of the document.
        text: Visible text.
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
    title: str = ""
    text: str = ""
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
        signals: Each sign that led to it, strongest first.
        confidence_percent: How sure the rules are, 0 to 100.
    """

    kind: OutcomeKind
    reason: str
    signals: tuple[str, ...]
    confidence_percent: int


def judge(facts: Facts) -> Outcome:
    """Decide the outcome: transport first, then status, then what the page says."""
    for rules in (_by_failure, _by_status, _by_notice):
        if (outcome := rules(facts)) is not None:
            return outcome
    if facts.status is not None and facts.status >= 400:
        return _outcome("unclear", f"the server answered {facts.status}", [f"status {facts.status}"], 50)
    if not facts.is_shown and not facts.is_document:
        if facts.status is None:
            return _outcome("unclear", "nothing of the page was received and no error was reported", [], 30)
        reason = "the page was received, and the browser gave no picture of it"
        return _outcome("unclear", reason, [f"status {facts.status}"], 50)
    signals = [f"status {facts.status}"] if facts.status is not None else ["file received"]
    return _outcome("captured", "the page was received and shown", signals, 90)


def _outcome(kind: OutcomeKind, reason: str, signals: list[str], confidence: int) -> Outcome:
    return Outcome(kind=kind, reason=reason, signals=tuple(signals), confidence_percent=confidence)


_UNREACHABLE = {
    "ERR_NAME_NOT_RESOLVED": "the name did not resolve",
    "ERR_CONNECTION_REFUSED": "the connection was refused",
    "ERR_CONNECTION_RESET": "the connection was reset",
    "ERR_CONNECTION_CLOSED": "the connection was closed before an answer",
    "ERR_CONNECTION_TIMED_OUT": "the connection timed out",
    "ERR_TIMED_OUT": "the load timed out",
    "ERR_EMPTY_RESPONSE": "the server closed without an answer",
    "ERR_ADDRESS_UNREACHABLE": "the address was not reachable",
    "ERR_INCOMPLETE_CHUNKED_ENCODING": "the answer broke off",
    "ERR_CONTENT_LENGTH_MISMATCH": "the answer broke off",
    "ERR_HTTP2_PROTOCOL_ERROR": "the HTTP/2 connection broke off",
    "ERR_HTTP2_SERVER_REFUSED_STREAM": "the server refused the request",
}


def _by_failure(facts: Facts) -> Outcome | None:
    if facts.refused_by_guard:
        return _outcome(
            "failed",
            "the address is not a public one and was refused by this collector",
            list(facts.network_errors[:3]),
            100,
        )
    if facts.crashed:
        return _outcome(
            "failed", f"the browser ended during the capture: {facts.crashed}", [facts.crashed], 100
        )
    if not facts.load_error:
        return None
    signals = [facts.load_error, *facts.network_errors[:3]]
    if "ERR_CERT_" in facts.load_error or "ERR_SSL_" in facts.load_error:
        return _outcome(
            "certificate", "the browser did not accept the server's TLS credentials", signals, 100
        )
    if "ERR_SOCKS_CONNECTION_FAILED" in facts.load_error:
        said = facts.network_errors[0] if facts.network_errors else "no connection"
        return _outcome("unreachable", f"the server could not be reached ({said})", signals, 95)
    for code, said in _UNREACHABLE.items():
        if code in facts.load_error:
            return _outcome("unreachable", said, signals, 95)
    if "ERR_TOO_MANY_REDIRECTS" in facts.load_error:
        return _outcome("unclear", "the server redirected without end", signals, 90)
    return _outcome("failed", f"the load ended with {facts.load_error}", signals, 60)


_STATUS: dict[int, tuple[OutcomeKind, str, int]] = {
    451: ("blocked", "the server answered 451 Unavailable For Legal Reasons", 98),
    429: ("rate-limited", "the server answered 429 Too Many Requests", 98),
    404: ("not-found", "the server answered 404 Not Found", 90),
    410: ("removed", "the server answered 410 Gone", 90),
    401: ("login-wall", "the server answered 401 Unauthorized", 90),
    407: ("failed", "a proxy asked for credentials", 90),
    502: ("overloaded", "the server answered 502 Bad Gateway", 80),
    503: ("overloaded", "the server answered 503 Service Unavailable", 90),
    504: ("overloaded", "the server answered 504 Gateway Timeout", 85),
}


def _by_status(facts: Facts) -> Outcome | None:
    status = facts.status
    if status is None or status < 400:
        return None
    signals = [f"status {status}"]
    notice = _by_notice(facts)
    # A notice says more than a status: a 403 with a captcha, a 404 with a takedown text.
    if notice and status not in {451, 429} and notice.kind != "not-found":
        return _outcome(notice.kind, notice.reason, [*signals, *notice.signals], notice.confidence_percent)
    if status in _STATUS:
        kind, reason, confidence = _STATUS[status]
        return _outcome(kind, reason, signals, confidence)
    if 520 <= status <= 530:
        return _outcome(
            "overloaded", f"the site's front server answered {status}: no answer from behind it", signals, 80
        )
    return None


class _Notice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    kind: OutcomeKind
    says: str
    patterns: tuple[str, ...]


class _Notices(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    notice: tuple[_Notice, ...]


def _read_notices() -> tuple[tuple[OutcomeKind, str, re.Pattern[str]], ...]:
    text = resources.files("archiver.capture").joinpath("outcome_notices.toml").read_text(encoding="utf-8")
    notices = msgspec.convert(tomllib.loads(text), _Notices).notice
    return tuple((n.kind, n.says, re.compile("|".join(n.patterns), re.IGNORECASE)) for n in notices)


_NOTICES = _read_notices()
_LOGIN_PATH = re.compile(r"/(accounts/)?(login|signin|sign-in|auth|checkpoint)(/|\.|\?|$)", re.IGNORECASE)


def _by_notice(facts: Facts) -> Outcome | None:
    if facts.is_document:
        return None
    if facts.final_url and _LOGIN_PATH.search(facts.final_url) and not _LOGIN_PATH.search(facts.url):
        return _outcome("login-wall", "the address led to a login page", [f"ended at {facts.final_url}"], 95)
    if len(facts.text) > NOTICE_CHARS:
        return None
    for kind, said, pattern in _NOTICES:
        for place, value in (("title", facts.title), ("text", facts.text)):
            if match := pattern.search(value):
                quoted = " ".join(value[max(match.start() - 40, 0) : match.end() + 60].split())
                return _outcome(kind, f"the page showed a notice: {said}", [f'{place} says "{quoted}"'], 85)
    return None
