"""The machinery that captures run on: one relay process and one browser, replaced when either is worn out.

A rig serves many captures. It is retired after ``CAPTURES_PER_BROWSER`` of them, or as soon as its browser
or relay has ended; whoever still captures on it finishes there, and the next capture gets a new one.
"""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Self

from playwright.async_api import Error as PlaywrightError
from playwright.async_api import async_playwright

from archiver.capture import browser as browsers
from archiver.capture.canary import ensure_fit
from archiver.capture.limits import Limits, View
from archiver.capture.processes import ProcessWatch
from archiver.capture.recorder.guard import RelayPolicy
from archiver.capture.recorder.relay_client import Relay

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path
    from types import TracebackType

    from playwright.async_api import Browser, Playwright

    from archiver.capture.browser import BrowserFacts, BrowserHome

CAPTURES_PER_BROWSER = 100
CLOSE_TIMEOUT_S = 10


class Rig:
    """One browser and one relay that belong together.

    Args:
        browser: Started, sandboxed.
        home: Where it lives.
        relay: Started.
        processes: Started; ends what of the browser takes too much.
    """

    def __init__(self, browser: Browser, home: BrowserHome, relay: Relay, processes: ProcessWatch) -> None:
        self.browser = browser
        self.home = home
        self.relay = relay
        self.processes = processes
        self.captures = 0
        self.users = 0

    @property
    def fit(self) -> bool:
        """Whether a new capture may begin on it: alive, not worn, and no earlier page that would not go."""
        clean = self.browser.is_connected() and len(self.browser.contexts) <= self.users
        return clean and not self.relay.ended and self.captures < CAPTURES_PER_BROWSER

    async def close(self) -> None:
        """End browser and relay, whatever state they are in, and leave no process behind."""
        await self.processes.close()
        with contextlib.suppress(PlaywrightError, TimeoutError):
            await asyncio.wait_for(self.browser.close(), CLOSE_TIMEOUT_S)
        await self.relay.close()
        await asyncio.to_thread(self.home.remove)


class Rigs:
    """Hands out rigs; an asynchronous context manager.

    Args:
        executable: The browser.
        facts: Of the browser; its flags and user agent are used.
        view: Gives the locale.
        extra_roots: Certificate files that the browser is to trust besides.
        limits: Budgets of the browser's processes.
        cache: Folder where it is remembered which browser builds passed the self-test.
    """

    def __init__(
        self,
        executable: Path,
        facts: BrowserFacts,
        view: View,
        extra_roots: tuple[Path, ...],
        *,
        limits: Limits,
        cache: Path,
    ) -> None:
        self._executable = executable
        self._facts = facts
        self._view = view
        self._extra_roots = extra_roots
        self._limits = limits
        self._cache = cache
        self._current: Rig | None = None
        self._retired: set[Rig] = set()
        self._turn = asyncio.Lock()
        self._driver = async_playwright()
        self._playwright: Playwright | None = None

    async def __aenter__(self) -> Self:
        self._playwright = await self._driver.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for rig in {*self._retired, *([self._current] if self._current else [])}:
            await rig.close()
        await self._driver.__aexit__(kind, error, trace)

    @asynccontextmanager
    async def one(self) -> AsyncIterator[Rig]:
        """Lend a rig for one capture.

        Raises:
            EnvironmentUnfit: The browser does not start, or does not pass its self-test.
        """
        async with self._turn:
            if self._current is None or not self._current.fit:
                await self._retire()
                self._current = await self._start()
            rig = self._current
            rig.captures += 1
            rig.users += 1
        try:
            yield rig
        finally:
            rig.users -= 1
            if rig in self._retired and not rig.users:
                self._retired.discard(rig)
                await rig.close()

    async def _retire(self) -> None:
        old, self._current = self._current, None
        if old is None:
            return
        if old.users:
            self._retired.add(old)
        else:
            await old.close()

    async def _start(self) -> Rig:
        assert self._playwright is not None
        relay = Relay()
        await relay.start()
        home = await asyncio.to_thread(browsers.BrowserHome, self._extra_roots)
        try:
            idle = RelayPolicy(refused_hosts=("*",), allowed_uids=(home.uid,))
            tape = await relay.open_tape(home.path / "idle.wire", idle)
            browser = await browsers.launch(
                self._playwright, home, self._executable, list(self._facts.flags), tape.port
            )
        except BaseException:
            await relay.close()
            home.remove()
            raise
        processes = ProcessWatch(str(home.keys), self._limits)
        processes.start()
        rig = Rig(browser, home, relay, processes)
        try:
            await ensure_fit(browser, home, relay, self._facts, self._cache)
        except BaseException:
            await rig.close()
            raise
        return rig


async def self_test(executable: Path, facts: BrowserFacts, cache: Path) -> None:
    """Start the browser, and put it to the test unless this build has passed it.

    Raises:
        EnvironmentUnfit: It does not start, or is refused.
    """
    async with Rigs(executable, facts, View(), (), limits=Limits(), cache=cache) as rigs, rigs.one():
        pass


def describe(executable: Path, cache: Path, view: View, user_agent: str) -> BrowserFacts:
    """Return what the record says of the browser.

    Args:
        executable: From ``find_browser``.
        cache: Folder where its digest is kept between runs.
        view: Gives the locale.
        user_agent: To send; empty for an ordinary one of this version.
    """
    product, version, digest = browsers.describe_browser(executable, cache / "browser.json")
    agent = user_agent or browsers.user_agent(version)
    return browsers.BrowserFacts(
        product=product,
        version=version,
        path=str(executable),
        sha256=digest,
        user_agent=agent,
        flags=tuple(browsers.switches(agent, view.locale)),
        sandbox="on",
    )


def policy_for(rig: Rig, policy: RelayPolicy) -> RelayPolicy:
    """Let only this rig's browser use the capture's port."""
    return replace(policy, allowed_uids=(rig.home.uid,))
