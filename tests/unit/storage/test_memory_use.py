"""Memory stays flat in the size of an object."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    ("kind", "most_kib"), [("folder", 16_384), pytest.param("s3", 180_000, marks=pytest.mark.s3)]
)
def test_300_megabytes_go_through_in_flat_memory(request, tmp_path, kind, most_kib):
    """A 300 MB stream goes into a store and out again with memory for a few parts only."""
    url = str(tmp_path / "store") if kind == "folder" else request.getfixturevalue("s3_url")
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name("streaming.py"), url],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
    )
    growth_kib, _ = map(int, done.stdout.split())
    assert growth_kib < most_kib
