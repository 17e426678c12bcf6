"""What the browser reports of its requests: for quiet, for budgets, and to check the recorder's coverage.

The recorder sees every byte; this side says which page caused them and lets us notice a request that
the browser made and the wire does not hold.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any

from playwright.async_api import Error as PlaywrightError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from playwright.async_api import BrowserContext, Dialog, Frame, Page, Request, Response, WebSocket

    from archiver.capture.limits import Limits

ENDLESS_TYPES = frozenset({"eventsource", "websocket", "media", "ping"})
"""Requests that a live page keeps open for ever; waiting for their end would be waiting for nothing."""

MAX_URL_CHARS = 32 * 1024 * 1024
"""Of all addresses that are listed; a page can ask for addresses of 2 MB each."""
MOMENT_S = 0.1
"""So long after the last sign of a request no further one is waited for."""
ANSWER_S = 0.6
"""So long after the last byte of a page that sends something when it is left no answer is waited for."""
POPUP_STORM = 4
"""So many times the budget of popups is no page that wants to show something."""
RENAMES_PER_REDIRECT = 10
_ON_THE_WIRE = ("http://", "https://")


class Activity:
    """Listens to one browser context from its first request to its last.

    Args:
        context: The capture's own context, before any page is opened in it.
        limits: Budgets for requests, redirects, frames, popups and dialogs.

    Attributes:
        refuse_popups: Close every further window at once: it is none of the page's doing.
    """

    def __init__(self, context: BrowserContext, limits: Limits) -> None:
        self.requests: list[dict[str, Any]] = []
        self.dialogs: list[dict[str, str]] = []
        self.popups: list[str] = []
        self.websockets: list[str] = []
        self.problems: list[str] = []
        self.limits_reached: list[str] = []
        self.main: Page | None = None
        self.refuse_popups = False
        self._limits = limits
        self._entries: dict[Request, dict[str, Any]] = {}
        self._open: dict[Request, float] = {}
        self._changed_at = time.monotonic()
        self._url_chars = 0
        self._moves = 0
        self._renames = 0
        self._frames: set[Frame] = set()
        self._popups: list[Page] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self.over_budget = asyncio.Event()
        context.on("request", self._requested)
        context.on("response", self._responded)
        context.on("requestfinished", lambda request: self._ended(request, None))
        context.on("requestfailed", lambda request: self._ended(request, request.failure or "failed"))
        context.on("page", self._opened)
        context.on("dialog", self._dialog)

    def _requested(self, request: Request) -> None:
        if not request.url.startswith(_ON_THE_WIRE) or self.over_budget.is_set():
            return
        entry = {"url": request.url, "method": request.method, "type": request.resource_type}
        self._entries[request] = entry
        self.requests.append(entry)
        self._changed_at = time.monotonic()
        if request.resource_type not in ENDLESS_TYPES:
            self._open[request] = self._changed_at
        self._url_chars += len(request.url)
        if len(self.requests) >= self._limits.requests or self._url_chars > MAX_URL_CHARS:
            self._exceed("requests")
        if request.is_navigation_request() and self._is_move(request):
            self._moves += 1
            if self._moves > self._limits.redirects:
                self._exceed("redirects")

    def _is_move(self, request: Request) -> bool:
        """Tell whether the shown page moves on to another document."""
        first = len(self.requests) == 1
        try:
            return not first and self.main is not None and request.frame == self.main.main_frame
        except PlaywrightError:  # of a popup that is still being made
            return False

    def _responded(self, response: Response) -> None:
        if entry := self._entries.get(response.request):
            entry["status"] = response.status
            if response.from_service_worker:
                entry["from_service_worker"] = True

    def _ended(self, request: Request, failure: str | None) -> None:
        self._open.pop(request, None)
        self._changed_at = time.monotonic()
        if (entry := self._entries.pop(request, None)) is not None and failure:
            entry["failure"] = failure

    def _opened(self, page: Page) -> None:
        page.on("websocket", self._websocket)
        page.on("frameattached", self._framed)
        page.on("framedetached", self._unframed)
        page.on("framenavigated", self._renamed)
        if self.main is None:
            self.main = page
            return
        self.popups.append(page.url[:2000])
        self._popups.append(page)
        if self.refuse_popups:
            self._later(page.close())
        elif len(self._popups) > self._limits.popups:
            self._name("popups", "further ones were closed unseen")
            self._later(page.close())
        if len(self._popups) > self._limits.popups * POPUP_STORM:
            self._exceed("popups")

    def close_popups(self) -> None:
        """Close every window but the page's own, without waiting for it."""
        for page in self._popups:
            self._later(page.close())

    def _framed(self, frame: Frame) -> None:
        self._frames.add(frame)
        if len(self._frames) > self._limits.frames:
            self._exceed("frames")

    def _renamed(self, _frame: Frame) -> None:
        # history.pushState in a loop keeps the browser's own process busy for as long as it is let.
        self._renames += 1
        if self._renames > self._limits.redirects * RENAMES_PER_REDIRECT:
            self._exceed("redirects")

    def _unframed(self, frame: Frame) -> None:
        self._frames.discard(frame)

    def _websocket(self, socket: WebSocket) -> None:
        self._url_chars += len(socket.url)
        if len(self.websockets) < self._limits.requests and self._url_chars <= MAX_URL_CHARS:
            self.websockets.append(socket.url)

    def _dialog(self, dialog: Dialog) -> None:
        if len(self.dialogs) < self._limits.dialogs:
            self.dialogs.append({"type": dialog.type, "message": dialog.message[:500]})
        else:
            self._exceed("dialogs")
        # A trap that asks whether to leave must let us leave; every other question is declined.
        self._later(dialog.accept() if dialog.type == "beforeunload" else dialog.dismiss())

    def _exceed(self, limit: str) -> None:
        self._name(limit, "the page was stopped")
        self.over_budget.set()

    def _name(self, limit: str, consequence: str) -> None:
        if limit not in self.limits_reached:
            self.limits_reached.append(limit)
            allowed = getattr(self._limits, limit)
            self.problems.append(f"{limit}: expected at most {allowed}, got more; {consequence}")

    def _later(self, action: Any) -> None:
        async def run() -> None:
            with contextlib.suppress(PlaywrightError):
                await action

        task = asyncio.ensure_future(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @property
    def under_way(self) -> frozenset[Request]:
        """The requests that have not ended, of every type."""
        return frozenset(self._entries)

    async def answered(
        self, but: frozenset[Request], carried: Callable[[], Awaitable[tuple[int, int]]]
    ) -> None:
        """Wait until every request has ended *but* these, and for a moment nothing begins and no byte passes.

        Where something was sent meanwhile the moment is long enough for an answer: the browser reports
        neither the beacons of a page that is gone nor favicons.

        Args:
            but: Not waited for.
            carried: Bytes sent and received so far, by the relay.
        """
        begun = before = await carried()
        self._changed_at = time.monotonic()
        moment = MOMENT_S
        while self._entries.keys() - but or time.monotonic() - self._changed_at < moment:
            await asyncio.sleep(MOMENT_S / 5)
            if (seen := await carried()) != before:
                before, self._changed_at = seen, time.monotonic()
                moment = ANSWER_S if seen[0] > begun[0] else MOMENT_S

    async def quiet(self, quiet_ms: int, budget_ms: int, received: Callable[[], Awaitable[int]]) -> bool:
        """Wait until nothing is under way and nothing has begun or ended for *quiet_ms*.

        Requests that are open but have moved no byte for ten times *quiet_ms* (long polls) do not count.

        Args:
            quiet_ms: How long it must stay quiet.
            budget_ms: When to give up.
            received: Bytes received so far, by the relay.

        Returns:
            False when the budget ended first.
        """
        end = time.monotonic() + budget_ms / 1000
        before, moved_at = await received(), time.monotonic()
        while (now := time.monotonic()) < end and not self.over_budget.is_set():
            if (seen := await received()) != before:
                before, moved_at = seen, now
            stalled = now - moved_at > quiet_ms / 100
            if (not self._open or stalled) and (now - self._changed_at) * 1000 >= quiet_ms:
                return True
            await asyncio.sleep(min(quiet_ms / 4000, max(end - now, 0)))
        return False
