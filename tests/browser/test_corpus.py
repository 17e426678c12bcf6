from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.corpus.fidelity import MEASURES, compare
from tests.corpus.held import Held
from tests.corpus.log import Served
from tests.corpus.running import SCRIPTED, CorpusRun, corpus_run

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("corpus")]

CASES = Path(__file__).parents[1] / "corpus" / "cases.txt"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory):
    """Every page of the corpus, captured once."""
    with corpus_run(tmp_path_factory.mktemp("corpus")) as run:
        yield run


def test_every_exchange_is_held_byte_for_byte(run: CorpusRun):
    """Each request and each response that the server logged is in a package: heads, bodies, cut ones too."""
    found = run.fidelity()
    assert found.faults == []
    assert [measure for measure in MEASURES if not found.due[measure]] == []
    assert found.due["recall"] > 500


def test_the_hard_cases_were_asked_for(run: CorpusRun):
    """No measure is met because its case never came about: the server was asked for each of them."""
    paths = {urlsplit(served.url).path for served in run.served}
    assert [path for path in CASES.read_text().split() if path not in paths] == []


def test_every_page_came_to_its_end_before_its_exhibits_were_taken(run: CorpusRun):
    """A page that is at work is not taken for loaded."""
    titles = {place: run.record(place)["target"]["title"] for place in SCRIPTED}
    assert titles == dict.fromkeys(SCRIPTED, "done")


def test_nothing_is_called_missing_that_is_there(run: CorpusRun):
    """What the browser reports is on the wire, whatever worker, frame or popup asked for it."""
    for place in run.captures:
        record = run.record(place)
        assert record["recording"]["missing"] == [], place
        assert record["recording"]["unsplit_connections"] == [], place
        assert record["completeness"]["state"] == "complete", (place, record["completeness"])


def test_what_was_cut_off_is_marked_in_the_record(run: CorpusRun):
    """Bodies that never came to their end are counted as such, over every protocol."""
    counts = {word: run.record(f"{word}/ends")["recording"]["truncated_count"] for word in ("SECURE", "H2")}
    assert counts["SECURE"] >= 8
    assert counts["H2"] >= 8


def test_addresses_that_bring_files_give_a_document(run: CorpusRun):
    """A direct PDF, picture, JSON, CSV, ZIP or attachment is an exhibit of its own, and a whole capture."""
    for place in ("H2/direct/table.csv", "PLAIN/direct/bundle.zip", "SECURE/direct/saved.bin"):
        record = run.record(place)
        assert "document" in {one["role"] for one in record["artifacts"]}, place
        assert record["outcome"]["kind"] == "captured", (place, record["outcome"])


@pytest.fixture
def pair():
    """One exchange as served and as held, equal."""
    head = b"HTTP/1.1 200 OK\r\nX-Exchange: 1\r\nContent-Length: 4\r\n\r\n"
    asked = b"POST /x HTTP/1.1\r\n\r\n"
    served = Served(1, "http/1.1", "POST", "http://a/x", asked, bytearray(b"in"), [head], bytearray(b"body"))
    served.plain = b"body"
    return served, Held("http://a/x", asked, b"in", head, b"body", 1)


def test_equal_is_called_equal(pair):
    """The comparison has no objection to an exchange that is held exactly."""
    served, held = pair
    assert compare([served], [held]).faults == []


@pytest.mark.parametrize(
    ("part", "value", "measure"),
    [
        ("number", 0, "recall"),
        ("request_head", b"POST /y HTTP/1.1\r\n\r\n", "request heads exact"),
        ("request_body", b"", "request bodies exact"),
        (
            "response_head",
            b"HTTP/1.1 200 OK\r\nx-exchange: 1\r\nContent-Length: 4\r\n\r\n",
            "response heads exact",
        ),
        ("response_body", b"bodY", "encoded bodies equal"),
        ("response_body", b"bod", "encoded bodies equal"),
        ("response_body", b"bodyy", "encoded bodies equal"),
    ],
)
def test_a_difference_is_found_and_named(pair, part, value, measure):
    """The comparison can fail: each measure does when its part is changed."""
    served, held = pair
    setattr(held, part, value)
    if part == "number":
        held.request_head = b""
    assert any(fault.startswith(measure) for fault in compare([served], [held]).faults)


@pytest.mark.parametrize(
    ("cut", "body", "truncated"),
    [
        ("server", b"bod", "disconnect"),
        ("server", b"", ""),
        ("client", b"bXd", "disconnect"),
        ("client", b"bo", ""),
    ],
)
def test_a_partial_body_that_is_not_kept_is_found(pair, cut, body, truncated):
    """What was cut off must be there to its last byte, or be a beginning that is marked."""
    served, held = pair
    served.cut, held.response_body, held.truncated = cut, body, truncated
    assert [fault.split(":")[0] for fault in compare([served], [held]).faults] == ["partial bodies kept"]


@pytest.mark.large
def test_large_bodies_are_held_whole(tmp_path):
    """50 MB that do not compress and a bomb of 100 MB are in the package as they were sent."""
    with corpus_run(tmp_path, ("H2/large", "SECURE/large")) as run:
        found = run.fidelity()
        assert found.faults == []
        assert sum(len(served.body) > 40_000_000 for served in run.served) == 2
