"""The process that runs yt-dlp: reads its order from standard input, writes files, says how it ended.

Touches nothing but its folder and the key log, and dials the relay alone. Run by ``media.take_media``.
"""

from __future__ import annotations

import _strptime  # type: ignore[import-not-found,unused-ignore]  # noqa: F401  # named at run time, out of reach then
import encodings.idna  # noqa: F401  # likewise
import json
import os
import resource
import sys
from typing import Any

from yt_dlp import YoutubeDL
from yt_dlp.utils import DownloadError

MEMORY_BYTES = 2 * 1024**3
MAX_TEXT = 300


class _TooMuch(Exception):  # not an error of yt-dlp, and never shown
    """More came than the budget allows."""


class _Silent:
    """Keeps standard output for the answer."""

    def debug(self, _text: str) -> None: ...

    def warning(self, _text: str) -> None: ...

    def error(self, _text: str) -> None: ...


def main() -> None:
    """Do what the order says."""
    order: dict[str, Any] = json.load(sys.stdin)
    _give_up_root(order["uid"])
    _limit(order["max_bytes"], order["max_s"])
    answer = {"extractor": "", "error": ""}
    try:
        with YoutubeDL(_options(order)) as downloader:
            info = downloader.extract_info(order["url"], download=True) or {}
            answer["extractor"] = str(info.get("extractor_key") or "")[:100]
    except _TooMuch:
        answer["error"] = f"more than {order['max_bytes']} bytes"
    except (DownloadError, OSError, MemoryError) as error:
        answer["error"] = str(error).replace("ERROR: ", "")[:MAX_TEXT] or type(error).__name__
    # For the process that asked, not for a person.
    os.write(1, json.dumps(answer).encode())


def _give_up_root(uid: int) -> None:
    """Become the browser's user; only now, since that user may not be able to read where Python lies."""
    if os.getuid() == 0:
        os.setgroups([])
        os.setgid(uid)
        os.setuid(uid)


def _limit(max_bytes: int, max_s: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (max_bytes, max_bytes))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (max_s, max_s))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _options(order: dict[str, Any]) -> dict[str, Any]:
    taken: dict[str, int] = {}

    def count(progress: dict[str, Any]) -> None:
        taken[str(progress.get("filename"))] = int(progress.get("downloaded_bytes") or 0)
        if sum(taken.values()) > order["max_bytes"]:
            raise _TooMuch

    return {
        "proxy": order["proxy"],
        "paths": {"home": order["folder"]},
        "outtmpl": {"default": "media-%(autonumber)02d.%(ext)s", "infojson": "media-%(autonumber)02d"},
        # One file as the server has it: merging or converting would make another.
        "format": "b/bv/ba",
        "max_filesize": order["max_bytes"],
        "max_downloads": 5,
        "playlistend": 5,
        "noplaylist": True,
        "writeinfojson": True,
        "http_headers": {"User-Agent": order["user_agent"]},
        "compat_opts": {"no-certifi"},
        "fixup": "never",
        "postprocessors": [],
        "hls_prefer_native": True,
        "retries": 2,
        "fragment_retries": 2,
        "socket_timeout": 20,
        "cachedir": False,
        "logger": _Silent(),
        "progress_hooks": [count],
        "quiet": True,
        "noprogress": True,
        "color": "never",
    }


if __name__ == "__main__":
    main()
