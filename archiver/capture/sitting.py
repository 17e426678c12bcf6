"""A loaded page sits for its exhibits: held at its document, scrolled, and asked for one after the other.

A page that is too busy to answer has its scripts stopped and is asked once more; one that then still gives
no answer is not asked for ever. What could not be had is named in the notes.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from playwright.async_api import Error as PlaywrightError

from archiver.capture.exhibits import TILE_PX, ExhibitFacts, ExhibitMaker, ExhibitTooLarge, IsolatedWorld
from archiver.capture.notes import Notes, clean
from archiver.capture.page_scripts import LAST_FRAME, PAGE_FACTS, SCROLL, TO_TOP, TWO_FRAMES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from playwright.async_api import CDPSession, Page

    from archiver.capture.behaviours import Reader
    from archiver.capture.brake import Brake
    from archiver.capture.limits import Limits, View

    Making = Callable[[], Awaitable[ExhibitFacts | list[ExhibitFacts]]]

MAX_UNANSWERED = 2
"""A page that gave so many times no answer is not asked again."""
MAX_ADDRESS_CHARS = 64 * 1024
METRICS_TIMEOUT_S = 5
AGAIN_S = 0.3
"""Between two documents, or under load, the browser has no picture for a moment."""


@dataclass
class Sitting:
    """One page in front of the camera.

    Args:
        page: Loaded, or as far as it came.
        cdp: A session of it.
        brake: Its brake.
        maker: Takes the exhibits.
        notes: Of the capture.
        view: How the browser presents itself.
        limits: Budgets.
        settle: Waits for a quiet network and notes it; takes the name of the wait.
        reader: Acts on the page between the first screenshots and the others; None for never.
    """

    page: Page
    cdp: CDPSession
    brake: Brake
    maker: ExhibitMaker
    notes: Notes
    view: View
    limits: Limits
    settle: Callable[[str], Awaitable[None]]
    reader: Reader | None = None
    unanswered: int = 0
    scrolled: bool = False

    async def of_a_page(self) -> dict[str, Any]:
        """Take everything, and return what the page says of itself."""
        maker, notes = self.maker, self.notes
        await self.settle("settle")
        await self._hold()
        await self._take("screenshot-viewport", maker.viewport)
        notes.step("screenshot-viewport")
        reader = await self._acted_upon()
        await self._to_the_top()
        await asyncio.gather(
            self._take("mhtml", maker.mhtml), self._take("dom", maker.dom), self._take("text", maker.text)
        )
        notes.step("documents", "MHTML, DOM and text")
        if reader is None:
            await self._pictures()
        else:
            await reader.laid_out(self._pictures)
        facts: dict[str, Any] = self._address()
        with contextlib.suppress(PlaywrightError, TimeoutError):
            facts["page"] = await asyncio.wait_for(IsolatedWorld(self.cdp).evaluate(PAGE_FACTS), 2)
        return facts

    async def _acted_upon(self) -> Reader | None:
        """Scroll the page and do what its reader would do; return the reader if it did anything."""
        reader = self.reader
        if reader is None or self.brake.stopped:
            await self._scroll()
            return None
        if await reader.finds():
            await self._before()
        else:
            await self._scroll()
            # Scrolling may bring something to do; a page that was not scrolled has told already.
            if not self.scrolled or not await reader.finds():
                return None
            await self._before("scrolled, nothing clicked")
        await reader.read(self._scroll)
        return reader

    async def _before(self, how: str = "nothing scrolled or clicked") -> None:
        """The whole page before anything is done to it; taken when something is about to be."""
        await self._full_page("screenshot-before")
        self.notes.step("screenshot-before", how)

    async def _pictures(self) -> None:
        async with self._high_window():
            await self._full_page("screenshot-full")
        self.notes.step("screenshot-full")
        await self._take("pdf", self.maker.pdf)
        self.notes.step("print", "A4 with backgrounds")

    @contextlib.asynccontextmanager
    async def _high_window(self) -> AsyncIterator[None]:
        """Make the window high where frames of other sites lie below it: Chromium paints none outside of it.

        A page that grows with its window, as heights in ``vh`` do, is left in the window it was read in.
        """
        width, height = self.view.width_px, self.view.height_px
        wanted = await self._height_to_last_frame() if len(self.page.frames) > 1 else 0
        if wanted <= height:
            yield
            return
        with contextlib.suppress(PlaywrightError, TimeoutError):
            before = await self._page_height()
            await self.page.set_viewport_size({"width": width, "height": min(wanted, TILE_PX)})
            await asyncio.wait_for(IsolatedWorld(self.cdp).evaluate(TWO_FRAMES), METRICS_TIMEOUT_S)
            if await self._page_height() > max(before, wanted) * 1.05:
                await self.page.set_viewport_size({"width": width, "height": height})
                self.notes.step("window", "left as it is: the page grows with it; frames below it are blank")
            else:
                self.notes.step("window", f"{min(wanted, TILE_PX)} px high for the full picture's frames")
        try:
            yield
        finally:
            with contextlib.suppress(PlaywrightError):
                await self.page.set_viewport_size({"width": width, "height": height})

    async def _height_to_last_frame(self) -> int:
        try:
            found = await asyncio.wait_for(IsolatedWorld(self.cdp).evaluate(LAST_FRAME), METRICS_TIMEOUT_S)
        except (PlaywrightError, TimeoutError):
            return 0
        return int(found)

    async def _page_height(self) -> int:
        metrics = await asyncio.wait_for(self.cdp.send("Page.getLayoutMetrics"), METRICS_TIMEOUT_S)
        return int(metrics["cssContentSize"]["height"])

    async def _full_page(self, role: str) -> None:
        try:
            metrics = await asyncio.wait_for(self.cdp.send("Page.getLayoutMetrics"), METRICS_TIMEOUT_S)
            size = metrics["cssContentSize"]
            width, height = self._shown(role, int(size["width"]), int(size["height"]))
        except (PlaywrightError, TimeoutError, TypeError, KeyError) as error:
            self.notes.problems.append(f"{role}: expected the page to answer, got {clean(error)}")
            self.unanswered += 1
            return
        tiles = math.ceil(height / TILE_PX)
        await self._take(role, lambda: self.maker.full_page(width, height, role), parts=tiles)

    def _address(self) -> dict[str, Any]:
        # It stands in the record many times, and a script can make it 2 MB long.
        address = self.page.url
        if len(address) <= MAX_ADDRESS_CHARS:
            return {"final_url": address}
        self.notes.problems.append(
            f"address: expected at most {MAX_ADDRESS_CHARS} characters, got {len(address)}; left out"
        )
        return {}

    async def of_a_failure(self) -> None:
        """The browser's own error page, as a visitor saw it; our sheet with what is known comes later."""
        with contextlib.suppress(PlaywrightError):
            await self.page.wait_for_url("chrome-error://**", wait_until="load", timeout=2_000)
        await self._take("screenshot-viewport", self.maker.viewport)
        self.notes.step("screenshot-viewport", "the browser's own error page")

    async def _hold(self) -> None:
        """Keep the page at its document, so that every exhibit shows the same one."""
        try:
            await asyncio.wait_for(self.brake.hold(), self.limits.exhibit_ms / 1000)
        except TimeoutError:
            await self._stop("hold", "exhibit_ms")
        except PlaywrightError as error:
            self.notes.problems.append(f"hold: expected the browser to keep the document, got {clean(error)}")

    async def _scroll(self) -> None:
        """Scroll to the end, so that lazy content is there.

        A page that was stopped is not scrolled: its timers are dead, and nothing would be loaded.
        """
        try:
            if not self.brake.stopped:
                await self._scroll_down(IsolatedWorld(self.cdp))
        except (PlaywrightError, TimeoutError, TypeError, KeyError) as error:
            self.notes.problems.append(f"scroll: expected the page to answer, got {clean(error)}")
            self.unanswered += 1

    async def _to_the_top(self) -> None:
        if self.scrolled and not self.brake.stopped:
            with contextlib.suppress(PlaywrightError, TimeoutError):
                await asyncio.wait_for(IsolatedWorld(self.cdp).evaluate(TO_TOP), METRICS_TIMEOUT_S)

    def _shown(self, role: str, width: int, height: int) -> tuple[int, int]:
        """Return how much of the page is shown, CSS pixels."""
        limits = self.limits
        width = max(width, self.view.width_px)
        for name, size in (("page_width_px", width), ("page_height_px", height)):
            if size > (most := getattr(limits, name)):
                self.notes.over(name, f"{role}: expected at most {most} px, got {size}")
        width = min(width, max(limits.page_width_px, self.view.width_px))
        scale = self.view.scale_percent / 100
        affordable = int(limits.screenshot_px / (width * scale * scale))
        if min(height, limits.page_height_px) > affordable:
            problem = f"{role}: expected at most {limits.screenshot_px} device pixels, got more"
            self.notes.over("screenshot_px", problem)
        # A document that was stopped before it had a body is shown as the window shows it: blank.
        return width, max(1, min(max(height, self.view.height_px), limits.page_height_px, affordable))

    async def _scroll_down(self, world: IsolatedWorld) -> None:
        limits = self.limits
        script = SCROLL % {"height": limits.page_height_px, "budget": limits.scroll_ms}
        try:
            facts = await asyncio.wait_for(
                world.evaluate(script), limits.scroll_ms / 1000 + METRICS_TIMEOUT_S
            )
        except TimeoutError:
            await self._stop("scroll", "scroll_ms")
            return
        if facts["stopped_early"]:
            problem = f"scroll: expected the end within {limits.scroll_ms} ms, got more page"
            self.notes.over("scroll_ms", problem)
        if facts["steps"]:
            done = f"{facts['steps']} steps to {facts['reached']} px"
            self.notes.step("scroll", done)
            self.scrolled = True
            await self.settle("settle-after-scroll")

    async def _take(self, name: str, make: Making, *, parts: int = 1) -> None:
        """Add one exhibit, or say why it is missing; one of several *parts* has the time of as many."""
        if self.unanswered >= MAX_UNANSWERED:
            self.notes.problems.append(f"{name}: not taken, the page no longer answers")
            return
        budget_ms = self.limits.exhibit_ms * parts
        try:
            made = await self._asked_twice(name, make, budget_ms / 1000, stop=not self.brake.stopped)
        except TimeoutError:
            self.unanswered += 1
            self.notes.over("exhibit_ms", f"{name}: expected within {budget_ms} ms, got no answer")
        except ExhibitTooLarge as error:
            self.notes.over("exhibit_bytes", str(error))
        except PlaywrightError as error:
            self.notes.problems.append(f"{name}: expected the browser to hand it over, got {clean(error)}")
        else:
            self.notes.exhibits += made if isinstance(made, list) else [made]

    async def _asked_twice(
        self, name: str, make: Making, budget_s: float, *, stop: bool
    ) -> ExhibitFacts | list[ExhibitFacts]:
        """Make one exhibit; a page too busy for it is stopped, and asked once more."""
        try:
            return await asyncio.wait_for(make(), budget_s)
        except TimeoutError:
            if not stop or not await self._stop(name, "exhibit_ms"):
                raise
        except PlaywrightError:
            if self.page.is_closed():
                raise
            await asyncio.sleep(AGAIN_S)
        return await asyncio.wait_for(make(), budget_s)

    async def _stop(self, name: str, limit: str) -> bool:
        if not self.brake.stopped:
            allowed = getattr(self.limits, limit)
            self.notes.over(limit, f"scripts: stopped, the page gave no answer for {allowed} ms ({name})")
        taken = await self.brake.stop()
        if not taken:
            self.notes.over(limit, f"{name}: expected the browser to stop the page, got no answer")
            self.unanswered = MAX_UNANSWERED
        return taken
