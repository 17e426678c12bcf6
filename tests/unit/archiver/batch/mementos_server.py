"""A web archive of ours: TimeMaps in link format (RFC 7089 section 5), and a service that saves pages."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Archive:
    """What it holds and what it was asked.

    Args:
        address: Of the server.
        timemaps: By original URL, the text; one that is missing is a 404.
        status: Of every answer, when it is ill.
    """

    address: str
    timemaps: dict[str, str] = field(default_factory=dict)
    status: int = 200
    asked: list[str] = field(default_factory=list)

    @property
    def timemap(self) -> str:
        return self.address + "/timemap/link/{url}"

    def hold(self, url: str, *copies: tuple[str, str]) -> None:
        """Hold copies of *url*: address and RFC 1123 date of each."""
        links = [f'<{url}>; rel="original"', f'<{self.address}/timegate/{url}>; rel="timegate"']
        links += [f'<{copy}>; rel="memento"; datetime="{date}"' for copy, date in copies]
        self.timemaps[url] = ",\n".join(links) + "\n"


@contextmanager
def archive() -> Iterator[Archive]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            held.asked.append(self.path)
            text = held.timemaps.get(self.path.partition("/timemap/link/")[2])
            status = held.status if text is not None or "/save/" in self.path else 404
            body = (text or "").encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/link-format")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    held = Archive(f"http://127.0.0.1:{server.server_port}")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield held
    finally:
        server.shutdown()
        server.server_close()
