"""Serves labelled pages on loopback as their servers would: status, header fields, redirects, over TLS."""

from __future__ import annotations

import contextlib
import ssl
import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import trustme

from tests.outcomes.corpus import LabelledPage

ADDRESS = "127.0.0.1"


@contextlib.contextmanager
def serve(pages: Sequence[LabelledPage], folder: Path) -> Iterator[list[str]]:
    """Serve *pages*; gives the options with which ``archiver`` captures them at their own addresses."""
    answers = {}
    for page in pages:
        for at, onward in zip(page.via, page.via[1:], strict=False):
            answers[_key(at)] = (302, {"Location": onward}, b"")
        headers = {"Content-Type": "text/html; charset=utf-8", **page.headers}
        answers[_key(page.final_url)] = (page.status or 200, headers, page.html.encode())

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, body = answers.get((self.headers["Host"], self.path), (404, {}, b""))
            self.send_response_only(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    hosts = sorted({host for host, _ in answers})
    ca = trustme.CA()
    ca.cert_pem.write_to_path(folder / "ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(*hosts).configure_cert(context)
    with contextlib.ExitStack() as stack:
        ports = {}
        for asked in (80, 443):
            server = stack.enter_context(ThreadingHTTPServer((ADDRESS, 0), Handler))
            if asked == 443:
                server.socket = context.wrap_socket(
                    server.socket, server_side=True, do_handshake_on_connect=False
                )
            thread = threading.Thread(target=server.serve_forever, daemon=True)
            thread.start()
            stack.callback(server.shutdown)
            ports[asked] = server.server_port
        rules = [f"{host}:{asked}:{ADDRESS}:{port}" for host in hosts for asked, port in ports.items()]
        options = [word for rule in rules for word in ("--resolve", rule)]
        yield [*options, "--ca", str(folder / "ca.pem"), "--allow-private-network"]


def _key(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    path = parts.path or "/"
    return parts.netloc, f"{path}?{parts.query}" if parts.query else path
