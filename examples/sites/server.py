"""Listens on free loopback ports and serves the example sites until told to stop."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import cast

from hypercorn.asyncio import serve as serve_app
from hypercorn.config import Config
from hypercorn.typing import ASGIFramework

from examples.sites.app import make_app, make_plain_app
from examples.sites.certificates import CertificateFiles, make_certificates
from examples.sites.hosts import ADDRESS, Ports
from examples.sites.raw import start_resetting

BACKLOG = 512
GRACE_S = 0.1


def _listen() -> socket.socket:
    sock = socket.create_server((ADDRESS, 0), backlog=BACKLOG)
    sock.setblocking(False)
    return sock


def _config(sock: socket.socket) -> Config:
    config = Config()
    # hypercorn takes over the descriptor and closes it, so it gets one of its own.
    config.bind = [f"fd://{sock.dup().detach()}"]
    config.errorlog = None
    config.graceful_timeout = GRACE_S
    return config


def _tls_config(sock: socket.socket, chain: Path, key: Path, protocols: list[str]) -> Config:
    config = _config(sock)
    config.certfile, config.keyfile = str(chain), str(key)
    config.alpn_protocols = protocols
    return config


def describe(ports: Ports, files: CertificateFiles) -> str:
    """Return as JSON what a client needs: the resolve rules, the CA's file and the ports."""
    facts = {"resolve": ports.rules(), "ca": str(files.ca), "ports": asdict(ports)}
    return json.dumps(facts, indent=2)


async def run(
    folder: Path,
    announce: Callable[[str], None],
    stop: Callable[[], Awaitable[object]],
) -> None:
    """Serve until *stop* returns; *announce* gets the description once every port listens.

    Args:
        folder: Where the run's certificates go.
        announce: Called once with the text of ``describe``.
        stop: Awaited; its return ends the servers.
    """
    files = make_certificates(folder)
    http, https, h1, lone, reset, tls_reset = sockets = [_listen() for _ in range(6)]
    # hypercorn and Starlette describe the same ASGI callable in types that do not match.
    app, plain_app = (cast("ASGIFramework", made) for made in (make_app(), make_plain_app()))
    served: list[tuple[ASGIFramework, Config]] = [
        (plain_app, _config(http)),
        (app, _tls_config(https, files.chain, files.key, ["h2", "http/1.1"])),
        (app, _tls_config(h1, files.chain, files.key, ["http/1.1"])),
        (app, _tls_config(lone, files.self_signed, files.self_signed_key, ["h2", "http/1.1"])),
    ]
    stopped = asyncio.Event()
    servers = [
        asyncio.create_task(serve_app(application, config, shutdown_trigger=stopped.wait))
        for application, config in served
    ]
    resetting = await start_resetting(reset, tls_reset)
    announce(describe(Ports(*(sock.getsockname()[1] for sock in sockets)), files))
    await stop()
    stopped.set()
    for server in resetting:
        server.close()
    await asyncio.gather(*servers)
