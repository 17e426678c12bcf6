"""A server of pages that attack whoever loads them, on loopback, with a log of what it was asked for."""

from __future__ import annotations

import contextlib
import gzip
import io
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import brotli

MIB = 1024 * 1024
BOMB_BYTES = 100_000_000
MARK = "first words of the page"


BAD_LOCATIONS = (
    "http://[bad",
    "//[::1",
    "http://a\u2100b/",
    "http://a:port/",
    "\x01",
    "#",
    "javascript:alert(1)",
)


def page(script: str = "", body: str = "") -> bytes:
    """A page that first says something, so that one can tell whether that was kept."""
    return f"<!doctype html><title>hostile</title><h1>{MARK}</h1>{body}<script>{script}</script>".encode()


PAGES: dict[str, bytes] = {
    "/ok": page(),
    "/spin": page("onload = () => setTimeout(() => { while (true); }, 50)"),
    "/spin-while-loading": page("while (true);"),
    "/alerts": page("for (let i = 0; i < 1000; i++) alert(i)"),
    "/print": page("onload = () => { for (let i = 0; i < 50; i++) print() }"),
    "/popups": page("setInterval(() => { for (let i = 0; i < 10; i++) open('/ok?' + Math.random()) }, 20)"),
    "/close": page("onload = () => setTimeout(() => close(), 20)"),
    "/trap": page("onbeforeunload = event => { event.preventDefault(); event.returnValue = 'stay' }"),
    "/scroll": page(
        "const grow = () => { for (let i = 0; i < 20; i++) {"
        " const e = document.createElement('div'); e.style.height = '900px'; document.body.append(e) } };"
        "onload = grow; onscroll = grow"
    ),
    "/moves": page("location.href = '/moves?' + Math.random()"),
    "/refresh": b"<meta http-equiv=refresh content=0>" + page(),
    "/moves-when-shown": page(
        "onscroll = () => location.href = '/ok?gone'", "<div style='height: 9000px'></div>"
    ),
    "/history": page(
        "setInterval(() => { for (let i = 0; i < 50; i++) history.pushState(i, '', '?' + i) }, 1)"
    ),
    "/frames": page(
        "setInterval(() => { for (let i = 0; i < 20; i++) {"
        " const f = document.createElement('iframe'); f.srcdoc = i; document.body.append(f) } }, 5)"
    ),
    "/requests": page(
        "setInterval(() => { for (let i = 0; i < 20; i++) fetch('/ok?' + Math.random()) }, 10)"
    ),
    "/workers": page(
        "const source = 'const u = location.href; setInterval(() => { try { new Worker(u) } catch {} }, 50)';"
        "const url = URL.createObjectURL(new Blob([source]));"
        "for (let i = 0; i < 10; i++) new Worker(url)"
    ),
    "/memory": page(
        "const held = []; while (true) { const a = new Uint8Array(16 << 20); a.fill(7); held.push(a) }"
    ),
    "/elements": page(body="<b>x</b>" * 500_000),
    "/inline": page(
        "onload = () => document.title = document.body.innerHTML.length", "<!--" + "d" * 10 * MIB + "-->"
    ),
    "/downloads": page("setInterval(() => location.href = '/zip?' + Math.random(), 100)"),
    "/long-address": page("history.replaceState(0, '', '?' + 'x'.repeat(200_000))"),
    "/bad-redirects": page(
        body="".join(f"<img src='/bad-redirect?{number}'>" for number in range(len(BAD_LOCATIONS)))
    ),
    "/killed": page(body="<img src='/kill-me'>"),
    "/tall": page(body="<div style='height: 500000px'></div>"),
}


def zip_bomb() -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo("zeros"), b"\0" * BOMB_BYTES, zipfile.ZIP_DEFLATED)
    return made.getvalue()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *words: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.server.asked.append((path, dict(self.headers)))
        with contextlib.suppress(OSError):
            if path in PAGES:
                self._answer("text/html; charset=utf-8", PAGES[path])
            else:
                getattr(self, "_" + path.strip("/").replace("-", "_"), self._missing)()

    def _answer(self, kind: str, body: bytes, status: int = 200, **fields: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in fields.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def _begin(self, kind: str, size: int | None = None) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        if size is None:
            self.send_header("Connection", "close")
            self.close_connection = True
        else:
            self.send_header("Content-Length", str(size))
        self.end_headers()

    def _missing(self) -> None:
        self._answer("text/plain", b"not here", 404)

    def _bad_redirect(self) -> None:
        location = BAD_LOCATIONS[int(self.path.partition("?")[2])]
        head = f"HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"
        self.wfile.write(head.encode())

    def _redirects(self) -> None:
        self._answer("text/plain", b"go on", 302, Location=f"/redirects?{time.monotonic_ns()}")

    def _stream(self) -> None:
        self._begin("text/html")
        self.wfile.write(page())
        while True:
            self.wfile.write(b"<!-- " + b"s" * 65_536 + b" -->")

    def _drip(self) -> None:
        self._begin("text/html", 1_000_000)
        self.wfile.write(page())
        while not self.server.ended.wait(0.2):
            self.wfile.write(b".")

    def _gigabyte(self) -> None:
        self._begin("application/octet-stream", 1024 * MIB)
        zeros = bytes(MIB)
        for _ in range(1024):
            self.wfile.write(zeros)

    def _inline_data(self) -> None:
        """A picture of 300 MB within the address of a picture."""
        self._begin("text/html")
        self.wfile.write(page() + b"<img src='data:image/png;base64,iVBORw0K")
        for _ in range(300):
            self.wfile.write(b"A" * MIB)
        self.wfile.write(b"'><p>last words of the page")

    def _kill_me(self) -> None:
        self.server.kill()
        self._missing()

    def _brotli(self) -> None:
        self._answer("text/plain", self.server.brotli_bomb, Content_Encoding="br")

    def _gzip(self) -> None:
        self._answer("text/html", self.server.gzip_bomb, Content_Encoding="gzip")

    def _zip(self) -> None:
        self._answer(
            "application/zip", self.server.zip_bomb, Content_Disposition="attachment; filename=a.zip"
        )


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 200

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.ended = threading.Event()
        self.kill: Callable[[], None] = lambda: None
        self.brotli_bomb = brotli.compress(b"\0" * BOMB_BYTES, quality=3)
        self.gzip_bomb = gzip.compress(page() + b" " * (BOMB_BYTES // 4), 6)
        self.zip_bomb = zip_bomb()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Browsers hang up on such pages; that is no news."""


@contextlib.contextmanager
def serving() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.ended.set()
        server.shutdown()
        server.server_close()
