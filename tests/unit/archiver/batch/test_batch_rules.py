from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.batch.account import Pace
from archiver.batch.comparison import compare
from archiver.batch.politeness import (
    DEAD_HOSTS,
    MAX_LINE_PAUSE_MS,
    MAX_RETRY_AFTER_MS,
    Answer,
    Line,
    host_of,
    host_pause_ms,
    retry_after_ms,
)
from archiver.batch.presence import SILENT_S, Silence
from archiver.batch.retry import Ending, backoff_ms, is_settled, next_step
from archiver.batch.settings import Batch
from archiver.errors import UsageError
from archiver.summary import summarise
from tests.unit.manifests.records import record

NOW = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
RULES = Batch(retry_ms=1_000, retry_max_ms=60_000, attempts=5, attempts_per_run=2, host_gap_ms=500)
GOOD = summarise(record(), "unsealed")


def half() -> float:
    return 0.5


@pytest.mark.parametrize("outcome", ["rate-limited", "overloaded", "unreachable", "failed"])
def test_an_outcome_of_the_moment_settles_nothing(outcome):
    """What a server was like at one moment is captured and tried again."""
    assert not is_settled(Ending(outcome, status=503))


@pytest.mark.parametrize(
    "outcome",
    ["captured", "removed", "blocked", "geo-blocked", "login-wall", "challenge", "not-found", "parked"],
)
def test_an_outcome_of_the_page_settles_its_seed(outcome):
    """A page that is gone or blocked is evidence as it is; a capture that was broken off never is."""
    assert is_settled(Ending(outcome, status=200))
    assert not is_settled(Ending(outcome, status=200, interrupted=True))


def test_a_status_without_a_name_is_settled_and_no_answer_is_not():
    """An answer that we have no word for will be the same; a page that never came may come."""
    assert is_settled(Ending("unclear", status=418))
    assert not is_settled(Ending("unclear"))
    assert not is_settled(Ending("unclear", status=500))


def test_what_our_own_guard_refused_is_not_tried_again():
    """No wait makes a private address a public one."""
    assert is_settled(Ending("failed", refused=True))


@pytest.mark.parametrize(
    ("in_run", "in_all", "step"), [(1, 1, "again"), (2, 2, "later"), (1, 4, "again"), (1, 5, "failed")]
)
def test_attempts_are_bounded_in_a_run_and_in_all(in_run, in_all, step):
    """Again in this run, later in another, and in the end failed."""
    assert next_step(Ending("overloaded"), RULES, in_run=in_run, in_all=in_all, random=half).step == step


@given(st.integers(1, 10**6), st.floats(0, 1, exclude_max=True))
def test_the_wait_grows_within_its_bounds(failures, random):
    """Between half and all of the doubled wait, never over the longest, whatever the count."""
    wait = backoff_ms(failures, RULES, lambda: random)
    whole = min(1_000 * 2 ** min(failures - 1, 60), 60_000)
    assert whole / 2 <= wait <= whole


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("0", 0),
        ("120", 120_000),
        (" 7 ", 7_000),
        ("999999999999", MAX_RETRY_AFTER_MS),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90_000),
        (format_datetime(NOW - timedelta(days=9), usegmt=True), 0),
        (format_datetime(NOW + timedelta(days=900), usegmt=True), MAX_RETRY_AFTER_MS),
    ],
)
def test_retry_after_is_read_in_both_forms_and_bounded(value, expected):
    """Seconds or a date, at most a day."""
    assert retry_after_ms(value, NOW) == expected


@pytest.mark.parametrize(
    "value",
    ["", "-1", "1.5", "soon", "1e9", "٣", "9" * 101, "0x10", "Thu, 32 Foo 2026", "+5", "\x00", "10 20"],
)
def test_a_retry_after_that_is_neither_is_passed_over(value):
    """Nonsense from a server is no order."""
    assert retry_after_ms(value, NOW) is None


@given(st.text(max_size=120))
def test_no_retry_after_raises_or_asks_for_more_than_a_day(value):
    """Whatever a server sends, the wait is none or within bounds."""
    wait = retry_after_ms(value, NOW)
    assert wait is None or 0 <= wait <= MAX_RETRY_AFTER_MS


@pytest.mark.parametrize(
    ("answer", "troubles", "expected"),
    [
        (Answer(200), 0, 500),
        (Answer(404), 0, 500),
        (Answer(200, retry_after="60"), 0, 500),
        (Answer(429), 1, 750),
        (Answer(503), 3, 3_000),
        (Answer(429, retry_after="60"), 1, 60_000),
        (Answer(503, retry_after="0"), 3, 3_000),
        (Answer(None, reached=False), 2, 1_500),
    ],
)
def test_a_host_is_left_alone_for_as_long_as_it_asks_and_no_less_than_the_gap(answer, troubles, expected):
    """The longest of the gap, what the server asks for and our own backoff."""
    assert host_pause_ms(answer, RULES, troubles, NOW, half) == expected


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://T.ME:443/s/x", "t.me"),
        ("http://t.me:8080/", "t.me"),
        ("https://қазақстан.example/ә", "xn--80aaa6cza9iok.example"),
        ("http://[::1]:80/", "[::1]"),
        ("http://127.0.0.1:9/", "127.0.0.1"),
    ],
)
def test_a_host_is_one_however_it_is_spelt(url, host):
    """Case, port and script make no second host of one."""
    found = host_of(url)
    assert found == host or (found.startswith("xn--") and host.startswith("xn--"))


def test_what_is_no_url_has_no_host():
    """An address that cannot be read is refused, not guessed."""
    with pytest.raises(UsageError):
        host_of("http://[::1/")


def test_the_line_is_blamed_after_several_different_hosts_in_a_row():
    """One dead host however often, or dead hosts among living ones, are no dead line."""
    line = Line()
    assert [line.saw("a.test", reached=False) for _ in range(20)] == [0] * 20
    line.saw("b.test", reached=True)
    for number in range(DEAD_HOSTS - 1):
        assert line.saw(f"{number}.test", reached=False) == 0
    pauses = [line.saw("last.test", reached=False) for _ in range(10)]
    assert pauses == sorted(pauses)
    assert pauses[0] > 0
    assert pauses[-1] == MAX_LINE_PAUSE_MS
    assert line.saw("a.test", reached=True) == 0
    assert line.saw("a.test", reached=False) == 0


def test_a_run_is_silent_only_by_the_watchers_own_time():
    """Beats that go on, however slowly, keep a run alive; those that stop end it."""
    silence = Silence()
    assert silence.silent({"a": 1, "b": 1}, 0) == []
    assert silence.silent({"a": 2, "b": 1}, SILENT_S - 1) == []
    assert silence.silent({"a": 2, "b": 1}, SILENT_S) == ["b"]
    assert silence.silent({"a": 3}, SILENT_S * 3) == []


def test_the_pace_is_that_of_the_captures_measured():
    """Nothing is said after too few captures; then minutes and what is left follow from the times."""
    pace = Pace()
    pace.took(0)
    pace.took(10)
    assert pace.left_s(5) is None
    pace.took(20)
    assert pace.per_minute() == 6
    assert pace.left_s(5) == 50


def seen(vantage, outcome, at="2026-11-24T08:00:00.000Z", **facts):
    return replace(GOOD, vantage=vantage, outcome=outcome, started_at=at, **facts)


def test_blocked_from_here_and_present_from_there_is_said_so():
    """The sentence names what was seen from where, and the time between."""
    (one,) = compare(
        [
            seen("kz-ala", "blocked"),
            seen("ru-msk", "geo-blocked"),
            seen("de", "captured", "2026-11-24T08:00:41.000Z"),
        ]
    )
    assert one.verdict == "differs"
    assert one.text == "present from de; blocked from kz-ala, ru-msk; within 41 s"
    assert one.span_s == 41


@pytest.mark.parametrize("outcome", ["unreachable", "overloaded", "failed", "challenge", "unclear"])
def test_no_answer_from_somewhere_is_never_called_blocked(outcome):
    """A dead proxy, a crash or a captcha proves no difference."""
    (one,) = compare([seen("kz-ala", outcome), seen("de", "captured")])
    assert one.verdict == "unclear"
    assert "blocked" not in one.text


def test_one_vantage_alone_compares_nothing():
    """However often it was captured from there."""
    (one,) = compare([seen("de", "captured"), seen("de", "blocked", "2026-11-24T09:00:00.000Z")])
    assert one.verdict == "one vantage"
    assert [s.seen for s in one.sightings] == ["blocked"]


def test_the_newest_capture_of_a_vantage_counts_and_broken_off_ones_do_not():
    """An interrupted capture says nothing of the page."""
    (one,) = compare(
        [
            seen("de", "captured", "2026-11-24T09:00:00.000Z"),
            seen("de", "blocked"),
            seen("kz", "captured"),
            seen("kz", "blocked", "2026-11-24T10:00:00.000Z", completeness="interrupted"),
        ]
    )
    assert one.verdict == "same"
