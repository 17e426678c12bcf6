"""Files of other projects that come from npm and are packed into the wheel when it is built.

``scripts/assets.sh`` brings them, pinned by version and digest in ``archiver/assets/npm.lock``; the
repository holds none of them. A machine where npm could not be had works without: what needs a file asks
for it here.
"""

from __future__ import annotations

from pathlib import Path

from archiver.errors import EnvironmentUnfit

FOLDER = Path(__file__).parent

REPLAY_UI = "replaywebpage/ui.js"
"""replayweb.page: the element that shows a WACZ."""
REPLAY_WORKER = "replaywebpage/sw.js"
"""replayweb.page: the service worker that answers from a WACZ."""
BEHAVIORS = "browsertrix-behaviors/behaviors.js"
"""browsertrix-behaviors: one script that scrolls, expands and plays a page."""

FONTS = ("noto-sans/NotoSans-Regular.ttf", "noto-sans/NotoSans-Bold.ttf")
"""Noto Sans, which has every letter of Kazakh: for documents that look alike on every machine."""


def asset(name: str) -> Path:
    """Give the path of one file.

    Args:
        name: One of the names above.

    Raises:
        EnvironmentUnfit: It was not brought here; E119.
    """
    path = FOLDER / name
    if not path.is_file():
        raise EnvironmentUnfit(
            f"asset {name}: expected a file of an npm package, got none",
            code="E119",
            hint="install npm and run `make assets`, or install a wheel that was built with them",
        )
    return path
