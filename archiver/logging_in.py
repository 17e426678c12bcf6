"""The login window under the settings of this installation."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from archiver.capture.browser import find_browser
from archiver.capture.login import Until, log_in
from archiver.capture.rig import describe
from archiver.config import Settings, cache_folder
from archiver.egress import policy_of


async def log_in_with(settings: Settings, url: str, until: Until) -> dict[str, Any]:
    """Open *url* for a person and return the state of the browser once *until* returns."""
    executable = find_browser(settings.browser or None)
    facts = await asyncio.to_thread(describe, executable, cache_folder(), settings.view, settings.user_agent)
    roots = tuple(Path(name) for name in settings.ca_files)
    return await log_in(url, executable, facts, settings.view, roots, policy_of(settings), until)
