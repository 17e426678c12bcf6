from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import pytest

from archiver import evidence
from archiver.capture.recorder.decode import DecodeLimits, decode
from archiver.capture.recorder.wire import WireWriter
from archiver.crosschecking import crosscheck_capture
from storage.open import open_store
from tests.corpus import netlog
from tests.corpus.fidelity import MEASURES, compare
from tests.corpus.held import Held
from tests.corpus.log import Served
from tests.corpus.netlog import tapped_browser
from tests.corpus.running import SCRIPTED, CorpusRun, corpus_run

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("corpus")]

MAX_CROSSED = 3
"""Responses, such as favicons, that reach the socket while the browser gives them up, and never parses."""
CASES = Path(__file__).parents[1] / "corpus" / "cases.txt"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory):
    """Every page of the corpus, captured once, with the browser's NetLog beside the relay."""
    with (
        tapped_browser() as (browser, folder),
        corpus_run(tmp_path_factory.mktemp("corpus"), ARCHIVER_BROWSER=str(browser)) as run,
    ):
        run.netlog = folder
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


def refused_coding(served: Served) -> bool:
    coded = re.search(rb"(?i)content-encoding:[^\n]*(br|zstd)", b"".join(served.heads))
    return served.url.startswith("http://") and coded is not None


def test_a_second_tap_agrees_on_every_connection_and_exchange(run: CorpusRun):
    """What Chromium says that its sockets carried is what the records bind; both have the same responses."""
    log = netlog.read(run.netlog)
    told = {socket.digests() for socket in log.sockets}
    sent = {socket.digests()[0]: socket for socket in log.sockets}
    connections, unread = 0, []
    for place in run.captures:
        for one in run.record(place)["network"]["connections"]:
            if one["sent_plaintext"] is None or not one["sent_plaintext"]["bytes"]:
                continue
            connections += 1
            ours = (one["sent_plaintext"]["sha256"], one["received_plaintext"]["sha256"])
            if ours not in told:
                assert ours[0] in sent, (place, one)
                # The browser leaves what it no longer wants in its socket; the relay delivered it.
                assert len(sent[ours[0]].plain()[1]) < one["received_plaintext"]["bytes"], (place, one)
                unread.append((place, one["number"]))
    held = {one.number for one in run.all_held() if one.number}
    assert connections > 60
    assert len(unread) <= connections // 10, unread
    assert log.exchanges - held == set()
    # Chromium's log tells no head of a WebSocket, of a response that it broke off itself, and of a coding
    # that it does not take over plain HTTP; the bytes of all of them were compared above.
    excused = {one.number for one in run.served if one.kind == "websocket" or one.cut or refused_coding(one)}
    assert len(held - log.exchanges - excused) <= MAX_CROSSED, held - log.exchanges - excused


@pytest.mark.tshark
@pytest.mark.skipif(shutil.which("tshark") is None, reason="needs tshark")
def test_an_independent_reader_agrees_on_every_direction(run: CorpusRun):
    """To tshark every direction of every connection is the same bytes; what it does not export is listed."""
    store = open_store(str(run.bench.store))
    directions, exported, listed = 0, 0, 0
    for place, capture in run.captures.items():
        found = crosscheck_capture(store, capture["capture_id"])
        assert [one for one in found.directions if not one.agrees] == [], place
        assert all(reason for _, reason in found.not_exported)
        directions += len(found.directions)
        exported += len(found.exported)
        listed += len(found.not_exported)
        bodies = sum(one.response_body not in {b"", b"0\r\n\r\n"} for one in run.held(place))
        assert len(found.exported) + len(found.not_exported) == bodies, place
    assert directions > 120
    assert exported > 4 * listed > 0


def test_a_hidden_exchange_makes_the_capture_incomplete(tmp_path: Path):
    """What the browser asked for and the recording lacks is named, and the capture is called incomplete."""
    wire, keys = tmp_path / "wire.bin", tmp_path / "keys.log"
    WireWriter(wire).close()
    keys.touch()
    decoded = decode(wire, keys, lambda _: None, DecodeLimits())
    asked = {"url": "https://a.example/hidden", "method": "GET", "type": "fetch", "status": 200}
    observed = {"requests": [asked], "exhibits": [], "problems": []}
    held = evidence.recording(observed, decoded, [], [])
    state = evidence.completeness(observed, decoded, held)
    assert state.state == "incomplete"
    assert any("https://a.example/hidden" in json.dumps(msgspec.to_builtins(one)) for one in (state, held))


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
