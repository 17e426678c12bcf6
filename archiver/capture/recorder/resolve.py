"""From a host name to addresses: the operator's resolve rules, then the system's or a named resolver."""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

from archiver.errors import UsageError

MAX_RULE_CHARS = 400
MAX_ADDRESSES = 16
"""Addresses of one name that are kept; a hostile zone can answer with thousands."""
MAX_CACHED_NAMES = 4096
CACHE_S = 60.0
"""As long as Chromium keeps an answer of the system resolver, which tells no TTL."""
RESOLVER_THREADS = 32
NAME_SERVER_S = 10.0
MAX_WORDS_CHARS = 300

_HOST = re.compile(r"\*|(?:\*\.)?[a-z0-9_-]+(?:\.[a-z0-9_-]+)*\.?")
_RULE = re.compile(
    r"(?P<host>[^:\[\]]+)(?::(?P<port>[0-9]+))?:(?P<address>\[[^\[\]]+\]|[^:\[\]]+)(?::(?P<to_port>[0-9]+))?"
)
_EAI_NAMES = {getattr(socket, name): name for name in dir(socket) if name.startswith("EAI_")}


class BadResolveRule(UsageError):
    """A resolve rule that cannot be read."""


class ResolveFailed(Exception):
    """The name has no address, as far as this machine can tell.

    Args:
        text: The resolver's own words.
        name: Its error name, such as ``EAI_NONAME``, or ``ETIMEDOUT``.
    """

    def __init__(self, text: str, name: str | None) -> None:
        super().__init__(text)
        self.text = text
        self.name = name


def normal_host(host: str) -> str:
    """Return *host* as names are compared: lower case, without the final dot."""
    return host.lower().removesuffix(".")


def host_matches(pattern: str, host: str) -> bool:
    """Tell whether *host* is *pattern*, or under it for ``*.suffix``; ``*`` is every host."""
    host = normal_host(host)
    return pattern in ("*", host) or (pattern.startswith("*.") and host.endswith(pattern[1:]))


@dataclass(frozen=True, slots=True)
class ResolveRule:
    """One answer that is given in place of the resolver's.

    Args:
        host: Lower-case name, ``*.suffix`` (names under it, not itself) or ``*``.
        port: The port asked for, or None for every port.
        address: IPv4 or IPv6 address to dial, without brackets.
        to_port: Port to dial instead, or None for the port asked for.
    """

    host: str
    port: int | None
    address: str
    to_port: int | None = None

    def match(self, host: str, port: int) -> bool:
        """Tell whether this rule answers for *host* and *port*."""
        return self.port in (None, port) and host_matches(self.host, host)

    def __str__(self) -> str:
        port = "" if self.port is None else f":{self.port}"
        to_port = "" if self.to_port is None else f":{self.to_port}"
        address = f"[{self.address}]" if ":" in self.address else self.address
        return f"{self.host}{port}:{address}{to_port}"


def parse_resolve_rule(text: str) -> ResolveRule:
    """Read ``HOST[:PORT]:ADDRESS[:PORT]``.

    As curl's ``--resolve`` and ``--connect-to`` taken together: HOST may be ``*`` or ``*.suffix``, the last
    PORT is the port to dial. An IPv6 address stands in brackets, or bare when no port follows it and
    its first group cannot be taken for a port.

    Raises:
        BadResolveRule: It says which part is wrong.
    """
    if len(text) > MAX_RULE_CHARS:
        raise _bad(text, f"at most {MAX_RULE_CHARS} characters", f"{len(text)}")
    parts = _split_rule(text)
    if parts is None:
        raise _bad(text, "HOST[:PORT]:ADDRESS[:PORT]", f"{text[:60]!r}")
    host, port, address, to_port = parts
    if not _HOST.fullmatch(host.lower()):
        raise _bad(text, "an ASCII host name, *.suffix or *", f"{host[:60]!r}")
    try:
        dialled = str(ipaddress.ip_address(address.strip("[]")))
    except ValueError:
        dialled = "%"
    if "%" in dialled:
        raise _bad(text, "an IPv4 or IPv6 address without a zone", f"{address[:60]!r}")
    return ResolveRule(normal_host(host), _port(text, port), dialled, _port(text, to_port))


def _split_rule(text: str) -> tuple[str, str | None, str, str | None] | None:
    if parts := _RULE.fullmatch(text):
        return parts["host"], parts["port"], parts["address"], parts["to_port"]
    host, _, rest = text.partition(":")
    port, _, after_port = rest.partition(":")
    readings: list[tuple[str, str | None, str, str | None]] = []
    if _is_ipv6(rest):
        readings.append((host, None, rest, None))
    if port.isdecimal() and _is_ipv6(after_port):
        readings.append((host, port, after_port, None))
    if len(readings) > 1:
        raise _bad(text, "brackets around the IPv6 address", f"{rest[:60]!r}, which begins like a port")
    return readings[0] if readings else None


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def _port(text: str, digits: str | None) -> int | None:
    if digits is None:
        return None
    if not (len(digits) <= 5 and 1 <= int(digits) <= 65535):
        raise _bad(text, "a port from 1 to 65535", digits[:60])
    return int(digits)


def _bad(text: str, expected: str, got: str) -> BadResolveRule:
    return BadResolveRule(
        f"resolve rule {text[:60]!r}: not readable: expected {expected}, got {got}",
        code="E212",
        hint="write it like example.org:443:93.184.215.14 or *.example.org:[2001:db8::1]",
    )


def ask_system(host: str) -> list[str]:
    """Return the addresses that the system's resolver gives; raises ``socket.gaierror``."""
    # Bytes keep Python's IDNA codec away from a name that the browser has already encoded.
    found = socket.getaddrinfo(host.encode("ascii"), None, 0, socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


class NameServer:
    """Asks one name server for IPv4 and IPv6 addresses; called like ``ask_system``.

    Args:
        text: As of ``parse_name_server``.
    """

    def __init__(self, text: str) -> None:
        from dns.resolver import Resolver as Asker  # noqa: PLC0415 - not loaded where none is set

        self._asker = Asker(configure=False)
        address, self._asker.port = parse_name_server(text)
        self._asker.nameservers = [address]
        self._asker.lifetime = NAME_SERVER_S

    def __call__(self, host: str) -> list[str]:
        """Return the addresses of *host*; raises ``ResolveFailed``."""
        from dns.exception import DNSException  # noqa: PLC0415 - as above

        try:
            if address := _literal(host):
                return [address]
            return list(self._asker.resolve_name(f"{host}.", socket.AF_UNSPEC).addresses())
        except DNSException as error:
            raise ResolveFailed(str(error)[:MAX_WORDS_CHARS], type(error).__name__) from error


def _literal(host: str) -> str:
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return ""


class Answer(NamedTuple):
    """What the system resolver said.

    Args:
        addresses: In its order, distinct, at most ``MAX_ADDRESSES``.
        took_ms: How long it took.
        cached: True when the answer is one from up to ``CACHE_S`` before.
    """

    addresses: list[str]
    took_ms: float
    cached: bool


def parse_name_server(text: str) -> tuple[str, int]:
    """Read ``ADDRESS``, ``IPV4:PORT`` or ``[IPV6]:PORT`` of a name server.

    Raises:
        BadResolveRule: It is none of them.
    """
    address, port = text, "53"
    if text.startswith("["):
        address, _, port = text[1:].partition("]")
        port = port.removeprefix(":") or "53"
    elif text.count(":") == 1:
        address, _, port = text.partition(":")
    try:
        return str(ipaddress.ip_address(address)), _port(text, port if port.isdecimal() else "0") or 53
    except ValueError:
        raise BadResolveRule(
            f"name server {text[:60]!r}: not readable: expected its IP address, got something else",
            code="E212",
            hint="write it like 9.9.9.9 or [2620:fe::fe]:53",
        ) from None


class Resolver:
    """Asks in threads, one question per name at a time, and keeps answers for a minute.

    Failures are not kept: the browser asks again when it wants to know again.

    Args:
        name_server: To ask in place of the system's resolver, as of ``parse_name_server``.
    """

    def __init__(self, name_server: str | None = None) -> None:
        self._look_up = NameServer(name_server) if name_server else ask_system
        self._threads = ThreadPoolExecutor(RESOLVER_THREADS, thread_name_prefix="resolver")
        self._answers: dict[str, tuple[float, Answer]] = {}
        self._asking: dict[str, asyncio.Task[Answer]] = {}

    async def resolve(self, host: str, timeout_s: float) -> Answer:
        """Return the addresses of *host*.

        Raises:
            ResolveFailed: With the resolver's exact words.
        """
        key = normal_host(host)
        at, answer = self._answers.get(key, (0.0, None))
        if answer and time.monotonic() - at < CACHE_S:
            return answer._replace(took_ms=0.0, cached=True)
        task = self._asking.get(key)
        if task is None:
            task = self._asking[key] = asyncio.create_task(self._ask(key))
            task.add_done_callback(lambda done: self._asked(key, done))
        try:
            async with asyncio.timeout(timeout_s):
                return await asyncio.shield(task)
        except TimeoutError:
            text = f"no answer from the resolver within {timeout_s:.0f} s"
            raise ResolveFailed(text, "ETIMEDOUT") from None

    def close(self) -> None:
        """Let go of the threads, without waiting for questions that are still open."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _asked(self, key: str, task: asyncio.Task[Answer]) -> None:
        del self._asking[key]
        if not task.cancelled():
            task.exception()  # looked at, so that asyncio does not warn when every asker has left

    async def _ask(self, host: str) -> Answer:
        started = time.monotonic()
        loop = asyncio.get_running_loop()
        try:
            found = await loop.run_in_executor(self._threads, self._look_up, host)
        except socket.gaierror as error:
            raise ResolveFailed(str(error), _EAI_NAMES.get(error.errno)) from error
        addresses = list(dict.fromkeys(found))[:MAX_ADDRESSES]
        answer = Answer(addresses, round((time.monotonic() - started) * 1000, 3), cached=False)
        if len(self._answers) >= MAX_CACHED_NAMES:
            self._answers.pop(next(iter(self._answers)))
        self._answers[host] = (time.monotonic(), answer)
        return answer
