"""Stops a page where it is, so that what it shows can still be taken.

Two grades. *Held*: the document stays, a move to another one is refused before it reaches the network, and
everything else goes on; so all exhibits show one document. *Stopped*: no script runs on, also one that is in
a loop without end, and no further request leaves. Measured with Chromium 156: loops in load handlers, in
microtasks and in regular expressions end within 0.1 s, and screenshot, DOM and print then work.

From the first request on, a document that asks for a login (HTTP authentication, RFC 9110 section 11) is
answered as by a visitor who has none: otherwise Chromium shows the question in a window of its own that
nobody sees, and neither the page nor the load gets any further. Nothing of it reaches the wire.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from playwright.async_api import Error as PlaywrightError

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from playwright.async_api import CDPSession

STOP_TIMEOUT_S = 10
"""For the browser to take the order; a page that hangs outside of its scripts may not."""
_DOCUMENTS = {"urlPattern": "*", "resourceType": "Document", "requestStage": "Request"}
_EVERYTHING = {"urlPattern": "*", "requestStage": "Request"}


class Brake:
    """The brake of one page.

    Args:
        cdp: A session of the page.

    Attributes:
        refused: Where the held page wanted to go, at most ``MAX_REFUSED`` addresses.
    """

    MAX_REFUSED = 20

    def __init__(self, cdp: CDPSession) -> None:
        self.refused: list[str] = []
        self._cdp = cdp
        self._frame = ""
        self._watching = False
        self._stopping: asyncio.Future[bool] | None = None
        self._answers: set[asyncio.Task[None]] = set()

    async def watch(self) -> None:
        """Begin to look at the documents that are asked for; to be called before the page loads."""
        if not self._watching:
            self._watching = True
            self._cdp.on("Fetch.requestPaused", lambda event: self._later(self._answer(event)))
            self._cdp.on("Fetch.authRequired", lambda event: self._later(self._log_in_nowhere(event)))
            await self._cdp.send("Fetch.enable", {"patterns": [_DOCUMENTS], "handleAuthRequests": True})

    async def hold(self) -> None:
        """Keep the page at the document that it shows."""
        await self.watch()
        if not self._frame:
            tree = await self._cdp.send("Page.getFrameTree")
            self._frame = tree["frameTree"]["frame"]["id"]

    async def stop(self) -> bool:
        """End the page's scripts and requests; whoever asks again waits for the same order.

        Returns:
            Whether the browser took the order in time. If not, only closing the page ends it.
        """
        if self._stopping is None:
            self._stopping = asyncio.ensure_future(self._stop())
        return await asyncio.shield(self._stopping)

    @property
    def stopped(self) -> bool:
        """Whether the page was told to stop."""
        return self._stopping is not None

    async def _stop(self) -> bool:
        orders: list[tuple[str, dict[str, Any]]] = [
            ("Emulation.setScriptExecutionDisabled", {"value": True}),
            ("Runtime.terminateExecution", {}),
            ("Fetch.enable", {"patterns": [_EVERYTHING], "handleAuthRequests": True}),
        ]
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await self.watch()
                await asyncio.gather(*(self._cdp.send(method, values) for method, values in orders))
        except (PlaywrightError, TimeoutError):
            return False
        return True

    def _later(self, answer: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(answer)
        self._answers.add(task)
        task.add_done_callback(self._answers.discard)

    async def _answer(self, event: dict[str, Any]) -> None:
        held = event["resourceType"] == "Document" and event["frameId"] == self._frame
        if held and len(self.refused) < self.MAX_REFUSED:
            self.refused.append(event["request"]["url"][:2000])
        with contextlib.suppress(PlaywrightError):
            if held or self.stopped:
                failure = {"requestId": event["requestId"], "errorReason": "Aborted"}
                await self._cdp.send("Fetch.failRequest", failure)
            else:
                await self._cdp.send("Fetch.continueRequest", {"requestId": event["requestId"]})

    async def _log_in_nowhere(self, event: dict[str, Any]) -> None:
        answer = {"requestId": event["requestId"], "authChallengeResponse": {"response": "CancelAuth"}}
        with contextlib.suppress(PlaywrightError):
            await self._cdp.send("Fetch.continueWithAuth", answer)
