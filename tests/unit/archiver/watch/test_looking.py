from __future__ import annotations

import contextlib
import gzip
import http.server
import socket
import ssl
import threading

import pytest
import trustme

from archiver.capture.recorder.guard import RelayPolicy
from archiver.watch import looking
from archiver.watch.looking import Looker, page_text

ARTICLE = "<title>Post</title><script>hidden()</script><p>" + "word " * 400
PAGES = {
    "/post": (200, {"Content-Type": "text/html"}, ARTICLE.encode()),
    "/gone": (404, {"Content-Type": "text/html"}, b"nothing here"),
    "/law": (451, {}, b""),
    "/busy": (503, {"Retry-After": "120"}, b""),
    "/notice": (
        200,
        {"Content-Type": "text/html; charset=windows-1251"},
        "Доступ к ресурсу ограничен по требованию Роскомнадзора".encode("cp1251"),
    ),
    "/home": (302, {"Location": "/post"}, b""),
    "/loop": (302, {"Location": "/loop"}, b""),
    "/inside": (302, {"Location": "http://169.254.169.254/latest"}, b""),
    "/file": (302, {"Location": "file:///etc/passwd"}, b""),
    "/nowhere": (302, {"Location": "http://[::1/"}, b""),
    "/photo": (200, {"Content-Type": "image/png"}, b"\x89PNG"),
    "/bomb": (200, {"Content-Encoding": "gzip"}, gzip.compress(b"0" * 50_000_000)),
    "/badzip": (200, {"Content-Encoding": "gzip"}, b"not gzip at all"),
    "/short": (200, {"Content-Length": "1000"}, b"too little"),
    "/members": (302, {"Location": "/login?next=post"}, b""),
    "/login?next=post": (200, {"Content-Type": "text/html"}, b"please"),
}


class Site(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        status, headers, body = PAGES[self.path]
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_): ...


@contextlib.contextmanager
def site(context=None):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site)
    server.handle_error = lambda *_: None
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"{'https' if context else 'http'}://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def origin():
    with site() as found:
        yield found


def looker(**policy) -> Looker:
    return Looker(RelayPolicy(**({"allowed_addresses": ("127.0.0.1",)} | policy)), {"User-Agent": "x"}, ())


@pytest.mark.parametrize(
    ("path", "outcome"),
    [
        ("/post", "captured"),
        ("/gone", "not-found"),
        ("/law", "blocked"),
        ("/busy", "overloaded"),
        ("/notice", "blocked"),
        ("/home", "captured"),
        ("/loop", "unclear"),
        ("/photo", "captured"),
        ("/short", "unreachable"),
        ("/members", "login-wall"),
        ("/nowhere", "failed"),
        ("/file", "failed"),
        ("/badzip", "failed"),
    ],
)
def test_a_look_is_judged_by_the_rules_that_judge_captures(origin, path, outcome):
    """Each way in which a page is away has the outcome that a capture of it would have."""
    assert looker().look(origin + path).outcome == outcome


def test_what_a_look_tells_of_a_page(origin):
    """Digests of main resource and visible text; scripts are no text."""
    check = looker().look(f"{origin}/home")
    assert check.final_url == f"{origin}/post"
    assert check.text.startswith("word word")
    assert len(check.main_sha256) == len(check.text_sha256) == 64
    assert looker().look(f"{origin}/photo").text_sha256 == ""
    assert looker().look(f"{origin}/busy").retry_after == "120"


def test_a_redirect_to_an_address_that_is_not_public_is_refused_by_the_guard(origin):
    """A watched page must not become a way to the machine's own credentials."""
    check = looker(allow_private=True).look(f"{origin}/inside")
    assert (check.outcome, check.status) == ("failed", None)
    assert "not a public one" in check.reason


def test_loopback_is_refused_unless_it_is_allowed(origin):
    """The look has the guard of captures, not one of its own."""
    assert "not a public one" in looker(allowed_addresses=()).look(f"{origin}/post").reason


def test_a_bomb_is_read_to_its_limit_only(origin):
    """Fifty megabytes of zeros out of fifty kilobytes stop at the limit."""
    check = looker().look(f"{origin}/bomb")
    assert check.outcome == "captured"
    assert len(check.text) == looking.MAX_TEXT_CHARS


def test_a_server_that_never_ends_is_out_of_reach(origin, monkeypatch):
    """The time for all of a body is bounded, not only for each piece of it."""
    monkeypatch.setattr(looking, "TOTAL_S", -1)
    assert looker().look(f"{origin}/post").outcome == "unreachable"


def test_nobody_listening_is_out_of_reach():
    """The system's words are in the reason."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    check = looker().look(f"http://127.0.0.1:{port}/")
    assert check.outcome == "unreachable"
    assert "refused" in check.reason.lower()


def test_a_certificate_of_nobody_is_told_and_one_of_our_roots_is_not(tmp_path):
    """Roots that captures trust are trusted by looks too, and no others."""
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    issued.configure_cert(context)
    root = tmp_path / "root.pem"
    authority.cert_pem.write_to_path(root)
    policy = RelayPolicy(allowed_addresses=("127.0.0.1",))
    with site(context) as secure:
        assert Looker(policy, {}, ()).look(f"{secure}/post").outcome == "certificate"
        assert Looker(policy, {}, [root]).look(f"{secure}/post").outcome == "captured"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\0\xff\xfe",
        b"<p>" * 20_000,
        b"<title>",
        b"<html><body>" + b"<div " * 5_000,
        "Қ".encode("utf-16"),
    ],
    ids=["empty", "bytes", "deep", "cut", "broken", "utf-16"],
)
def test_no_page_breaks_the_reading(body):
    """Whatever a server sends as a page has a title and a text, be they empty."""
    title, text = page_text(body, 'text/html; charset="nonsense-9"')
    assert isinstance(title + text, str)
