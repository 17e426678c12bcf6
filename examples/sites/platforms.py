"""Pages built as the platforms build theirs: what is said only after a click, on scrolling, under an overlay.

Each page says ``/api/harm`` what a behaviour must never do to it; no recording may hold such a request.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Route

from examples.sites import hosts

MEDIA = Path(__file__).parent / "media"
MEDIA_TYPES = {
    ".webm": "video/webm",
    ".ts": "video/mp2t",
    ".m3u8": "application/vnd.apple.mpegurl",
}
PAGES_OF_REPLIES = 3
NAMES = ("Гүлнар", "Тимур", "Айжан")


COOKIE_SECRET = "c00kie-9f3a/Qx+77ZZ=pLm"
STORAGE_SECRET = "st0rage.eyJhbGciOiJub25lIn0.Xy77-made-up"
HEADER_SECRET = "h3ader-5512ffa0-77aa-example"
FORM_SECRET = "f0rm-csrf-81bb20cc-made-up"


@dataclass(frozen=True, slots=True)
class Platform:
    """One page.

    Args:
        host: Where it is.
        path: Of the page.
        template: In ``templates/platforms``.
        title: Of the document.
    """

    host: str
    path: str
    template: str
    title: str


PLATFORMS = (
    Platform(hosts.SOCIAL, "/respublika.media/posts/2001", "facebook.html", "Республика.Медиа | Faces"),
    Platform(hosts.PHOTOS, "/p/Bk12/", "instagram.html", "Публикация | Snaps"),
    Platform(hosts.STRINGS, "/@dala/post/C1", "threads.html", "Пост | Strings"),
    Platform(hosts.CHIRPS, "/dala/status/1", "x.html", "Dala | Chirps"),
    Platform(hosts.CHANNELS, "/s/dala_news", "telegram.html", "Дала News"),
    Platform(hosts.VIDEOS, "/watch", "youtube.html", "Пресс-конференция | Videos"),
    Platform(hosts.CLIPS, "/@dala/video/71", "tiktok.html", "Ролик | Clips"),
    Platform(hosts.WALLS, "/wall-1_2", "vk.html", "Запись | Walls"),
    Platform(hosts.NEWS, "/kk/2026/03/sot", "news.html", "Сот шешімі | Дала"),
    Platform(hosts.TALK, "/thread", "thread.html", "Комментарии"),
    Platform(hosts.NEWS, "/app", "application.html", "Приложение"),
    Platform(hosts.NEWS, "/stream", "stream.html", "Трансляция"),
    Platform(hosts.NEWS, "/wide", "wide.html", "Широкая страница"),
    Platform(hosts.NEWS, "/endless", "endless.html", "Без тишины"),
    Platform(hosts.NEWS, "/tower", "tower.html", "Башня"),
)


async def replies(request: Request) -> Response:
    """Answer with one page of replies and where the next one is."""
    number = int(request.query_params.get("page", "1"))
    items = [
        {"name": name, "text": f"Ответ {number}.{place}"}
        for place, name in enumerate(NAMES, start=1)
        if number <= PAGES_OF_REPLIES
    ]
    following = f"/api/replies?page={number + 1}" if number < PAGES_OF_REPLIES else None
    return JSONResponse({"items": items, "next": following})


async def harm(_request: Request) -> Response:
    """Take what a behaviour must not do."""
    return Response(None, 204)


async def media(request: Request) -> Response:
    """Answer with a film of ours, whole or the range asked for."""
    path = MEDIA / Path(request.path_params["name"]).name
    if not path.is_file():
        return Response("not found", 404)
    return FileResponse(path, media_type=MEDIA_TYPES[path.suffix])


async def log_in(request: Request) -> Response:
    """Take the login form; the page that answers keeps a token in local storage, as many do."""
    if "@" not in (await request.body()).decode().replace("%40", "@"):
        return Response("no", 403)
    keep = f'localStorage.setItem("auth", {json.dumps(json.dumps({"jwt": STORAGE_SECRET}))});'
    page = f'<script>{keep} location.replace("/private/diary");</script>'
    cookie = f'sid="{quote(COOKIE_SECRET, safe="")}"; Path=/; Secure; HttpOnly'
    return Response(page, 200, {"set-cookie": cookie}, "text/html")


async def diary(request: Request) -> Response:
    """Answer with what only those who are logged in see; the body repeats their secrets in many ways."""
    if quote(COOKIE_SECRET, safe="") not in request.headers.get("cookie", ""):
        return Response(None, 302, {"location": "/login/?next=/private/diary"})
    page = f"""<!doctype html><html lang="ru"><meta charset="utf-8"><title>Дневник</title>
<link rel="stylesheet" href="/static/common.css"><main class="card"><h1>Запись только для своих</h1>
<form method="post" action="/comment"><input type="hidden" name="csrf" value="{FORM_SECRET}"></form>
<p id="who">...</p></main><script>
const sid = {json.dumps(COOKIE_SECRET)};
const jwt = JSON.parse(localStorage.getItem("auth")).jwt;
fetch("/api/me?session_token=" + encodeURIComponent(sid), {{headers: {{Authorization: "Bearer " + jwt}}}})
  .then(answer => answer.json()).then(me => {{
    document.getElementById("who").textContent = me.name;
    document.getElementById("who").dataset.token = me.echo;
    document.body.dataset.done = "1";
  }});</script></html>"""
    return coded_gzip(page.encode(), "text/html", {"x-session-echo": HEADER_SECRET})


async def me(request: Request) -> Response:
    """Answer with the caller's own token in Base64, as an identity service may."""
    token = request.headers.get("authorization", "").encode()
    told = {
        "name": "Собственная страница",
        "echo": base64.b64encode(b"id:" + token).decode(),
        "h": HEADER_SECRET,
    }
    return coded_gzip(json.dumps(told).encode(), "application/json", {})


def coded_gzip(body: bytes, media_type: str, headers: dict[str, str]) -> Response:
    """Answer with gzip, whatever is asked for."""
    return Response(gzip.compress(body, mtime=0), 200, headers | {"content-encoding": "gzip"}, media_type)


def routes(host: str, page: Callable[..., Any]) -> list[BaseRoute]:
    """Return the routes of the platform pages at *host*; *page* makes an endpoint of a template."""
    found: list[BaseRoute] = [
        Route(one.path, page("platform.html", platform=one)) for one in PLATFORMS if one.host == host
    ]
    if not found:
        return []
    private = [
        Route("/login/", log_in, methods=["POST"]),
        Route("/private/diary", diary),
        Route("/api/me", me),
    ]
    return [
        *found,
        *(private if host == hosts.SOCIAL else ()),
        Route("/api/replies", replies),
        Route("/api/harm", harm, methods=["POST"]),
        Route("/comment", harm, methods=["POST"]),
        Route("/media/{name}", media),
    ]
