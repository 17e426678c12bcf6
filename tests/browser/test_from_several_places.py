from __future__ import annotations

import base64
import contextlib
import http.server
import json
import socket
import threading
from dataclasses import replace

import pytest

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("kills")]

SECRET = "hidden-word"
SETTINGS = """
[vantages.kz-ala]
upstream = "http://127.0.0.1:{proxy}"
credentials_from = "KZ_PROXY"
locale = "kk-KZ"
timezone = "Asia/Almaty"
languages = ["kk-KZ", "ru"]
country = "KZ"

[vantages.ru-msk]
upstream = "socks5h://127.0.0.1:1"

[vantages.de]
locale = "de-DE"
languages = ["de-DE", "en"]
timezone = "Europe/Berlin"
"""
PAGE = """<!doctype html><title>Post</title><p id=p></p><script>
document.getElementById("p").textContent =
  [navigator.languages, Intl.DateTimeFormat().resolvedOptions().timeZone, "text ".repeat(80)].join(" ");
</script>"""


class Site(http.server.BaseHTTPRequestHandler):
    """Withholds the page by law from whoever asks in Kazakh."""

    asked: list[str]

    def do_GET(self):
        language = self.headers.get("Accept-Language", "")
        self.asked.append(language)
        body = (b"withheld by order" if language.startswith("kk") else PAGE.encode()) + b"\n"
        self.send_response(451 if language.startswith("kk") else 200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_): ...


@contextlib.contextmanager
def site():
    handler = type("Handler", (Site,), {"asked": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.handle_error = lambda *_: None
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port, handler.asked
    server.shutdown()
    server.server_close()


@contextlib.contextmanager
def proxy():
    """An HTTP proxy that wants a password and opens tunnels."""
    listener = socket.create_server(("127.0.0.1", 0))
    opened: list[bytes] = []

    def pump(source, sink):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def tunnel(client):
        head = b""
        while b"\r\n\r\n" not in head:
            data = client.recv(4096)
            if not data:
                return
            head += data
        if base64.b64encode(f"user:{SECRET}".encode()) not in head:
            client.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
            client.close()
            return
        target = head.split()[1]
        opened.append(target)
        address, _, port = target.decode().rpartition(":")
        server = socket.create_connection((address, int(port)))
        client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        threading.Thread(target=pump, args=(server, client), daemon=True).start()
        pump(client, server)

    def serve():
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=tunnel, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    yield listener.getsockname()[1], opened
    listener.close()


def test_one_page_seen_from_three_places_is_blocked_here_and_present_there(bench, tmp_path):
    """Each vantage has its own way out, language and time zone; a dead proxy is nobody's outcome.

    No password is in anything that was stored, kept or printed.
    """
    register = tmp_path / "register.csv"
    register.write_text('incident_id,url,vantage\nT-1,http://post.test/1,"kz-ala,ru-msk,de"\n')
    with site() as (port, asked), proxy() as (proxy_port, opened):
        settings = tmp_path / "archiver.toml"
        settings.write_text(SETTINGS.format(proxy=proxy_port))
        here = replace(bench, extra={"KZ_PROXY": f"user:{SECRET}"})
        words = ["batch", str(register), "--config", str(settings), "--allow-private-network"]
        told = here.run(*words, "--resolve", f"post.test:80:127.0.0.1:{port}", code=3)
        compared = here.run("compare", "http://post.test/1")["comparisons"]
    seen = {one["vantage"]: one for one in told["captures"]}
    assert {name: one["outcome"] for name, one in seen.items()} == {"kz-ala": "blocked", "de": "captured"}
    assert [(one["vantage"], one["failed"]) for one in told["left"]] == [("ru-msk", False)]
    assert any("ru-msk" in one["what"] and "E711" in one["what"] for one in told["problems"])
    assert f"127.0.0.1:{port}".encode() in opened
    assert "kk-KZ,ru;q=0.9" in asked
    assert "de-DE,en Europe/Berlin" in here.file(seen["de"], "text.txt").read_text()
    assert compared[0]["verdict"] == "differs"
    assert compared[0]["text"].startswith("present from de; blocked from kz-ala; within")
    record = here.record(seen["kz-ala"])
    assert record["environment"]["languages"] == ["kk-KZ", "ru"]
    assert record["environment"]["timezone"] == "Asia/Almaty"
    assert record["network"]["upstream"] == {"scheme": "http", "label": "kz-ala", "resolves_names": True}
    kept = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(kept) > 20
    assert not [path for path in kept if SECRET.encode() in path.read_bytes()]
    assert SECRET not in json.dumps(told)
