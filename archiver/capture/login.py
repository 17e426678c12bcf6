"""A browser window in which a person logs in, through the same guarded relay as captures.

Nothing of it is recorded: the wire file lies in the browser's own home and is deleted with it. The window
presents itself as captures of these settings do, since a site may tie a session to that.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from playwright.async_api import Error as PlaywrightError
from playwright.async_api import Page, async_playwright

from archiver.capture import browser as browsers
from archiver.capture.recorder.relay_client import Relay
from archiver.errors import EnvironmentUnfit

if TYPE_CHECKING:
    from archiver.capture.browser import BrowserFacts
    from archiver.capture.limits import View
    from archiver.capture.recorder.guard import RelayPolicy

Until = Callable[[Page], Awaitable[None]]


async def log_in(  # noqa: PLR0917  # what a browser needs, once
    url: str,
    executable: Path,
    facts: BrowserFacts,
    view: View,
    extra_roots: tuple[Path, ...],
    policy: RelayPolicy,
    until: Until,
) -> dict[str, Any]:
    """Open *url* in a window, wait for *until*, and return what the browser then holds (``storageState``).

    Args:
        url: Checked, http or https.
        executable: The browser.
        facts: Of it.
        view: As in captures.
        extra_roots: Trusted besides.
        policy: What the relay may dial; the users it lets in are set here.
        until: Returns when the login is done, one way or another.

    Raises:
        EnvironmentUnfit: E146, there is no display; E147, the window was lost before its state was read.
    """
    if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise EnvironmentUnfit(
            "login window: expected a display, got none",
            code="E146",
            hint="run it in a desktop session, or under `xvfb-run` with a viewer",
        )
    home = browsers.BrowserHome(extra_roots)
    try:
        async with async_playwright() as driver, Relay() as relay:
            tape = await relay.open_tape(home.path / "login.wire", replace(policy, allowed_uids=(home.uid,)))
            window = await browsers.launch(
                driver, home, executable, list(facts.flags), tape.port, headless=False
            )
            try:
                return await _visit(window, url, view, tape.port, until)
            finally:
                await window.close()
    except PlaywrightError as error:
        raise EnvironmentUnfit(
            f"login window: expected it to stay open, got {str(error).splitlines()[0][:200]}",
            code="E147",
            hint="log in, then say so before the whole browser is closed",
        ) from error
    finally:
        home.remove()


async def _visit(window: Any, url: str, view: View, port: int, until: Until) -> dict[str, Any]:
    context = await window.new_context(
        proxy={"server": f"socks5://127.0.0.1:{port}"},
        viewport={"width": view.width_px, "height": view.height_px},
        locale=view.locale,
        timezone_id=view.timezone,
    )
    page = await context.new_page()
    await page.goto(url, wait_until="commit")
    await until(page)
    state: dict[str, Any] = await context.storage_state(indexed_db=True)
    return state
