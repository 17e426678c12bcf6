"""What the corpus server answers to each address: rules only; ``http1`` and ``http2`` send them."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Literal
from urllib.parse import unquote

import brotli
import zstandard

from examples.sites.fonts import web_font
from tests.corpus import contents

PAGES = Path(__file__).parent / "pages"
Fields = list[tuple[bytes, bytes]]
CORS = [(b"Access-Control-Allow-Origin", b"*"), (b"Timing-Allow-Origin", b"*")]
NO_STORE = (b"Cache-Control", b"no-store")


@dataclass(frozen=True)
class Request:
    """What an answer may depend on."""

    method: str
    path: str
    query: str
    host: str
    fields: dict[bytes, bytes]
    body: bytes


@dataclass(frozen=True)
class Answer:
    """One answer.

    Args:
        body: With its content coding, without framing.
        plain: Without its content coding; None where the coding is broken; by default the body.
        framing: How HTTP/1 tells the end; HTTP/2 has one way.
        length: Stated in place of the body's own.
        end: How it ends: well, with a reset, or with the connection's orderly end in the middle.
        cut_at: After so many bytes of the body it ends.
        pieces: The body goes out in pieces of this many bytes, *pause_s* apart.
        event_stream: It stays open after its body for as long as the client does.
        waits_for: It ends when this is set.
    """

    status: int = 200
    fields: Fields = field(default_factory=list)
    body: bytes = b""
    plain: bytes | None = b"\0same"
    kind: bytes = b"text/plain; charset=utf-8"
    framing: Literal["length", "chunked", "close", "none"] = "length"
    length: int | None = None
    trailers: Fields = field(default_factory=list)
    extensions: bytes = b""
    end: Literal["", "reset", "close"] = ""
    cut_at: int | None = None
    pieces: int = 0
    pause_s: float = 0.0
    interim: tuple[tuple[int, Fields], ...] = ()
    version: bytes = b"HTTP/1.1"
    reason: bytes = b"Whatever"
    newline: bytes = b"\r\n"
    event_stream: bool = False
    waits_for: asyncio.Event | None = None

    @property
    def decoded(self) -> bytes | None:
        return self.body if self.plain == b"\0same" else self.plain


Rule = Callable[[Request], Answer]
TEXT = contents.words(6_000)


def coded(coding: str, plain: bytes = TEXT) -> Answer:
    """*plain* with content codings applied in order."""
    body = plain
    for one in coding.split(", "):
        body = CODERS[one](body)
    return Answer(fields=[(b"Content-Encoding", coding.encode())], body=body, plain=plain)


def raw_deflate(data: bytes) -> bytes:
    made = zlib.compressobj(wbits=-15)
    return made.compress(data) + made.flush()


CODERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda data: gzip.compress(data, mtime=0),
    "br": lambda data: brotli.compress(data, quality=4),
    "zstd": zstandard.ZstdCompressor().compress,
    "deflate": zlib.compress,
    "identity": bytes,
}


def bodies() -> dict[str, Answer]:
    """Every way to code and to frame a body."""
    zipped = coded("gzip")
    two = gzip.compress(TEXT[:3000], mtime=0) + gzip.compress(TEXT[3000:], mtime=0)
    coding = [(b"Content-Encoding", b"gzip")]
    plain = Answer(body=TEXT)
    return {
        **{name: coded(name) for name in CODERS},
        "gzip-twice": coded("gzip, gzip"),
        "gzip-br": coded("gzip, br"),
        "deflate-raw": Answer(fields=[(b"Content-Encoding", b"deflate")], body=raw_deflate(TEXT), plain=TEXT),
        "gzip-members": Answer(fields=coding, body=two, plain=TEXT),
        "gzip-corrupt": Answer(fields=coding, body=zipped.body[:600] + b"\0" * 40, plain=None),
        "gzip-cut": replace(zipped, body=zipped.body[:-9], plain=None),
        "gzip-lie": Answer(fields=coding, body=TEXT, plain=None),
        "chunked": replace(plain, framing="chunked", pieces=997),
        "chunked-gzip": replace(zipped, framing="chunked", pieces=401),
        "chunked-br": replace(coded("br"), framing="chunked", pieces=333),
        "chunked-trailers": replace(
            plain, framing="chunked", pieces=2000, trailers=[(b"X-Sum", b"1"), (b"X-Sum", b"2")]
        ),
        "chunked-extensions": replace(plain, framing="chunked", pieces=2000, extensions=b' ;a=b; c="d;e"'),
        "chunked-empty": replace(plain, body=b"", framing="chunked"),
        "close": replace(plain, framing="close"),
        "close-gzip": replace(zipped, framing="close"),
        "http10": replace(plain, framing="close", version=b"HTTP/1.0"),
        "length-long": replace(plain, length=len(TEXT) + 500, end="close"),
        "length-short": replace(plain, length=len(TEXT) - 500, end="close"),
        "empty": replace(plain, body=b""),
        "binary": Answer(body=contents.noise(70_000), kind=b"application/octet-stream"),
        "bare-newlines": replace(plain, newline=b"\n"),
        "no-reason": replace(plain, reason=b""),
        "drip": Answer(body=TEXT[:400], framing="chunked", pieces=10, pause_s=0.02),
    }


def heads() -> dict[str, Answer]:
    """Heads that a careless writer would change."""
    cookies = [
        (b"Set-Cookie", b"a=1; Path=/; Secure; SameSite=None"),
        (b"Set-Cookie", b"b=2; Path=/"),
        (b"Set-Cookie", b"c=\xe4\xf6; Path=/"),
    ]
    return {
        "cookies": Answer(body=b"set", fields=cookies),
        "duplicate": Answer(body=b"d", fields=[(b"X-Same", b"1"), (b"x-SAME", b"2"), (b"X-Same", b"1")]),
        "latin1": Answer(
            body=b"l", fields=[(b"X-Name", b"M\xfcller \xa9 caf\xe9"), (b"X-Utf", "сот".encode())]
        ),
        "spaces": Answer(body=b"s", fields=[(b"X-Wide", b"a   b"), (b"X-Empty", b"")]),
        "large": Answer(body=b"x", fields=[(b"X-Large-%d" % n, b"v" * 2000) for n in range(20)]),
        "early-hints": Answer(
            body=b"hinted", interim=((103, [(b"Link", b"</img/90.png>; rel=preload; as=image")]),)
        ),
        "processing": Answer(body=b"102", interim=((102, []), (102, [(b"X-Progress", b"half")]))),
    }


def ends() -> dict[str, Answer]:
    """Bodies that never come to their end."""
    whole = Answer(body=contents.words(40_000))
    zipped = replace(coded("gzip", contents.words(400_000)), plain=None)
    return {
        "reset": replace(whole, cut_at=20_000, end="reset"),
        "reset-gzip": replace(zipped, cut_at=20_000, end="reset"),
        "reset-chunked": replace(whole, cut_at=20_000, end="reset", framing="chunked", pieces=3000),
        "reset-at-head": replace(whole, cut_at=0, end="reset"),
        "cut": replace(whole, cut_at=30_000, end="close"),
        "cut-chunked": replace(whole, cut_at=30_000, end="close", framing="chunked", pieces=3000),
    }


@cache
def large() -> dict[str, Answer]:
    """What would fill a recorder's memory: 50 MB that do not compress, 100 MB that compress to nothing."""
    bomb = brotli.compress(b"\0" * 100_000_000, quality=1)
    return {
        "50mb": Answer(body=contents.noise(50_000_000), kind=b"application/octet-stream"),
        "bomb": Answer(fields=[(b"Content-Encoding", b"br")], body=bomb, plain=b"\0" * 100_000_000),
    }


FILES: dict[str, tuple[bytes, Callable[[], bytes], Fields]] = {
    "paper.pdf": (b"application/pdf", contents.pdf, []),
    "picture.png": (b"image/png", lambda: contents.png(1, 200), []),
    "data.json": (b"application/json", lambda: json.dumps({"сот": [1, 2]}).encode(), []),
    "table.csv": (b"text/csv", lambda: b"a,b\n1,2\n" * 50, []),
    "bundle.zip": (b"application/zip", contents.zipped, []),
    "plain.txt": (b"text/plain", lambda: TEXT, []),
    "saved.bin": (
        b"application/octet-stream",
        lambda: contents.noise(5000),
        [(b"Content-Disposition", b"attachment; filename*=UTF-8''%D1%81%D0%BE%D1%82.bin")],
    ),
}


class Site:
    """Answers of one corpus server; it remembers how often it was asked for what changes."""

    def __init__(self, hosts: dict[str, str]) -> None:
        self._hosts = hosts
        self._times: Counter[str] = Counter()
        self._busy: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self._rules: list[tuple[re.Pattern[str], Callable[[Request, str], Answer]]] = [
            (re.compile(pattern), rule)
            for pattern, rule in (
                (r"/b/(.+)", lambda _, name: bodies()[name]),
                (r"/h/(.+)", lambda _, name: heads()[name]),
                (r"/ends/([a-z-]+)", lambda _, name: ends()[name]),
                (r"/large/(.+)", lambda _, name: large()[name]),
                (r"/status/(\d+)", self._status),
                (r"/redirect/(\d+)", self._redirect),
                (r"/to/(\d+)(?:/.*)?", self._moved),
                (r"/etag/(.+)", self._tagged),
                (r"/same/(.+)", self._same),
                (r"/echo(.*)", self._echo),
                (r"/cancel/(.+)", lambda _, _name: self._endless()),
                (r"/img/(\d+)\.png", lambda _, n: Answer(body=contents.png(int(n)), kind=b"image/png")),
                (r"/media/(.+\.wav)", self._media),
                (r"/hls/(.+)", self._hls),
                (r"/font/(\d+)\.woff2", lambda _, n: Answer(body=web_font(int(n), 100), kind=b"font/woff2")),
                (r"/direct/(.+)", self._direct),
                (r"/events/(.+)", self._events),
                (r"/cors/(.+)", self._cors),
                (r"/orb/(.+)", self._orb),
                (r"/report/(.+)", lambda _, _name: Answer(204, framing="none")),
                (r"/worker/update.js", self._updated),
                (r"/busy/(begin|end)", self._busy_while),
                (r"/(?:text|проверка|%D0)(.*)", lambda _, name: Answer(body=TEXT[:200] + name.encode())),
                (r"/favicon\.ico()", lambda _, _name: Answer(body=contents.png(77), kind=b"image/png")),
                (r"/(.+)", self._page),
            )
        ]

    def answer(self, request: Request) -> Answer:
        """Answer *request*; what is unknown is a 404 with a body."""
        path = unquote(request.path)
        for pattern, rule in self._rules:
            if found := pattern.fullmatch(path):
                try:
                    return rule(request, found[1] if found.groups() else "")
                except KeyError:
                    break
        return Answer(404, body=b"no such case: " + request.path.encode())

    def _page(self, request: Request, name: str) -> Answer:
        path = PAGES / name if "." in name else PAGES / f"{name}.html"
        if not path.is_file() or path.parent != PAGES:
            raise KeyError(name)
        text = path.read_text()
        for word, host in self._hosts.items():
            text = text.replace(f"%{word}%", host)
        kinds = {".html": b"text/html; charset=utf-8", ".js": b"text/javascript", ".css": b"text/css"}
        kind = kinds.get(path.suffix, b"application/manifest+json")
        fields = list(CORS)
        if name == "policy":
            policy = b"default-src 'self' 'unsafe-inline'; report-uri /report/csp"
            fields += [(b"Content-Security-Policy", policy)]
        body = text.encode()
        return replace(coded("gzip", body), fields=[*fields, (b"Content-Encoding", b"gzip")], kind=kind)

    def _status(self, request: Request, code: str) -> Answer:
        if code in {"204", "304"}:
            return Answer(int(code), framing="none", fields=[NO_STORE])
        if code == "205":
            return Answer(205, length=0, fields=[NO_STORE])
        body = b"" if request.method == "HEAD" else b"status %b with a body" % code.encode()
        return Answer(int(code), body=body, fields=[NO_STORE])

    def _redirect(self, request: Request, code: str) -> Answer:
        """Two hops in a row, the second to another kind of redirect."""
        hop = request.query or "1"
        target = f"/to/{code}/ж?{hop}" if hop == "2" else f"/redirect/{code}?2"
        location = target.encode("utf-8") if hop == "2" else target.encode()
        return Answer(int(code), body=b"<p>moved: %b" % location, fields=[(b"Location", location)])

    def _moved(self, request: Request, code: str) -> Answer:
        return Answer(body=b"%b after %b" % (request.method.encode(), code.encode()) + request.body)

    def _tagged(self, request: Request, _name: str) -> Answer:
        fields = [(b"ETag", b'"t1"'), (b"Cache-Control", b"max-age=0, must-revalidate")]
        if request.fields.get(b"if-none-match"):
            return Answer(304, fields=fields, framing="none")
        return Answer(body=TEXT[:700], fields=fields)

    def _same(self, _request: Request, name: str) -> Answer:
        self._times[name] += 1
        return Answer(body=b"body number %d" % self._times[name], fields=[NO_STORE])

    def _updated(self, _request: Request, _name: str) -> Answer:
        self._times["update.js"] += 1
        body = b"// version %d\nself.skipWaiting();" % self._times["update.js"]
        return Answer(body=body, kind=b"text/javascript", fields=[NO_STORE])

    def _busy_while(self, request: Request, which: str) -> Answer:
        """Keep one request of a page open while it is busy, so that nobody takes it for loaded."""
        event = self._busy[f"{request.host} {request.query}"]
        if which == "end":
            event.set()
            return Answer(204, framing="none")
        return Answer(body=b"free", waits_for=event)

    def _echo(self, request: Request, _name: str) -> Answer:
        return Answer(body=b"%d bytes by %b" % (len(request.body), request.method.encode()), fields=[*CORS])

    def _endless(self) -> Answer:
        body = contents.noise(4_000_000)
        return Answer(
            body=body, kind=b"application/octet-stream", pieces=20_000, pause_s=0.02, fields=[*CORS]
        )

    def _media(self, request: Request, name: str) -> Answer:
        data = contents.wav(60 if "long" in name else 2)
        ranged = re.fullmatch(rb"bytes=(\d+)-(\d*)", request.fields.get(b"range", b""))
        fields = [(b"Accept-Ranges", b"bytes")]
        if not ranged:
            return Answer(body=data, kind=b"audio/wav", fields=fields)
        first = int(ranged[1])
        last = min(int(ranged[2] or len(data) - 1), first + 99_999, len(data) - 1)
        fields += [(b"Content-Range", b"bytes %d-%d/%d" % (first, last, len(data)))]
        return Answer(206, body=data[first : last + 1], kind=b"audio/wav", fields=fields)

    def _hls(self, _request: Request, name: str) -> Answer:
        if name.endswith(".m3u8"):
            segments = "".join(f"#EXTINF:1,\nsegment-{n}.ts\n" for n in range(3))
            text = f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n{segments}#EXT-X-ENDLIST\n"
            return Answer(body=text.encode(), kind=b"application/vnd.apple.mpegurl")
        return Answer(body=contents.noise(18_800), kind=b"video/mp2t")

    def _direct(self, _request: Request, name: str) -> Answer:
        kind, make, fields = FILES[name]
        return Answer(body=make(), kind=kind, fields=fields)

    def _events(self, _request: Request, name: str) -> Answer:
        body = b"retry: 600000\n\n" + b"".join(b"id: %d\ndata: event %d\n\n" % (n, n) for n in range(4))
        fields = [*CORS, NO_STORE]
        # The one stream ends, the other stays open for as long as the page does.
        return Answer(
            body=body,
            kind=b"text/event-stream",
            fields=fields,
            framing="chunked",
            pieces=30,
            pause_s=0.01,
            event_stream=name == "open",
        )

    def _cors(self, request: Request, name: str) -> Answer:
        if name == "blocked":
            return Answer(200, body=b"not for you")
        if request.method == "OPTIONS":
            allow = [
                (b"Access-Control-Allow-Methods", b"PUT, DELETE"),
                (b"Access-Control-Allow-Headers", b"*"),
            ]
            if name == "refused":
                return Answer(403, body=b"no", fields=[(b"Content-Type", b"text/plain")])
            return Answer(204, framing="none", fields=[*CORS, *allow])
        return Answer(body=b"across", fields=[*CORS, (b"Access-Control-Expose-Headers", b"*")])

    def _orb(self, _request: Request, _name: str) -> Answer:
        nosniff = [(b"X-Content-Type-Options", b"nosniff")]
        return Answer(body=b'{"secret": 1}' * 50, kind=b"application/json", fields=nosniff)
