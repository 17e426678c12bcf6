"""What is known before a page is loaded: tool, machine, clock, people, rules. In the record's own shape."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import importlib.metadata
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import ntplib
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from archiver.capture.behaviour_rules import scripts
from archiver.capture.recorder.resolve import parse_resolve_rule
from archiver.errors import UsageError
from archiver.identity import fixed_parts
from archiver.spool import utc_text
from archiver.version import tool_version
from manifests.beacon import Beacon, BeaconUnavailable, fetch_value
from manifests.record_process import Clock, LowerTimeBound

if TYPE_CHECKING:
    from archiver.capture.browser import BrowserFacts
    from archiver.config import Settings
    from archiver.incidents.register import Seed

NTP_TIMEOUT_S = 1
CLOCK_BUDGET_S = 2.5
"""For the whole question, names included; it runs while the browser starts."""
STORED_SESSION = "a stored login; its name is told in the annex alone"
_LIBRARIES = (
    "playwright",
    "warcio",
    "cryptography",
    "blake3",
    "hpack",
    "brotli",
    "zstandard",
    "rfc8785",
    "yt-dlp",
)


@functools.cache
def code_digest() -> str:
    """SHA-256 over what ``sha256sum`` prints of our own Python files, sorted by path.

    By hand, where the packages are installed:
    ``find archiver manifests storage -name '*.py' | LC_ALL=C sort | xargs sha256sum | sha256sum``
    """
    root = Path(__file__).parents[1]
    names = sorted(
        file.relative_to(root).as_posix()
        for package in ("archiver", "manifests", "storage")
        for file in (root / package).rglob("*.py")
    )
    lines = (f"{hashlib.sha256((root / name).read_bytes()).hexdigest()}  {name}\n" for name in names)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def ask_clock(servers: tuple[str, ...]) -> Clock:
    """Ask the first time server that answers for the offset of this machine's clock. Blocks some seconds."""
    if not servers:
        return Clock(checked=False, reason="no time server is set")
    asked = []
    for server in servers:
        try:
            answer = ntplib.NTPClient().request(server, version=4, timeout=NTP_TIMEOUT_S)
        except (ntplib.NTPException, OSError) as error:
            asked.append(f"{server}: {error}")
            continue
        return Clock(
            checked=True,
            server=server,
            checked_at=utc_text(datetime.now(UTC)),
            offset_ms=round(answer.offset * 1000),
            round_trip_ms=max(0, round(answer.delay * 1000)),
        )
    return Clock(checked=False, reason=f"no time server answered ({'; '.join(asked)[:500]})")


async def clock_in_time(servers: tuple[str, ...]) -> Clock:
    """Ask for the clock's offset, and give up rather than hold up the first capture."""
    try:
        return await asyncio.wait_for(asyncio.to_thread(ask_clock, servers), CLOCK_BUDGET_S)
    except TimeoutError:
        return Clock(checked=False, reason=f"no time server answered within {CLOCK_BUDGET_S} s")


async def lower_bound(settings: Settings) -> LowerTimeBound | None:
    """Fetch the fresh public value that the settings name; None when none is set or none can be had."""
    if not settings.not_before_source:
        return None
    beacon = Beacon(settings.not_before_source, settings.not_before_url)
    try:
        found = await asyncio.to_thread(fetch_value, beacon)
    except BeaconUnavailable:
        return None
    return LowerTimeBound(
        source=found.source,
        url=found.url,
        value=found.value,
        published_at=utc_text(found.published_at) if found.published_at else None,
        fetched_at=utc_text(found.fetched_at),
    )


def environment(settings: Settings, browser: BrowserFacts) -> dict[str, Any]:
    """The means of every capture of a run: programs, machine, browser and its settings."""
    view = settings.view
    return {
        "tool": {"name": "archiver", "version": tool_version(), "sha256": code_digest(), "path": None},
        "python_version": platform.python_version(),
        "libraries": [{"name": name, "version": importlib.metadata.version(name)} for name in _LIBRARIES],
        "operating_system": f"{platform.system()} {platform.release()}",
        "architecture": platform.machine(),
        "browser": {
            "name": browser.product,
            "version": browser.version,
            "sha256": browser.sha256,
            "path": browser.path,
        },
        "browser_flags": [*browser.flags],
        "headless": True,
        "viewport": {
            "width_px": view.width_px,
            "height_px": view.height_px,
            "scale_percent": view.scale_percent,
        },
        "locale": view.locale,
        "timezone": view.timezone,
        "languages": list(view.asks_for()),
        "user_agent": browser.user_agent,
        "scripts": list(scripts()) if settings.behaviours else [],
        "login_session": None,
        "vantage": settings.vantage,
        "vantage_country": settings.vantage_country or None,
        "vantage_place": settings.vantage_place or None,
    }


def _names_user(path: str) -> bool:
    """Tell whether a path leads through the home of a user, and so may tell a name."""
    return Path(path).is_relative_to(Path.home())


def extra_roots(files: tuple[str, ...]) -> list[dict[str, str]]:
    """Describe the certificate authorities that are trusted beside the browser's own.

    Raises:
        UsageError: E106, a file that holds no certificate.
    """
    found = []
    for name in files:
        try:
            certificate = x509.load_pem_x509_certificate(Path(name).read_bytes())
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "something else"
            raise UsageError(
                f"root certificate {name}: expected one X.509 certificate in PEM, got {reason}",
                code="E106",
                hint="give --ca a PEM file with one certificate",
            ) from error
        found.append(
            {
                "sha256": certificate.fingerprint(hashes.SHA256()).hex(),
                "subject": certificate.subject.rfc4514_string() or "no subject",
            }
        )
    return found


def resolve_rules(settings: Settings) -> list[dict[str, Any]]:
    """State the rules that stand in place of the name system."""
    rules = []
    for text in settings.resolve:
        rule = parse_resolve_rule(text)
        address = rule.address if rule.to_port is None else f"{rule.address} port {rule.to_port}"
        rules.append({"host": rule.host, "port": rule.port, "address": address})
    return rules


def seed_part(seed: Seed) -> dict[str, Any]:
    """State what was asked for, with its register row."""
    row = None
    if seed.line:
        row = {
            "register": seed.register,
            "register_sha256": seed.register_sha256,
            "line": seed.line,
            "cells": [{"column": column, "value": value} for column, value in seed.row.items()],
        }
    return {"url": seed.url, "role": seed.role or None, "note": seed.note or None, "row": row}


def request_of(
    seed: Seed,
    settings: Settings,
    means: dict[str, Any],
    clock: Clock,
    *,
    not_before: LowerTimeBound | None,
    requested_at: datetime,
    session: str = "",
) -> dict[str, Any]:
    """Put together what stands in ``request.json`` before the load.

    Args:
        seed: What is asked for.
        settings: Of the run.
        means: From ``environment``.
        clock: From ``ask_clock``.
        not_before: From ``lower_bound``.
        requested_at: Aware UTC.
        session: Name of the session that is used, or empty.
    """
    offset = datetime.now().astimezone().utcoffset()
    browser = means["browser"]
    hidden_path = browser["path"] if _names_user(browser["path"]) else ""
    told = browser | {"path": None if hidden_path else browser["path"]}
    return {
        "store": settings.store,
        "incident_ids": list(seed.incident_ids),
        "seed": seed_part(seed),
        "requested_at": utc_text(requested_at),
        "local_utc_offset_min": round(offset.total_seconds() / 60) if offset else 0,
        "clock": msgspec.to_builtins(clock),
        "not_before": msgspec.to_builtins(not_before),
        "environment": means | {"browser": told, "login_session": STORED_SESSION if session else None},
        "collector": {
            "staff_id": settings.actor,
            "organisation": settings.organisation or None,
        },
        **fixed_parts(settings, session, hidden_path),
        "statement": {
            "when": f"{utc_text(requested_at)} (UTC), by the clock of the machine",
            "by_whom": settings.by_whom or None,
            "conditions": settings.conditions or None,
            "circumstances": settings.circumstances or None,
            "purpose": settings.purpose or None,
        },
        "access": {"kind": "login" if session else "public"},
        "session_recipients": list(settings.session_recipients) if session else [],
        "origin": dict(seed.origin) or {"kind": "live"},
        "previous": None,
        "limits": msgspec.to_builtins(settings.limits),
        "upstream": _upstream(settings),
        "resolver": settings.resolver or None,
        "resolve_rules": resolve_rules(settings),
        "extra_roots": extra_roots(settings.ca_files),
        "private_network_allowed": settings.allow_private_network,
        "allowed_addresses": list(settings.allowed_addresses),
    }


def _upstream(settings: Settings) -> dict[str, Any] | None:
    if not settings.upstream:
        return None
    scheme = settings.upstream.partition("://")[0]
    return {"scheme": scheme, "label": settings.vantage, "resolves_names": scheme in {"socks5h", "http"}}
