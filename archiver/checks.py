"""Checks of the machine: browser, store, room, clock, fonts. Each says what works and what to do if not."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import ntplib

from archiver.config import Settings, cache_folder
from archiver.errors import ArchiverError
from archiver.stores import rule_of
from storage.errors import StoreError
from storage.folder import FolderStore
from storage.open import open_store

GIB = 1024**3
LOW_ROOM_BYTES = 5 * GIB
NO_ROOM_BYTES = GIB // 2
CLOCK_TIMEOUT_S = 3
LARGE_OFFSET_S = 1.0
FONTS = {
    "Russian": ("lang=ru", "fonts-noto-core"),
    "Kazakh": ("lang=kk", "fonts-noto-core"),
    "Arabic": ("lang=ar", "fonts-noto-core"),
    "Chinese": ("lang=zh-cn", "fonts-noto-cjk"),
    "Japanese": ("lang=ja", "fonts-noto-cjk"),
    "Korean": ("lang=ko", "fonts-noto-cjk"),
    "emoji": ("charset=1f600", "fonts-noto-color-emoji"),
}
"""What pages are written in: what fontconfig is asked, and the package that brings the font on Debian."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at.

    Args:
        name: What.
        state: ``works``, ``warning`` or ``fails``; only the last keeps captures from being made.
        found: In what condition it is.
        todo: One thing to do, or empty.
    """

    name: str
    state: Literal["works", "warning", "fails"]
    found: str
    todo: str = ""


def check_machine(settings: Settings) -> list[Check]:
    """Look at everything a capture needs; only buckets and the cache are written to. No error ends others."""
    first, *others = (check(settings) for check in _CHECKS)
    return [first, *_stores(settings), *others]


def _browser(settings: Settings) -> Check:
    try:
        # Here, so that the other checks also run where Playwright is not installed.
        from archiver.capture.browser import describe_browser, find_browser  # noqa: PLC0415
    except ImportError as error:
        return Check("browser", "fails", f"the Playwright library: {error}", "pip install playwright")
    try:
        path = find_browser(settings.browser or None)
        product, version, digest = describe_browser(path, cache_folder() / "browsers.json")
    except ArchiverError as error:
        return Check("browser", "fails", error.message, error.hint)
    return Check("browser", "works", f"{product} {version}, {path}, sha256 {digest[:16]}...")


def _self_test(settings: Settings) -> Check:
    try:
        from archiver.capture.browser import find_browser  # noqa: PLC0415
        from archiver.capture.canary import passed_at  # noqa: PLC0415
        from archiver.capture.rig import describe, self_test  # noqa: PLC0415
    except ImportError:
        return Check("self-test", "warning", "not done without Playwright")
    try:
        executable = find_browser(settings.browser or None)
        facts = describe(executable, cache_folder(), settings.view, settings.user_agent)
        asyncio.run(self_test(executable, facts, cache_folder()))
    except ArchiverError as error:
        return Check("self-test", "fails", error.message, error.hint)
    passed = passed_at(facts.sha256, cache_folder())
    return Check("self-test", "works", f"every byte of a known page was recorded with this build at {passed}")


def _stores(settings: Settings) -> list[Check]:
    """Check each store by itself; one of several may be away as long as a quorum is there."""
    urls = settings.stores or (settings.store,)
    checks = [_store(settings, url) for url in urls]
    if not settings.stores:
        return checks
    usable = sum(one.state != "fails" for one in checks)
    rule = f"a capture is preserved when {settings.quorum} of {len(urls)} stores have confirmed it"
    if usable < settings.quorum:
        todo = "bring more of the stores back, or nothing can be captured"
        return [*checks, Check("copies", "fails", f"{rule}; {usable} can be used", todo)]
    away = "; the others will be caught up by `archiver store sync`" if usable < len(urls) else ""
    checks = [replace(one, state="warning") if one.state == "fails" else one for one in checks]
    return [*checks, Check("copies", "works", f"{rule}; {usable} can be used{away}")]


def _store(settings: Settings, url: str) -> Check:
    try:
        store = open_store(url, rule_of(settings))
        if isinstance(store, FolderStore):
            return _folder(store.root)
        next(iter(store.list("captures/")), None)
        kept = store.capabilities
    except StoreError as error:
        return Check("store", "fails", error.message, error.hint)
    if not kept.conditional_writes:
        todo = "write to it from one machine only, or use a server that knows If-None-Match"
        return Check("store", "warning", f"{store.url}: racing writers are not told apart", todo)
    if not kept.retention and settings.retention.mode != "none":
        todo = "use a bucket made by `archiver store init`, or set retention.mode to none"
        return Check("store", "warning", f"{store.url}: has no Object Lock, so nothing is retained", todo)
    return Check("store", "works", f"{store.url}: can be read, and tells racing writers apart")


def _folder(root: Path) -> Check:
    place = root if root.exists() else root.absolute().parent
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        todo = "choose another folder with --store, or change its owner"
        return Check("store", "fails", f"{root}: expected a folder that can be written, got none", todo)
    made = "" if root.exists() else ", will be made by the first capture"
    return _room("store", root, place, made)


def _spool(settings: Settings) -> Check:
    spool = Path(settings.spool)
    place = next(folder for folder in (spool.absolute(), *spool.absolute().parents) if folder.exists())
    if not os.access(place, os.W_OK | os.X_OK):
        todo = "set `spool` to a folder of your own"
        return Check("spool", "fails", f"{spool}: expected a folder that can be written, got none", todo)
    return _room("spool", spool, place, "")


def _room(name: str, folder: Path, place: Path, remark: str) -> Check:
    free = shutil.disk_usage(place).free
    found = f"{folder}: {free / GIB:.1f} GiB free{remark}"
    if free >= LOW_ROOM_BYTES:
        return Check(name, "works", found)
    state: Literal["warning", "fails"] = "warning" if free >= NO_ROOM_BYTES else "fails"
    return Check(name, state, found, "free space, or choose another disk")


def _clock(settings: Settings) -> Check:
    if not settings.ntp_servers:
        todo = "set `ntp_servers`, so that records state how right the clock is"
        return Check("clock", "warning", "no time server is set; records will say: not checked", todo)
    problems = []
    for server in settings.ntp_servers:
        host, _, port = server.partition(":")
        try:
            answer = ntplib.NTPClient().request(
                host, port=int(port or 123), version=4, timeout=CLOCK_TIMEOUT_S
            )
        except (ntplib.NTPException, OSError, ValueError) as error:
            problems.append(f"{server}: {error}")
            continue
        found = f"{answer.offset:+.3f} s off by {server}"
        if abs(answer.offset) <= LARGE_OFFSET_S:
            return Check("clock", "works", found)
        return Check("clock", "warning", found, "let the system set its clock: `timedatectl set-ntp true`")
    return Check("clock", "warning", "; ".join(problems), "let UDP port 123 through, or set other servers")


def _fonts(_settings: Settings) -> Check:
    missing = {}
    for script, (pattern, package) in FONTS.items():
        try:
            answer = subprocess.run(
                ["fc-list", f":{pattern}", "family"], capture_output=True, timeout=20, check=True
            )
        except (OSError, subprocess.SubprocessError):
            return Check(
                "fonts", "warning", "fc-list does not answer: fonts not checked", "apt install fontconfig"
            )
        if not answer.stdout.strip():
            missing[script] = package
    if missing:
        found = f"no font for {', '.join(missing)}: screenshots will show boxes"
        return Check("fonts", "warning", found, f"apt install {' '.join(dict.fromkeys(missing.values()))}")
    return Check("fonts", "works", f"there are fonts for {', '.join(FONTS)}")


_CHECKS: tuple[Callable[[Settings], Check], ...] = (_browser, _self_test, _spool, _clock, _fonts)
