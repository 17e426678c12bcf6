from __future__ import annotations

import random

import pytest

from benchmarks.batch import kill_and_go_on

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("kills")]


def test_a_batch_killed_again_and_again_loses_nothing_and_captures_nothing_twice(tmp_path):
    """Killed at random moments, the same command goes on: each page once whole in the store, no browser left.

    ``benchmarks.batch kills`` does so with 300 pages and 20 kills.
    """
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)  # the browser is another user
    found = kill_and_go_on(tmp_path, 15, 3, random.Random(7), 12)
    assert found.exit_code == 0, found.told
    assert found.kills > 0
    assert found.complete == {1: 15}
    assert (found.browsers, found.spools, found.lost) == (0, 0, 0)
