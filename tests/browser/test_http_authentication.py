"""Servers that ask for a user and a password are answered as by a visitor who has neither."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.browser.conftest import Bench

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("isolation")]

WALL = b"<h1>members only</h1>"
PAGES = {
    "/frames": b"<h1>frames</h1><iframe src='/basic'></iframe><iframe src='http://other.example/basic'></iframe>",
    "/image": b"<h1>image</h1><img src='/basic'>",
}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *words: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers.get("Authorization")))
        body = PAGES.get(self.path, WALL)
        self.send_response(200 if self.path in PAGES else 401)
        if self.path in {"/basic", "/digest"}:
            scheme = "Basic" if self.path == "/basic" else 'Digest nonce="a", qop="auth",'
            self.send_header("WWW-Authenticate", f'{scheme} realm="members"')
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(body)


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Browsers hang up; that is no news."""


@pytest.fixture
def origin() -> Iterator[ThreadingHTTPServer]:
    server = Server(("127.0.0.1", 0), Handler)
    server.asked = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def capture(bench: Bench, origin: ThreadingHTTPServer, *paths: str) -> dict[str, dict[str, Any]]:
    rule = f"*:80:127.0.0.1:{origin.server_port}"
    urls = {f"http://{path[1:]}.example{path}": path for path in paths}
    words = ["capture", *urls, "--incident", "T-1", "--resolve", rule, "--allow-private-network"]
    return {urls[one["url"]]: one for one in bench.run(*words, code=None)["captures"]}


def test_a_page_behind_a_login_is_what_the_server_shows_a_stranger(bench: Bench, origin: ThreadingHTTPServer):
    """A 401 is no failed load: its page is taken as it was sent, after one request without credentials."""
    for path, one in capture(bench, origin, "/basic", "/digest").items():
        assert (one["outcome"], one["completeness"]) == ("login-wall", "complete"), path
        assert "members only" in bench.file(one, "text.txt").read_text("utf-8")
        assert [asked for asked in origin.asked if asked[0] == path] == [(path, None)]


def test_frames_behind_a_login_hold_nothing_up(bench: Bench, origin: ThreadingHTTPServer):
    """Also one of another site: the load ends, and what both were answered is on record."""
    (one,) = capture(bench, origin, "/frames").values()
    assert (one["outcome"], one["completeness"]) == ("captured", "complete")
    assert [asked for asked in origin.asked if asked[0] == "/basic"] == [("/basic", None)] * 2
    assert bench.file(one, "transcript.pcapng").read_bytes().count(WALL) >= 2


def test_a_picture_behind_a_login_is_waited_for_until_the_budget(bench: Bench, origin: ThreadingHTTPServer):
    """Chromium asks nobody's eyes for a password and shows the rest; the record says how long we waited."""
    short = replace(bench, extra=bench.extra | {"ARCHIVER_LIMITS_LOAD_MS": "4000"})
    (one,) = capture(short, origin, "/image").values()
    record = bench.record(one)
    assert (one["outcome"], one["completeness"]) == ("captured", "incomplete")
    assert "load_ms" in {limit["name"] for limit in record["limits"] if limit["reached"]}
    assert WALL in bench.file(one, "transcript.pcapng").read_bytes()
    assert {"screenshot-full", "dom", "text", "pdf"} <= {a["role"] for a in record["artifacts"]}
