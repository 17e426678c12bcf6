"""What the example hosts answer: one Starlette route table for each host, all of it deterministic."""

from __future__ import annotations

import gzip
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import quote

import brotli
import jinja2
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Host, Route, Router

from examples.sites import hosts, platforms, texts
from examples.sites.fonts import web_font
from examples.sites.papers import secret_passport
from examples.sites.pictures import landscape, ornament

Endpoint = Callable[[Request], Awaitable[Response]]

HERE = Path(__file__).parent
MAX_PICTURE_PX = 2000
RETRY_AFTER_S = 120
PUBLISHED = "Thu, 12 Mar 2026 09:00:00 GMT"
STATIC_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
ARTICLE_PATH = "/ru/2026/03/obrashchenie-zhurnalistov"
CYRILLIC_PATH = "/жаңалықтар/заң-жобасы/сөз-бостандығы"

templates = jinja2.Environment(
    loader=jinja2.FileSystemLoader(HERE / "templates"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
)
templates.globals.update(hosts=hosts, texts=texts)


def coded(request: Request, body: bytes, media_type: str, status: int = 200) -> Response:
    """Answer with *body* in the best content coding that the client takes; the same bytes every time."""
    accepted = request.headers.get("accept-encoding", "")
    headers = {"vary": "Accept-Encoding", "last-modified": PUBLISHED}
    if "br" in accepted:
        body = brotli.compress(body, quality=5)
        headers["content-encoding"] = "br"
    elif "gzip" in accepted:
        body = gzip.compress(body, mtime=0)
        headers["content-encoding"] = "gzip"
    return Response(body, status, headers, media_type)


def page(
    template: str, status: int = 200, headers: dict[str, str] | None = None, **values: object
) -> Endpoint:
    """Make an endpoint that answers with *template*."""

    async def answer(request: Request) -> Response:
        html = templates.get_template(template).render(url=request.url, **values)
        response = coded(request, html.encode(), "text/html", status)
        response.headers.update(headers or {})
        return response

    return answer


def moved(target: str, status: int) -> Endpoint:
    """Make an endpoint that redirects to *target* with a body, as most servers do."""

    async def answer(_request: Request) -> Response:
        location = quote(target, safe=":/?&=%#")
        html = f'<html><title>{status} Moved</title><body>Moved <a href="{location}">here</a>.</body></html>'
        return Response(html, status, {"location": location}, "text/html")

    return answer


async def static(request: Request) -> Response:
    """Answer with one of our own style sheets, scripts or drawings."""
    path = HERE / "static" / Path(request.path_params["name"]).name
    if not path.is_file():
        return Response("not found", 404)
    return coded(request, path.read_bytes(), STATIC_TYPES[path.suffix])


async def photo(request: Request) -> Response:
    """Answer with landscape number N of the asked size."""
    width, height = (min(request.path_params[name], MAX_PICTURE_PX) for name in ("width", "height"))
    return Response(landscape(request.path_params["number"], width, height), media_type="image/jpeg")


async def tile(request: Request) -> Response:
    """Answer with ornament number N of the asked size."""
    size = min(request.path_params["size"], MAX_PICTURE_PX)
    return Response(ornament(request.path_params["number"], size), media_type="image/png")


async def font(request: Request) -> Response:
    """Answer with a web font; fonts from another host need the CORS header."""
    body = web_font(request.path_params["weight"], request.path_params["narrow"])
    return Response(body, 200, {"access-control-allow-origin": "*"}, "font/woff2")


async def comments(_request: Request) -> Response:
    """Answer with the comments as a stream, which HTTP/1.1 sends in chunks."""
    return StreamingResponse(texts.comment_pieces(), media_type="application/json")


async def count(request: Request) -> Response:
    """Take what the counter script sends, as a POST."""
    await request.body()
    return Response(None, 204, {"access-control-allow-origin": "*"})


async def passport(_request: Request) -> Response:
    """Answer with the PDF stamped top secret."""
    headers = {"content-disposition": 'inline; filename="passport-2026-2028.pdf"', "last-modified": PUBLISHED}
    return Response(secret_passport(), 200, headers, "application/pdf")


async def robots(_request: Request) -> Response:
    """Allow everything."""
    return Response("User-agent: *\nDisallow:\n", media_type="text/plain")


async def plain_to_https(request: Request) -> Response:
    """Move a plain request to the same address over TLS."""
    return await moved(str(request.url.replace(scheme="https", port=None)), 301)(request)


ASSETS = [
    Route("/static/{name}", static),
    Route("/photo/{number:int}-{width:int}x{height:int}.jpg", photo),
    Route("/tile/{number:int}-{size:int}.png", tile),
    Route("/font/{weight:int}-{narrow:int}.woff2", font),
    Route("/robots.txt", robots),
]
NOT_FOUND = Route("/{rest:path}", page("not_found.html", 404))

_NEWS: list[BaseRoute] = [
    Route("/", page("article.html", article=texts.ARTICLES["letter"])),
    Route(ARTICLE_PATH, page("article.html", article=texts.ARTICLES["letter"])),
    Route(CYRILLIC_PATH, page("article.html", article=texts.ARTICLES["law"])),
    Route("/ru/2026/03/referendum-onlayn", page("live.html")),
    Route("/api/comments.json", comments),
]
_SOCIAL: list[BaseRoute] = [
    Route("/respublika.media/posts/1042", page("post.html")),
    Route("/respublika.media/posts/1017", page("post_removed.html")),
    Route("/just.journalism/about", moved("/login/?next=/just.journalism/about", 302)),
    Route(
        "/login/", page("login.html", headers={"set-cookie": "datr=example; Secure; HttpOnly; SameSite=Lax"})
    ),
]
_ULYS: list[BaseRoute] = [
    Route(
        "/ru/2026/01/freedom",
        page("stub.html", 451, {"link": f'<http://{hosts.PROVIDER}/>; rel="blocked-by"'}),
    ),
    Route("/ru/2026/01/turlov", moved(f"http://{hosts.PROVIDER}/?u={hosts.ULYS}", 302)),
]
_BUDGETS: list[BaseRoute] = [
    Route("/budgetportal/passport/2026", page("budget.html")),
    Route("/files/passport-2026-2028.pdf", passport),
]
_SHORT: list[BaseRoute] = [
    Route("/k8", moved(f"http://{hosts.SHORT}/go?id=8&lang=kk", 301)),
    Route("/go", moved(f"https://{hosts.NEWS}{CYRILLIC_PATH}", 302)),
]

SITES: dict[str, list[BaseRoute]] = {
    hosts.NEWS: _NEWS,
    hosts.NEWS_CDN: [],
    hosts.SHORT: _SHORT,
    hosts.COUNTER: [Route("/collect", count, methods=["POST"])],
    hosts.AGENCY: [Route("/{rest:path}", page("busy.html", 503, {"retry-after": str(RETRY_AFTER_S)}))],
    hosts.ULYS: _ULYS,
    hosts.PROVIDER: [Route("/", page("stub.html"))],
    hosts.SOCIAL: _SOCIAL,
    hosts.PHOTOS: [Route("/azattyq.media/", page("profile_blocked.html"))],
    hosts.CHANNELS: [Route("/s/dala_live", page("channel.html"))],
    hosts.VIDEOS: [Route("/@lmc-kz", page("channel_removed.html", 404))],
    hosts.BUDGETS: _BUDGETS,
    hosts.WEEKLY: [Route("/sauda/suraq", page("plain.html"))],
    hosts.HUNDRED: [Route("/", page("hundred.html"))],
    hosts.HUNDRED_H1: [Route("/", page("hundred.html"))],
    **{host: [] for host in (hosts.STRINGS, hosts.CHIRPS, hosts.CLIPS, hosts.WALLS, hosts.TALK)},
    hosts.IDN: [Route("/сайлау/2026", page("article.html", article=texts.ARTICLES["referendum"]))],
}
PLAIN_TOO = (hosts.SHORT, hosts.PROVIDER, hosts.HUNDRED)
"""These answer without TLS too; the rest move a plain request to TLS."""


def make_app() -> Starlette:
    """Return the application for the TLS ports."""
    return Starlette(
        routes=[
            Host(host, Router([*ASSETS, *platforms.routes(host, page), *routes, NOT_FOUND]))
            for host, routes in SITES.items()
        ]
    )


def make_plain_app() -> Starlette:
    """Return the application for the plain port."""
    routes: list[BaseRoute] = [Host(host, Router([*ASSETS, *SITES[host], NOT_FOUND])) for host in PLAIN_TOO]
    return Starlette(routes=[*routes, Route("/{rest:path}", plain_to_https)])
