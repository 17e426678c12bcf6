"""A folder store on a real FAT file system: no hard links, no modes, and ``A`` is ``a``."""

from __future__ import annotations

import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from storage.errors import ObjectConflict, ObjectMissing
from storage.folder import FolderStore
from storage.probe import Verdict

DISK_BYTES = 16 * 1024 * 1024


@pytest.fixture(scope="module")
def disk(tmp_path_factory):
    """A FAT disk in a file, by FUSE, which needs no right to mount."""
    tools = [shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin") for name in ("mkfs.vfat", "fusefat")]
    if not all(tools) or not Path("/dev/fuse").exists():
        pytest.skip("needs dosfstools, fusefat and /dev/fuse")
    image, place = tmp_path_factory.mktemp("fat") / "image", tmp_path_factory.mktemp("disk")
    with image.open("wb") as file:
        file.truncate(DISK_BYTES)
    subprocess.run([tools[0], image], check=True, capture_output=True)
    if subprocess.run([tools[1], "-o", "rw+", image, place], check=False, capture_output=True).returncode:
        pytest.skip("FUSE file systems may not be mounted here")
    yield place
    subprocess.run(["fusermount", "-u", "-z", place], check=True)


@pytest.fixture
def store(disk, request) -> FolderStore:
    return FolderStore(disk / f"s{abs(hash(request.node.name)) % 10**6}")


def test_objects_come_back_and_are_never_replaced(store):
    """Captures of any size go onto the stick and come back; other bytes under a name are a conflict."""
    for key, data in (("captures/one/record.json", b"{}"), ("captures/one/data.warc.gz", bytes(3_000_000))):
        assert store.put(key, data).created
        assert not store.put(key, data).created
        with store.open(key) as stream:
            assert stream.read() == data
        with pytest.raises(ObjectConflict, match="E603"):
            store.put(key, b"other")
    assert [info.size_bytes for info in store.list()] == [3_000_000, 2]


def test_another_spelling_is_a_conflict_and_reads_nothing(store):
    """Where ``A`` is ``a`` the second spelling is refused, and is not taken for the first."""
    store.put("captures/abc/k", b"1")
    for key in ("captures/ABC/k", "captures/abc/K"):
        with pytest.raises(ObjectConflict, match="ignores case"):
            store.put(key, b"1")
        with pytest.raises(ObjectMissing):
            store.open(key)
        assert list(store.list(key)) == []


def test_of_racing_creators_one_wins(store):
    """A lock stands in for hard links."""

    def put(number: int) -> bool:
        try:
            return store.put("k", bytes([number]) * 1000).created
        except ObjectConflict:
            return False

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(put, range(4))) == 1


def test_what_the_disk_cannot_do_is_said(store):
    """The probe names what is weaker here, and the store claims no conditional writes."""
    broken = {one.name for one in store.probe() if one.verdict is Verdict.BROKEN}
    assert {"create-only", "upper-and-lower-case", "locks"} <= broken
    assert not store.capabilities.conditional_writes
