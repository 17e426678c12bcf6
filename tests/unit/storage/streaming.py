"""Puts 300 MB into the store named by the first argument and prints by how much memory grew, in KiB."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from storage.open import open_store

SIZE_BYTES = 300_000_000


class Source:
    """A stream of SIZE_BYTES that is never in memory as a whole."""

    def __init__(self) -> None:
        self.left = SIZE_BYTES

    def read(self, size: int) -> bytes:
        size = min(size, self.left)
        self.left -= size
        return bytes(size)


def peak_kib() -> int:
    # Not ru_maxrss: a program inherits that of the one that started it.
    return int(re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[0])


def main() -> None:
    store = open_store(sys.argv[1])
    store.put("small", b"x")
    before = peak_kib()
    store.put("large", Source())
    with store.open("large") as stream:
        while stream.read(1 << 20):
            pass
    sys.stdout.write(f"{peak_kib() - before} {peak_kib()}")


if __name__ == "__main__":
    main()
