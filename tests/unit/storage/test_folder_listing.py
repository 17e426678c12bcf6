"""What a listing of part of a folder store looks at: that part, and nothing that a link leads to."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from storage import folder_tree
from storage.folder import FolderStore


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    store = FolderStore(tmp_path / "store")
    for number in range(3):
        store.put(f"captures/{number}/seal/a", b"x")
    return store


def test_a_listing_reads_only_the_folders_that_can_hold_its_keys(store, monkeypatch):
    """One capture among 100,000 costs what one capture costs: its neighbours are not read."""
    read = []
    real = os.scandir

    def scandir(path):
        read.append(Path(path).relative_to(store.root).as_posix())
        return real(path)

    monkeypatch.setattr(folder_tree.os, "scandir", scandir)
    assert [info.key for info in store.list("captures/1/")] == ["captures/1/seal/a"]
    assert read == ["captures/1", "captures/1/seal"]
    read.clear()
    assert [info.key for info in store.list("captures/1/seal/a")] == ["captures/1/seal/a"]
    assert read == ["captures/1/seal"]


def test_a_listing_does_not_begin_beyond_a_link(store, tmp_path):
    """A prefix that names a link to a folder outside, or a file, lists nothing."""
    (tmp_path / "outside/seal").mkdir(parents=True)
    (tmp_path / "outside/seal/secret").write_bytes(b"x")
    (store.root / "captures/9").symlink_to(tmp_path / "outside")
    for prefix in ("captures/9/", "captures/9/seal/", "captures/0/seal/a/", "captures/8/"):
        assert list(store.list(prefix)) == []
