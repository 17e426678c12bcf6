"""A bundle served on loopback, so that its replay works: browsers refuse it the means on ``file:``.

Only what lies in the folder is served, only to this machine, and only under loopback names, since any page
may send a browser to a port of this machine. Captured files are sandboxed: opened by themselves, their
scripts run in an origin of nobody.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

LOOPBACK = "127.0.0.1"
CAPTURED = "/data/captures/"


def bundle_app(folder: Path) -> Starlette:
    """Return the application that serves *folder*."""
    return Starlette(
        routes=[Mount("/", StaticFiles(directory=folder, html=True, follow_symlink=False))],
        middleware=[
            Middleware(TrustedHostMiddleware, allowed_hosts=[LOOPBACK, "localhost"]),
            Middleware(BaseHTTPMiddleware, dispatch=_guarded),
        ],
    )


async def _guarded(request: Request, follow: Callable[[Request], Awaitable[Response]]) -> Response:
    response = await follow(request)
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "no-referrer"
    if request.url.path.startswith(CAPTURED):
        response.headers["Content-Security-Policy"] = "sandbox; default-src 'none'; style-src 'unsafe-inline'"
    return response


def serve_bundle(folder: Path, tell: Callable[[str], None], port: int = 0) -> None:
    """Serve *folder* until interrupted.

    Args:
        folder: The bundle.
        tell: Gets the address of the start page once it can be opened.
        port: On loopback; 0 for a free one.
    """
    with socket.create_server((LOOPBACK, port)) as listener:
        tell(f"http://{LOOPBACK}:{listener.getsockname()[1]}/index.html")
        config = uvicorn.Config(bundle_app(folder), log_level="warning", access_log=False)
        uvicorn.Server(config).run(sockets=[listener])
