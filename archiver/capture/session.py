"""One capture: one page load in a fresh context, recorded by a relay tape of its own.

``capture`` never raises for what a page or a server does: whatever happened is written to
``observed.json`` in the spool, and what could not be had is named there as a problem. It raises only
when the capture itself cannot go on (disk full, browser gone before it began).
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, cast

from playwright.async_api import Error as PlaywrightError

from archiver.capture.activity import Activity
from archiver.capture.behaviours import Reader
from archiver.capture.brake import Brake
from archiver.capture.exhibits import ExhibitMaker
from archiver.capture.failure_sheet import render_sheet
from archiver.capture.media import MediaOrder, is_platform, take_media
from archiver.capture.notes import Notes, clean
from archiver.capture.sitting import Sitting
from archiver.redaction import values_of_state
from archiver.spool import Spool, utc_text

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.async_api import Browser, BrowserContext, Download, Page, Request, StorageState

    from archiver.capture.browser import BrowserHome
    from archiver.capture.limits import Limits, View
    from archiver.capture.processes import ProcessWatch
    from archiver.capture.recorder.guard import RelayPolicy
    from archiver.capture.recorder.relay_client import Tape
    from archiver.capture.recorder.tape import TapeStatus
    from archiver.capture.rig import Rig

QUIET_MS = 300
"""Silence that counts as loaded. Playwright's own network idle is 500; the second wait after scrolling
makes up for the difference."""
RESTLESS_MS = 1_500
"""Instead of the whole budget, once a page has used that up without falling quiet."""

LEAVE_MS = 4_000
"""For what a page sends when it is left, and the answers; a page at rest takes 0.1 s of it."""
NOWHERE = "about:blank"

MAX_DOWNLOADS_LISTED = 100
DOWNLOAD_BEGINS_MS = 5_000
IS_DOWNLOAD = "Download is starting"
"""What Playwright says of a navigation that ends as a download; it may say so before the download is told."""

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
        behaviours: Whether the page is acted upon between two screenshots.
        media: When yt-dlp fetches video and sound: ``off``, ``platforms`` or ``always``.
        extra_roots: Certificates that yt-dlp trusts besides.
        user_agent: That yt-dlp sends: the browser's.
        state: Of a stored login (Playwright's ``storageState``); None to come as a stranger.
    """

    spool: Spool
    url: str
    view: View
    limits: Limits
    policy: RelayPolicy
    behaviours: bool = True
    media: Literal["off", "platforms", "always"] = "off"
    extra_roots: tuple[Path, ...] = ()
    user_agent: str = ""
    state: dict[str, Any] | None = None


async def capture(rig: Rig, job: Job) -> None:
    """Capture one page into its spool; ``observed.json`` is there when this returns."""
    tape = await rig.relay.open_tape(job.spool.wire, job.policy)
    session = _Session(rig.browser, rig.home, rig.processes, job, tape)
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
    processes: ProcessWatch
    job: Job
    tape: Tape
    seen: Observed = field(default_factory=dict)
    notes: Notes = field(default_factory=Notes)
    downloads: list[dict[str, str]] = field(default_factory=list)
    context: BrowserContext | None = None
    activity: Activity | None = None
    download: Download | None = None
    brake: Brake | None = None
    watches: list[asyncio.Task[None]] = field(default_factory=list)
    loaded: asyncio.Event = field(default_factory=asyncio.Event)
    ending: bool = False
    restless: bool = False
    ended_before: int = 0

    async def run(self) -> None:
        self.seen["started_at"] = utc_text(datetime.now(UTC))
        self.ended_before = len(self.processes.ended)
        try:
            async with asyncio.timeout(self.job.limits.total_ms / 1000):
                await self._observe()
        except TimeoutError:
            self.notes.over(
                "total_ms", f"total: expected an end within {self.job.limits.total_ms} ms, got none"
            )
        except PlaywrightError as error:
            self.seen.setdefault("crashed", clean(error))
        if await self._has_media():
            await self._take_media()

    async def _has_media(self) -> bool:
        if self.job.media == "off" or "load_error" in self.seen or "crashed" in self.seen:
            return False
        address = self.seen.get("final_url") or self.job.url
        return self.job.media == "always" or await asyncio.to_thread(is_platform, address)

    async def _take_media(self) -> None:
        """Let yt-dlp fetch video and sound over this capture's tape; whatever it does, the rest stands."""
        try:
            taken = await take_media(
                MediaOrder(
                    self.seen.get("final_url") or self.job.url,
                    self.tape.port,
                    self.job.user_agent,
                    self.job.extra_roots,
                ),
                self.home,
                self.job.limits,
                self.job.spool.exhibits,
            )
        except OSError as error:
            self.notes.problems.append(f"media: expected yt-dlp to run, got {error}")
            return
        self.notes.exhibits += taken.exhibits
        self.notes.step("media", taken.told)
        if taken.problem:
            self.notes.problems.append(taken.problem)

    async def _observe(self) -> None:
        self.context = await self.browser.new_context(
            proxy={"server": f"socks5://127.0.0.1:{self.tape.port}"},
            viewport={"width": self.job.view.width_px, "height": self.job.view.height_px},
            device_scale_factor=self.job.view.scale_percent / 100,
            locale=self.job.view.locale,
            extra_http_headers={"Accept-Language": self.job.view.accept_language()}
            if self.job.view.languages
            else None,
            timezone_id=self.job.view.timezone,
            color_scheme="light",
            reduced_motion="reduce",
            accept_downloads=True,
            storage_state=cast("StorageState | None", self.job.state),
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
        await self.brake.watch()
        if self.job.view.languages:  # the locale is one tag, and the page's scripts see them all
            tags = ",".join(self.job.view.languages)
            await cdp.send("Emulation.setUserAgentOverride", {"userAgent": "", "acceptLanguage": tags})
        await self._load(page)
        if "crashed" in self.seen or "is_download" in self.seen:
            return
        limits, view = self.job.limits, self.job.view
        maker = ExhibitMaker(page, cdp, self.job.spool.exhibits, view, limits)
        reader = Reader(page, cdp, self.brake, self.activity, self.notes, limits, self._settle)
        sitting = Sitting(page, cdp, self.brake, maker, self.notes, view, limits, self._settle)
        sitting.reader = reader if self.job.behaviours else None
        if "load_error" in self.seen:
            await sitting.of_a_failure()
        else:
            self.seen |= await sitting.of_a_page()
            self.seen["alterations"] = reader.alterations

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
                    self.seen["retry_after"] = response.headers.get("retry-after", "")[:100]
                await self.loaded.wait()
        except TimeoutError:
            self.notes.over(
                "load_ms", f"load: expected the end within {self.job.limits.load_ms} ms, got none"
            )
        except PlaywrightError as error:
            if IS_DOWNLOAD in str(error):
                await self._download_ends(page)
            elif "crashed" not in self.seen:
                self.seen["load_error"] = clean(error)
        self.notes.step("navigate", self.job.url)

    async def _download_ends(self, page: Page) -> None:
        """Wait for the file that the address brought instead of a page, for as long as the budgets let it."""
        self.seen["is_download"] = True
        download = self.download or await page.wait_for_event("download", timeout=DOWNLOAD_BEGINS_MS)
        if failure := await download.failure():
            self.notes.problems.append(f"document: expected the file whole, got it {failure}")

    def _broke_off(self, page: Page, request: Request) -> None:
        """Chromium shows what it has of a document that broke off, and never says that it is loaded."""
        # A page that navigates on aborts its own document: that is its doing, and no break.
        is_document = request.is_navigation_request() and request.frame == page.main_frame
        if is_document and "status" in self.seen and request.failure != "net::ERR_ABORTED":
            self.seen["broken_off"] = request.failure or "failed"
            self.notes.problems.append(f"document: expected it whole, got {self.seen['broken_off']}")
            self.loaded.set()

    async def _settle(self, name: str) -> None:
        assert self.activity is not None
        budget = self.job.limits.settle_ms
        if self.restless:  # it will not fall quiet the next time either
            budget = min(budget, RESTLESS_MS)
        quiet = await self.activity.quiet(QUIET_MS, budget, self._received)
        if not quiet and not self.restless and not self.activity.over_budget.is_set():
            self.restless = True
            self.notes.over("settle_ms", f"{name}: expected a quiet network within {budget} ms, got traffic")
        self._copy_keys()
        self.notes.step("wait", f"until {QUIET_MS} ms passed without traffic ({name})")

    async def _received(self) -> int:
        return (await self._carried())[1]

    async def _carried(self) -> tuple[int, int]:
        status = await self.tape.status()
        return status.client_bytes, status.server_bytes

    def _security(self, event: dict[str, Any]) -> None:
        state = event.get("visibleSecurityState", {})
        certificate = state.get("certificateSecurityState") or {}
        self.seen["security"] = {
            "state": state.get("securityState", "unknown"),
            "certificate_error": certificate.get("certificateNetworkError", ""),
            "issues": list(state.get("securityStateIssueIds", [])),
        }

    def _downloaded(self, download: Download) -> None:
        self.download = self.download or download
        if len(self.downloads) < MAX_DOWNLOADS_LISTED:
            name = download.suggested_filename[:200]
            self.downloads.append({"url": download.url[:2000], "suggested_name": name})

    def _copy_keys(self) -> None:
        """Bring the secrets beside the wire file: the browser's home may not survive what comes."""
        shutil.copyfile(self.home.keys, self.job.spool.keys)

    async def end(self) -> None:
        """Close page and tape, render the failure sheet if one is due, and write what was observed."""
        self.ending = True
        for watch in self.watches:
            watch.cancel()
        if self.context is not None:
            await self._keep_secrets(self.context)
            await self._leave(self.context)
            with contextlib.suppress(PlaywrightError, TimeoutError):
                await asyncio.wait_for(self.context.close(), 10)
        self._take_stock(await self.tape.close())
        self.seen["finished_at"] = utc_text(datetime.now(UTC))
        if self.seen.get("load_error") and self.browser.is_connected():
            await self._failure_sheet()
        if self.activity is not None:
            self.notes.problems += self.activity.problems
            self.notes.limits_reached += self.activity.limits_reached
            self.seen |= {
                "requests": self.activity.requests,
                "websockets": self.activity.websockets,
                "dialogs": self.activity.dialogs,
                "popups": self.activity.popups[: self.job.limits.popups],
            }
        self.seen |= {
            "exhibits": self.notes.exhibits,
            "problems": self.notes.problems,
            "actions": self.notes.actions,
            "downloads": self.downloads,
            "limits_reached": self.notes.limits_reached,
        }
        self.job.spool.write_observed(self.seen)

    async def _keep_secrets(self, context: BrowserContext) -> None:
        """Let the packer know what a login holds by now: sites renew its cookies and tokens."""
        if self.job.state is None:
            return
        try:
            state = await asyncio.wait_for(context.storage_state(indexed_db=True), LEAVE_MS / 1000)
        except (PlaywrightError, TimeoutError) as error:
            self.notes.problems.append(f"session: expected its state at the end, got {clean(error)}")
        else:
            self.job.spool.write_secrets(values_of_state(cast("dict[str, Any]", state)))

    async def _leave(self, context: BrowserContext) -> None:
        """Leave the pages as a visitor does, and let what they send then out, before the recording ends."""
        if self.activity is None or self.brake is None or self.brake.stopped or "crashed" in self.seen:
            return
        with contextlib.suppress(PlaywrightError, TimeoutError):
            async with asyncio.timeout(LEAVE_MS / 1000):
                before = self.activity.under_way
                leaving = [_go_nowhere(page) for page in context.pages if not _is_error_page(page)]
                await asyncio.gather(*leaving, return_exceptions=True)
                await self.activity.answered(before, self._carried)
        self.notes.step("leave", NOWHERE)

    def _take_stock(self, status: TapeStatus) -> None:
        """Name what ended early, and why."""
        limits = self.job.limits
        self._copy_keys()
        if status.failure:
            self.notes.problems.append(f"recorder: {status.failure}")
            self.seen.setdefault("crashed", f"the recorder stopped: {status.failure}")
        if status.budget_reached:
            self.notes.over("capture_bytes", f"exchanges: expected at most {limits.capture_bytes} bytes")
        if status.cut_count:
            problem = f"exchanges: {status.cut_count} connections were cut at {limits.connection_bytes} bytes"
            self.notes.over("connection_bytes", problem)
        if not self.browser.is_connected():
            self.seen["crashed"] = "the browser's process ended"
        for limit in self.processes.ended[self.ended_before :] if "crashed" in self.seen else ():
            self.notes.over(limit, f"capture: a process of the browser was ended at its {limit}")
        if self.brake is not None and self.brake.refused:
            to = ", ".join(self.brake.refused)
            self.notes.problems.append(
                f"navigation: the page was held at its document, and wanted to go to {to}"
            )

    async def _failure_sheet(self) -> None:
        try:
            made = await asyncio.wait_for(
                render_sheet(self.browser, self.job.spool, self.job.url, self.seen), 15
            )
        except (PlaywrightError, TimeoutError) as error:
            self.notes.problems.append(
                f"failure sheet: expected the browser to render it, got {clean(error)}"
            )
        else:
            self.notes.exhibits += made


def _is_error_page(page: Page) -> bool:
    # It has nothing to send, and Chromium 156 ends, all of it, when a script leads one in a popup away.
    return page.url.startswith("chrome-error:")


async def _go_nowhere(page: Page) -> None:
    # A closed page takes the answers with it, and one that is led away may be gone before its last script
    # has run; one that leaves by itself runs that first.
    with contextlib.suppress(PlaywrightError):  # its answer may be lost with the page that gives it
        await page.evaluate("address => location.replace(address)", NOWHERE)
    await page.wait_for_url(NOWHERE, wait_until="commit")
