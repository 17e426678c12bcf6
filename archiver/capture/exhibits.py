"""What a person looks at, taken from the one loaded page: screenshots, PDF, MHTML, DOM, text.

Everything that asks the page a question does so in an isolated world, where the page's own scripts
cannot answer for the document.
"""

from __future__ import annotations

import base64
import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from archiver.spool import utc_text

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.async_api import CDPSession, Page

    from archiver.capture.limits import Limits, View

TILE_PX = 8192
"""Height of one screenshot tile in device pixels: half of Chromium's largest texture, so never cut."""

ExhibitFacts = dict[str, Any]


class ExhibitTooLarge(ValueError):
    """The browser handed over more than the budget of one exhibit."""


class IsolatedWorld:
    """Evaluates in the main frame, out of reach of the page's scripts.

    Args:
        cdp: A session of the page.
    """

    def __init__(self, cdp: CDPSession) -> None:
        self._cdp = cdp

    async def evaluate(self, expression: str) -> Any:
        """Run *expression*, await it if it is a promise, and return its JSON value.

        The world is made anew each time: a navigation in between would have taken it away.
        """
        tree = await self._cdp.send("Page.getFrameTree")
        world = await self._cdp.send(
            "Page.createIsolatedWorld",
            {"frameId": tree["frameTree"]["frame"]["id"], "worldName": "archive"},
        )
        answer = await self._cdp.send(
            "Runtime.evaluate",
            {
                "expression": expression,
                "contextId": world["executionContextId"],
                "awaitPromise": True,
                "returnByValue": True,
            },
        )
        return answer["result"].get("value")


class ExhibitMaker:
    """Takes the exhibits of one page and writes them into *folder*.

    Args:
        page: Loaded.
        cdp: A session of that page.
        folder: Where the files go.
        view: Viewport and scale.
        limits: Budgets.
    """

    def __init__(self, page: Page, cdp: CDPSession, folder: Path, view: View, limits: Limits) -> None:
        self._page = page
        self._cdp = cdp
        self._folder = folder
        self._view = view
        self._limits = limits

    def _keep(self, name: str, role: str, media_type: str, data: bytes, **facts: int) -> ExhibitFacts:
        if len(data) > self._limits.exhibit_bytes:
            raise ExhibitTooLarge(
                f"{role}: expected at most {self._limits.exhibit_bytes} bytes, got {len(data)}"
            )
        (self._folder / name).write_bytes(data)
        return {
            "role": role,
            "path": name,
            "media_type": media_type,
            "taken_at": utc_text(datetime.now(UTC)),
            **facts,
        }

    async def viewport(self) -> ExhibitFacts:
        """The window as it is, nothing scrolled, nothing dismissed."""
        answer = await self._cdp.send("Page.captureScreenshot", {"format": "png", "optimizeForSpeed": True})
        return self._screenshot("screenshot-viewport.png", "screenshot-viewport", answer, offset_y_px=0)

    async def full_page(self, width_px: int, height_px: int) -> list[ExhibitFacts]:
        """The whole page in tiles of at most ``TILE_PX``, one below the other, none cut or repeated.

        Args:
            width_px: Of the page, CSS pixels.
            height_px: Of the page, CSS pixels; cut at the limit by the caller.
        """
        step = TILE_PX * 100 // self._view.scale_percent
        count = max(1, math.ceil(height_px / step))
        tiles = []
        for number in range(count):
            top = number * step
            clip = {"x": 0, "y": top, "width": width_px, "height": min(step, height_px - top), "scale": 1}
            answer = await self._cdp.send(
                "Page.captureScreenshot",
                {"format": "png", "optimizeForSpeed": True, "captureBeyondViewport": True, "clip": clip},
            )
            name = "screenshot-full.png" if count == 1 else f"screenshot-full-{number + 1:02d}.png"
            tiles.append(self._screenshot(name, "screenshot-full", answer, offset_y_px=top))
        return tiles

    def _screenshot(self, name: str, role: str, answer: dict[str, Any], **facts: int) -> ExhibitFacts:
        data = base64.b64decode(answer["data"])
        # Width and height stand at fixed places in the first chunk (PNG specification, IHDR).
        width, height = int.from_bytes(data[16:20]), int.from_bytes(data[20:24])
        return self._keep(
            name,
            role,
            "image/png",
            data,
            width_px=width,
            height_px=height,
            scale_percent=self._view.scale_percent,
            **facts,
        )

    async def pdf(self) -> ExhibitFacts:
        """The page as printed on A4, backgrounds included."""
        data = await self._page.pdf(format="A4", print_background=True)
        return self._keep("page.pdf", "pdf", "application/pdf", data)

    async def mhtml(self) -> ExhibitFacts:
        """The browser's own snapshot of the rendered page with its resources."""
        answer = await self._cdp.send("Page.captureSnapshot", {"format": "mhtml"})
        return self._keep("page.mhtml", "mhtml", "multipart/related", answer["data"].encode())

    async def dom(self) -> ExhibitFacts:
        """The document as the scripts left it, serialized with its open shadow roots."""
        markup = await IsolatedWorld(self._cdp).evaluate(_SERIALIZE)
        return self._keep("dom.html", "dom", "text/html", (markup or "").encode(errors="replace"))

    async def text(self) -> tuple[ExhibitFacts, str]:
        """The visible text of the page and of its frames, and the same for the caller to judge."""
        parts = [
            await IsolatedWorld(self._cdp).evaluate("document.body ? document.body.innerText : ''") or ""
        ]
        parts += [
            f"\n[frame {frame.url}]\n{await frame.inner_text('html', timeout=2_000)}"
            for frame in self._page.frames[1:]
            if frame.url.startswith("http")
        ]
        text = "\n".join(parts)
        return self._keep("text.txt", "text", "text/plain", text.encode(errors="replace")), text


_SERIALIZE = """(() => {
  const kind = document.doctype ? new XMLSerializer().serializeToString(document.doctype) + "\\n" : "";
  const root = document.documentElement;
  if (!root) return "";
  const shadows = [];
  const collect = (node) => {
    for (const element of node.querySelectorAll("*"))
      if (element.shadowRoot) { shadows.push(element.shadowRoot); collect(element.shadowRoot); }
  };
  collect(document);
  if (!shadows.length || !root.getHTML) return kind + root.outerHTML;
  const open = root.cloneNode(false).outerHTML.replace(/<\\/[^>]+>$/, "");
  return kind + open + root.getHTML({shadowRoots: shadows}) + "</" + root.localName + ">";
})()"""
