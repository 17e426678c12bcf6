"""What a person looks at, taken from the one loaded page: screenshots, PDF, MHTML, DOM, text.

Everything that asks the page a question does so in an isolated world, where the page's own scripts
cannot answer for the document.
"""

from __future__ import annotations

import base64
import contextlib
import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from playwright.async_api import Error as PlaywrightError

from archiver.spool import utc_text

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from playwright.async_api import CDPSession, Page

    from archiver.capture.limits import Limits, View

TILE_PX = 8192
"""Height of one screenshot tile in device pixels: half of Chromium's largest texture, so never cut."""

TILE_AREA_PX = 24 * 1024 * 1024
"""Of one tile, device pixels: a wide page has lower ones, so that a picture stays below 100 MB in memory."""

SLICE_CHARS = 1024 * 1024
"""Of a long text, taken from the page in one message, so that a bomb never stands in our memory whole."""
PDF_CHUNK_BYTES = 1024 * 1024
MAX_MHTML_DOM_CHARS = 8 * 1024 * 1024
"""The browser hands an MHTML over in one piece, up to nine bytes for a character; longer pages have none."""
MAX_FRAMES_READ = 100
FRAME_TIMEOUT_MS = 2_000
_A4_INCHES = {
    "paperWidth": 8.27,
    "paperHeight": 11.69,
    **dict.fromkeys(("marginTop", "marginBottom", "marginLeft", "marginRight"), 0),
}

ExhibitFacts = dict[str, Any]


class ExhibitTooLarge(ValueError):
    """The browser handed over more than the budget of one exhibit."""


class IsolatedWorld:
    """Evaluates in the main frame, out of reach of the page's scripts.

    Args:
        cdp: A session of the page, or of a frame that has one.
        frame_id: Of another frame of that session; empty for its main one.
    """

    def __init__(self, cdp: CDPSession, frame_id: str = "") -> None:
        self._cdp = cdp
        self._frame_id = frame_id

    async def evaluate(self, expression: str) -> Any:
        """Run *expression*, await it if it is a promise, and return its JSON value."""
        answer = await self._run(expression, by_value=True)
        return answer["result"].get("value")

    async def slices(self, expression: str) -> AsyncIterator[str]:
        """Run *expression* and yield the string that it gives in pieces, cut between characters."""
        held = await self._run(f"({{text: {expression}}})", by_value=False)
        object_id = held["result"]["objectId"]
        start = 0
        while True:
            answer = await self._cdp.send(
                "Runtime.callFunctionOn",
                {
                    "objectId": object_id,
                    "functionDeclaration": _SLICE,
                    "arguments": [{"value": start}, {"value": SLICE_CHARS}],
                    "returnByValue": True,
                },
            )
            part: str = answer["result"].get("value") or ""
            if not part:
                break
            yield part
            # Python counts a pair of surrogates as one character, JavaScript as two.
            start += len(part.encode("utf-16-le", "surrogatepass")) // 2
        await self._cdp.send("Runtime.releaseObject", {"objectId": object_id})

    async def _run(self, expression: str, *, by_value: bool) -> dict[str, Any]:
        # The world is made anew each time: a navigation in between would have taken it away.
        frame_id = self._frame_id
        if not frame_id:
            frame_id = (await self._cdp.send("Page.getFrameTree"))["frameTree"]["frame"]["id"]
        world = await self._cdp.send(
            "Page.createIsolatedWorld", {"frameId": frame_id, "worldName": "archive"}
        )
        answer = await self._cdp.send(
            "Runtime.evaluate",
            {
                "expression": expression,
                "contextId": world["executionContextId"],
                "awaitPromise": by_value,
                "returnByValue": by_value,
            },
        )
        if failure := answer.get("exceptionDetails"):
            said = failure.get("exception", {}).get("description") or failure.get("text", "")
            raise PlaywrightError(f"the page answered with an error: {said}"[:300])
        return answer


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
        self._check_size(role, len(data))
        (self._folder / name).write_bytes(data)
        return _facts(name, role, media_type, **facts)

    async def _keep_stream(
        self, name: str, role: str, media_type: str, parts: AsyncIterator[bytes]
    ) -> ExhibitFacts:
        """Write what comes in pieces; an exhibit that turns out too large is not kept in part."""
        path = self._folder / name
        size = 0
        try:
            with path.open("wb") as file:
                async for part in parts:
                    size += len(part)
                    self._check_size(role, size)
                    file.write(part)
        except BaseException:
            path.unlink()
            raise
        return _facts(name, role, media_type)

    def _check_size(self, role: str, size: int) -> None:
        if size > self._limits.exhibit_bytes:
            raise ExhibitTooLarge(f"{role}: expected at most {self._limits.exhibit_bytes} bytes, got more")

    async def viewport(self) -> ExhibitFacts:
        """The window as it is, nothing scrolled, nothing dismissed."""
        answer = await self._cdp.send("Page.captureScreenshot", {"format": "png", "optimizeForSpeed": True})
        return self._screenshot("screenshot-viewport.png", "screenshot-viewport", answer, offset_y_px=0)

    async def full_page(
        self, width_px: int, height_px: int, role: str = "screenshot-full"
    ) -> list[ExhibitFacts]:
        """The whole page in tiles of at most ``TILE_PX``, one below the other, none cut or repeated.

        Args:
            width_px: Of the page, CSS pixels; cut at the limit by the caller, as the height.
            height_px: Of the page, CSS pixels.
            role: Of the pictures, and the beginning of their names.
        """
        scale = self._view.scale_percent
        step = max(1, min(TILE_PX * 100 // scale, TILE_AREA_PX * 10_000 // (width_px * scale * scale)))
        count = max(1, math.ceil(height_px / step))
        tiles = []
        for number in range(count):
            top = number * step
            clip = {"x": 0, "y": top, "width": width_px, "height": min(step, height_px - top), "scale": 1}
            answer = await self._cdp.send(
                "Page.captureScreenshot",
                {"format": "png", "optimizeForSpeed": True, "captureBeyondViewport": True, "clip": clip},
            )
            name = f"{role}.png" if count == 1 else f"{role}-{number + 1:02d}.png"
            tiles.append(self._screenshot(name, role, answer, offset_y_px=top))
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
        return await self._keep_stream("page.pdf", "pdf", "application/pdf", self._printed())

    async def _printed(self) -> AsyncIterator[bytes]:
        order = {"printBackground": True, "transferMode": "ReturnAsStream", **_A4_INCHES}
        stream = (await self._cdp.send("Page.printToPDF", order))["stream"]
        more = True
        while more:
            answer = await self._cdp.send("IO.read", {"handle": stream, "size": PDF_CHUNK_BYTES})
            more = not answer["eof"]
            data: str = answer["data"]
            yield base64.b64decode(data) if answer.get("base64Encoded") else data.encode()
        await self._cdp.send("IO.close", {"handle": stream})

    async def mhtml(self) -> ExhibitFacts:
        """The browser's own snapshot of the rendered page with its resources."""
        length = await IsolatedWorld(self._cdp).evaluate(_MARKUP_LENGTH)
        if length > MAX_MHTML_DOM_CHARS:
            expected = f"at most {MAX_MHTML_DOM_CHARS} characters of markup"
            raise ExhibitTooLarge(f"mhtml: expected {expected}, got {length}")
        answer = await self._cdp.send("Page.captureSnapshot", {"format": "mhtml"})
        return self._keep("page.mhtml", "mhtml", "multipart/related", answer["data"].encode())

    async def dom(self) -> ExhibitFacts:
        """The document as the scripts left it, serialized with its open shadow roots."""
        markup = IsolatedWorld(self._cdp).slices(_SERIALIZE)
        return await self._keep_stream("dom.html", "dom", "text/html", _encoded(markup))

    async def text(self) -> ExhibitFacts:
        """The visible text of the page and of its frames."""
        return await self._keep_stream("text.txt", "text", "text/plain", _encoded(self._texts()))

    async def _texts(self) -> AsyncIterator[str]:
        async for part in IsolatedWorld(self._cdp).slices("document.body ? document.body.innerText : ''"):
            yield part
        for frame in self._page.frames[1 : MAX_FRAMES_READ + 1]:
            if frame.url.startswith("http"):
                with contextlib.suppress(PlaywrightError):  # frames come and go, or hang
                    text = await frame.inner_text("html", timeout=FRAME_TIMEOUT_MS)
                    yield f"\n\n[frame {frame.url}]\n{text[:SLICE_CHARS]}"


def _facts(name: str, role: str, media_type: str, **facts: int) -> ExhibitFacts:
    taken_at = utc_text(datetime.now(UTC))
    return {"role": role, "path": name, "media_type": media_type, "taken_at": taken_at, **facts}


async def _encoded(parts: AsyncIterator[str]) -> AsyncIterator[bytes]:
    async for part in parts:
        yield part.encode(errors="replace")


_SLICE = """function (start, length) {
  let end = start + length;
  const last = this.text.charCodeAt(end - 1);
  if (last >= 0xd800 && last < 0xdc00) end += 1;  // never between the halves of a surrogate pair
  return this.text.slice(start, end);
}"""

_MARKUP_LENGTH = "document.documentElement ? document.documentElement.outerHTML.length : 0"

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
