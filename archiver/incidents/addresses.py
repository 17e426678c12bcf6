"""What is wrong with an address as a seed, and what to take instead. Rules only, no I/O, nothing is asked."""

from __future__ import annotations

import functools
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib import resources
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from archiver.errors import UsageError
from archiver.incidents.rules import check_seed_url, url_identity


@dataclass(frozen=True, slots=True)
class Advice:
    """One thing about an address: its kind, in words, and another address to take, or an empty text."""

    kind: str
    what: str
    proposal: str = ""


def advice(url: str) -> Iterator[Advice]:
    """Yield what there is to say of a URL; one that cannot be captured at all yields that alone."""
    try:
        check_seed_url(url)
        parts = urlsplit(url)
    except UsageError as error:
        yield Advice("bad-url", error.message, error.hint)
        return
    where = _where(parts)
    if inner := _wrapped(parts, where):
        yield Advice("wrapped", "a page that only leads on", inner)
        return
    if _on_host(where, _rules()["hosts"]["shortened"]):
        yield Advice("shortened", "a shortened link; open it and take where it leads, and keep both")
    if _matches("search", where):
        yield Advice(
            "search", "a page of search results, which is another for everyone; take the pages it led to"
        )
    if _matches("login_only", where) or _on_host(where, _rules()["hosts"]["login_only"]):
        yield Advice(
            "login-only", "shown only to who is logged in; ask for a screenshot, or find a public copy"
        )
    elif preview := _telegram_preview(parts, where):
        yield Advice("telegram", "shown in an app; the public preview can be captured", preview)
    if names := _tracking(parts, where):
        shown = ", ".join(dict.fromkeys(names))
        yield Advice("tracking", f"parameters that only track: {shown}", _without(parts, set(names)))
    if parts.scheme == "http":
        yield Advice(
            "insecure", "http; see whether the page is there by https", url.replace("http", "https", 1)
        )


def normal_form(url: str) -> str:
    """Return what is equal for two addresses of what is most likely one page. To compare, never to capture.

    Without scheme, ``www.``, ``m.``, tracking, fragment and last slash; Telegram previews as their channel.
    """
    try:
        parts = urlsplit(url_identity(url))
    except UsageError:
        return url
    where = _where(parts)
    if inner := _wrapped(parts, where):
        return normal_form(inner) if inner != url else inner
    plain = urlsplit(_without(parts, set(_tracking(parts, where))))
    host, _, path = where.partition("/")
    path = plain.path.rstrip("/")
    if host in {"t.me", "telegram.me"}:
        host, path = "t.me", re.sub(r"^/s/", "/", path)
    return f"{_page_host(plain)}{path}?{plain.query}" if host != "t.me" else f"{host}{path}?{plain.query}"


def _telegram_preview(parts: SplitResult, where: str) -> str:
    """Return the address of a channel's public preview; empty where there is none, or it is one."""
    found = re.fullmatch(r"(?:t|telegram)\.me/([a-z]\w{3,31})((?:/\d+)?)/?", where)
    if not found or found[1] in {"share", "addstickers", "proxy", "socks", "joinchat", "addlist", "login"}:
        return ""
    path = parts.path.rstrip("/")
    return parts._replace(scheme="https", netloc="t.me", path=f"/s{path}").geturl()


def _tracking(parts: SplitResult, where: str) -> list[str]:
    patterns = list(_rules()["tracking"])
    for host, names in _rules()["tracking_on"].items():
        if _on_host(where, [host]):
            patterns += names
    names = [pair.partition("=")[0] for pair in parts.query.split("&") if pair]
    return [name for name in names if any(fnmatchcase(unquote(name).lower(), one) for one in patterns)]


def _without(parts: SplitResult, names: set[str]) -> str:
    """Return the address without parameters, every other byte as it is."""
    kept = [pair for pair in parts.query.split("&") if pair.partition("=")[0] not in names]
    return parts._replace(query="&".join(kept)).geturl()


def _wrapped(parts: SplitResult, where: str) -> str:
    for place, names in _rules()["wrapped"].items():
        if where.rstrip("/") == place or ("/" not in place and where.partition("/")[0] == place):
            values = dict(parse_qsl(parts.query))
            found = next((values[name] for name in names if values.get(name, "").startswith("http")), "")
            if found:
                return found
    return ""


def _matches(kind: str, where: str) -> bool:
    return any(re.search(pattern, where) for pattern in _rules()["patterns"][kind])


def _on_host(where: str, places: list[str]) -> bool:
    host = where.partition("/")[0]
    return any(
        where.startswith(place) if "/" in place else host == place or host.endswith("." + place)
        for place in places
    )


def _page_host(parts: SplitResult) -> str:
    host = (parts.hostname or "").lower()
    port = f":{parts.port}" if parts.port else ""
    return re.sub(r"^(?:www|m|mobile)\.(?=[^.]+\.)", "", host) + port


def _where(parts: SplitResult) -> str:
    """Return host and path, lower case, without ``www.`` and ``m.``."""
    return _page_host(parts) + (parts.path.lower() or "/")


@functools.cache
def _rules() -> dict[str, Any]:
    return tomllib.loads(resources.files("archiver.incidents").joinpath("lint.toml").read_text("utf-8"))
