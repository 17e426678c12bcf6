"""Whether a vantage's proxy answers, and whether it is where the settings say. Network.

Asked before the first page: a dead proxy must never become a capture that says "unreachable from there".
"""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import socket
import ssl
from urllib.parse import unquote, urlsplit

from python_socks import ProxyError, ProxyType
from python_socks.sync import Proxy

from archiver.batch.settings import Vantage
from archiver.errors import ArchiverError

CONNECT_TIMEOUT_S = 15
MAX_ANSWER_BYTES = 64 * 1024
_TRACE = re.compile(r"^loc=([A-Z]{2})$", re.MULTILINE)


class VantageUnusable(ArchiverError):
    """Nothing can be seen from a vantage, or not from where it claims to be."""


def check_vantage(name: str, vantage: Vantage, upstream: str) -> None:
    """Connect to the vantage's proxy, and ask through it for its country where the settings say how.

    Args:
        name: Of the vantage.
        vantage: Its settings.
        upstream: Its proxy with credentials, or empty: then only the country is asked for.

    Raises:
        VantageUnusable: E711, the proxy does not answer; E712, its country is another or cannot be had.
    """
    if upstream:
        _knock(name, upstream)
    if not (vantage.country and vantage.country_check):
        return
    try:
        country = _country_of(_fetch(vantage.country_check, upstream))
    except (OSError, ProxyError, http.client.HTTPException) as error:
        raise _elsewhere(name, vantage.country, f"none ({error})"[:200]) from error
    if country != vantage.country:
        raise _elsewhere(name, vantage.country, country or "no country in the answer")


def _knock(name: str, upstream: str) -> None:
    """Connect, and for SOCKS agree on how to sign in, which only a proxy that lives can."""
    try:
        with _connected(*_address(upstream)) as connection:
            if upstream.startswith("socks5"):
                connection.sendall(b"\x05\x02\x00\x02")  # RFC 1928 section 3: no credentials, or a password
                answer = connection.recv(2)
                if answer[:1] != b"\x05" or answer[1:] not in (b"\x00", b"\x02"):
                    raise ConnectionError("it speaks no SOCKS 5")
    except OSError as error:
        raise VantageUnusable(
            f"vantage {name}: proxy: expected an answer, got {error.strerror or error}",
            code="E711",
            hint="check the proxy and its address; its seeds wait, and nothing was recorded as unreachable",
        ) from error


def _connected(host: str, port: int) -> socket.socket:
    return socket.create_connection((host, port), timeout=CONNECT_TIMEOUT_S)


def _address(upstream: str) -> tuple[str, int]:
    parts = urlsplit(upstream)
    return parts.hostname or "", parts.port or 0


def _fetch(url: str, upstream: str) -> str:
    """GET *url* through the proxy, in one request without redirects."""
    target = urlsplit(url)
    port = target.port or (443 if target.scheme == "https" else 80)
    host = target.hostname or ""
    with contextlib.closing(_through(upstream, host, port)) as raw:
        stream = raw
        if target.scheme == "https":
            stream = ssl.create_default_context().wrap_socket(raw, server_hostname=host)
        connection = http.client.HTTPConnection(host, port, timeout=CONNECT_TIMEOUT_S)
        connection.sock = stream
        path = (target.path or "/") + (f"?{target.query}" if target.query else "")
        connection.request("GET", path, headers={"Connection": "close"})
        answer = connection.getresponse()
        if answer.status != http.HTTPStatus.OK:
            raise http.client.HTTPException(f"HTTP {answer.status}")
        return answer.read(MAX_ANSWER_BYTES).decode("utf-8", "replace")


def _through(upstream: str, host: str, port: int) -> socket.socket:
    if not upstream:
        return _connected(host, port)
    parts = urlsplit(upstream)
    kind = ProxyType.HTTP if parts.scheme == "http" else ProxyType.SOCKS5
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    connection = Proxy(kind, *_address(upstream), user, password, rdns=True).connect(
        host, port, timeout=CONNECT_TIMEOUT_S
    )
    connection.settimeout(CONNECT_TIMEOUT_S)
    return connection


def _country_of(answer: str) -> str:
    """Read the country out of a ``loc=KZ`` line or the ``country`` of a JSON object; else empty."""
    if found := _TRACE.search(answer):
        return found[1]
    try:
        value = json.loads(answer)
    except (ValueError, RecursionError):
        return ""
    country = value.get("country", "") if isinstance(value, dict) else ""
    return country if isinstance(country, str) and re.fullmatch("[A-Z]{2}", country) else ""


def _elsewhere(name: str, expected: str, got: str) -> VantageUnusable:
    return VantageUnusable(
        f"vantage {name}: country: expected {expected}, got {got}",
        code="E712",
        hint="set `country` to where the proxy really is, or choose another proxy",
    )
