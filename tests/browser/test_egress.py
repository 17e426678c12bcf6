"""The guard end to end: pages that try every way inside, through a real browser and the command line."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.browser.conftest import Bench

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("guard")]

OUTSIDE = "127.0.0.2"
"""Stands for the public network: the one address that is allowed."""

HOSTS_INSIDE = (
    *("127.0.0.1", "localhost", "2130706433", "0x7f000001", "0177.0.0.1", "127.1", "0.0.0.0", "127.0.0.3"),
    *("[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]", "[64:ff9b::7f00:1]"),
    *("[2002:7f00:1::]", "[2001:0:4136:e378:8000:63bf:80ff:fffe]", "[64:ff9b:1::7f00:1]"),
    *("10.0.0.1", "172.16.0.1", "192.168.0.1", "100.64.0.1", "169.254.1.1", "224.0.0.1", "255.255.255.255"),
    *("169.254.169.254", "100.100.100.200", "168.63.129.16", "[fd00:ec2::254]"),
    *("[fe80::1]", "[fc00::1]", "[ff02::1]", "[fec0::1]"),
    *("rebound.example", "sub.localhost"),
)

WAYS = """
const inside = %(inside)s, go = (what) => { try { what() } catch {} };
const add = (tag, fields) => document.body.append(Object.assign(document.createElement(tag), fields));
for (const host of inside.hosts) go(() => fetch(`http://${host}:${inside.port}/fetch`, {mode: "no-cors"}));
const base = `127.0.0.1:${inside.port}`;
go(() => add("img", {src: `http://${base}/img`}));
go(() => add("script", {src: `http://${base}/script`}));
go(() => add("iframe", {src: `http://${base}/iframe`}));
go(() => add("video", {src: `http://${base}/video`, preload: "auto"}));
go(() => add("object", {data: `http://${base}/object`}));
go(() => add("embed", {src: `http://${base}/embed`}));
go(() => add("link", {rel: "stylesheet", href: `http://${base}/style`}));
for (const rel of ["preconnect", "dns-prefetch", "prefetch", "preload", "modulepreload", "prerender"])
  go(() => add("link", {rel, href: `http://${base}/${rel}`, as: "script"}));
go(() => add("style", {textContent: `@import "http://${base}/import"; body{background:url(http://${base}/bg)}`}));
go(() => navigator.sendBeacon(`http://${base}/beacon`, "x"));
go(() => new WebSocket(`ws://${base}/socket`));
go(() => new EventSource(`http://${base}/events`));
go(() => new WebTransport(`https://${base}/transport`));
go(() => open(`http://${base}/popup`));
go(() => fetch("/to-inside", {mode: "no-cors"}));
go(() => add("img", {src: "/to-inside?img"}));
go(() => add("iframe", {src: "/to-inside?iframe"}));
const source = `fetch("http://${base}/worker", {mode: "no-cors"}); new WebSocket("ws://${base}/worker-socket");
  try { importScripts("http://${base}/worker-import") } catch {}`;
const blob = URL.createObjectURL(new Blob([source]));
go(() => new Worker(blob));
go(() => new SharedWorker(blob));
go(() => { const a = Object.assign(document.createElement("a"), {href: `http://${base}/download`,
  download: "x", target: "_blank"});
  document.body.append(a); a.click() });
go(() => { const f = document.createElement("form"); Object.assign(f, {method: "post", target: "frame",
  action: `http://${base}/form`}); add("iframe", {name: "frame"}); document.body.append(f); f.submit() });
"""


class Victim:
    """Listens where no page may come, on every loopback address of one port, and counts who comes."""

    def __init__(self) -> None:
        self.reached = 0
        self.sockets = [socket.create_server(("127.0.0.1", 0))]
        self.port = self.sockets[0].getsockname()[1]
        self.sockets.append(socket.create_server(("::1", self.port), family=socket.AF_INET6))
        self.sockets.append(socket.create_server(("127.0.0.3", self.port)))
        for one in self.sockets:
            threading.Thread(target=self._count, args=(one,), daemon=True).start()

    def _count(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            self.reached += 1
            connection.close()

    def close(self) -> None:
        for one in self.sockets:
            one.close()


@pytest.fixture
def victim() -> Iterator[Victim]:
    with closing(Victim()) as one:
        yield one


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *words: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        port = self.server.victim_port
        inside = {"hosts": HOSTS_INSIDE, "port": port}
        body = f"<h1>outside</h1><body><script>{WAYS % {'inside': json.dumps(inside)}}</script>".encode()
        if self.path.startswith("/to-inside"):
            self.send_response(302)
            self.send_header("Location", f"http://127.0.0.1:{port}/redirect")
            body = b""
        else:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def outside(victim: Victim) -> Iterator[tuple[str, ...]]:
    """Options under which http://outside.example/ is a page that wants to get inside."""
    server = ThreadingHTTPServer((OUTSIDE, 0), Handler)
    server.victim_port = victim.port
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield (
        *("--resolve", f"outside.example:80:{OUTSIDE}:{server.server_port}"),
        *("--resolve", f"rebound.example:80:{OUTSIDE}:{server.server_port}"),
        *("--resolve", f"rebound.example:{victim.port}:127.0.0.1"),
        *("--allow-address", OUTSIDE),
    )
    server.shutdown()
    server.server_close()


def test_no_way_leads_inside(bench: Bench, outside: tuple[str, ...], victim: Victim):
    """Whatever a page tries, in whatever spelling, nothing inside is reached, and each try is on record."""
    told = bench.run("capture", "http://outside.example/", "--incident", "T-1", *outside)
    (one,) = told["captures"]
    network = bench.record(one)["network"]
    assert victim.reached == 0
    assert network["allowed_addresses"] == [OUTSIDE]
    assert network["private_network_allowed"] is False
    assert {connection["ip"] for connection in network["connections"]} == {OUTSIDE}
    refused = {refusal["host"].strip("[]") for refusal in network["refusals"]}
    spelled_out = {"::ffff:127.0.0.1", "::ffff:7f00:1"}
    expected = {host.strip("[]") for host in HOSTS_INSIDE}
    # Chromium writes every form of a number as the one address that it means.
    expected -= {"2130706433", "0x7f000001", "0177.0.0.1", "127.1", *spelled_out}
    assert {rule["rule"] for rule in network["refusals"]} == {"address-not-public"}
    assert len(refused) >= len(expected) - 5


def test_a_redirect_inside_is_refused(bench: Bench, outside: tuple[str, ...], victim: Victim):
    """An address that sends the browser inside is stored as what it is: an answer, and a refusal."""
    told = bench.run("capture", "http://outside.example/to-inside", "--incident", "T-1", *outside, code=3)
    (one,) = told["captures"]
    record = bench.record(one)
    assert victim.reached == 0
    assert one["outcome"] == "failed"
    assert [step["status"] for step in record["target"]["redirects"]] == [302]
    assert {refusal["host"] for refusal in record["network"]["refusals"]} == {"127.0.0.1"}


def test_a_name_that_changes_its_address_is_refused(bench: Bench, outside: tuple[str, ...], victim: Victim):
    """DNS rebinding gains nothing: the address that is dialled is judged, each time."""
    seed = f"http://rebound.example:{victim.port}/"
    told = bench.run("capture", "http://rebound.example/", seed, "--incident", "T-1", *outside, code=3)
    outcomes = {one["url"]: one["outcome"] for one in told["captures"]}
    assert outcomes == {"http://rebound.example/": "captured", seed: "failed"}
    assert victim.reached == 0


@pytest.mark.parametrize("address", ["10.1.2.3/8", "localhost", "127.0.0.1:80", ""])
def test_only_addresses_can_be_allowed(bench: Bench, address: str):
    """What is no address or network is refused before anything is loaded."""
    words = ["capture", "http://outside.example/", "--incident", "T-1", "--allow-address", address]
    assert bench.run(*words, code=2) == {}


def listening_ports(pid: int) -> set[int]:
    """Ports on which a process listens."""
    inodes = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        target = str(link.readlink()) if link.is_symlink() else ""
        if target.startswith("socket:["):
            inodes.add(target[8:-1])
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {int(row[1].rpartition(":")[2], 16) for row in rows if row[3] == "0A" and row[9] in inodes}


def relay_of(pid: int) -> int:
    """The relay process that the run with *pid* has started."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            line = (entry / "cmdline").read_bytes()
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if b"recorder.relay" in line and parent == pid:
            return int(entry.name)
    raise AssertionError("no relay")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can act as another user")
@pytest.mark.parametrize("uid", [65534, 0])
def test_other_users_cannot_use_the_relay(bench: Bench, uid: int):
    """Whoever is not the browser gets not one byte from the relay's port, and the try is on record."""
    asked = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=answer_slowly, args=(listener, asked), daemon=True).start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        words = ["capture", url, "--incident", "T-1", "--allow-private-network"]
        limits = {"ARCHIVER_LIMITS_LOAD_MS": "8000", "ARCHIVER_LIMITS_SETTLE_MS": "500"}
        with subprocess.Popen(
            bench.command(*words), env=bench.environment() | limits, stdout=subprocess.PIPE, text=True
        ) as run:
            assert asked.wait(60)
            answers = {port: greet(port, uid) for port in listening_ports(relay_of(run.pid))}
            out, _ = run.communicate(timeout=100)
    (one,) = json.loads(out)["captures"]
    refusals = bench.record(one)["network"]["refusals"]
    assert len(answers) == 2, "one port for the capture, one for what belongs to none"
    assert set(answers.values()) == {b""}
    assert {refusal["rule"] for refusal in refusals} == {"other-user"}


def answer_slowly(listener: socket.socket, asked: threading.Event) -> None:
    """Begin a page that stays under way for as long as its load may take."""
    connection, _ = listener.accept()
    connection.recv(65536)
    connection.sendall(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 9000\r\n\r\n<h1>x</h1>"
    )
    asked.set()
    connection.recv(65536)


def greet(port: int, uid: int) -> bytes:
    """Offer a SOCKS greeting as another user and return what comes back."""
    script = f'exec 3<>/dev/tcp/127.0.0.1/{port}; printf "\\5\\1\\0" >&3; timeout 5 head -c 2 <&3'
    become = ["setpriv", "--reuid", str(uid), "--regid", str(uid), "--clear-groups", "bash", "-c", script]
    return subprocess.run(become, capture_output=True, timeout=30, check=False, cwd="/").stdout
