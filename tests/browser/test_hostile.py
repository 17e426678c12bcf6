"""Pages that misbehave end within their budgets, are kept for what they are, and leave nothing behind."""

from __future__ import annotations

import contextlib
import gzip
import socket
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import brotli
import pytest

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("hostile")]

PAGES: dict[str, tuple[str, bytes, dict[str, str]]] = {
    "/alerts": ("text/html", b"<h1>a</h1><script>for(let i=0;i<100;i++)alert(i)</script>", {}),
    "/spin": ("text/html", b"<h1>s</h1><script>onload=()=>setTimeout(()=>{while(1);},50)</script>", {}),
    "/popups": ("text/html", b"<h1>p</h1><script>for(let i=0;i<40;i++)open('/ok?'+i)</script>", {}),
    "/meta": ("text/html", b"<meta http-equiv=refresh content='0'><h1>m</h1>", {}),
    "/close": ("text/html", b"<h1>c</h1><script>onload=()=>window.close()</script>", {}),
    "/trap": (
        "text/html",
        (
            b"<h1>u</h1><script>onbeforeunload=e=>{e.preventDefault();return 'stay'};"
            b"addEventListener('pagehide',()=>navigator.sendBeacon('/beacon','unloaddata'))</script>"
        ),
        {},
    ),
    "/endless": (
        "text/html",
        (
            b"<script>function add(){for(let i=0;i<20;i++){let d=document.createElement('div');"
            b"d.style.height='900px';document.body.append(d)}};onload=add;onscroll=add</script><body>"
        ),
        {},
    ),
    "/print": ("text/html", b"<h1>p</h1><script>window.print()</script>", {}),
    "/bomb": ("text/plain", brotli.compress(b"\0" * 50_000_000, quality=3), {"Content-Encoding": "br"}),
    "/broken": (
        "text/html",
        gzip.compress(b"<h1>x</h1>" * 99)[:-12] + b"garbage",
        {"Content-Encoding": "gzip"},
    ),
    "/zip": ("application/zip", b"PK\x03\x04rest", {"Content-Disposition": "attachment; filename=a.zip"}),
    "/json": ("application/json", b'{"a": 1}', {}),
    "/ok": ("text/html", b"<h1>ok</h1>", {}),
}


def answer(path: str) -> bytes:
    if path.startswith("/redirect"):
        return (
            f"HTTP/1.1 302 Found\r\nLocation: /redirect{len(path)}x\r\nContent-Length: 3\r\n\r\nbye".encode()
        )
    if path == "/204":
        return b"HTTP/1.1 204 No Content\r\n\r\n"
    if path == "/garbage":
        return b"\x00\x01\x02 this is no HTTP \xff\xfe"
    kind, body, fields = PAGES.get(path, ("text/plain", b"", {}))
    head = [f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"]
    head += [f"{name}: {value}\r\n" for name, value in fields.items()]
    return "".join(head).encode() + b"\r\n" + body


def converse(connection: socket.socket) -> None:
    with connection, connection.makefile("rb") as reader:
        while line := reader.readline():
            length = 0
            while (field := reader.readline().strip()) != b"":
                name, _, value = field.partition(b":")
                length = int(value) if name.lower() == b"content-length" else length
            reader.read(length)
            path = line.split(b" ")[1].decode().partition("?")[0]
            try:
                connection.sendall(answer(path))
            except OSError:
                return
            if path == "/garbage":
                return


def politely(connection: socket.socket) -> None:
    """Say nothing of browsers that hang up."""
    with contextlib.suppress(OSError):
        converse(connection)


@pytest.fixture(scope="module")
def origin() -> Iterator[str]:
    listener = socket.create_server(("127.0.0.1", 0), backlog=100)

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=politely, args=(connection,), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    listener.close()


@pytest.fixture
def short(bench):
    """Budgets that make the tests short."""
    budgets = {"LOAD_MS": "6000", "SETTLE_MS": "3000", "SCROLL_MS": "3000", "EXHIBIT_MS": "4000"}
    return replace(bench, extra={f"ARCHIVER_LIMITS_{name}": value for name, value in budgets.items()})


def test_hostile_pages_are_kept_and_the_next_capture_is_clean(short, origin):
    """One run over every page ends, keeps each answer, names what is missing, and shows the last whole."""
    paths = [
        "/alerts",
        "/spin",
        "/popups",
        "/meta",
        "/close",
        "/trap",
        "/endless",
        "/print",
        "/redirect",
        "/204",
    ]
    paths += ["/garbage", "/bomb", "/broken", "/zip", "/json", "/ok"]
    # A host of its own for each, so that the run need not be polite to one that fails again and again.
    urls = {f"http://{path[1:]}.hostile.example{path}": path for path in paths}
    rule = f"*.hostile.example:80:{origin.removeprefix('http://')}"
    words = ["capture", *urls, "--incident", "T-1", "--resolve", rule, "--allow-private-network"]
    told = short.run(*words, "--jobs", "2", code=None)
    found = {urls[one["url"]]: one for one in told["captures"]}
    assert set(found) == set(paths)
    assert not [problem for problem in told["problems"] if problem["kind"] == "failure"]
    for path, one in found.items():
        record = short.record(one)
        assert record["recording"]["exchange_count"] >= 1, path
        assert record["recording"]["missing"] == [], path
    assert (found["/spin"]["outcome"], found["/spin"]["completeness"]) == ("captured", "incomplete")
    assert found["/redirect"]["outcome"] == "unclear"
    for path in ("/alerts", "/popups", "/endless"):
        assert found[path]["completeness"] == "incomplete", path
    assert {limit["name"] for limit in short.record(found["/endless"])["limits"] if limit["reached"]}
    names = {path: [a["path"] for a in one["artifacts"]] for path, one in found.items()}
    assert "document.zip" in names["/zip"]
    assert "document.json" in names["/json"]
    assert "screenshot-full.png" in names["/ok"]
    assert (found["/ok"]["outcome"], found["/ok"]["completeness"]) == ("captured", "complete")
    index = short.file(found["/trap"], "transcript.pcapng").read_bytes()
    assert b"unloaddata" in index, "the beacon at unload is on the wire"
    short.run("verify", "--all", code=5)


def test_nothing_is_left_behind(short, origin):
    """After a run no process, no spool and no browser home is left."""
    # The browser's user must be able to enter it, which it cannot where pytest keeps its folders.
    with tempfile.TemporaryDirectory(prefix="hostile-") as temporary:
        Path(temporary).chmod(0o755)
        run = replace(short, extra=short.extra | {"TMPDIR": temporary})
        run.run("capture", f"{origin}/spin", "--incident", "T-1", "--allow-private-network")
        assert list(Path(temporary).glob("archiver-*")) == []
        assert [path for path in run.spool.iterdir() if path.name.startswith("2")] == []
        assert running(temporary.encode()) == []


def running(marker: bytes) -> list[str]:
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if marker in (entry / "cmdline").read_bytes():
                found.append(entry.name)
        except OSError:
            continue
    return found
