"""Puts a file into an S3 store: ``uploading.py STORE FILE``; prints errors and its peak memory in KiB."""

from __future__ import annotations

import resource
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
    sys.stdout.write(str(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))


if __name__ == "__main__":
    main()
