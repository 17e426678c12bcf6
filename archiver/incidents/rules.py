"""What may stand as an incident ID and as a seed URL. Rules only, no I/O."""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from functools import lru_cache
from urllib.parse import SplitResult, urlsplit

import idna

from archiver.errors import UsageError

INCIDENT_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
MAX_URL_BYTES = 8 * 1024
MAX_SHOWN_CHARS = 80

_HOST = re.compile(r"(?=.{1,253}\Z)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*", re.ASCII)
# Controls, formatting marks that hide or reorder text, half surrogates, every space.
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp", "Zs"})


def check_incident_id(text: str) -> str:
    """Return *text* when it is an incident ID.

    Raises:
        UsageError: E240.
    """
    if INCIDENT_ID.fullmatch(text):
        return text
    raise UsageError(
        f"incident {_shown(text)}: ID refused: expected 1 to 100 of A-Z a-z 0-9 . _ -, "
        "beginning with a letter or digit",
        code="E240",
        hint="give the incident an ID such as KZ-2026-Q1-4.03 and keep it for ever",
    )


def check_seed_url(url: str) -> str:
    """Return *url* as it is when it can be captured.

    http or https, with a host, without credentials, spaces or hidden characters, at most
    ``MAX_URL_BYTES`` in UTF-8. Non-ASCII hosts and paths and a fragment are fine. Whether the
    address may be dialled is for the egress guard.

    Raises:
        UsageError: E241.
    """
    size = len(url.encode("utf-8", "replace"))
    if size > MAX_URL_BYTES:
        raise _refused(url, f"length: expected at most {MAX_URL_BYTES} bytes, got {size}", "shorten it")
    for char in url:
        if unicodedata.category(char) in _HIDDEN:
            hint = "percent-encode it (a space is %20), and give one URL at a time"
            raise _refused(url, f"character U+{ord(char):04X}: expected no space or hidden character", hint)
    parts = _split(url)
    if parts.scheme not in {"http", "https"}:
        scheme = f"got {parts.scheme}" if parts.scheme else "got none"
        raise _refused(url, f"scheme: expected http or https, {scheme}", "begin it with http:// or https://")
    if "@" in parts.netloc:
        raise _refused(url, "expected no user name or password, got one", "take out what stands before the @")
    if not parts.hostname:
        raise _refused(url, "host: expected one, got none", "give it as http://host/path")
    _host_key(url, parts.hostname)
    return url


@lru_cache(maxsize=64)  # register, queue and politeness ask for that of one URL in turn
def url_identity(url: str) -> str:
    """Return what is equal for two spellings of one URL: scheme and host lower case, host in ASCII.

    Path, query and fragment stay as they are: servers may tell them apart.

    Raises:
        UsageError: E241.
    """
    parts = _split(url)
    host = _host_key(url, parts.hostname or "")
    default = {"http": 80, "https": 443}.get(parts.scheme)
    port = "" if parts.port in {None, default} else f":{parts.port}"
    return parts._replace(netloc=host + port, path=parts.path or "/").geturl()


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise _refused(url, f"expected a URL: {error}", "copy it from the browser's address bar") from error
    return parts


def _host_key(url: str, host: str) -> str:
    """Return *host* as DNS spells it, IPv6 addresses in brackets."""
    if ":" in host:
        try:
            return f"[{ipaddress.IPv6Address(host.partition('%')[0])}]"
        except ValueError as error:
            raise _refused(url, "host: expected an IPv6 address in brackets", "check it") from error
    name = host.rstrip(".") if host.endswith(".") and not host.endswith("..") else host
    if not name.isascii():
        try:
            name = idna.encode(name, uts46=True).decode("ascii")
        except idna.IDNAError as error:
            raise _refused(url, f"host: expected a host name: {error}", "give it in its xn-- form") from error
    if not _HOST.fullmatch(name.lower()):
        raise _refused(url, f"host: expected a host name, got {_shown(host)}", "check its spelling")
    return name.lower()


def _refused(url: str, what: str, hint: str) -> UsageError:
    return UsageError(f"URL {_shown(url)}: {what}", code="E241", hint=hint)


def _shown(text: str) -> str:
    clipped = text if len(text) <= MAX_SHOWN_CHARS else text[:MAX_SHOWN_CHARS] + "..."
    return ascii(clipped) if not clipped.isprintable() else f"'{clipped}'"
