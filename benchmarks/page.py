"""The page that overhead is measured on: 1.5 MB in 40 resources, served by a process of its own."""

from __future__ import annotations

import http.server
import io
import random
import sys

import brotli
from PIL import Image

PICTURES = 30
SCRIPTS = 6
STYLES = 3


def picture(seed: int) -> bytes:
    """Return a JPEG of about 45 KB, the same for the same seed."""
    source = random.Random(seed)
    small = Image.frombytes("RGB", (40, 30), source.randbytes(40 * 30 * 3))
    out = io.BytesIO()
    small.resize((640, 400), Image.Resampling.BICUBIC).save(out, "JPEG", quality=93)
    return out.getvalue()


def pages() -> dict[str, tuple[str, bytes]]:
    """Return media type and bytes by path."""
    text = "<p>" + "Редакция обратилась в суд с заявлением об отмене решения. " * 12 + "</p>"
    links = "".join(f'<link rel="stylesheet" href="/{i}.css">' for i in range(STYLES))
    scripts = "".join(f'<script src="/{i}.js"></script>' for i in range(SCRIPTS))
    body = "".join(f'{text}<img src="/{i}.jpg" width="640" height="400">' for i in range(PICTURES))
    icon = '<link rel="icon" href="data:,">'
    head = f"<meta charset=utf-8><title>Article</title>{icon}{links}{scripts}"
    markup = f"<!doctype html><html lang=ru><head>{head}</head><body>{body}</body></html>"
    found = {"/": ("text/html; charset=utf-8", markup.encode())}
    found |= {f"/{i}.jpg": ("image/jpeg", picture(i)) for i in range(PICTURES)}
    found |= {f"/{i}.js": ("text/javascript", b"var x=1;" * 2000) for i in range(SCRIPTS)}
    found |= {f"/{i}.css": ("text/css", b"p{max-width:700px}\n" * 500) for i in range(STYLES)}
    begun = "<!doctype html><meta charset=utf-8><title>begun</title><link rel=icon href=data:,>"
    fetched = "<script>fetch('/%s').then(a => a.arrayBuffer()).then(() => document.title = 'done')</script>"
    found["/short"] = ("text/html; charset=utf-8", f"{begun}{text}<img src=/0.jpg>".encode())
    found["/large"] = ("text/html", (begun + fetched % "50mb").encode())
    found["/bomb"] = ("text/html", (begun + fetched % "bomb.br").encode())
    found["/50mb"] = ("application/octet-stream", random.Random(1).randbytes(50_000_000))
    found["/bomb.br"] = ("text/plain", brotli.compress(bytes(100_000_000), quality=1))
    return found


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers from memory."""

    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16
    found = pages()

    def do_GET(self) -> None:
        kind, data = self.found.get(self.path.split("?")[0], ("text/plain", b""))
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        if self.path.endswith(".br"):
            self.send_header("Content-Encoding", "br")
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


class Server(http.server.ThreadingHTTPServer):
    """Says nothing of browsers that hang up."""

    request_queue_size = 128

    def handle_error(self, *_: object) -> None:
        pass


if __name__ == "__main__":
    server = Server(("127.0.0.1", 0), Handler)
    print(server.server_port, flush=True)
    server.serve_forever()
    sys.exit(0)
