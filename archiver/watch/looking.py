"""A cheap look at a page over HTTP, without browser and without evidence. Network.

Each connection goes the way of a capture's: same refused hosts, same resolve rules, each address checked
before it is dialled, same proxy. What a page's scripts would do is not seen.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import requests
from bs4 import BeautifulSoup
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError

from archiver.capture.outcome import Facts, judge
from archiver.capture.recorder.guard import RelayPolicy
from archiver.capture.recorder.resolve import Resolver
from archiver.capture.recorder.socks import Refusal
from archiver.capture.recorder.upstream import Route, open_route
from archiver.errors import EnvironmentUnfit
from archiver.spool import utc_text
from archiver.watch.rules import MAX_TEXT_CHARS, Check

TIMEOUT_S = 30
TOTAL_S = 60
MAX_BODY_BYTES = 5 * 1024 * 1024
PIECE_BYTES = 64 * 1024
MAX_REDIRECTS = 20
_NOT_VISIBLE = ("script", "style", "noscript", "template", "head")
_PAGE_TYPES = re.compile(r"text/html|application/xhtml\+xml", re.IGNORECASE)

Dial = Callable[[str, int], socket.socket]


class Looker:
    """Looks at pages from one vantage; may be used by several threads at once.

    Args:
        policy: What may be dialled, and how.
        headers: Sent with each request: those of the browser that captures.
        ca_files: PEM files of further roots.

    Raises:
        EnvironmentUnfit: E732, one of *ca_files* cannot be used.
    """

    def __init__(self, policy: RelayPolicy, headers: dict[str, str], ca_files: Sequence[Path]) -> None:
        self._policy = policy
        self._headers = headers
        self._context = ssl.create_default_context()
        for path in ca_files:
            try:
                self._context.load_verify_locations(path)
            except (OSError, ssl.SSLError) as error:
                raise EnvironmentUnfit(
                    f"root certificates {path}: expected a PEM file, got: {error}",
                    code="E732",
                    hint="correct `ca_files`",
                ) from error

    def look(self, url: str) -> Check:
        """Load the main resource of *url* and judge it; whatever the server does is an outcome."""
        at = utc_text(datetime.now(UTC))
        with requests.Session() as session:
            session.trust_env = False
            session.max_redirects = MAX_REDIRECTS
            session.headers.update(self._headers)
            adapter = _Adapter(self._dial, self._context)
            session.mount("http://", adapter)
            session.mount("https://", adapter)
            try:
                with session.get(url, stream=True, timeout=TIMEOUT_S) as response:
                    return _seen(url, at, response, _body_of(response))
            except Refusal as refusal:
                guarded = refusal.stage == "guard"
                errors = (f"{refusal.stage}: {refusal.error}",)
                return _unseen(url, at, "ERR_SOCKS_CONNECTION_FAILED", errors, refused_by_guard=guarded)
            except requests.TooManyRedirects:
                return _unseen(url, at, "ERR_TOO_MANY_REDIRECTS")
            except requests.exceptions.SSLError as error:
                return _unseen(url, at, f"ERR_SSL_: {error}"[:400])
            except (requests.Timeout, TimeoutError):
                return _unseen(url, at, "ERR_TIMED_OUT")
            except requests.exceptions.ChunkedEncodingError:
                return _unseen(url, at, "ERR_INCOMPLETE_CHUNKED_ENCODING")
            except requests.ConnectionError as error:
                return _unseen(url, at, f"ERR_CONNECTION_CLOSED: {error}"[:400])
            # A Location that is no URL, a header or a coding that cannot be read.
            except (requests.RequestException, HTTPError, ValueError) as error:
                return _unseen(url, at, f"{type(error).__name__}: {error}"[:400])

    def _dial(self, host: str, port: int) -> socket.socket:
        server = asyncio.run(_open(host, port, self._policy))
        server.settimeout(TIMEOUT_S)
        return server


async def _open(host: str, port: int, policy: RelayPolicy) -> socket.socket:
    resolver = Resolver(policy.resolver)
    try:
        return await open_route(Route(host, port), policy, resolver, ())
    finally:
        resolver.close()


class _Adapter(HTTPAdapter):
    """Connects with *dial*, and with nothing else."""

    def __init__(self, dial: Dial, context: ssl.SSLContext) -> None:
        self._dial = dial
        self._context = context
        super().__init__(max_retries=0)

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options, ssl_context=self._context)
        dial = self._dial

        class Plain(HTTPConnection):
            def _new_conn(self) -> socket.socket:
                return dial(self.host.strip("[]"), self.port)

        class Encrypted(HTTPSConnection):
            def _new_conn(self) -> socket.socket:
                return dial(self.host.strip("[]"), self.port)

        class PlainPool(HTTPConnectionPool):
            ConnectionCls = Plain

        class EncryptedPool(HTTPSConnectionPool):
            ConnectionCls = Encrypted

        self.poolmanager.pool_classes_by_scheme = {"http": PlainPool, "https": EncryptedPool}


def _body_of(response: requests.Response) -> bytes:
    """Read the body, or its beginning.

    Raises:
        TimeoutError: It took longer than ``TOTAL_S``.
    """
    deadline = time.monotonic() + TOTAL_S
    body = bytearray()
    for piece in response.iter_content(PIECE_BYTES):
        body += piece
        if time.monotonic() > deadline:
            raise TimeoutError
        if len(body) >= MAX_BODY_BYTES:
            break
    return bytes(body[:MAX_BODY_BYTES])


def _seen(url: str, at: str, response: requests.Response, body: bytes) -> Check:
    kind = response.headers.get("Content-Type", "text/html")
    is_page = _PAGE_TYPES.search(kind) is not None
    title, text = page_text(body, kind) if is_page else ("", "")
    outcome = judge(
        Facts(
            url=url,
            final_url=response.url,
            status=response.status_code,
            title=title,
            text=text,
            is_document=not is_page,
        )
    )
    return Check(
        at=at,
        outcome=outcome.kind,
        reason=outcome.reason,
        status=response.status_code,
        final_url=response.url,
        main_sha256=hashlib.sha256(body).hexdigest(),
        text_sha256=hashlib.sha256(text.encode("utf-8", "replace")).hexdigest() if is_page else "",
        text=text[:MAX_TEXT_CHARS],
        retry_after=response.headers.get("Retry-After", "")[:100],
    )


def _unseen(
    url: str,
    at: str,
    load_error: str,
    network_errors: tuple[str, ...] = (),
    *,
    refused_by_guard: bool = False,
) -> Check:
    facts = Facts(
        url=url, load_error=load_error, network_errors=network_errors, refused_by_guard=refused_by_guard
    )
    outcome = judge(facts)
    return Check(at=at, outcome=outcome.kind, reason=outcome.reason)


def page_text(body: bytes, content_type: str) -> tuple[str, str]:
    """Return the title and the text of a page as far as it shows without scripts, spaces run together."""
    charset = re.search(r"charset=\"?([\w.:-]{1,40})", content_type, re.IGNORECASE)
    page = BeautifulSoup(body, "lxml", from_encoding=charset[1] if charset else None)
    title = " ".join(page.title.get_text().split()) if page.title else ""
    for tag in page.find_all(_NOT_VISIBLE):
        tag.decompose()
    return title, " ".join(page.get_text(" ").split())
