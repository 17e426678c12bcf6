from __future__ import annotations

import math
from collections import Counter
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.errors import UsageError
from archiver.spool import utc_text
from archiver.watch import rules
from archiver.watch.rules import AWAY, STATES, Capture, Check, Watch

DAY0 = datetime(2026, 11, 1, tzinfo=UTC)
OUTCOMES = [
    "captured",
    "removed",
    "not-found",
    "blocked",
    "login-wall",
    "unreachable",
    "challenge",
    "rate-limited",
    "failed",
    "unclear",
]
EVERY = st.integers(rules.MIN_INTERVAL_S, rules.MAX_INTERVAL_S)
QUIET = st.integers(0, 40)


def at(hour: float) -> str:
    return utc_text(DAY0 + timedelta(hours=hour))


def check(hour: float, outcome: str = "captured", text: str = "one two three four", **facts) -> Check:
    digest = str(hash(text)) if outcome == "captured" else ""
    values = {"text_sha256": digest, "text": text, "final_url": "https://a.test/"} | facts
    return Check(at=at(hour), outcome=outcome, reason="because", **values)


def capture(hour: float, outcome: str = "captured", text: str = "one two three four") -> Capture:
    digest = f"c{hash(text)}" if outcome == "captured" else ""
    return Capture(
        capture_id=f"capture-{hour}",
        outcome=outcome,
        started_at=at(hour),
        text_sha256=digest,
        text=text if digest else "",
    )


def watch(**facts) -> Watch:
    return Watch(url="https://a.test/", incident_ids=("KZ-1",), added_at=at(0), **facts)


def seen(one: Watch, hour: float, outcome: str = "captured", text: str = "one two three four"):
    """Let a check see what is there an hour after *hour* began, and a capture follow when it tells."""
    one, signal = rules.checked(one, check(hour, outcome, text))
    if not signal:
        return one, None
    return rules.captured(one, capture(hour + 0.1, outcome, text), signal)


def test_a_post_that_vanishes_and_returns_gives_two_events_with_their_intervals_and_captures():
    """Last seen present at T1, first seen gone at T2: both are looks, and each side has its capture."""
    one, event = seen(watch(), 1)
    assert (one.state, event) == ("present", None)
    one, _ = seen(one, 7)
    one, gone = seen(one, 13, "not-found")
    assert gone is not None
    assert (gone.was, gone.became) == ("present", "removed")
    assert (gone.last_seen_at, gone.first_seen_at) == (at(7), at(13))
    assert (gone.before, gone.after) == ("capture-1.1", "capture-13.1")
    assert "captured before, now not-found" in gone.signal
    one, _ = seen(one, 14, "not-found")
    one, back = seen(one, 20)
    assert back is not None
    assert (back.was, back.became, back.last_seen_at, back.first_seen_at) == (
        "removed",
        "restored",
        at(14),
        at(20),
    )


def test_a_watch_on_a_page_that_never_answered_is_never_restored():
    """Nothing can come back that nobody saw: its first appearance is "present"."""
    one, event = seen(watch(), 1, "unreachable", "")
    assert (one.state, event) == ("unreachable", None)
    one, event = seen(one, 2)
    assert event is not None
    assert (event.was, event.became) == ("unreachable", "present")


def test_another_text_is_a_change_only_when_the_captures_differ_too():
    """The check only tells that it is time: what the captures show decides."""
    one, _ = seen(watch(), 1)
    told, signal = rules.checked(one, check(2, text="one two three five"))
    assert "75% of the words" in signal
    _, none = rules.captured(told, capture(2.1), signal)
    assert none is None
    changed, event = rules.captured(told, capture(2.1, text="one two three five"), signal)
    assert event is not None
    assert (changed.state, event.first_seen_at) == ("changed", at(2))


def test_a_page_whose_text_never_rests_is_not_captured_each_time_but_when_much_of_it_goes():
    """A counter must not fill the store, and must not hide that the article below it was emptied."""
    one, _ = seen(watch(), 1, text="a b c d e f g 1")
    for hour in range(2, 6):
        one, _ = seen(one, hour, text=f"a b c d e f g {hour}")
    assert rules.signal_of(one, check(6, text="a b c d e f g 6")) == ""
    assert "visible text" in rules.signal_of(one, check(6, text="a 6"))
    assert "outcome" in rules.signal_of(one, check(6, "removed"))


@pytest.mark.parametrize("outcome", ["failed", "rate-limited"])
def test_what_says_something_of_this_collector_only_is_no_news(outcome: str):
    """A guard's refusal or a 429 neither changes a state, nor counts as having seen the page."""
    one, _ = seen(watch(), 1)
    after, signal = rules.checked(one, check(5, outcome))
    assert (signal, after) == ("", one)


def test_a_challenge_leaves_the_state_and_is_no_sighting():
    """A captcha hides whether the page is there: the last sighting stays what it was."""
    one, _ = seen(watch(), 1)
    after, event = seen(one, 5, "challenge", "")
    assert (after.state, after.seen_at, event) == ("present", one.seen_at, None)
    assert after.by_script


def test_a_page_whose_text_checks_do_not_see_is_captured_at_each_look():
    """An empty shell answers 200 also when the post in it is gone."""
    one, signal = rules.checked(watch(), check(1, text="menu"))
    one, _ = rules.captured(one, capture(1.1, text="menu a long post with many words"), signal)
    assert one.by_script
    _, signal = rules.checked(one, check(2, text="menu"))
    assert signal


def test_a_run_that_was_broken_off_before_its_capture_keeps_when_the_change_was_told():
    """The second run narrows the interval to what the first one saw."""
    one, _ = seen(watch(), 1)
    told, _ = rules.checked(one, check(5, "removed"))
    again, signal = rules.checked(told, check(9, "removed"))
    assert signal
    _, event = rules.captured(again, capture(9.1, "removed"), signal)
    assert event is not None
    assert (event.last_seen_at, event.first_seen_at) == (one.seen_at, at(5))


def test_a_clock_that_went_backwards_is_told_with_the_interval():
    """An interval that ends before it begins proves nothing, and must say so itself."""
    one, _ = seen(watch(), 10)
    _, event = seen(one, 2, "removed")
    assert event is not None
    assert event.clock_set_back


@pytest.mark.parametrize("text", ["", "6", "h", "0h", "4m", "31d", "6h6h", "-6h", "6 weeks", "999999h"])
def test_no_interval_is_refused_by_name(text: str):
    """A watch that is asked for every minute would be an attack, every year none."""
    with pytest.raises(UsageError, match="E731"):
        rules.parse_every(text)


@given(EVERY, QUIET, st.booleans())
def test_the_interval_grows_with_quiet_shrinks_with_heat_and_stays_in_bounds(every, quiet, hot):
    """Stable pages are asked ever less, hot ones more, none too often or never."""
    wait = rules.interval_s(every, quiet, hot=hot)
    assert rules.MIN_INTERVAL_S <= wait <= rules.MAX_INTERVAL_S
    assert wait <= rules.interval_s(every, quiet + 1, hot=hot)
    assert rules.interval_s(every, quiet, hot=True) <= wait <= max(4 * every, rules.MIN_INTERVAL_S)
    assert rules.interval_s(every, 0, hot=hot) <= every
    assert rules.interval_s(every, rules.NEW_QUIET, hot=False) == every


@given(st.text(max_size=50), st.floats(1e9, 4e9), st.integers(rules.MIN_INTERVAL_S, rules.MAX_INTERVAL_S))
def test_the_next_look_is_the_pages_own_moment_half_a_round_off_at_least(url, now, wait):
    """The same page keeps its moment from round to round; no look follows another at once."""
    due = rules.next_due_s(url, "", now, wait)
    assert now + wait / 2 - 1e-3 <= due < now + 1.5 * wait + 1e-3
    assert math.isclose(rules.next_due_s(url, "", due, wait), due + wait, abs_tol=1e-3)


def test_thousands_of_pages_are_spread_over_the_day():
    """Added in one moment, each hour of the day gets its share of them within a third."""
    hours = Counter(
        int(rules.next_due_s(f"https://a.test/{n}", "", 1_800_000_000, rules.DAY_S) // 3600) % 24
        for n in range(4_800)
    )
    assert len(hours) == 24
    assert all(133 <= count <= 267 for count in hours.values())


LOOKS = st.lists(
    st.tuples(st.sampled_from(OUTCOMES), st.sampled_from(OUTCOMES), st.sampled_from(["a b", "a c", ""])),
    max_size=12,
)


@given(LOOKS)
def test_whatever_is_seen_each_event_joins_two_captures_and_an_interval_in_order(looks):
    """Over any history: states are known ones, events chain, nothing is restored that was not there."""
    one, previous, was_present = watch(), "", False
    for hour, (told, found, text) in enumerate(looks):
        one, signal = rules.checked(one, check(hour, told, text))
        if not signal:
            continue
        one, event = rules.captured(one, capture(hour + 0.1, found, text), signal)
        assert one.state in STATES
        assert one.told is None
        if event is not None:
            assert event.was == previous != ""
            assert "" not in {event.before, event.after}
            assert event.before != event.after
            assert event.last_seen_at < event.first_seen_at
            assert event.became != "restored" or (was_present and event.was in AWAY)
            assert event.became != event.was or event.became == "changed"
            assert event.became == rules.state_of(found) or found == "captured"
        previous, was_present = one.state, was_present or found == "captured"
    assert msgspec.json.decode(msgspec.json.encode(one), type=Watch) == one
