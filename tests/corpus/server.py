"""Listens on loopback in a thread of its own, so that a test can read the log beside it."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import idna
import trustme

from tests.corpus import contents, http1, http2
from tests.corpus.answers import Site, large
from tests.corpus.log import Log

ADDRESS = "127.0.0.1"
HOSTS = {
    "PLAIN": "plain.corpus.example",
    "SECURE": "secure.corpus.example",
    "H2": "h2.corpus.example",
    "OTHER": "other.example",
    "THIRD": "third.example",
    "IDN": idna.encode("пример.example").decode(),
    "IDNSHOWN": "пример.example",
}
"""By the word that stands for each in a page."""

_OVER = {"PLAIN": "http", "SECURE": "h1", "OTHER": "h1", "H2": "h2", "THIRD": "h2", "IDN": "h2"}


@dataclass(frozen=True)
class Corpus:
    """A running corpus server: its log, and the options that lead ``archiver`` to it."""

    log: Log
    ports: dict[str, int]
    ca: Path

    def options(self) -> list[str]:
        words = []
        for word, port in _OVER.items():
            asked = 80 if port == "http" else 443
            words += ["--resolve", f"{HOSTS[word]}:{asked}:{ADDRESS}:{self.ports[port]}"]
        return [*words, "--ca", str(self.ca), "--allow-private-network"]


def _tls(authority: trustme.CA, protocols: list[str]) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.set_alpn_protocols(protocols)
    names = [HOSTS[word] for word, port in _OVER.items() if port != "http"]
    authority.issue_cert(*names).configure_cert(context)
    return context


async def _listen(site: Site, log: Log, authority: trustme.CA) -> dict[str, asyncio.Server]:
    plain, secure = http1.handler(site, log, "http"), http1.handler(site, log, "https")
    limit = http1.MAX_HEAD_BYTES
    return {
        "http": await asyncio.start_server(plain, ADDRESS, 0, limit=limit),
        "h1": await asyncio.start_server(secure, ADDRESS, 0, limit=limit, ssl=_tls(authority, ["http/1.1"])),
        "h2": await asyncio.start_server(http2.handler(site, log), ADDRESS, 0, ssl=_tls(authority, ["h2"])),
    }


@contextlib.contextmanager
def serve(folder: Path) -> Iterator[Corpus]:
    """Serve the corpus for as long as the context lasts; its CA's certificate goes into *folder*."""
    authority = trustme.CA()
    ca = folder / "corpus-ca.pem"
    authority.cert_pem.write_to_path(ca)
    log = Log()
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="corpus", daemon=True)
    thread.start()
    try:
        listening = _listen(Site(HOSTS), log, authority)
        servers = asyncio.run_coroutine_threadsafe(listening, loop).result(10)
        ports = {name: server.sockets[0].getsockname()[1] for name, server in servers.items()}
        yield Corpus(log, ports, ca)
    finally:
        asyncio.run_coroutine_threadsafe(_stop(loop), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
        # 250 MB that no other test needs
        large.cache_clear()
        contents.noise.cache_clear()


async def _stop(loop: asyncio.AbstractEventLoop) -> None:
    running = [task for task in asyncio.all_tasks(loop) if task is not asyncio.current_task()]
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
