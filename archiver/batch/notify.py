"""Tells whoever is to know how a batch ended: a command on this machine, or an address that takes a POST."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from archiver.batch.settings import Notify
from manifests.http_fetch import FetchError, fetch

COMMAND_TIMEOUT_S = 60
MAX_ANSWER_BYTES = 64 * 1024
MAX_SHOWN_CHARS = 200


def notify(settings: Notify, summary: Mapping[str, Any]) -> list[str]:
    """Give *summary* to every hook that is set; returns what went wrong, none of which undoes the batch."""
    data = json.dumps(summary).encode()
    problems = []
    if settings.command and (problem := _run(settings.command, data)):
        problems.append(f"notification command {settings.command[0]}: expected exit code 0, got {problem}")
    if settings.webhook:
        try:
            fetch(settings.webhook, data, "application/json", MAX_ANSWER_BYTES)
        except FetchError as error:
            # Its path and query may be its password.
            host = urlsplit(settings.webhook).netloc.rpartition("@")[2]
            problems.append(f"notification webhook at {host}: {error}")
    return problems


def _run(command: tuple[str, ...], data: bytes) -> str:
    """Run the command and return what went wrong, or nothing."""
    try:
        done = subprocess.run(
            command,
            input=data,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"no end within {COMMAND_TIMEOUT_S} s"
    except (OSError, ValueError) as error:
        return str(error)
    if done.returncode == 0:
        return ""
    said = done.stderr[-MAX_SHOWN_CHARS:].decode("utf-8", "replace").strip()
    return f"{done.returncode} ({said})" if said else str(done.returncode)
