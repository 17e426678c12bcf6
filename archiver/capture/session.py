"""One capture: one page load in a fresh context, recorded by a relay tape of its own.

``capture`` never raises for what a page or a server does: whatever happened is written to
``observed.json`` in the spool, and what could not be had is named there as a problem. It raises only
when the capture itself cannot go on (disk full, browser gone before it began).
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import shutil
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from playwright.async_api import Error as PlaywrightError

from archiver.capture.activity import Activity
from archiver.capture.brake import STOP_TIMEOUT_S, Brake
from archiver.capture.exhibits import ExhibitFacts, ExhibitMaker, ExhibitTooLarge, IsolatedWorld
from archiver.capture.failure_sheet import render_sheet
from archiver.capture.page_scripts import PAGE_FACTS, SCROLL, TO_TOP
from archiver.spool import Spool, utc_text

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from playwright.async_api import Browser, BrowserContext, CDPSession, Download, Page, Request

    from archiver.capture.browser import BrowserHome
    from archiver.capture.limits import Limits, View
    from archiver.capture.memory import MemoryWatch
    from archiver.capture.recorder.guard import RelayPolicy
    from archiver.capture.recorder.relay_client import Tape
    from archiver.capture.recorder.tape import TapeStatus
    from archiver.capture.rig import Rig

    Making = Callable[[], Awaitable[ExhibitFacts | list[ExhibitFacts]]]

QUIET_MS = 300
"""Silence that counts as loaded. Playwright's own network idle is 500; the second wait after scrolling
makes up for the difference."""

MAX_DOWNLOADS_LISTED = 100

Observed = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Job:
    """What one capture needs to know.

    Args:
        spool: Its folder; the request is written already.
        url: Checked, http or https.
        view: How the browser presents itself.
        limits: Budgets.
        policy: What the relay may dial.
    """

    spool: Spool
    url: str
    view: View
    limits: Limits
    policy: RelayPolicy


async def capture(rig: Rig, job: Job) -> None:
    """Capture one page into its spool; ``observed.json`` is there when this returns."""
    tape = await rig.relay.open_tape(job.spool.wire, job.policy)
    session = _Session(rig.browser, rig.home, rig.memory, job, tape)
    try:
        await session.run()
    except BaseException:  # cancelled, or the relay was lost: what is there is kept as interrupted
        session.seen.setdefault("crashed", "the capture was broken off")
        raise
    finally:
        await session.end()


@dataclass
class _Session:
    browser: Browser
    home: BrowserHome
    memory: MemoryWatch
    job: Job
    tape: Tape
    seen: Observed = field(default_factory=dict)
    exhibits: list[ExhibitFacts] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    actions: list[dict[str, Any]] = field(default_factory=list)
    limits_reached: list[str] = field(default_factory=list)
    downloads: list[dict[str, str]] = field(default_factory=list)
    unanswered: int = 0
    context: BrowserContext | None = None
    activity: Activity | None = None
    brake: Brake | None = None
    watches: list[asyncio.Task[None]] = field(default_factory=list)
    loaded: asyncio.Event = field(default_factory=asyncio.Event)
    ending: bool = False
    ended_before: int = 0
    step_started: float = field(default_factory=time.monotonic)
    step_started_at: str = field(default_factory=lambda: utc_text(datetime.now(UTC)))

    async def run(self) -> None:
        self.seen["started_at"] = utc_text(datetime.now(UTC))
        self.ended_before = self.memory.ended_count
        try:
            async with asyncio.timeout(self.job.limits.total_ms / 1000):
                await self._observe()
        except TimeoutError:
            self._over("total_ms", f"total: expected an end within {self.job.limits.total_ms} ms, got none")
        except PlaywrightError as error:
            self.seen.setdefault("crashed", _clean(error))

    async def _observe(self) -> None:
        self.context = await self.browser.new_context(
            proxy={"server": f"socks5://127.0.0.1:{self.tape.port}"},
            viewport={"width": self.job.view.width_px, "height": self.job.view.height_px},
            device_scale_factor=self.job.view.scale_percent / 100,
            locale=self.job.view.locale,
            timezone_id=self.job.view.timezone,
            color_scheme="light",
            reduced_motion="reduce",
            accept_downloads=True,
        )
        self.activity = Activity(self.context, self.job.limits)
        page = await self.context.new_page()
        page.on("download", self._downloaded)
        page.on("crash", lambda _: self._lost("the page's process crashed"))
        page.on("close", lambda _: self._lost("the page closed itself"))
        cdp = await self.context.new_cdp_session(page)
        self.brake = Brake(cdp)
        self.watches += [
            asyncio.create_task(self._stop_with_the_tape(self.activity)),
            asyncio.create_task(self._stop_over_budget(self.activity, self.brake)),
        ]
        cdp.on("Security.visibleSecurityStateChanged", self._security)
        await cdp.send("Security.enable")
        await self._load(page)
        if "crashed" in self.seen:
            return
        if "load_error" in self.seen:
            await self._exhibits_of_a_failure(page, cdp)
        else:
            await self._exhibits_of_a_page(page, cdp)

    async def _stop_with_the_tape(self, activity: Activity) -> None:
        """Wait no longer for a page whose recording has ended: by its budget, a full disk, a lost relay."""
        await self.tape.stopped.wait()
        activity.over_budget.set()

    async def _stop_over_budget(self, activity: Activity, brake: Brake) -> None:
        """Stop a page that has used up a budget, and take what it shows then."""
        await activity.over_budget.wait()
        activity.close_popups()
        await brake.stop()
        self.loaded.set()

    def _lost(self, how: str) -> None:
        """Take note that there is no page any more; one that closed because we end is none of these."""
        if not self.ending:
            self.seen.setdefault("crashed", how)
            self.loaded.set()

    async def _load(self, page: Page) -> None:
        """Navigate and wait for the load event, or for the document to break off in the middle."""
        page.on("load", lambda _: self.loaded.set())
        page.on("requestfailed", lambda request: self._broke_off(page, request))
        try:
            async with asyncio.timeout(self.job.limits.load_ms / 1000):
                response = await page.goto(self.job.url, wait_until="commit", timeout=0)
                if response is not None:
                    self.seen["status"] = response.status
                await self.loaded.wait()
        except TimeoutError:
            self._over("load_ms", f"load: expected the end within {self.job.limits.load_ms} ms, got none")
        except PlaywrightError as error:
            if not self.downloads and "crashed" not in self.seen:
                self.seen["load_error"] = _clean(error)
        self._step("navigate", self.job.url)

    def _broke_off(self, page: Page, request: Request) -> None:
        """Chromium shows what it has of a document that broke off, and never says that it is loaded."""
        # A page that navigates on aborts its own document: that is its doing, and no break.
        is_document = request.is_navigation_request() and request.frame == page.main_frame
        if is_document and "status" in self.seen and request.failure != "net::ERR_ABORTED":
            self.seen["broken_off"] = request.failure or "failed"
            self.problems.append(f"document: expected it whole, got {self.seen['broken_off']}")
            self.loaded.set()

    async def _exhibits_of_a_page(self, page: Page, cdp: CDPSession) -> None:
        limits = self.job.limits
        maker = ExhibitMaker(page, cdp, self.job.spool.exhibits, self.job.view, limits)
        await self._settle("settle")
        await self._hold()
        await self._take("screenshot-viewport", maker.viewport)
        self._step("screenshot-viewport")
        height = await self._scroll(cdp)
        if height:
            width = self.job.view.width_px
            await self._take("screenshot-full", lambda: maker.full_page(width, height))
        self._step("screenshot-full")
        await asyncio.gather(
            self._take("mhtml", maker.mhtml), self._take("dom", maker.dom), self._take("text", maker.text)
        )
        self._step("documents", "MHTML, DOM and text")
        await self._take("pdf", maker.pdf)
        self._step("print", "A4 with backgrounds")
        self.seen["final_url"] = page.url
        with contextlib.suppress(PlaywrightError, TimeoutError):
            self.seen["page"] = await asyncio.wait_for(IsolatedWorld(cdp).evaluate(PAGE_FACTS), 2)

    async def _hold(self) -> None:
        """Keep the page at its document, so that every exhibit shows the same one."""
        assert self.brake is not None
        try:
            await asyncio.wait_for(self.brake.hold(), STOP_TIMEOUT_S)
        except (PlaywrightError, TimeoutError) as error:
            self.problems.append(f"hold: expected the browser to keep the document, got {_clean(error)}")

    async def _exhibits_of_a_failure(self, page: Page, cdp: CDPSession) -> None:
        """The browser's own error page, as a visitor saw it; our sheet with what is known comes later."""
        with contextlib.suppress(PlaywrightError):
            await page.wait_for_url("chrome-error://**", wait_until="load", timeout=2_000)
        maker = ExhibitMaker(page, cdp, self.job.spool.exhibits, self.job.view, self.job.limits)
        await self._take("screenshot-viewport", maker.viewport)
        self._step("screenshot-viewport", "the browser's own error page")

    async def _settle(self, name: str) -> None:
        assert self.activity is not None
        budget = self.job.limits.settle_ms
        if not await self.activity.quiet(QUIET_MS, budget, self._received):
            self._over("settle_ms", f"{name}: expected a quiet network within {budget} ms, got traffic")
        self._copy_keys()
        self._step("wait", f"until {QUIET_MS} ms passed without traffic ({name})")

    async def _scroll(self, cdp: CDPSession) -> int:
        """Scroll to the end and back so that lazy content is there; return the page's height, CSS pixels.

        A page that was stopped is not scrolled: its timers are dead, and nothing would be loaded.
        """
        limits = self.job.limits
        assert self.brake is not None
        try:
            if not self.brake.stopped:
                await self._scroll_down(IsolatedWorld(cdp))
            metrics = await asyncio.wait_for(cdp.send("Page.getLayoutMetrics"), 5)
        except (PlaywrightError, TimeoutError, TypeError, KeyError) as error:
            self.problems.append(f"scroll: expected the page to answer, got {_clean(error)}")
            self.unanswered += 1
            return 0
        height = int(metrics["cssContentSize"]["height"])
        self.seen["page_height_px"] = height
        if height > limits.page_height_px:
            problem = f"screenshot-full: expected at most {limits.page_height_px} px, got {height}"
            self._over("page_height_px", problem)
        scale = self.job.view.scale_percent / 100
        affordable = int(limits.screenshot_px / (self.job.view.width_px * scale * scale))
        if min(height, limits.page_height_px) > affordable:
            problem = f"screenshot-full: expected at most {limits.screenshot_px} device pixels, got more"
            self._over("screenshot_px", problem)
        return min(height, limits.page_height_px, affordable)

    async def _scroll_down(self, world: IsolatedWorld) -> None:
        limits = self.job.limits
        script = SCROLL % {"height": limits.page_height_px, "budget": limits.scroll_ms}
        try:
            facts = await asyncio.wait_for(world.evaluate(script), limits.scroll_ms / 1000 + 5)
        except TimeoutError:
            await self._stop_unanswering("scroll", "scroll_ms")
            return
        if facts["stopped_early"]:
            self._over("scroll_ms", f"scroll: expected the end within {limits.scroll_ms} ms, got more page")
        if facts["steps"]:
            self._step("scroll", f"{facts['steps']} steps to {facts['reached']} px, then back to the top")
            await self._settle("settle-after-scroll")
            await asyncio.wait_for(world.evaluate(TO_TOP), 5)

    async def _take(
        self, name: str, make: Callable[[], Awaitable[ExhibitFacts | list[ExhibitFacts]]]
    ) -> None:
        """Add one exhibit, or say why it is missing. A page that twice gave no answer is not asked again."""
        assert self.brake is not None
        if self.unanswered > 1:
            self.problems.append(f"{name}: not taken, the page no longer answers")
            return
        try:
            made = await self._in_time(name, make, again=not self.brake.stopped)
        except TimeoutError:
            self.unanswered += 1
            self.problems.append(f"{name}: expected within {self.job.limits.exhibit_ms} ms, got no answer")
        except (PlaywrightError, ExhibitTooLarge) as error:
            self.problems.append(f"{name}: expected the browser to hand it over, got {_clean(error)}")
        else:
            self.exhibits += made if isinstance(made, list) else [made]

    async def _in_time(self, name: str, make: Making, *, again: bool) -> ExhibitFacts | list[ExhibitFacts]:
        """Make one exhibit; a page too busy for it has its scripts stopped and is asked once more."""
        budget_s = self.job.limits.exhibit_ms / 1000
        try:
            return await asyncio.wait_for(make(), budget_s)
        except TimeoutError:
            if not again:
                raise
        await self._stop_unanswering(name, "exhibit_ms")
        return await asyncio.wait_for(make(), budget_s)

    async def _stop_unanswering(self, name: str, limit: str) -> None:
        assert self.brake is not None
        allowed = getattr(self.job.limits, limit)
        self._over(limit, f"scripts: stopped, the page gave no answer for {allowed} ms ({name})")
        await self.brake.stop()

    async def _received(self) -> int:
        status = await self.tape.status()
        return status.server_bytes

    def _security(self, event: dict[str, Any]) -> None:
        state = event.get("visibleSecurityState", {})
        certificate = state.get("certificateSecurityState") or {}
        self.seen["security"] = {
            "state": state.get("securityState", "unknown"),
            "certificate_error": certificate.get("certificateNetworkError", ""),
            "issues": list(state.get("securityStateIssueIds", [])),
        }

    def _downloaded(self, download: Download) -> None:
        if len(self.downloads) < MAX_DOWNLOADS_LISTED:
            name = download.suggested_filename[:200]
            self.downloads.append({"url": download.url[:2000], "suggested_name": name})

    def _step(self, kind: str, detail: str | None = None) -> None:
        """End one step of what was done; the next begins now."""
        now = time.monotonic()
        self.actions.append(
            {
                "kind": kind,
                "started_at": self.step_started_at,
                "duration_ms": round((now - self.step_started) * 1000),
                "detail": detail,
            }
        )
        self.step_started, self.step_started_at = now, utc_text(datetime.now(UTC))

    def _over(self, limit: str, problem: str) -> None:
        if limit not in self.limits_reached:
            self.limits_reached.append(limit)
        self.problems.append(problem)

    def _copy_keys(self) -> None:
        """Bring the secrets beside the wire file: the browser's home may not survive what comes."""
        shutil.copyfile(self.home.keys, self.job.spool.keys)

    async def end(self) -> None:
        """Close page and tape, render the failure sheet if one is due, and write what was observed."""
        self.ending = True
        for watch in self.watches:
            watch.cancel()
        if self.context is not None:
            with contextlib.suppress(PlaywrightError, TimeoutError):
                await asyncio.wait_for(self.context.close(), 10)
        self._take_stock(await self.tape.close())
        self.seen["finished_at"] = utc_text(datetime.now(UTC))
        if self.seen.get("load_error") and self.browser.is_connected():
            await self._failure_sheet()
        if self.activity is not None:
            self.problems += self.activity.problems
            self.limits_reached += self.activity.limits_reached
            self.seen |= {
                "requests": self.activity.requests,
                "websockets": self.activity.websockets,
                "dialogs": self.activity.dialogs,
                "popups": self.activity.popups[: self.job.limits.popups],
            }
        self.seen |= {
            "exhibits": self.exhibits,
            "problems": self.problems,
            "actions": self.actions,
            "downloads": self.downloads,
            "limits_reached": self.limits_reached,
        }
        self.job.spool.write_observed(self.seen)

    def _take_stock(self, status: TapeStatus) -> None:
        """Name what ended early, and why."""
        limits = self.job.limits
        self._copy_keys()
        if status.failure:
            self.problems.append(f"recorder: {status.failure}")
            self.seen.setdefault("crashed", f"the recorder stopped: {status.failure}")
        if status.budget_reached:
            self._over("capture_bytes", f"exchanges: expected at most {limits.capture_bytes} bytes")
        if status.cut_count:
            problem = f"exchanges: {status.cut_count} connections were cut at {limits.connection_bytes} bytes"
            self._over("connection_bytes", problem)
        if not self.browser.is_connected():
            self.seen["crashed"] = "the browser's process ended"
        if "crashed" in self.seen and self.memory.ended_count > self.ended_before:
            self._over("browser_memory_bytes", "memory: the page held more than it may, and was ended")
        if self.brake is not None and self.brake.refused:
            to = ", ".join(self.brake.refused)
            self.problems.append(f"navigation: the page was held at its document, and wanted to go to {to}")

    async def _failure_sheet(self) -> None:
        try:
            made = await asyncio.wait_for(
                render_sheet(self.browser, self.job.spool, self.job.url, self.seen), 15
            )
        except (PlaywrightError, TimeoutError) as error:
            self.problems.append(f"failure sheet: expected the browser to render it, got {_clean(error)}")
        else:
            self.exhibits += made


def _clean(error: BaseException) -> str:
    """The first line of Playwright's message, without the name of its function and its call log."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return re.sub(r"^[A-Za-z]+\.[a-zA-Z_]+: ", "", lines[0])[:300] if lines else type(error).__name__
