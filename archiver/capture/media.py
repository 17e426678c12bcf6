"""Video and sound of a page by yt-dlp, in a process of its own, through the same recorded relay.

The process dials the capture's relay port, so that the guard decides where it may go and every byte is in the
wire file; it writes its TLS secrets into the same key log as the browser. It has limits of time, size, memory
and processor, and whatever becomes of it the capture goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from archiver.spool import utc_text

if TYPE_CHECKING:
    from archiver.capture.browser import BrowserHome
    from archiver.capture.exhibits import ExhibitFacts
    from archiver.capture.limits import Limits

MAX_FILES = 20
MAX_ANSWER_BYTES = 64 * 1024
_PACKAGE_ROOT = Path(__file__).parents[2]
_TYPES = {
    ".mp4": "video/mp4",
    ".webm": "video/webm",
    ".mkv": "video/x-matroska",
    ".m4a": "audio/mp4",
    ".mp3": "audio/mpeg",
    ".ogg": "audio/ogg",
    ".ts": "video/mp2t",
    ".json": "application/json",
}


class MediaAnswer(msgspec.Struct, frozen=True):
    """What the process says at its end.

    Args:
        extractor: yt-dlp's name for the kind of site, or empty.
        error: Why nothing or not everything came, or empty.
    """

    extractor: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class MediaTaken:
    """What came of it.

    Args:
        exhibits: Files in the spool, in the form of exhibits.
        told: One line for the record.
        problem: What is missing and why, or empty.
    """

    exhibits: list[ExhibitFacts]
    told: str
    problem: str


@dataclass(frozen=True, slots=True)
class MediaOrder:
    """What is to be fetched.

    Args:
        url: Of the page.
        port: Of the capture's relay.
        user_agent: As the browser sent it.
        extra_roots: Certificates trusted besides the system's.
    """

    url: str
    port: int
    user_agent: str
    extra_roots: tuple[Path, ...]


def is_platform(url: str) -> bool:
    """Tell whether yt-dlp has an extractor of its own for *url*."""
    # Here, since its 1,800 extractors take most of a second to import.
    from yt_dlp.extractor import gen_extractor_classes  # noqa: PLC0415

    return any(one.suitable(url) for one in gen_extractor_classes() if one.IE_NAME != "generic")


async def take_media(order: MediaOrder, home: BrowserHome, limits: Limits, into: Path) -> MediaTaken:
    """Fetch what yt-dlp finds into *into*.

    Args:
        order: What.
        home: Its key log is written to, and its user is the one that the relay lets in.
        limits: ``media_ms`` and ``media_bytes`` are used.
        into: The exhibits folder.
    """
    work = home.path / f"media-{order.port}"
    work.mkdir(mode=0o700)
    if os.getuid() == 0:
        os.chown(work, home.uid, home.uid)
    asked = {
        "url": order.url,
        "proxy": f"socks5h://127.0.0.1:{order.port}",
        "folder": str(work),
        "user_agent": order.user_agent,
        "uid": home.uid,
        "max_bytes": limits.media_bytes,
        "max_s": max(1, limits.media_ms // 1000),
    }
    answer = await _ask(asked, home, _bundle(work, order.extra_roots), limits)
    exhibits = _move(work, into, limits.media_bytes)
    found = [one for one in exhibits if one["role"] == "media"]
    told = f"yt-dlp ({answer.extractor or 'no extractor'}): {len(found)} files"
    problem = "" if found and not answer.error else f"media: expected a file, got {answer.error or 'none'}"
    return MediaTaken(exhibits, told, problem)


async def _ask(order: dict[str, Any], home: BrowserHome, bundle: Path, limits: Limits) -> MediaAnswer:
    environment = {
        "HOME": str(home.path),
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "PYTHONPATH": str(_PACKAGE_ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
        "SSLKEYLOGFILE": str(home.keys),
        "SSL_CERT_FILE": str(bundle),
        "YTDLP_NO_LAZY_EXTRACTORS": "1",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "archiver.capture.media_process",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment,
        cwd=order["folder"],
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(limits.media_ms / 1000):
            out, said = await process.communicate(msgspec.json.encode(order))
        if out:
            return msgspec.json.decode(out[-MAX_ANSWER_BYTES:], type=MediaAnswer)
        last = said.decode(errors="replace").strip().rpartition("\n")[2][:300]
        return MediaAnswer(error=f"its process ended with {process.returncode}: {last}")
    except TimeoutError:
        return MediaAnswer(error=f"no end within {limits.media_ms} ms")
    except msgspec.DecodeError:
        return MediaAnswer(error="an answer of another form")
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


def _bundle(work: Path, extra_roots: tuple[Path, ...]) -> Path:
    """Put the system's roots and the extra ones into one file, which OpenSSL can be told to trust."""
    own = ssl.get_default_verify_paths().cafile
    parts = [Path(own).read_bytes()] if own else []
    parts += [root.read_bytes() for root in extra_roots]
    path = work / "roots.pem"
    path.write_bytes(b"\n".join(parts))
    if os.getuid() == 0:
        path.chmod(0o644)
    return path


def _move(work: Path, into: Path, max_bytes: int) -> list[ExhibitFacts]:
    """Take the files over under names of ours; what is no plain file or too large stays behind."""
    exhibits: list[ExhibitFacts] = []
    left = max_bytes
    for path in sorted(work.iterdir())[: MAX_FILES * 2]:
        name = path.name
        if not name.startswith("media-") or path.is_symlink() or not path.is_file() or name.endswith(".part"):
            continue
        size = path.stat().st_size
        if size > left or len(exhibits) >= MAX_FILES:
            continue
        left -= size
        target = into / name
        with path.open("rb") as source, target.open("wb") as file:
            while data := source.read(1024 * 1024):
                file.write(data)
        exhibits.append(
            {
                "role": "media-info" if path.suffix == ".json" else "media",
                "path": name,
                "media_type": _TYPES.get(path.suffix, "application/octet-stream"),
                "taken_at": utc_text(datetime.now(UTC)),
            }
        )
    return exhibits
