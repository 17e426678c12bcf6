from __future__ import annotations

import random
import tempfile
from pathlib import Path

import pytest

from benchmarks.batch import kill_and_go_on

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("kills")]


def test_a_batch_killed_again_and_again_loses_nothing_and_captures_nothing_twice():
    """Killed at random moments, the same command goes on: each page once whole in the store, no browser left.

    ``benchmarks.batch kills`` does so with 300 pages and 20 kills.
    """
    # The browser's user must be able to enter it, which it cannot where pytest keeps its folders.
    with tempfile.TemporaryDirectory(prefix="kills-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        found = kill_and_go_on(folder, 15, 3, random.Random(7))
    assert found.exit_code == 0, found.told
    assert found.kills == 3
    assert found.complete == {1: 15}
    assert found.interrupted > 0
    assert (found.browsers, found.spools, found.lost) == (0, 0, 0)
