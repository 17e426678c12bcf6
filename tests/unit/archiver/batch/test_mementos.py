"""Mementos: found in TimeMaps, captured as what they are, never mixed with the original."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.batch.comparison import compare
from archiver.batch.mementos import MAX_PAGES, TimeMapUnavailable, find_memento, read_timemap
from archiver.batch.settings import Mementos
from tests.contract.dispatching import seed
from tests.unit.archiver.batch.mementos_server import archive
from tests.unit.archiver.batch.stub import Stub

NOW = datetime(2026, 11, 24, tzinfo=UTC)
OLD, NEW = "Tue, 03 Mar 2026 10:00:00 GMT", "Wed, 01 Apr 2026 09:00:00 GMT"
URL = seed(1).url
COPY = "http://archive.test/web/20260401090000/http://h1.test/1"

# As the Wayback Machine and RFC 7089 section 5 write them.
REAL = f"""<{URL}>; rel="original",
<http://archive.test/web/timemap/link/{URL}>; rel="self"; type="application/link-format"; from="{OLD}",
<http://archive.test>; rel="timegate",
<http://archive.test/web/20260303100000/{URL}>; rel="first memento"; datetime="{OLD}",
<{COPY}>; rel="last memento"; datetime="{NEW}",
"""


@pytest.fixture
def served():
    with archive() as one:
        yield one


@pytest.fixture
def stub(tmp_path):
    return Stub(tmp_path, lambda one, _before: "captured" if one.role == "memento" else "not-found")


def use(stub, *archives, save=""):
    stub.more = {
        "mementos": Mementos(use="when-gone", timemaps=tuple(a.timemap for a in archives), save=save)
    }


def test_the_newest_memento_is_found_whatever_the_order():
    """With the date that the archive gives for it."""
    found = read_timemap(REAL, NOW)
    assert (found.newest.url, found.newest.archived_at) == (COPY, NEW)
    lines = REAL.strip().rstrip(",").split(",\n")
    assert read_timemap(",\n".join(reversed(lines)), NOW).newest == found.newest


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<html><body>busy</body></html>",
        f'<{COPY}>; rel="memento"',
        f'<{COPY}>; rel="memento"; datetime="soon"',
        f'<{COPY}>; rel="original"; datetime="{NEW}"',
        f'<javascript:alert(1)>; rel="memento"; datetime="{NEW}"',
        f'<{COPY}>; rel="memento"; datetime="Fri, 01 Jan 2100 00:00:00 GMT"',
        f'{COPY}; rel="memento"; datetime="{NEW}"',
        f'<{COPY}; rel="memento"; datetime="{NEW}"',
    ],
)
def test_what_is_no_memento_is_passed_over(text):
    """Broken lines, dates to come, addresses that cannot be captured."""
    assert read_timemap(text, NOW).newest is None


@given(st.text(alphabet="<>;,=\"' \nrelmntodai:/htp", max_size=300))
def test_no_timemap_raises(text):
    """Archives are servers like any other."""
    read_timemap(text, NOW)


def test_a_timemap_in_parts_is_followed_on_its_own_host_and_not_for_ever():
    """The newest copy may lie in the last part; a map that leads on without end is left."""
    pages = {
        "http://a.test/m/1": '<http://a.test/m/2>; rel="timemap", <http://evil.test/m>; rel="timemap"',
        "http://a.test/m/2": f'<{COPY}>; rel="memento"; datetime="{NEW}"',
    }
    assert find_memento("1", "http://a.test/m/{url}", NOW, pages.__getitem__).url == COPY
    asked = []

    def endless(address):
        asked.append(address)
        return f'<http://a.test/m/{len(asked)}x>; rel="timemap"'

    assert find_memento("1", "http://a.test/m/{url}", NOW, endless) is None
    assert len(asked) == MAX_PAGES


def test_a_page_that_is_gone_brings_its_newest_memento_as_a_seed_of_its_own(stub, served):
    """With its role and origin; the original's own capture stays what it was: not found."""
    served.hold(URL, ("http://archive.test/old", OLD), (COPY, NEW))
    use(stub, served)
    heard = stub.run([seed(1), seed(2)])
    assert {one.url: one.outcome for one in stub.captures} == {
        URL: "not-found",
        seed(2).url: "not-found",
        COPY: "captured",
    }
    assert heard.total == 3
    assert any(seed(2).url in text and "no web archive" in text for text in heard.problems)
    assert sorted(one.url for one in compare(stub.captures)) == sorted([URL, seed(2).url, COPY])


def test_the_seed_of_a_memento_says_where_it_comes_from(stub, served):
    """Original, archive, date and the TimeMap that named it."""
    taken = []
    stub.outcome = lambda one, _before: taken.append(one) or "not-found"
    served.hold(URL, (COPY, NEW))
    use(stub, served)
    stub.run([seed(1)])
    memento = taken[1]
    assert (memento.role, memento.incident_ids, memento.row) == ("memento", ("T-1",), seed(1).row)
    assert memento.origin["kind"] == "memento"
    assert memento.origin["source_url"] == COPY
    assert memento.origin["source_name"] == "archive.test"
    assert memento.origin["archived_at"] == NEW
    assert URL in memento.origin["note"]
    assert URL in memento.note


def test_a_memento_that_is_gone_itself_has_no_memento(stub, served):
    """Otherwise two archives could lead in circles."""
    stub.outcome = lambda _one, _before: "not-found"
    served.hold(URL, (COPY, NEW))
    served.hold(COPY, ("http://archive.test/further", NEW))
    use(stub, served)
    stub.run([seed(1)])
    assert [one.url for one in stub.captures] == [URL, COPY]


def test_archives_are_asked_in_order_until_one_knows_a_copy(stub, served):
    """One that is ill is told and passed over; a 404 is an answer and no problem."""
    with archive() as ill, archive() as empty:
        ill.status = 500
        ill.hold(URL)
        served.hold(URL, (COPY, NEW))
        use(stub, ill, empty, served)
        heard = stub.run([seed(1)])
        assert (len(ill.asked), len(empty.asked), len(served.asked)) == (1, 1, 1)
    assert COPY in [one.url for one in stub.captures]
    (problem,) = heard.problems
    assert "E720" in problem


@pytest.mark.parametrize("outcome", ["captured", "blocked", "login-wall", "challenge"])
def test_no_archive_is_asked_for_a_page_that_is_there(stub, served, outcome):
    """Nor for one that is only withheld from here."""
    stub.outcome = lambda _one, _before: outcome
    use(stub, served)
    stub.run([seed(1)])
    assert served.asked == []


def test_no_archive_is_asked_unless_the_settings_say_so(stub, served):
    """Asking tells an archive what somebody is interested in."""
    stub.more = {"mementos": Mementos(timemaps=(served.timemap,))}
    stub.run([seed(1)])
    assert served.asked == []


def test_a_live_page_is_handed_to_the_service_that_saves_pages(stub, served):
    """Once each, and what is gone is not; a service that fails thrice is not asked any more."""
    stub.outcome = lambda one, _before: "not-found" if one.line == 2 else "captured"
    use(stub, served, save=f"{served.address}/save/")
    stub.run([seed(1), seed(2)])
    assert [path for path in served.asked if "/save/" in path] == [f"/save/{seed(2).url}"]
    served.status = 503
    heard = stub.run([seed(n) for n in range(3, 9)], jobs=1)
    assert len([text for text in heard.problems if "E721" in text]) == 3


def test_an_archive_that_is_not_there_is_a_clear_error():
    """It names the archive and what to do."""
    with pytest.raises(TimeMapUnavailable) as told:
        find_memento(URL, "http://127.0.0.1:1/{url}", NOW)
    assert told.value.code == "E720"
