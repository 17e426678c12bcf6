"""Puts a file into an S3 store: ``uploading.py STORE FILE``; prints errors and its peak memory in KiB."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import botocore.retries.standard

from storage.errors import StoreError
from storage.open import open_store


def main() -> None:
    botocore.retries.standard.ExponentialBackoff.delay_amount = lambda *_: 0
    store = open_store(sys.argv[1])
    try:
        store.put("large", Path(sys.argv[2]))
    except StoreError as error:
        sys.stdout.write(f"{error} ")
    # Not ru_maxrss: a program inherits that of the one that started it.
    (peak_kib,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    sys.stdout.write(peak_kib)


if __name__ == "__main__":
    main()
