"""A page whose renderer dies, and one of 300 MB; each is followed by one that is whole."""

from __future__ import annotations

from typing import Any

import pytest

from examples.sites import Sites
from tests.browser.conftest import Bench
from tests.hostile.origin import MARK, MIB, Server
from tests.hostile.undergo import OUR_MEMORY_BYTES, Run, undergo

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("ordeal"), pytest.mark.timeout(600)]

# Given but few seconds for each exhibit, since that of 300 MB is waited for in vain.
BUDGETS = {
    "LOAD_MS": 120_000,
    "EXHIBIT_MS": 6_000,
    "TOTAL_MS": 240_000,
    "EXHIBIT_BYTES": 64 * MIB,
}
PATHS = ("/killed", "/ok?after-killed", "/inline-data", "/ok?after-inline-data")


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, sites: Sites) -> Bench:
    extra = {f"ARCHIVER_LIMITS_{name}": str(value) for name, value in BUDGETS.items()}
    return Bench(tmp_path_factory.mktemp("killed"), sites, extra)


@pytest.fixture(scope="module")
def run(bench: Bench, origin: Server) -> Run:
    return undergo(bench, origin, *PATHS, jobs=1)


def missing(record: dict[str, Any]) -> set[str]:
    return {one["part"] for one in record["completeness"]["missing"]}


def test_a_page_whose_renderer_dies_is_kept_as_far_as_it_came(run: Run, bench: Bench):
    """The capture is sealed as interrupted and says why; its document is on the wire as it was sent."""
    one = run.captures["/killed"]
    record = bench.record(one)
    assert (one["outcome"], one["completeness"]) == ("failed", "interrupted")
    assert "the page's process crashed" in record["outcome"]["reason"]
    assert MARK.encode() in bench.file(one, "transcript.pcapng").read_bytes()
    assert record["recording"]["missing"] == []


def test_300_mb_within_a_page_arrive_whole(run: Run, bench: Bench):
    """Every byte is recorded, pictures are taken, and what is too large for an exhibit is named."""
    one = run.captures["/inline-data"]
    record = bench.record(one)
    assert record["recording"]["truncated_count"] == 0
    assert record["recording"]["body_bytes"] > 300 * MIB
    assert {"mhtml", "dom"} <= missing(record)
    roles = {a["role"] for a in record["artifacts"]}
    assert {"screenshot-viewport", "screenshot-full", "text", "pdf"} <= roles | missing(record)


@pytest.mark.parametrize("path", ["/ok?after-killed", "/ok?after-inline-data"])
def test_the_next_capture_is_clean(run: Run, path: str):
    """Neither leaves anything behind that the next page would meet."""
    one = run.captures[path]
    assert (one["outcome"], one["completeness"]) == ("captured", "complete")


def test_300_mb_never_stand_in_our_memory(run: Run):
    """They pass through the relay and the packer piece by piece."""
    assert {who: peak for who, peak in run.peak_bytes.items() if peak > OUR_MEMORY_BYTES} == {}
