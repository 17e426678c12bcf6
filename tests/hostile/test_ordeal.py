"""One process captures thirty pages that attack it, two at a time; each test looks at what is left."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from examples.sites import Sites
from tests.browser.conftest import Bench
from tests.hostile.origin import MARK, MIB, PAGES, Server, zip_bomb
from tests.hostile.undergo import OUR_MEMORY_BYTES, Run, commands, host_url, undergo

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("ordeal"), pytest.mark.timeout(900)]

CONNECTION_BYTES = 24 * MIB
# Where a page is ended by anything but time, the times are long enough for a machine that is busy.
BUDGETS = {
    "LOAD_MS": 6_000,
    "SETTLE_MS": 1_000,
    "SCROLL_MS": 2_000,
    "EXHIBIT_MS": 8_000,
    "TOTAL_MS": 60_000,
    "CONNECTION_BYTES": CONNECTION_BYTES,
    "EXHIBIT_BYTES": 8 * MIB,
    "PAGE_HEIGHT_PX": 30_000,
    "SCREENSHOT_PX": 25_000_000,
    "DIALOGS": 5,
    "POPUPS": 3,
    "REQUESTS": 300,
    "REDIRECTS": 8,
    "FRAMES": 50,
    "BROWSER_MEMORY_BYTES": 1_600 * MIB,
    "PROCESS_THREADS": 50,
}
OTHERS = ("/redirects", "/stream", "/drip", "/gigabyte", "/brotli", "/gzip", "/zip")
ALL = (*(path for path in PAGES if path != "/killed"), *OTHERS, "/ok?last")


@dataclass
class Ordeal:
    """What is left of the run.

    Args:
        bench: Its store.
        run: What the command made and took.
        temporary: Its temporary folder.
        asked: What the server was asked for, with the request's header fields.
        left: Processes that still name its folders after its end.
    """

    bench: Bench
    run: Run
    temporary: Path
    asked: list[tuple[str, dict[str, str]]]
    left: dict[int, str]
    records: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def captures(self) -> dict[str, dict[str, Any]]:
        return self.run.captures

    def record(self, path: str) -> dict[str, Any]:
        if path not in self.records:
            self.records[path] = self.bench.record(self.captures[path])
        return self.records[path]

    def reached(self, path: str) -> set[str]:
        return {limit["name"] for limit in self.record(path)["limits"] if limit["reached"]}


@pytest.fixture(scope="module")
def ordeal(tmp_path_factory: pytest.TempPathFactory, sites: Sites, origin: Server) -> Iterator[Ordeal]:
    # The browser's user must be able to enter it, which it cannot where pytest keeps its folders.
    with tempfile.TemporaryDirectory(prefix="ordeal-") as temporary:
        Path(temporary).chmod(0o755)
        extra = {f"ARCHIVER_LIMITS_{name}": str(value) for name, value in BUDGETS.items()}
        bench = Bench(tmp_path_factory.mktemp("ordeal"), sites, extra | {"TMPDIR": temporary})
        run = undergo(bench, origin, *ALL, jobs=2)
        left = {
            pid: line for pid, line in commands().items() if temporary in line or str(bench.folder) in line
        }
        yield Ordeal(bench, run, Path(temporary), list(origin.asked), left)


PICTURES = {"screenshot-viewport", "screenshot-full", "dom", "text", "pdf"}
# What each page must have reached, and whether it must still have been taken whole.
ENDS: dict[str, tuple[set[str], bool]] = {
    "/spin": ({"exhibit_ms"}, True),
    "/spin-while-loading": ({"load_ms", "exhibit_ms"}, True),
    "/alerts": ({"dialogs"}, False),
    "/popups": ({"popups"}, True),
    "/scroll": ({"page_height_px", "screenshot_px"}, True),
    "/tall": ({"page_height_px", "screenshot_px"}, True),
    "/moves": ({"redirects"}, True),
    "/refresh": ({"redirects"}, True),
    "/downloads": ({"redirects"}, True),
    "/redirects": ({"redirects"}, False),
    "/history": ({"redirects"}, False),
    "/frames": ({"frames"}, True),
    "/requests": ({"requests"}, True),
    "/workers": ({"process_threads"}, False),
    "/memory": ({"browser_memory_bytes"}, False),
    "/inline": ({"exhibit_bytes"}, False),
    "/gzip": ({"exhibit_bytes"}, False),
    "/stream": ({"connection_bytes"}, False),
    "/gigabyte": ({"connection_bytes"}, False),
    "/drip": ({"load_ms"}, True),
}


def test_every_page_becomes_a_capture_with_what_was_received(ordeal: Ordeal):
    """None of the pages stops the run; each has its response on record, and nothing failed to be stored."""
    assert set(ordeal.captures) == set(ALL), ordeal.run.stderr[-2000:]
    assert [problem for problem in ordeal.run.told["problems"] if problem["kind"] == "failure"] == []
    for path in ALL:
        assert ordeal.record(path)["recording"]["response_count"] >= 1, path
        assert ordeal.record(path)["recording"]["missing"] == [], path
    assert "Traceback" not in ordeal.run.stderr


# A busy machine may end a page by one of these before it comes to the budget that it is made for.
EARLIER = {"load_ms", "exhibit_ms", "total_ms"}
# A page that moves on may be held at its document between two of its moves, which is no budget.
MOVES = {"/moves", "/refresh", "/downloads"}


def ended_as_meant(ordeal: Ordeal, path: str) -> bool:
    return ENDS[path][0] <= ordeal.reached(path)


def missing_parts(ordeal: Ordeal, path: str) -> set[str]:
    return {one["part"] for one in ordeal.record(path)["completeness"]["missing"]}


@pytest.mark.parametrize("path", ENDS)
def test_a_budget_ends_it_and_is_named(ordeal: Ordeal, path: str):
    """The capture is not called complete, and the record names the budget that the page ran into."""
    held = path in MOVES and "navigation" in missing_parts(ordeal, path)
    earlier = held or ordeal.reached(path) & EARLIER
    assert ended_as_meant(ordeal, path) or earlier, ordeal.record(path)["completeness"]
    assert ordeal.captures[path]["completeness"] in {"incomplete", "interrupted"}


def test_most_end_by_the_budget_that_they_are_made_for(ordeal: Ordeal):
    """However busy the machine is: were it otherwise, the run would show nothing."""
    others = {path: ordeal.reached(path) for path in ENDS if not ended_as_meant(ordeal, path)}
    assert len(others) <= len(ENDS) / 4, others


@pytest.mark.parametrize("path", [path for path, (_, whole) in ENDS.items() if whole])
def test_a_page_that_was_stopped_is_still_taken(ordeal: Ordeal, path: str):
    """Scripts without end keep nobody from a screenshot, the DOM, the text and a print of what is shown."""
    taken = {a["role"] for a in ordeal.record(path)["artifacts"]}
    if ordeal.reached(path) & EARLIER <= ENDS[path][0]:
        assert taken >= PICTURES
        assert MARK in ordeal.bench.file(ordeal.captures[path], "text.txt").read_text("utf-8")
    else:  # the machine was too busy for that
        assert missing_parts(ordeal, path) >= PICTURES - taken


@pytest.mark.parametrize("path", ["/ok", "/print", "/close", "/trap", "/bad-redirects", "/ok?last"])
def test_what_can_do_no_harm_is_whole(ordeal: Ordeal, path: str):
    """Print dialogs, pages that would close and traps around them cost nothing; nor does what came before."""
    one = ordeal.captures[path]
    assert (one["outcome"], one["completeness"]) == ("captured", "complete")
    assert ordeal.reached(path) == set()


def test_exhibits_are_of_one_document(ordeal: Ordeal):
    """A page that leaves when it is looked at is kept where it is; the record says where it wanted to go."""
    missing = ordeal.record("/moves-when-shown")["completeness"]["missing"]
    assert any(one["part"] == "navigation" and "/ok?gone" in one["reason"] for one in missing), missing
    assert ordeal.record("/moves-when-shown")["target"]["final_url"] == host_url("/moves-when-shown")
    assert not any("gone" in path for path, _ in ordeal.asked)


def test_an_address_without_end_is_left_out(ordeal: Ordeal):
    """A script can give its page an address without end; the record stays small, and says so."""
    record = ordeal.record("/long-address")
    assert "address" in {missing["part"] for missing in record["completeness"]["missing"]}
    assert record["target"]["final_url"] is None
    assert ordeal.bench.file(ordeal.captures["/long-address"], "record.json").stat().st_size < MIB


@pytest.mark.parametrize("path", ["/zip", "/brotli"])
def test_files_are_kept_as_they_came(ordeal: Ordeal, path: str):
    """A bomb is stored as it was sent, unopened; an address that brings a file is captured, not failed."""
    record = ordeal.record(path)
    assert record["completeness"]["state"] == "complete"
    assert record["recording"]["truncated_count"] == 0
    assert record["recording"]["body_bytes"] < MIB
    if path == "/zip":
        assert record["outcome"]["kind"] == "captured"
        assert ordeal.bench.file(ordeal.captures[path], "document.zip").read_bytes() == zip_bomb()


def test_a_cut_body_is_kept_as_cut(ordeal: Ordeal):
    """Of an endless body the wire holds what the budget allowed, and the record says that it is cut."""
    for path in ("/gigabyte", "/stream"):
        record = ordeal.record(path)
        assert record["recording"]["truncated_count"] == 1, path
        body_bytes = record["recording"]["body_bytes"]
        assert CONNECTION_BYTES * 0.9 < body_bytes < CONNECTION_BYTES + MIB, path


def test_every_capture_ends_in_time(ordeal: Ordeal):
    """By the record's own clock no page took longer than its total budget and the time to close it."""
    for path in ALL:
        spent = sum(action["duration_ms"] for action in ordeal.record(path)["actions"])
        assert spent <= BUDGETS["TOTAL_MS"] + 2_000, path


def test_our_own_memory_stays_small(ordeal: Ordeal):
    """Bombs and bodies of 50 MB and more pass through without ever standing in our memory."""
    assert ordeal.run.peak_bytes.keys() == {"main", "packer", "relay"}
    assert {who: peak for who, peak in ordeal.run.peak_bytes.items() if peak > OUR_MEMORY_BYTES} == {}


def test_nothing_is_left_behind(ordeal: Ordeal):
    """No process, no spool, no browser home and no download is left."""
    assert [path.name for path in ordeal.temporary.iterdir()] == []
    assert [path for path in ordeal.bench.spool.iterdir() if path.name.startswith("2")] == []
    assert ordeal.left == {}
