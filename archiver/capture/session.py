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
from archiver.capture.exhibits import ExhibitFacts, ExhibitMaker, ExhibitTooLarge, IsolatedWorld
from archiver.capture.failure_sheet import render_sheet
from archiver.spool import Spool, utc_text

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from playwright.async_api import Browser, BrowserContext, CDPSession, Download, Page, Request

    from archiver.capture.browser import BrowserHome
    from archiver.capture.limits import Limits, View
    from archiver.capture.recorder.guard import RelayPolicy
    from archiver.capture.recorder.relay_client import Relay, Tape

QUIET_MS = 300
"""Silence that counts as loaded. Playwright's own network idle is 500; the second wait after scrolling
makes up for the difference."""

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


async def capture(browser: Browser, home: BrowserHome, relay: Relay, job: Job) -> None:
    """Capture one page into its spool; ``observed.json`` is there when this returns."""
    tape = await relay.open_tape(job.spool.wire, job.policy)
    session = _Session(browser, home, job, tape)
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
    watch: asyncio.Task[None] | None = None
    step_started: float = field(default_factory=time.monotonic)
    step_started_at: str = field(default_factory=lambda: utc_text(datetime.now(UTC)))

    async def run(self) -> None:
        self.seen["started_at"] = utc_text(datetime.now(UTC))
        try:
            async with asyncio.timeout(self.job.limits.total_ms / 1000):
                await self._observe()
        except TimeoutError:
            self._over("total_ms", f"total: expected an end within {self.job.limits.total_ms} ms, got none")
        except PlaywrightError as error:
            self.seen["crashed"] = _clean(error)

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
        self.watch = asyncio.create_task(self._stop_with_the_tape(self.activity))
        page = await self.context.new_page()
        page.on("download", self._downloaded)
        page.on("crash", lambda _: self.seen.update(crashed="the page's process crashed"))
        cdp = await self.context.new_cdp_session(page)
        cdp.on("Security.visibleSecurityStateChanged", self._security)
        await cdp.send("Security.enable")
        await self._load(page)
        if "load_error" in self.seen:
            await self._exhibits_of_a_failure(page, cdp)
        else:
            await self._exhibits_of_a_page(page, cdp)

    async def _stop_with_the_tape(self, activity: Activity) -> None:
        """Wait no longer for a page whose recording has ended: by its budget, a full disk, a lost relay."""
        await self.tape.stopped.wait()
        activity.over_budget.set()

    async def _load(self, page: Page) -> None:
        """Navigate and wait for the load event, or for the document to break off in the middle."""
        loaded = asyncio.Event()
        page.on("load", lambda _: loaded.set())
        page.on("requestfailed", lambda request: self._broke_off(page, request, loaded))
        try:
            async with asyncio.timeout(self.job.limits.load_ms / 1000):
                response = await page.goto(self.job.url, wait_until="commit", timeout=0)
                if response is not None:
                    self.seen["status"] = response.status
                await loaded.wait()
        except TimeoutError:
            self._over("load_ms", f"load: expected the end within {self.job.limits.load_ms} ms, got none")
        except PlaywrightError as error:
            if not self.downloads:
                self.seen["load_error"] = _clean(error)
        self._step("navigate", self.job.url)

    def _broke_off(self, page: Page, request: Request, loaded: asyncio.Event) -> None:
        """Chromium shows what it has of a document that broke off, and never says that it is loaded."""
        # A page that navigates on aborts its own document: that is its doing, and no break.
        is_document = request.is_navigation_request() and request.frame == page.main_frame
        if is_document and "status" in self.seen and request.failure != "net::ERR_ABORTED":
            self.seen["broken_off"] = request.failure or "failed"
            self.problems.append(f"document: expected it whole, got {self.seen['broken_off']}")
            loaded.set()

    async def _exhibits_of_a_page(self, page: Page, cdp: CDPSession) -> None:
        limits = self.job.limits
        maker = ExhibitMaker(page, cdp, self.job.spool.exhibits, self.job.view, limits)
        await self._settle("settle")
        await self._take("screenshot-viewport", maker.viewport())
        self._step("screenshot-viewport")
        height = await self._scroll(cdp)
        if height:
            width = self.job.view.width_px
            await self._take("screenshot-full", maker.full_page(width, height))
        self._step("screenshot-full")
        await asyncio.gather(
            self._take("mhtml", maker.mhtml()), self._take("dom", maker.dom()), self._take_text(maker)
        )
        self._step("documents", "MHTML, DOM and text")
        await self._take("pdf", maker.pdf())
        self._step("print", "A4 with backgrounds")
        self.seen["final_url"] = page.url
        with contextlib.suppress(PlaywrightError, TimeoutError):
            self.seen["page"] = await asyncio.wait_for(IsolatedWorld(cdp).evaluate(_PAGE_FACTS), 2)

    async def _exhibits_of_a_failure(self, page: Page, cdp: CDPSession) -> None:
        """The browser's own error page, as a visitor saw it; our sheet with what is known comes later."""
        with contextlib.suppress(PlaywrightError):
            await page.wait_for_url("chrome-error://**", wait_until="load", timeout=2_000)
        maker = ExhibitMaker(page, cdp, self.job.spool.exhibits, self.job.view, self.job.limits)
        await self._take("screenshot-viewport", maker.viewport())
        self._step("screenshot-viewport", "the browser's own error page")

    async def _settle(self, name: str) -> None:
        assert self.activity is not None
        budget = self.job.limits.settle_ms
        if not await self.activity.quiet(QUIET_MS, budget, self._received):
            self._over("settle_ms", f"{name}: expected a quiet network within {budget} ms, got traffic")
        self._copy_keys()
        self._step("wait", f"until {QUIET_MS} ms passed without traffic ({name})")

    async def _scroll(self, cdp: CDPSession) -> int:
        """Scroll to the end and back so that lazy content is there; return the page's height, CSS pixels."""
        limits = self.job.limits
        world = IsolatedWorld(cdp)
        script = _SCROLL % {"height": limits.page_height_px, "budget": limits.scroll_ms}
        try:
            facts = await asyncio.wait_for(world.evaluate(script), limits.scroll_ms / 1000 + 5)
            if facts["steps"]:
                self._step("scroll", f"{facts['steps']} steps to {facts['reached']} px, then back to the top")
                await self._settle("settle-after-scroll")
                await asyncio.wait_for(world.evaluate(_TOP), 5)
            metrics = await asyncio.wait_for(cdp.send("Page.getLayoutMetrics"), 5)
        except (PlaywrightError, TimeoutError, TypeError, KeyError) as error:
            self.problems.append(f"scroll: expected the page to answer, got {_clean(error)}")
            self.unanswered += 1
            return 0
        height = int(metrics["cssContentSize"]["height"])
        if height > limits.page_height_px:
            problem = f"screenshot-full: expected at most {limits.page_height_px} px, got {height}"
            self._over("page_height_px", problem)
        self.seen["page_height_px"] = height
        return min(height, limits.page_height_px)

    async def _take(self, name: str, work: Awaitable[ExhibitFacts | list[ExhibitFacts]]) -> None:
        """Add one exhibit, or say why it is missing. A page that twice gave no answer is not asked again."""
        task = asyncio.ensure_future(work)
        if self.unanswered > 1:
            task.cancel()
            self.problems.append(f"{name}: not taken, the page no longer answers")
            return
        try:
            made = await asyncio.wait_for(task, self.job.limits.exhibit_ms / 1000)
        except TimeoutError:
            self.unanswered += 1
            self.problems.append(f"{name}: expected within {self.job.limits.exhibit_ms} ms, got no answer")
        except (PlaywrightError, ExhibitTooLarge) as error:
            self.problems.append(f"{name}: expected the browser to hand it over, got {_clean(error)}")
        else:
            self.exhibits += made if isinstance(made, list) else [made]

    async def _take_text(self, maker: ExhibitMaker) -> None:
        async def take() -> ExhibitFacts:
            facts, _ = await maker.text()
            return facts

        await self._take("text", take())

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
        self.downloads.append({"url": download.url, "suggested_name": download.suggested_filename[:200]})

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
        self.limits_reached.append(limit)
        self.problems.append(problem)

    def _copy_keys(self) -> None:
        """Bring the secrets beside the wire file: the browser's home may not survive what comes."""
        shutil.copyfile(self.home.keys, self.job.spool.keys)

    async def end(self) -> None:
        """Close page and tape, render the failure sheet if one is due, and write what was observed."""
        if self.watch is not None:
            self.watch.cancel()
        if self.context is not None:
            with contextlib.suppress(PlaywrightError, TimeoutError):
                await asyncio.wait_for(self.context.close(), 10)
        status = await self.tape.close()
        self._copy_keys()
        if status.failure:
            self.problems.append(f"recorder: {status.failure}")
            self.seen.setdefault("crashed", f"the recorder stopped: {status.failure}")
        if status.budget_reached:
            self._over("capture_bytes", f"exchanges: expected at most {self.job.limits.capture_bytes} bytes")
        if not self.browser.is_connected():
            self.seen.setdefault("crashed", "the browser's process ended")
        self.seen["finished_at"] = utc_text(datetime.now(UTC))
        if self.seen.get("load_error") and self.browser.is_connected():
            await self._failure_sheet()
        if self.activity is not None:
            self.problems += self.activity.problems
            self.seen |= {
                "requests": self.activity.requests,
                "websockets": self.activity.websockets,
                "dialogs": self.activity.dialogs[: self.job.limits.dialogs],
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


_SCROLL = """(async () => {
  const limit = %(height)d, budget = %(budget)d, begun = performance.now();
  const frame = () => new Promise(done => {
    requestAnimationFrame(() => setTimeout(done, 0)); setTimeout(done, 100);
  });
  const root = document.scrollingElement || document.documentElement;
  let steps = 0, y = 0;
  while (y + innerHeight < Math.min(root.scrollHeight, limit) && performance.now() - begun < budget) {
    y = Math.min(y + Math.floor(innerHeight * 0.9), root.scrollHeight - innerHeight);
    scrollTo({top: y, behavior: "instant"});
    steps += 1;
    await frame();
  }
  return {steps, reached: Math.floor(y + innerHeight)};
})()"""

_PAGE_FACTS = """(() => {
  const dates = [];
  const take = (kind, selector, attribute) => {
    for (const element of [...document.querySelectorAll(selector)].slice(0, 5)) {
      const value = element.getAttribute(attribute);
      if (value) dates.push({kind, value: value.slice(0, 200), source: selector.slice(0, 200)});
    }
  };
  take("published", 'meta[property="article:published_time"]', "content");
  take("modified", 'meta[property="article:modified_time"]', "content");
  take("shown", "time[datetime]", "datetime");
  const canonical = document.querySelector('link[rel="canonical"]');
  return {
    title: document.title.slice(0, 4000),
    language: (document.documentElement.lang || "").slice(0, 100),
    canonical: canonical ? canonical.href.slice(0, 8192) : "",
    dates,
  };
})()"""

_TOP = """(async () => {
  scrollTo({top: 0, behavior: "instant"});
  await new Promise(done => {
    requestAnimationFrame(() => requestAnimationFrame(done)); setTimeout(done, 200);
  });
})()"""
