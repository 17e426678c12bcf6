"""Whole runs over made-up captures: second attempts, later runs, poison pages, vantages, other runs."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from archiver.batch.queue import Queue
from archiver.batch.schedule import MAX_STARTS, QUEUE_NAME, answer_of
from archiver.batch.settings import Vantage
from tests.contract.dispatching import seed
from tests.unit.archiver.batch.stub import GOOD, QUICK, Stub

MOMENTARY = ["overloaded", "unreachable", "rate-limited", "failed"]
LASTING = [
    "captured",
    "removed",
    "blocked",
    "geo-blocked",
    "login-wall",
    "challenge",
    "not-found",
    "certificate",
]


@pytest.fixture
def stub(tmp_path):
    return Stub(tmp_path)


def always(outcome):
    return lambda _seed, _before: outcome


@pytest.mark.parametrize("outcome", LASTING)
def test_an_outcome_of_the_page_is_captured_once_and_skipped_by_every_later_run(stub, outcome):
    """Also right after a failure that made its host be left alone for a while."""
    stub.outcome = always(outcome)
    assert stub.run([seed(1)]).rest == []
    again = stub.run([seed(1)])
    assert stub.outcomes(seed(1).url) == [outcome]
    assert (again.skips, again.rest) == ([seed(1).url], [])


@pytest.mark.parametrize("outcome", MOMENTARY)
def test_an_outcome_of_the_moment_is_tried_again_in_the_same_run_and_in_later_ones(stub, outcome):
    """Every attempt is a capture of its own; after as many as the settings say the seed has failed."""
    stub.outcome = always(outcome)
    first = stub.run([seed(1)])
    assert stub.outcomes(seed(1).url) == [outcome] * 2
    ((url, why, failed),) = first.rest
    assert (url, failed) == (seed(1).url, False)
    assert why.startswith("put off until 20")
    assert outcome in why
    second = stub.run([seed(1)])
    assert len(stub.captures) == 4
    ((_, why, failed),) = second.rest
    assert failed
    assert "captured 4 times" in why
    third = stub.run([seed(1)])
    assert len(stub.captures) == 4
    assert third.rest[0][2]


def test_a_site_that_comes_back_is_captured_at_the_second_attempt(stub):
    """And is done then."""
    stub.outcome = lambda _seed, before: "captured" if before else "overloaded"
    assert stub.run([seed(1), seed(2)]).rest == []
    assert stub.outcomes(seed(1).url) == ["overloaded", "captured"]


def test_a_settled_page_on_a_host_that_is_left_alone_is_skipped_and_not_left(stub):
    """The store holds it: nothing about it is undone, however long its host is to be left alone."""
    stub.outcome = lambda one, _before: "captured" if one.line == 2 else "overloaded"
    stub.rules = msgspec.structs.replace(QUICK, retry_ms=600_000, retry_max_ms=600_000, wait_ms=0)
    both = [seed(1, "a.test"), seed(2, "a.test")]
    stub.run(both)
    again = stub.run(both)
    assert again.skips == [both[0].url]
    assert [url for url, _, _ in again.rest] == [both[1].url]
    assert len(stub.captures) == 2


def test_by_hand_everything_is_tried_once_and_now(stub):
    """Somebody waits for it, and what has failed for good is tried all the same."""
    stub.outcome = always("overloaded")
    for count in range(1, 7):
        stub.run([seed(1)], register="")
        assert len(stub.captures) == count


def test_one_page_of_a_host_is_loaded_at_a_time_however_many_jobs(stub):
    """Unless the settings allow more."""
    seeds = [seed(n, f"h{n % 2}.test") for n in range(12)]
    stub.run(seeds, jobs=6)
    assert len(stub.captures) == 12
    assert set(stub.most_at_once.values()) == {1}


def test_a_page_that_the_program_died_over_three_times_has_failed(stub):
    """The others are captured; the run says what it left, and why; asked for by hand it is tried again."""
    queue = Queue(stub.folder / QUEUE_NAME)
    for _ in range(MAX_STARTS):
        worker = queue.join()
        queue.enrol(worker, "/store", [seed(1)])
        assert queue.claim(worker, 1, run=worker).job
        queue.reap([worker])
    queue.close()
    heard = stub.run([seed(1), seed(2)])
    assert [one.url for one in stub.captures] == [seed(2).url]
    ((url, why, failed),) = heard.rest
    assert (url, failed) == (seed(1).url, True)
    assert f"started {MAX_STARTS} times" in why
    stub.run([seed(1)], register="")
    assert stub.outcomes(seed(1).url) == ["captured"]


def test_again_captures_once_more_what_the_store_holds(stub):
    """Each once, and the next run without it nothing."""
    both = [seed(1), seed(2)]
    stub.run(both)
    stub.run(both, repeat=True)
    stub.run(both)
    assert sorted(one.url for one in stub.captures) == sorted([seed(1).url, seed(2).url] * 2)


def test_a_dead_vantage_records_nothing_and_every_other_goes_on(stub):
    """Its seeds wait, and the run says whose failure it is."""
    stub.more = {"vantages": {"kz": Vantage(upstream="http://127.0.0.1:1"), "de": Vantage()}}
    stub.rules = msgspec.structs.replace(QUICK, wait_ms=0)
    heard = stub.run([seed(1, vantage="kz"), seed(1, vantage="de"), seed(2, vantage="kz")])
    assert [(one.url, one.vantage) for one in stub.captures] == [(seed(1).url, "de")]
    assert sorted(url for url, _, failed in heard.rest if not failed) == [seed(1).url, seed(2).url]
    assert any("vantage kz" in text and "E711" in text for text in heard.problems)


def test_when_hosts_in_a_row_cannot_be_reached_the_line_is_given_a_rest(stub):
    """A laptop without a network must not turn a quarter's list into captures of nothing."""
    stub.outcome = always("unreachable")
    stub.rules = msgspec.structs.replace(QUICK, retry_ms=600_000, retry_max_ms=600_000, wait_ms=0)
    heard = stub.run([seed(n) for n in range(40)], jobs=1)
    assert len(stub.captures) == 5
    assert len(heard.rest) == 40
    assert any("5 hosts in a row" in text for text in heard.problems)


def test_captures_of_another_vantage_settle_nothing(stub):
    """Each vantage is asked for itself."""
    stub.more = {"vantages": {"kz": Vantage(), "de": Vantage()}}
    stub.run([seed(1, vantage="kz")])
    stub.run([seed(1, vantage="kz"), seed(1, vantage="de")])
    assert [one.vantage for one in stub.captures] == ["kz", "de"]


def test_an_interrupted_capture_is_no_answer(stub):
    """What a kill left is stored, and the page is captured again."""
    stub.captures.append(replace(GOOD, url=seed(1).url, vantage="", completeness="interrupted"))
    stub.run([seed(1)])
    assert len(stub.captures) == 2


@pytest.mark.parametrize(
    ("observed", "reached", "busy"),
    [
        ({"status": 200}, True, False),
        ({"status": 429, "retry_after": "7"}, True, True),
        ({"load_error": "net::ERR_CONNECTION_REFUSED"}, False, True),
        ({"load_error": "net::ERR_NAME_NOT_RESOLVED at x"}, False, True),
        ({"load_error": "net::ERR_CERT_AUTHORITY_INVALID"}, True, False),
        ({"load_error": "net::ERR_TOO_MANY_REDIRECTS"}, True, False),
        ({"load_error": "net::ERR_CONNECTION_CLOSED", "crashed": "the page's process crashed"}, True, False),
        ({"status": 503, "load_error": "net::ERR_CONNECTION_RESET"}, True, True),
        ({}, True, False),
    ],
)
def test_a_host_is_blamed_only_for_what_it_did(observed, reached, busy):
    """A certificate that the browser refused or a crash of the page is no sign of a burdened host."""
    answer = answer_of(observed)
    assert (answer.reached, answer.busy) == (reached, busy)
