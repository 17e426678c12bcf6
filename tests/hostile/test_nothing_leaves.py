"""Nothing leaves past the relay: every packet of a capture is looked at, in a network namespace."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from examples.sites import Sites
from tests.browser.conftest import Bench
from tests.hostile.in_namespace import MARKER_PORT, PORT, PUBLIC, RELAYED_PORT

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("guard")]


def namespace_lacks() -> str:
    """Why no network namespace can be made here, or nothing."""
    if missing := [tool for tool in ("unshare", "ip", "dumpcap", "tshark") if shutil.which(tool) is None]:
        return f"needs {', '.join(missing)}"
    if os.getuid() != 0:
        return "only root can make a network namespace with an interface"
    tried = subprocess.run(
        ["unshare", "--net", "ip", "link", "add", "out0", "type", "veth", "peer", "name", "nowhere"],
        capture_output=True,
        text=True,
        check=False,
    )
    return f"no network namespace here: {tried.stderr.strip()}" if tried.returncode else ""


FIELDS = ("ip.dst", "ipv6.dst", "tcp.dstport", "udp.dstport", "_ws.col.Protocol")


def packets_of(path: Path) -> list[dict[str, str]]:
    words = [word for name in FIELDS for word in ("-e", name)]
    read = subprocess.run(
        ["tshark", "-n", "-r", str(path), "-T", "fields", *words], capture_output=True, text=True, check=True
    )
    return [dict(zip(FIELDS, line.split("\t"), strict=True)) for line in read.stdout.splitlines()]


@pytest.mark.skipif(bool(namespace_lacks()), reason=namespace_lacks())
def test_only_the_relay_sends(tmp_path: Path, sites: Sites):
    """WebRTC, STUN, TURN, QUIC, prefetched names, preconnects, its services: only the relay sends."""
    limits = {"ARCHIVER_LIMITS_LOAD_MS": "15000", "ARCHIVER_LIMITS_SETTLE_MS": "6000"}
    bench = Bench(tmp_path, sites, limits)
    # Names lead to one public address without a question to any name server, so that each question is a leak.
    rules = ("--resolve", f"page.example:80:127.0.0.1:{PORT}", "--resolve", f"*:{PUBLIC}")
    allowed = ("--allow-address", "127.0.0.1")
    command = bench.command("capture", "http://page.example/", "--incident", "T-1", *rules, *allowed)
    subprocess.run(
        ["unshare", "--net", sys.executable, "-m", "tests.hostile.in_namespace", str(tmp_path), *command],
        env=bench.environment(),
        cwd=ROOT,
        timeout=200,
        check=True,
    )
    (one,) = json.loads((tmp_path / "told.json").read_bytes())["captures"]
    # The kernel asks for routers and tells of its addresses by itself.
    packets = [p for p in packets_of(tmp_path / "out.pcapng") if p["_ws.col.Protocol"] != "ICMPv6"]
    marked = [packet["udp.dstport"] == str(MARKER_PORT) for packet in packets]
    assert (marked[0], marked[-1]) == (True, True), "taken from begin to end"
    rest = [packet for packet, mark in zip(packets, marked, strict=True) if not mark]
    # Chromium joins the group of mDNS when a page asks for WebRTC; that goes no further than the next switch.
    others = [packet for packet in rest if not packet["tcp.dstport"]]
    assert [packet for packet in others if packet["_ws.col.Protocol"] != "IGMPv3"] == []
    assert one["outcome"] == "captured"
    record = bench.record(one)
    told = json.dumps(record["errors"]) + json.dumps(record["network"])
    dialled = {(p["ip.dst"] or p["ipv6.dst"], p["tcp.dstport"]) for p in rest if p["tcp.dstport"]}
    assert (PUBLIC, str(RELAYED_PORT)) in dialled
    assert [end for end in dialled if f"{end[0]}:{end[1]}: " not in told] == [], "each is the relay's own"
