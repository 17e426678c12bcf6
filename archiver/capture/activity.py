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

    from playwright.async_api import BrowserContext, Dialog, Page, Request, Response, WebSocket

    from archiver.capture.limits import Limits

ENDLESS_TYPES = frozenset({"eventsource", "websocket", "media", "ping"})
"""Requests that a live page keeps open for ever; waiting for their end would be waiting for nothing."""

_ON_THE_WIRE = ("http://", "https://")


class Activity:
    """Listens to one browser context from its first request to its last.

    Args:
        context: The capture's own context, before any page is opened in it.
        limits: Budgets for requests, popups and dialogs.
    """

    def __init__(self, context: BrowserContext, limits: Limits) -> None:
        self.requests: list[dict[str, Any]] = []
        self.dialogs: list[dict[str, str]] = []
        self.popups: list[str] = []
        self.websockets: list[str] = []
        self.problems: list[str] = []
        self.main: Page | None = None
        self._limits = limits
        self._entries: dict[Request, dict[str, Any]] = {}
        self._open: dict[Request, float] = {}
        self._changed_at = time.monotonic()
        self._tasks: set[asyncio.Task[None]] = set()
        self.over_budget = asyncio.Event()
        context.on("request", self._requested)
        context.on("response", self._responded)
        context.on("requestfinished", lambda request: self._ended(request, None))
        context.on("requestfailed", lambda request: self._ended(request, request.failure or "failed"))
        context.on("page", self._opened)
        context.on("dialog", self._dialog)

    def _requested(self, request: Request) -> None:
        if not request.url.startswith(_ON_THE_WIRE):
            return
        entry = {"url": request.url, "method": request.method, "type": request.resource_type}
        self._entries[request] = entry
        self.requests.append(entry)
        self._changed_at = time.monotonic()
        if request.resource_type not in ENDLESS_TYPES:
            self._open[request] = self._changed_at
        if len(self.requests) >= self._limits.requests:
            self._exceed(
                f"requests: expected at most {self._limits.requests}, got more; the page was stopped"
            )

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
        if self.main is None:
            self.main = page
            return
        self.popups.append(page.url)
        if len(self.popups) > self._limits.popups:
            self._later(page.close())

    def _websocket(self, socket: WebSocket) -> None:
        self.websockets.append(socket.url)

    def _dialog(self, dialog: Dialog) -> None:
        self.dialogs.append({"type": dialog.type, "message": dialog.message[:500]})
        if len(self.dialogs) > self._limits.dialogs:
            self._exceed(f"dialogs: expected at most {self._limits.dialogs}, got more; the page was stopped")
        # A trap that asks whether to leave must let us leave; every other question is declined.
        self._later(dialog.accept() if dialog.type == "beforeunload" else dialog.dismiss())

    def _exceed(self, problem: str) -> None:
        if not self.over_budget.is_set():
            self.problems.append(problem)
            self.over_budget.set()

    def _later(self, action: Any) -> None:
        async def run() -> None:
            with contextlib.suppress(PlaywrightError):
                await action

        task = asyncio.ensure_future(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

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
