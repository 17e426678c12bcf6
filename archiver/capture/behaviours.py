"""Acts on a page as a reader would, between its first screenshots and the others, and notes what it did.

Overlays are closed or hidden, texts and comments expanded, older entries loaded, media played, inner scroll
areas run through. What may be clicked stands in ``behaviours.toml``; no form is handed in and no link is
followed, and a move to another document is refused by the brake, which holds the page by then. Nothing is
waited for but what a click brings: a page with nothing to do costs one question.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec
from playwright.async_api import Error as PlaywrightError

from archiver.capture.behaviour_rules import library_behavior, library_source, reader_script
from archiver.capture.exhibits import IsolatedWorld
from archiver.capture.notes import Notes, clean

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from playwright.async_api import CDPSession, Page

    from archiver.capture.activity import Activity
    from archiver.capture.brake import Brake
    from archiver.capture.limits import Limits

CLICKS_PER_ROUND = 40
MAX_FRAMES = 10
MEDIA_MS = 5_000
"""For one video or sound to play to its end, at up to 16 times its speed."""
MAX_LIBRARY_LINES = 50


@dataclass
class Reader:
    """The behaviours of one page.

    Args:
        page: Loaded and held.
        cdp: A session of it.
        brake: Holds it.
        activity: Closes windows that a click opens.
        notes: Of the capture.
        limits: Budgets of time and clicks.
        settle: Waits for a quiet network and notes it; takes the name of the wait.
    """

    page: Page
    cdp: CDPSession
    brake: Brake
    activity: Activity
    notes: Notes
    limits: Limits
    settle: Callable[[str], Awaitable[None]]
    alterations: list[str] = field(default_factory=list)
    _worlds: list[IsolatedWorld] = field(default_factory=list)
    _clicks: int = 0
    _ends: float = 0

    async def finds(self) -> bool:
        """Tell whether there is anything to do on the page as it is."""
        try:
            async with asyncio.timeout(self.limits.behaviour_ms / 1000):
                await self._enter()
                found = [await world.evaluate("reader.survey()") for world in self._worlds]
        except (PlaywrightError, TimeoutError) as error:
            self._failed(error)
            return False
        total = {key: sum(one[key] for one in found) for key in found[0]}
        self.notes.step("survey", ", ".join(f"{count} {key}" for key, count in total.items()))
        return any(total.values()) or bool(library_behavior(self.page.url))

    async def read(self, scroll: Callable[[], Awaitable[None]]) -> None:
        """Do everything there is to do, within the budgets; *scroll* runs through the page."""
        begun = time.monotonic()
        self._ends = begun + self.limits.behaviour_ms / 1000
        try:
            async with asyncio.timeout(self.limits.behaviour_ms / 1000):
                await self._dismiss()
                await self._library()
                await scroll()
                while await self._expand():
                    await scroll()
                await self._dismiss()
                await self._areas()
                await self._play()
        except TimeoutError:
            allowed = self.limits.behaviour_ms
            self.notes.over("behaviour_ms", f"behaviours: expected the end within {allowed} ms, got none")
        except PlaywrightError as error:
            self._failed(error)

    async def laid_out(self, take: Callable[[], Awaitable[None]]) -> None:
        """Run *take* while inner scroll areas are laid out in their full height."""
        world = self._worlds[0]
        opened = await self._quick(world, "reader.openAreas()")
        if opened:
            self.notes.step("lay-out", f"{opened} elements in full height, for the pictures alone")
            self.alterations.append("screenshot-full and pdf show inner scroll areas in their full height")
        try:
            await take()
        finally:
            if opened:
                await self._quick(world, "reader.closeAreas()")

    async def _quick(self, world: IsolatedWorld, expression: str) -> Any:
        try:
            return await asyncio.wait_for(world.evaluate(expression), 2)
        except (PlaywrightError, TimeoutError) as error:
            self._failed(error)
            return 0

    def _failed(self, error: BaseException) -> None:
        said = clean(error) if isinstance(error, PlaywrightError) else "no answer in time"
        self.notes.problems.append(f"behaviours: expected the page to answer, got {said}")

    async def _enter(self) -> None:
        """Bring the script into the page and, for their comments, into its frames."""
        self._worlds = [IsolatedWorld(self.cdp)]
        tree = await self.cdp.send("Page.getFrameTree")
        inner = [one["frame"]["id"] for one in tree["frameTree"].get("childFrames", [])]
        self._worlds += [IsolatedWorld(self.cdp, frame) for frame in inner[:MAX_FRAMES]]
        for frame in self.page.frames[1 : MAX_FRAMES + 1] if len(self.page.frames) > len(inner) + 1 else ():
            # A frame of another site lives in another process, with a session of its own.
            try:
                session = await self.page.context.new_cdp_session(frame)
            except PlaywrightError:
                continue
            self._worlds.append(IsolatedWorld(session))
        script = reader_script(self.page.url)
        await self._worlds[0].evaluate(script)
        for world in self._worlds[1:]:
            try:
                await world.evaluate(script)
            except PlaywrightError:
                self._worlds.remove(world)

    async def _clicking(self, action: Awaitable[Any]) -> Any:
        """Await something that clicks, and write down where it would have led."""
        held = len(self.brake.refused)
        self.activity.refuse_popups = True
        try:
            return await action
        finally:
            self.activity.refuse_popups = False
            stopped = self.brake.refused[held:]
            # The page did not want to leave: a click of ours would have led it away.
            del self.brake.refused[held:]
            for address in stopped:
                self.notes.step("stopped", f"a click would have led to {address}")

    async def _dismiss(self) -> None:
        for one in await self._clicking(self._worlds[0].evaluate("reader.dismiss()")):
            how = f"closed by {_quoted(one['by'])}" if one["how"] == "closed" else "hidden, nothing closed it"
            self.notes.step("dismiss", f"{_quoted(one['what'])} {how}{_moved([one['moved']])}")
            self.alterations.append(
                f"all exhibits but the first screenshots: an overlay {_quoted(one['what'])} was {how}"
            )

    async def _expand(self) -> bool:
        """Click what expands until nothing is left or nothing more comes; tell whether anything did."""
        before = self._clicks
        for world in list(self._worlds):
            while self._clicks < self.limits.behaviour_clicks:
                most = min(CLICKS_PER_ROUND, self.limits.behaviour_clicks - self._clicks)
                requests = len(self.activity.requests)
                done = await self._clicking(world.evaluate(f"reader.expand({most})"))
                if not done["clicks"]:
                    break
                self._clicks += done["clicks"]
                await self.settle("settle-after-expanding")
                done["grown"] = await world.evaluate("reader.grown()")
                self._note_clicks(done, len(self.activity.requests) - requests)
            else:
                if await self._left(world):
                    allowed = self.limits.behaviour_clicks
                    problem = f"behaviours: expected at most {allowed} things to expand, got more"
                    if "behaviour_clicks" not in self.notes.limits_reached:
                        self.notes.over("behaviour_clicks", problem)
        return self._clicks > before and self._clicks < self.limits.behaviour_clicks

    async def _left(self, world: IsolatedWorld) -> bool:
        return bool((await world.evaluate("reader.survey()"))["expand"])

    def _note_clicks(self, done: dict[str, Any], requests: int) -> None:
        for one in done["log"]:
            self.notes.step(
                "expand", f"{one['rule']}: {one['count']} clicked, the first {_quoted(one['what'])}"
            )
        grown = done["grown"]
        came = f"{grown['elements']:+d} elements, {grown['height']:+d} px, {grown['chars']:+d} characters"
        self.notes.step("expanded", f"{came}, {requests} requests{_moved(done['moved'])}")

    async def _areas(self) -> None:
        areas = await self._worlds[0].evaluate("reader.scrollAreas()")
        for one in areas:
            shown = f"{one['shown_px']} px of {one['whole_px']} px"
            self.notes.step("scroll-area", f"{one['area']} shows {shown}: {one['steps']} steps to its end")
        if any(one["steps"] for one in areas):
            await self.settle("settle-after-areas")

    async def _play(self) -> None:
        left_ms = int((self._ends - time.monotonic()) * 1000)
        budget_ms = max(500, min(MEDIA_MS, left_ms // 2))
        for world in self._worlds:
            played = await world.evaluate(f"reader.play({budget_ms})")
            for one in played:
                how = "to its end" if one["ended"] else f"{one['seconds'] / 10} s of it"
                told = f"not played: {one['error']}" if one["error"] else f"played {how}, muted"
                self.notes.step("play", f"{one['kind']} {_quoted(one['source'])} {told}")
            if played:
                await self.settle("settle-after-playing")

    async def _library(self) -> None:
        """Run the one behavior of browsertrix-behaviors that is for this platform, if it is at hand."""
        name, source = library_behavior(self.page.url), library_source()
        if not (name and source):
            return
        budget_ms = max(500, int((self._ends - time.monotonic()) * 1000) // 2)
        await self._worlds[0].evaluate("reader.guard(true)")
        order = {
            "expression": f"{source}\n;({_RUN_LIBRARY})({msgspec.json.encode(name).decode()}, {budget_ms})",
            "awaitPromise": True,
            "returnByValue": True,
        }
        try:
            answer = await self._clicking(self.cdp.send("Runtime.evaluate", order))
        finally:
            await self._quick(self._worlds[0], "reader.guard(false)")
        lines = answer.get("result", {}).get("value") or ["gave no account of itself"]
        for line in _told_lines(lines):
            self.notes.step("library", f"browsertrix-behaviors {name}: {line}")
        await self.settle("settle-after-library")


def _told_lines(lines: Iterable[Any]) -> list[str]:
    # The page's own world could have tampered with it: it is an account, cut to size.
    told = [str(line)[:300] for line in lines]
    more = len(told) - MAX_LIBRARY_LINES
    return [*told[:MAX_LIBRARY_LINES], *([f"and {more} lines more"] if more > 0 else [])]


def _quoted(text: str) -> str:
    return f'"{text}"' if text else "without words"


def _moved(addresses: list[str]) -> str:
    led = [one for one in addresses if one]
    return f"; the page changed its address to {', '.join(led)} and was led back" if led else ""


_RUN_LIBRARY = """async (name, budget) => {
  const log = [], manager = self.__bx_behaviors;
  const known = manager && manager.loadedBehaviors && manager.loadedBehaviors[name];
  if (!known) return ["not run: the script knows no such behavior"];
  for (const other of Object.keys(manager.loadedBehaviors))
    if (other !== name) delete manager.loadedBehaviors[other];
  known.isMatch = () => true;
  const take = (entry) => {
    const data = entry && entry.data, text = data && data.msg || data;
    const said = String(typeof text === "string" ? text : JSON.stringify(text));
    if (log.length < 500) log.push(said.slice(0, 300));
  };
  const off = { autofetch: false, autoplay: false, autoscroll: false, autoclick: false };
  await manager.run({ ...off, siteSpecific: true, timeout: budget, log: take });
  for (const one of manager.behaviors) one.pause();
  const state = manager.mainBehavior && manager.mainBehavior.ctx && manager.mainBehavior.ctx.state;
  if (state) log.push("did " + JSON.stringify(state).slice(0, 200));
  delete self.__bx_behaviors;
  return log;
}"""
