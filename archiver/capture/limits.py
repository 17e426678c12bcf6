"""Budgets of one capture: what a page may cost before it is ended and kept as it is.

Limits are data with units, so that the same values stand in the settings, in the code that enforces
them and in the evidence record.
"""

from __future__ import annotations

import msgspec

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one capture may use.

    Args:
        load_ms: From the first request until the load event.
        settle_ms: For the network to fall quiet after the load, and again after scrolling.
        scroll_ms: For scrolling to the end and back.
        behaviour_ms: For all that is clicked, expanded, dismissed and played on a page.
        behaviour_clicks: On what expands and loads more.
        media_ms: For yt-dlp to fetch video and sound; beside ``total_ms``.
        media_bytes: Of all files of video and sound together.
        exhibit_ms: For each exhibit (a screenshot tile, the PDF, the MHTML, the DOM, the text).
        total_ms: For everything; what is left then is skipped and named.
        capture_bytes: On the wire, all connections together.
        connection_bytes: On one connection, each direction; at this it is cut. It stands for a budget of one
            body, which cannot be told from its neighbours while it is ciphertext.
        page_width_px: Shown in the full screenshot, CSS pixels.
        page_height_px: Scrolled and shown in the full screenshot, CSS pixels.
        screenshot_px: Of the full screenshot, width times height, device pixels.
        exhibit_bytes: Of one exhibit that the browser hands over.
        dialogs: Alerts, confirms and prompts dismissed before the page is stopped.
        popups: Windows the page may open; further ones are closed unseen.
        requests: Made by the page before it is stopped.
        redirects: Documents that the page may move on to, by redirect, refresh or script, before it is
            stopped; and ten times as many addresses that it may give itself without a load.
        frames: Frames that the page may hold at once before it is stopped.
        browser_memory_bytes: Of the browser's processes together, without mapped files; above it the largest
            process is ended.
        process_threads: Of one process of the browser, such as the workers of a page; above it that is ended.
    """

    load_ms: int = 30_000
    settle_ms: int = 10_000
    scroll_ms: int = 15_000
    behaviour_ms: int = 40_000
    behaviour_clicks: int = 200
    media_ms: int = 180_000
    media_bytes: int = 512 * MIB
    exhibit_ms: int = 20_000
    total_ms: int = 120_000
    capture_bytes: int = 1 * GIB
    connection_bytes: int = 512 * MIB
    page_width_px: int = 10_000
    page_height_px: int = 100_000
    screenshot_px: int = 256_000_000
    exhibit_bytes: int = 256 * MIB
    dialogs: int = 20
    popups: int = 5
    requests: int = 20_000
    redirects: int = 50
    frames: int = 1_000
    browser_memory_bytes: int = 3 * GIB
    process_threads: int = 150


class View(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the browser presents itself: what a page can adapt its content to.

    Args:
        width_px: Viewport width, CSS pixels.
        height_px: Viewport height, CSS pixels.
        scale_percent: Device pixels per CSS pixel, in percent (an integer: the record has no floats).
        locale: BCP 47 tag, also sent as Accept-Language.
        timezone: IANA name.
        languages: Asked for, best first; empty for the locale alone.
    """

    width_px: int = 1280
    height_px: int = 800
    scale_percent: int = 100
    locale: str = "ru-KZ"
    timezone: str = "Asia/Almaty"
    languages: tuple[str, ...] = ()

    def asks_for(self) -> tuple[str, ...]:
        """Return the languages that are asked for, best first."""
        return self.languages or (self.locale,)

    def accept_language(self) -> str:
        """Return the languages as a browser writes them (RFC 9110 section 12.5.4)."""
        tags = enumerate(self.asks_for())
        return ",".join(f"{tag};q={max(1 - place / 10, 0.1):.1f}" if place else tag for place, tag in tags)
