"""Which version of this program runs."""

from __future__ import annotations

import functools
import importlib.metadata


@functools.cache
def tool_version() -> str:
    """Version of the installed distribution, the whole program's or the verifier's, or of bare source."""
    for name in ("archiver", "archiver-verify"):
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return "unpackaged"
