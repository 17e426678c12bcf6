"""The egress guard: which hosts and addresses a captured page may reach. Rules only, no I/O.

The address that is about to be dialled is checked, after resolution, so that a name that changes its
answer gains nothing. ``ipaddress.is_global`` is not a policy: it lets multicast, 6to4, NAT64 and cloud
metadata through; here every IPv6 address outside 2000::/3 is refused, and every IPv4 address that another
one carries is checked as well.

Source: RFC 6890 and the IANA special-purpose address registries; RFC 6052 (NAT64), RFC 8215 (local-use
NAT64), RFC 3056 (6to4), RFC 4380 (Teredo), RFC 6598 (shared address space).
"""

from __future__ import annotations

import functools
import ipaddress
import os
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from archiver.capture.recorder.resolve import ResolveRule, host_matches, normal_host, parse_resolve_rule
from archiver.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

GIB = 1024**3

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

UPSTREAM_SCHEMES = ("socks5://", "socks5h://", "http://")

DEFAULT_REFUSED_HOSTS = (
    "accounts.google.com",
    "android.clients.google.com",
    "clients1.google.com",
    "clients2.google.com",
    "clients3.google.com",
    "clients4.google.com",
    "clientservices.googleapis.com",
    "connectivitycheck.gstatic.com",
    "content-autofill.googleapis.com",
    "edgedl.me.gvt1.com",
    "mtalk.google.com",
    "optimizationguide-pa.googleapis.com",
    "redirector.gvt1.com",
    "safebrowsing.googleapis.com",
    "safebrowsing.google.com",
    "safebrowsingohttpgateway.googleapis.com",
    "update.googleapis.com",
    "*.gvt1.com",
    "*.gvt2.com",
)
"""The browser's own services, which no captured page has to do with."""

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")

# Metadata services give out the machine's credentials: allow_private does not open them.
_METADATA = frozenset(
    ipaddress.ip_address(text)
    for text in (
        "169.254.169.254",  # AWS, Azure, Google Cloud, OpenStack
        "169.254.170.2",  # AWS ECS
        "100.100.100.200",  # Alibaba
        "168.63.129.16",  # Azure
        "192.0.0.192",  # Oracle
        "fd00:ec2::254",  # AWS
        "fd20:ce::254",  # Google Cloud
    )
)

_NEVER = "unspecified", "broadcast", "multicast"
_LOCAL = "loopback", "private", "unique local", "site-local"

# The first entry that holds an address names it.
_CLASSES: tuple[tuple[Network, str], ...] = tuple(
    (ipaddress.ip_network(network), name)
    for network, name in (
        ("255.255.255.255/32", "broadcast"),
        ("0.0.0.0/8", "unspecified"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "shared (carrier-grade NAT)"),
        ("127.0.0.0/8", "loopback"),
        ("169.254.0.0/16", "link-local"),
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "reserved for protocol assignments"),
        ("192.0.2.0/24", "documentation"),
        ("192.88.99.0/24", "reserved (6to4 relay)"),
        ("192.168.0.0/16", "private"),
        ("198.18.0.0/15", "benchmark"),
        ("198.51.100.0/24", "documentation"),
        ("203.0.113.0/24", "documentation"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
        ("::/128", "unspecified"),
        ("::1/128", "loopback"),
        ("::ffff:0:0/96", ""),  # mapped IPv4: judged by what it carries
        ("64:ff9b::/96", ""),  # NAT64: likewise
        ("2001::/32", ""),  # Teredo: likewise
        ("2001::/23", "reserved for protocol assignments"),
        ("2001:db8::/32", "documentation"),
        ("2002::/16", ""),  # 6to4: likewise
        ("3fff::/20", "documentation"),
        ("2000::/3", ""),
        ("64:ff9b:1::/48", "local-use NAT64"),
        ("100::/64", "discard-only"),
        ("fc00::/7", "unique local"),
        ("fe80::/10", "link-local"),
        ("fec0::/10", "site-local"),
        ("ff00::/8", "multicast"),
        ("::/0", "reserved"),
    )
)

# Names that lead inside when somebody else resolves them; where we resolve, the address decides.
_INSIDE_NAMES = ("localhost", "*.localhost", "*.local", "*.internal", "*.lan", "*.home.arpa")


class BadPolicy(UsageError):
    """A relay policy that cannot be enforced as written."""


@dataclass(frozen=True, slots=True)
class RelayPolicy:
    """What one capture may reach, and how much of it.

    Args:
        resolve: Answers given in place of the resolver's; the first that matches wins.
        allow_private: Let loopback, private, unique local and site-local addresses through.
        allowed_addresses: Addresses or networks (``10.1.2.0/24``) that are let through whatever they are;
            unspecified, broadcast and multicast ones never are.
        refused_hosts: Names that are refused: exact, or ``*.suffix``.
        allowed_uids: Users whose processes may use the port. Empty: not checked.
        max_bytes_per_capture: Length of the wire file at which the capture is stopped.
        max_bytes_per_connection: Data of one direction at which one connection is closed.
        max_connections: Open at once; more are refused.
        connect_timeout_s: For resolving, and again for dialling all addresses of one name.
        upstream: None, or the URL of a proxy to dial through: ``socks5://`` gets the checked address,
            ``socks5h://`` and ``http://`` get the name and resolve it themselves, past the guard.
        resolver: Address of a name server to ask, with ``:PORT`` unless 53; None for the system's resolver.

    Raises:
        BadPolicy: A value that cannot be used.
    """

    resolve: tuple[ResolveRule, ...] = ()
    allow_private: bool = False
    allowed_addresses: tuple[str, ...] = ()
    refused_hosts: tuple[str, ...] = DEFAULT_REFUSED_HOSTS
    allowed_uids: tuple[int, ...] = field(default_factory=lambda: (os.getuid(),))
    max_bytes_per_capture: int = 2 * GIB
    max_bytes_per_connection: int = 2 * GIB
    max_connections: int = 512
    connect_timeout_s: float = 30.0
    upstream: str | None = None
    resolver: str | None = None

    def __post_init__(self) -> None:
        for text in self.allowed_addresses:
            try:
                ipaddress.ip_network(text)
            except ValueError:
                raise _bad("allowed_addresses", "an address or network", repr(text)) from None
        for name in self.__slots__:
            if name.startswith(("max_", "connect_")) and getattr(self, name) <= 0:
                raise _bad(name, "more than 0", str(getattr(self, name)))
        if self.upstream is not None and not self.upstream.startswith(UPSTREAM_SCHEMES):
            raise _bad("upstream", " or ".join(UPSTREAM_SCHEMES), repr(self.upstream.partition(":")[0]))

    def to_json(self) -> dict[str, Any]:
        """Return the policy as JSON values; ``from_json`` reads them back."""
        values = {name: getattr(self, name) for name in self.__slots__}
        return values | {"resolve": [str(rule) for rule in self.resolve]}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> RelayPolicy:
        """Read what ``to_json`` returned."""
        lists = {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
        rules = tuple(parse_resolve_rule(text) for text in values["resolve"])
        return cls(**{**values, **lists, "resolve": rules})


def check_host(host: str, policy: RelayPolicy) -> str | None:
    """Return why *host* is refused by its name, or None."""
    for pattern in policy.refused_hosts:
        if host_matches(pattern, host):
            return f"{normal_host(host)} is on the list of refused hosts ({pattern})"
    return None


def check_unseen_host(host: str, policy: RelayPolicy) -> str | None:
    """Return why *host* may not be handed to an upstream that resolves it, or None.

    Numbers in any form that ``inet_aton`` reads are checked as addresses; names that are local by
    convention, and names without a dot, are refused unless ``allow_private``.
    """
    name = normal_host(host)
    try:
        return check_address(socket.inet_ntoa(socket.inet_aton(name)), policy)
    except OSError:
        pass
    if ":" in name:
        return check_address(name, policy)
    inside = "." not in name or any(host_matches(pattern, name) for pattern in _INSIDE_NAMES)
    return f"{name} is a local name" if inside and not policy.allow_private else None


def check_address(ip: str, policy: RelayPolicy) -> str | None:
    """Return why *ip* may not be dialled, in plain words, or None when it may.

    Args:
        ip: Canonical IPv4 or IPv6 text, such as the resolver returns; a zone (``%eth0``) is ignored.
        policy: Whose ``allow_private`` and ``allowed_addresses`` apply.
    """
    try:
        forms = _forms(ipaddress.ip_address(ip.partition("%")[0]))
    except ValueError:
        return f"{ip[:60]!r} is not an IP address"
    classes = [_class_of(form) for form in forms]
    if worst := next((name for name in classes if name in _NEVER), None):
        return _reason(forms, worst)
    networks = _networks(policy.allowed_addresses)
    if any(form in network for form in forms for network in networks):
        return None
    if not _METADATA.isdisjoint(forms):
        return _reason(forms, "cloud metadata")
    for name in classes:
        if name and not (policy.allow_private and name in _LOCAL):
            return _reason(forms, name)
    return None


def _reason(forms: list[Address], name: str) -> str:
    carried = f" (carries {', '.join(map(str, forms[1:]))})" if len(forms) > 1 else ""
    return f"{forms[0]}{carried} is not a public address: {name}"


def _class_of(address: Address) -> str:
    return next((name for network, name in _CLASSES if address in network), "")


@functools.lru_cache(maxsize=64)
def _networks(texts: tuple[str, ...]) -> tuple[Network, ...]:
    return tuple(map(ipaddress.ip_network, texts))


def _forms(address: Address) -> list[Address]:
    """Return *address* and every IPv4 address that it carries."""
    if isinstance(address, ipaddress.IPv4Address):
        return [address]
    carried = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if address in _NAT64:
        carried.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return [address, *filter(None, carried)]


def _bad(name: str, expected: str, got: str) -> BadPolicy:
    return BadPolicy(
        f"relay policy: {name}: expected {expected}, got {got}", code="E213", hint="correct the setting"
    )
