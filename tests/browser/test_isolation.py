"""Nothing of one capture is seen by the next, and nothing of the machine is seen by a page."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from archiver.capture.browser import find_browser
from archiver.capture.limits import Limits, View
from archiver.capture.recorder.guard import RelayPolicy
from archiver.capture.rig import Rigs, describe, policy_for
from archiver.capture.session import Job
from archiver.capture.session import capture as take
from archiver.spool import Spool
from tests.browser.conftest import Bench

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("isolation")]

# localhost is a secure context, so that service workers, permissions and file systems are on offer.
STORE = """<h1>isolation</h1><img src="/cached.png"><img src="/wait">
<a id=d href="/file.zip" download>d</a>
<script type="module">
const tell = (what) => fetch("/told", {method: "POST", body: JSON.stringify(what)});
const seen = {cookie: document.cookie, local: localStorage.kept || "", session: sessionStorage.kept || ""};
const open = () => new Promise((done) => {
  const asked = indexedDB.open("kept", 1);
  asked.onupgradeneeded = () => asked.result.createObjectStore("kept");
  asked.onsuccess = () => done(asked.result);
});
const database = await open();
const get = database.transaction("kept").objectStore("kept").get("kept");
seen.indexed = await new Promise((done) => { get.onsuccess = () => done(get.result || "") });
seen.caches = await caches.keys();
seen.workers = (await navigator.serviceWorker.getRegistrations()).length;
seen.permission = (await navigator.permissions.query({name: "notifications"})).state;
seen.window = window.name;
const root = await navigator.storage.getDirectory();
seen.files = [];
for await (const name of root.keys()) seen.files.push(name);
await tell(seen);
document.cookie = "kept=yes; max-age=86400";
localStorage.kept = sessionStorage.kept = window.name = "yes";
await new Promise((done) => {
  const put = database.transaction("kept", "readwrite");
  put.objectStore("kept").put("yes", "kept");
  put.oncomplete = done;
});
await (await caches.open("kept")).put("/kept", new Response("yes"));
await root.getFileHandle("kept", {create: true});
await navigator.serviceWorker.register("/worker.js");
Notification.requestPermission();  // nobody answers
document.getElementById("d").click();
await fetch("/done", {method: "POST"});
</script>"""

REACH = """<h1>reach</h1><img src="/wait"><script type="module">
const found = [];
const tell = () => fetch("/told", {method: "POST", body: JSON.stringify(found)});
for (const url of %s) {
  try { found.push(["fetch", url, (await (await fetch(url)).text()).length]) } catch {}
  const frame = Object.assign(document.createElement("iframe"), {src: url});
  document.body.append(frame);
  await new Promise((done) => { frame.onload = done; frame.onerror = done; setTimeout(done, 150) });
  try {
    const shown = frame.contentDocument.URL;
    if (shown !== "about:blank") found.push(["frame", url, shown]);
  } catch (refused) { found.push(["frame-other", url, String(refused)]) }
  const image = new Image();
  image.onload = () => found.push(["image", url]);
  image.src = url;
  const opened = window.open(url);
  try {
    if (opened && opened.location.href !== "about:blank") found.push(["popup", url, opened.location.href]);
  } catch {}
}
const gathered = [];
try {
  const peer = new RTCPeerConnection({iceServers: [{urls: "stun:192.0.2.1:3478"}]});
  peer.createDataChannel("x");
  peer.onicecandidate = (event) => event.candidate && gathered.push(event.candidate.candidate);
  await peer.setLocalDescription();
  await new Promise((done) => setTimeout(done, 1500));
  const lines = peer.localDescription.sdp.split("\\r\\n");
  gathered.push(...lines.filter((line) => /^(a=candidate|c=)/.test(line)));
} catch {}
found.push(["webrtc", gathered]);
await tell();
await fetch("/done", {method: "POST"});
</script>"""

GRANTED = """<h1>granted</h1><img src="/wait"><script type="module">
await fetch("/granted", {method: "POST", body: ""});
const state = async (name) => (await navigator.permissions.query({name})).state;
const states = [await state("notifications"), await state("geolocation")];
await fetch("/told", {method: "POST", body: JSON.stringify(states)});
await fetch("/done", {method: "POST", body: ""});
</script>"""

UNREACHABLE = (
    *("file:///etc/passwd", "file:///proc/self/environ", "chrome://version/", "chrome://settings/"),
    *("chrome://crash/", "devtools://devtools/bundled/inspector.html", "view-source:http://localhost/told"),
    "chrome-extension://mhjfbmdgcfjbbpaeojofohoefgiehjai/index.html",
    "filesystem:file:///etc/passwd",
)


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Browsers hang up; that is no news."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *words: object) -> None:
        """Say nothing."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/done":
            self.server.done.set()
        elif self.path == "/granted":
            self.server.asks.set()
            self.server.granted.wait(60)
        else:
            self.server.told.append(json.loads(body))
        self._answer(204, b"", "text/plain")

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.server.asked.append((path, dict(self.headers)))
        with contextlib.suppress(OSError):
            if path == "/wait":  # so that the page is not loaded before its script has come to its end
                self.server.done.wait(60)
                self.server.done.clear()
                self._answer(204, b"", "text/plain")
            elif path == "/cached.png":
                self._answer(200, b"picture", "image/png", Cache_Control="max-age=86400", ETag='"1"')
            elif path == "/worker.js":
                self._answer(200, b"onfetch = () => {}", "text/javascript")
            elif path == "/file.zip":
                fields = {"Content_Disposition": "attachment; filename=file.zip"}
                self._answer(200, b"PK\x03\x04 rest", "application/zip", **fields)
            elif path == "/permissions":
                self._answer(200, GRANTED.encode(), "text/html")
            elif path.startswith("/reach"):
                self._answer(200, (REACH % json.dumps(UNREACHABLE)).encode(), "text/html")
            else:
                self._answer(200, STORE.encode(), "text/html", Set_Cookie="sent=yes; Max-Age=86400; HttpOnly")

    def _answer(self, status: int, body: bytes, kind: str, **fields: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in fields.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def origin() -> Iterator[ThreadingHTTPServer]:
    server = Server(("127.0.0.1", 0), Handler)
    server.told, server.asked = [], []
    server.done, server.asks, server.granted = threading.Event(), threading.Event(), threading.Event()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def capture(bench: Bench, origin: ThreadingHTTPServer, *paths: str) -> list[dict[str, Any]]:
    """Capture pages of the server one after the other, in one process and so in one browser."""
    urls = [f"http://localhost:{origin.server_port}{path}" for path in paths]
    words = ["capture", *urls, "--incident", "T-1", "--allow-private-network", "--jobs", "1"]
    return bench.run(*words)["captures"]


def test_the_next_capture_finds_nothing_of_the_last(bench: Bench, origin: ThreadingHTTPServer):
    """Cookies, caches, storage, workers, permissions: the second page is met as if it were the first."""
    with tempfile.TemporaryDirectory(prefix="isolation-") as temporary:
        Path(temporary).chmod(0o755)  # the browser's user must be able to enter it
        one, two = capture(replace(bench, extra={"TMPDIR": temporary}), origin, "/?first", "/?second")
        assert [path.name for path in Path(temporary).iterdir()] == []
    assert (one["outcome"], two["outcome"]) == ("captured", "captured")
    first, second = origin.told
    clean = {"cookie": "", "local": "", "session": "", "indexed": "", "window": "", "files": []}
    clean |= {"caches": [], "workers": 0, "permission": first["permission"]}
    assert first == clean
    assert second == first
    assert first["permission"] != "granted"
    fields = [fields for path, fields in origin.asked if path == "/"]
    assert len(fields) == 2
    assert not any("Cookie" in one for one in fields)
    pictures = [fields for path, fields in origin.asked if path == "/cached.png"]
    assert len(pictures) == 2
    assert not any("If-None-Match" in one for one in pictures)
    zips = [path for path, _ in origin.asked if path == "/file.zip"]
    assert len(zips) >= 1, "a download is taken, into a folder that goes with the browser"


async def test_a_permission_of_one_capture_is_none_of_the_next(tmp_path: Path, origin: ThreadingHTTPServer):
    """What was granted to a page is asked for anew when the same browser captures it again."""
    executable = find_browser(None)
    facts = describe(executable, tmp_path, View(), "")
    async with Rigs(executable, facts, View(), (), limits=Limits(), cache=tmp_path) as rigs:
        for number in range(2):
            async with rigs.one() as rig:
                spool = Spool.create(tmp_path / "spool", f"20260101t00000{number}z-aaaaaaaaaa", {})
                url = f"http://localhost:{origin.server_port}/permissions"
                policy = policy_for(rig, RelayPolicy(allow_private=True))
                capturing = asyncio.create_task(take(rig, Job(spool, url, View(), Limits(), policy)))
                assert await asyncio.to_thread(origin.asks.wait, 60)
                if number == 0:  # as if someone had answered the question
                    (context,) = rig.browser.contexts
                    await context.grant_permissions(["notifications", "geolocation"])
                    origin.granted.set()
                await capturing
                spool.let_go()
    first, second = origin.told
    assert first == ["granted", "granted"]
    assert "granted" not in second


def test_a_page_reaches_nothing_of_the_machine(bench: Bench, origin: ThreadingHTTPServer):
    """Files, the browser's own pages, extensions and local addresses are out of reach."""
    (one,) = capture(bench, origin, "/reach")
    assert one["outcome"] == "captured"
    (found,) = origin.told
    read = [line for line in found if line[0] in {"fetch", "image", "popup"}]
    assert read == []
    frames = [line for line in found if line[0] == "frame"]
    assert frames == []
    ((_, gathered),) = (line for line in found if line[0] == "webrtc")
    addresses = {word for line in gathered for word in re.findall(r"[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+", line)}
    assert addresses <= {"0.0.0.0", "192.0.2.1"}, gathered
    assert not any(".local" in line for line in gathered), gathered


def test_hsts_of_one_capture_does_not_bind_the_next(bench: Bench):
    """A host that asks for HTTPS for ever is still asked over HTTP by the next capture."""
    secure = "https://www.dala.example/"
    rule = next(rule for rule in bench.sites.resolve if rule.startswith("www.dala.example:443"))
    assert rule
    told = bench.capture(secure, "http://www.dala.example/", code=None, options=("--jobs", "1"))
    by_url = {one["url"]: bench.record(one) for one in told}
    assert secure in by_url
    plain = by_url["http://www.dala.example/"]["network"]
    assert all(connection["port"] == 80 for connection in plain["connections"][:1])
