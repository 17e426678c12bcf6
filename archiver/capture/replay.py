"""Replays a package in replayweb.page with the network cut, and takes what a reader of it would see.

Viewer and package come from a server on loopback; every other address leads to a port where nobody listens.
Nothing is recorded: what is seen here is about the package, and is no evidence of the page.
"""

from __future__ import annotations

import asyncio
import contextlib
import html
import re
import threading
import time
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from playwright.async_api import Error as PlaywrightError
from playwright.async_api import async_playwright

from archiver.assets import REPLAY_UI, REPLAY_WORKER, asset
from archiver.capture import browser as browsers
from archiver.capture.page_scripts import SCROLL, TO_TOP
from archiver.errors import EnvironmentUnfit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.async_api import Browser, BrowserContext, Dialog, Frame, Page, Request

    from archiver.capture.browser import BrowserFacts
    from archiver.capture.limits import View

NOBODY_PORT = 1
"""TCPMUX, RFC 1078: nobody has served it for decades."""
READY_MS = 15_000
ATTEMPTS = 3
"""About one first load in five of the viewer is not ready in a fresh profile."""
QUIET_S = 0.7
SETTLE_S = 10
SCROLL_MS = 10_000
ANSWER_S = 15
FRAME_TIMEOUT_MS = 2_000
MAX_TEXT_CHARS = 4 * 1024 * 1024
MAX_FRAMES_READ = 100
MAX_REQUESTS = 20_000

_VIEWER = """<!doctype html><meta charset="utf-8"><title>replay</title>
<style>html, body {{ margin: 0; height: 100%; overflow: hidden }}
replay-web-page {{ display: block; height: 100% }}</style>
<script src="/replay/ui.js"></script>
<replay-web-page source="/capture.wacz" url="{url}" replaybase="/replay/" embed="replayonly">
</replay-web-page>
"""
_TEXT = f"document.body ? document.body.innerText.slice(0, {MAX_TEXT_CHARS}) : ''"
_IN_VIEWER = re.compile(r"/replay/w/[^/]+/(?::[0-9a-f]+/)?[0-9]*[a-z]{2}_/(?P<url>(?:https?|wss?)://.*)")
_ON_THE_WIRE = ("http://", "https://", "ws://", "wss://")


@dataclass(frozen=True, slots=True)
class Asked:
    """One request of the replayed page.

    Args:
        url: As the page asked for it, without the viewer's prefix.
        status: The viewer's answer; 0 where it gave none.
        inside: The viewer was asked; what is not inside was aimed past the package, at the network.
    """

    url: str
    status: int
    inside: bool


@dataclass(slots=True)
class Replayed:
    """What a replay showed.

    Args:
        screenshot: PNG of the window.
        text: Visible text of the page and of its frames.
        asked: Requests of the page, at most ``MAX_REQUESTS``.
    """

    screenshot: bytes = b""
    text: str = ""
    asked: list[Asked] = field(default_factory=list)


async def replay(executable: Path, facts: BrowserFacts, package: Path, url: str, view: View) -> Replayed:
    """Show the page *url* of *package*, a WACZ file, in a window like the one it was captured in.

    Args:
        executable: The browser.
        facts: Of it; its flags are used.
        package: In a folder of its own: what lies beside it is served as well.
        url: Of the page.
        view: Of the capture.

    Raises:
        EnvironmentUnfit: E119, the viewer is not on this machine; E114, it does not show the page.
    """
    flags = [flag for flag in facts.flags if not flag.startswith("--proxy-bypass-list")]
    flags.append("--proxy-bypass-list=127.0.0.1")
    home = await asyncio.to_thread(browsers.BrowserHome, ())
    try:
        with _served(package, url) as base:
            async with async_playwright() as playwright:
                browser = await browsers.launch(playwright, home, executable, flags, NOBODY_PORT)
                try:
                    return await _shown(browser, base, url, view)
                finally:
                    await browser.close()
    finally:
        await asyncio.to_thread(home.remove)


@contextlib.contextmanager
def _served(package: Path, url: str) -> Iterator[str]:
    """Serve the viewer and *package* on loopback; give the address."""
    with TemporaryDirectory(prefix="replay-") as name:
        folder = Path(name)
        (folder / "replay").mkdir()
        (folder / "index.html").write_text(_VIEWER.format(url=html.escape(url)), encoding="utf-8")
        (folder / "replay" / "ui.js").symlink_to(asset(REPLAY_UI))
        (folder / "replay" / "sw.js").symlink_to(asset(REPLAY_WORKER))
        (folder / "capture.wacz").symlink_to(package.absolute())
        server = _Server(("127.0.0.1", 0), partial(_Handler, directory=name))
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """Go on: the viewer breaks off loads as it likes."""


class _Handler(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Tell nobody."""


async def _shown(browser: Browser, base: str, url: str, view: View) -> Replayed:
    for _ in range(ATTEMPTS):
        context = await browser.new_context(
            viewport={"width": view.width_px, "height": view.height_px},
            device_scale_factor=view.scale_percent / 100,
            locale=view.locale,
            timezone_id=view.timezone,
            color_scheme="light",
            reduced_motion="reduce",
        )
        try:
            watch = _Watch(context, base)
            page = await context.new_page()
            await page.goto(f"{base}/index.html")
            if frame := await watch.frame_in(page):
                return await watch.look(page, frame)
        except (PlaywrightError, TimeoutError):
            continue
        finally:
            await context.close()
    raise EnvironmentUnfit(
        f"replay of {url[:200]}: expected the viewer to show the page, got nothing in {ATTEMPTS} tries",
        code="E114",
        hint="open the package at a replayweb.page of your own and look",
    )


class _Watch:
    """Listens to what one replay asks for."""

    def __init__(self, context: BrowserContext, base: str) -> None:
        self._base = base
        self._asked: list[Asked] = []
        self._moved_at = time.monotonic()
        context.on("response", lambda response: self._ended(response.request, response.status))
        context.on("requestfailed", self._failed)
        context.on("dialog", _dismiss)

    def _failed(self, request: Request) -> None:
        # What a page breaks off itself is no gap of the package.
        if request.failure != "net::ERR_ABORTED":
            self._ended(request, 0)

    def _ended(self, request: Request, status: int) -> None:
        self._moved_at = time.monotonic()
        url = request.url
        found = _IN_VIEWER.match(url.removeprefix(self._base)) if url.startswith(self._base) else None
        outside = not url.startswith(self._base) and url.startswith(_ON_THE_WIRE)
        if (found or outside) and len(self._asked) < MAX_REQUESTS:
            self._asked.append(Asked(found["url"] if found else url, status, inside=found is not None))

    async def frame_in(self, page: Page) -> Frame | None:
        """Return the frame that the page is replayed in, once it is loaded."""
        end = time.monotonic() + READY_MS / 1000
        while time.monotonic() < end:
            for frame in page.frames:
                if _IN_VIEWER.match(frame.url.removeprefix(self._base)):
                    with contextlib.suppress(PlaywrightError):  # a page may never say that it is loaded
                        await frame.wait_for_load_state("load", timeout=READY_MS)
                    return frame
            await asyncio.sleep(0.05)
        return None

    async def look(self, page: Page, frame: Frame) -> Replayed:
        """Do as a capture does: window first, then to the end and back, then the text."""
        await self._quiet()
        screenshot = await page.screenshot(timeout=ANSWER_S * 1000)
        async with asyncio.timeout(SCROLL_MS / 1000 + ANSWER_S):
            await frame.evaluate(SCROLL % {"height": 100_000, "budget": SCROLL_MS})
            await self._quiet()
            await frame.evaluate(TO_TOP)
            parts = [await frame.evaluate(_TEXT)]
        for inner in page.frames[:MAX_FRAMES_READ]:
            if inner != frame and _within(inner, frame):
                with contextlib.suppress(PlaywrightError):  # frames come and go
                    parts.append(await inner.inner_text("html", timeout=FRAME_TIMEOUT_MS))
        return Replayed(screenshot, "\n\n".join(parts), self._asked)

    async def _quiet(self) -> None:
        end = time.monotonic() + SETTLE_S
        while time.monotonic() < min(end, self._moved_at + QUIET_S):  # noqa: ASYNC110  # silence sets no event
            await asyncio.sleep(QUIET_S / 10)


def _within(inner: Frame, frame: Frame) -> bool:
    while (parent := inner.parent_frame) is not None:
        if parent == frame:
            return True
        inner = parent
    return False


async def _dismiss(dialog: Dialog) -> None:
    with contextlib.suppress(PlaywrightError):
        await dialog.dismiss()
