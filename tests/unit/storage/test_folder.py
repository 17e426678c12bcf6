"""What only a folder can suffer: kills, full and read-only disks, links, odd files, other users."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import json
import os
import resource
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from storage import disk, folder
from storage.errors import ObjectConflict, ObjectMissing, StoreError, StoreRefused, StoreUnavailable
from storage.folder import FolderStore

ROOT = Path(__file__).parents[3]
NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount and change its user")


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "store")


@contextlib.contextmanager
def mounted(folder: Path, *options: str):
    folder.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", *options, "none", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def run_child(program: str, *arguments: str, **options) -> str:
    done = subprocess.run(
        [sys.executable, program, *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        **options,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(("way", "count", "least"), [("random", 200, 200), ("calls", 500, 100)])
def test_kill_9_leaves_whole_objects_only(tmp_path, way, count, least):
    """Killed at 200 random moments, and before each system call of a put, writers leave no half object.

    Every object that is listed has all its bytes, and ``cleanup`` removes what the dead left in ``.tmp``.
    """
    program = str(Path(__file__).with_name("killing.py"))
    # A kill leaves memory to the system, so a disk in memory shows the same, without waiting for syncs.
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else tmp_path) as folder:
        result = json.loads(run_child(program, folder, way, str(count)))
    assert result["faults"] == []
    assert result["kills"] >= least
    assert result["whole"] > 10


def test_bytes_are_durable_before_they_have_a_name(store, monkeypatch):
    """A put syncs the file, then links it, then syncs each folder on the way, new ones in their parents."""
    events = []
    for name in ("fsync", "link", "mkdir"):
        monkeypatch.setattr(os, name, _recorded(events, name, getattr(os, name)))
    store.put("a/b/c", b"data")
    root, *_ = store.root.stat().st_ino, 0
    kinds = [name for name, _ in events]
    assert kinds.index("link") > kinds.index("fsync")
    after_link = [inode for name, inode in events[kinds.index("link") :] if name == "fsync"]
    assert after_link == [(store.root / "a/b").stat().st_ino, (store.root / "a").stat().st_ino, root]
    object_inode = (store.root / "a/b/c").stat().st_ino
    assert ("fsync", object_inode) in events[: kinds.index("link")]


def _recorded(events: list, name: str, function):
    def call(*arguments, **named):
        events.append((name, os.fstat(arguments[0]).st_ino if name == "fsync" else arguments[0]))
        return function(*arguments, **named)

    return call


def test_objects_are_read_only_files_of_their_own(store, tmp_path):
    """An object is a 0444 file under its key; the caller's file is copied, so changing it changes nothing."""
    source = tmp_path / "source"
    source.write_bytes(b"before")
    store.put("a/b", source)
    source.write_bytes(b"after!")
    assert (store.root / "a/b").read_bytes() == b"before"
    assert (store.root / "a/b").stat().st_mode & 0o777 == 0o444
    assert (store.root / "a/b").stat().st_nlink == 1
    assert store.root.stat().st_mode & 0o777 == 0o700
    assert names(store.root / ".tmp") == []


def test_deleting_takes_empty_folders_along(store):
    """A delete removes the folders it empties and no other."""
    store.put("a/b/c", b"1")
    store.put("a/d", b"2")
    store.delete("a/b/c")
    assert names(store.root / "a") == ["d"]
    assert list(store.list_folders("")) == ["a"]


def test_a_folder_that_vanishes_under_a_put_is_made_again(store):
    """Puts and deletes in one folder race without an error, though deletes remove the folder."""

    def work(number: int) -> None:
        for turn in range(40):
            store.put(f"shared/folder/{number}-{turn}", b"x")
            store.delete(f"shared/folder/{number}-{turn}")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert list(store.list()) == []


# --- a store that is not there ---


@pytest.mark.parametrize(
    "call",
    [
        lambda store: store.open("a"),
        lambda store: store.stat("a"),
        lambda store: store.list(),
        lambda store: store.list_folders(""),
        lambda store: store.delete("a"),
    ],
    ids=["open", "stat", "list", "list_folders", "delete"],
)
def test_reading_a_store_that_is_not_there_is_refused(store, call):
    """A wrong path is an error with a hint, never an empty store, and nothing is made by reading."""
    with pytest.raises(StoreRefused, match=r"expected a folder, got nothing there .E619") as caught:
        call(store)
    assert "path" in caught.value.hint
    assert store.cleanup() == 0
    assert not store.root.exists()


def test_the_first_put_makes_the_store(store):
    """The folder is made by the first write when its parent is there."""
    store.put("a", b"x")
    assert store.root.is_dir()


def test_a_store_whose_parent_is_missing_is_refused(tmp_path):
    """A path with two missing folders is more likely a mistake than a wish."""
    with pytest.raises(StoreRefused, match=r"expected the folder .*/no, got none .E619"):
        FolderStore(tmp_path / "no/store").put("a", b"x")
    assert names(tmp_path) == []


def test_a_store_that_is_a_file_is_refused(tmp_path):
    """A file is no store, neither to read nor to write."""
    (tmp_path / "file").write_bytes(b"")
    for call in (lambda s: s.put("a", b"x"), lambda s: s.list(), lambda s: s.open("a")):
        with pytest.raises(StoreRefused, match=r"got a file .E619"):
            call(FolderStore(tmp_path / "file"))


# --- disks ---


@as_root
@pytest.mark.parametrize("size", [2_000_000, 40_000_000])
def test_a_full_disk_is_said_and_leaves_nothing(tmp_path, size):
    """On a full disk the put fails with a hint, leaves no bytes behind, and what was stored stays."""
    with mounted(tmp_path / "disk", "-o", "size=1m") as root:
        store = FolderStore(root / "store")
        store.put("kept", b"x" * 10_000)
        with pytest.raises(StoreUnavailable, match=r"got none left .E614") as caught:
            store.put("a/b/large", io.BytesIO(bytes(size)))
        assert "free space" in caught.value.hint
        assert [info.key for info in store.list()] == ["kept"]
        assert names(store.root / ".tmp") == []
        assert store.put("small", b"y" * 10_000).created


@as_root
def test_a_disk_without_inodes_is_full_too(tmp_path):
    """No more files, though there are bytes, is the same to a person."""
    with (
        mounted(tmp_path / "disk", "-o", "nr_inodes=6") as root,
        pytest.raises(StoreUnavailable, match="E614"),
    ):
        _put_ten(FolderStore(root / "store"))


def _put_ten(store: FolderStore) -> None:
    for number in range(10):
        store.put(f"k{number}", b"x")


@as_root
def test_a_read_only_disk_is_read_and_not_written(tmp_path):
    """A read-only store is read, finds what is there already, and refuses the rest with a hint."""
    with mounted(tmp_path / "disk") as root:
        store = FolderStore(root / "store")
        store.put("a/b", b"data")
        subprocess.run(["mount", "-o", "remount,ro", root], check=True)
        with store.open("a/b") as stream:
            assert stream.read() == b"data"
        assert not store.put("a/b", b"data").created
        for call in (
            lambda: store.put("c", b"x"),
            lambda: store.put("a/c", b"x"),
            lambda: store.delete("a/b"),
            lambda: store.replace("c", b"x", etag=None),
            lambda: store.capabilities,
        ):
            with pytest.raises(StoreRefused, match=r"got a read-only one .E611"):
                call()


def test_a_file_size_limit_is_like_a_full_disk(store):
    """The largest file that the system allows ends a put like a full disk does."""
    store.put("kept", b"x")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, before[1]))
    try:
        with pytest.raises(StoreUnavailable, match="E614"):
            store.put("large", bytes(3_000_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [info.key for info in store.list()] == ["kept"]


@as_root
def test_another_users_store_is_refused(tmp_path):
    """Without the right to write or to read, each call is refused with a hint and no traceback."""
    store = FolderStore(tmp_path / "store")
    store.put("a/b", b"x")
    script = (
        "import os, sys, pathlib\n"
        "from storage.folder import FolderStore\n"
        f"os.setgid({NOBODY}); os.setuid({NOBODY})\n"
        "store = FolderStore(pathlib.Path(sys.argv[1]))\n"
        "for call in (lambda: store.put('c', b'x'), lambda: store.open('a/b'), lambda: list(store.list())):\n"
        "    try: call(); print('done')\n"
        "    except Exception as exc: print(type(exc).__name__, exc, bool(exc.hint))\n"
    )
    (tmp_path / "script.py").write_text(script)
    for parent in [tmp_path, *tmp_path.parents][:3]:
        parent.chmod(0o755)
    lines = run_child(str(tmp_path / "script.py"), str(store.root)).splitlines()
    assert len(lines) == 3
    assert all(line.startswith("StoreRefused") and line.endswith("[E610] True") for line in lines)


@pytest.mark.parametrize(
    "failure",
    [
        (errno.ENOSPC, StoreUnavailable, "E614"),
        (errno.EDQUOT, StoreUnavailable, "E614"),
        (errno.EIO, StoreUnavailable, "E615"),
        (errno.EROFS, StoreRefused, "E611"),
        (errno.EACCES, StoreRefused, "E610"),
        (errno.EXDEV, StoreRefused, "E613"),
        (errno.EMFILE, StoreUnavailable, "E616"),
    ],
)
@pytest.mark.parametrize("function", ["write", "fsync", "fchmod", "link", "mkdir", "open"])
def test_every_failure_of_the_disk_is_a_store_error(store, monkeypatch, failure, function):
    """Whichever call fails in whichever way, a store error says it, and a later put succeeds."""
    number, kind, code = failure
    store.put("kept", b"x")
    with monkeypatch.context() as patch:
        patch.setattr(os, function, _failing(getattr(os, function), number))
        if (function, number) == ("fchmod", errno.EACCES):
            return  # a disk that keeps no modes is no failure
        with pytest.raises(kind, match=code):
            store.put("a/b", b"data")
    assert store.put("a/b", b"data").sha256 == hashlib.sha256(b"data").hexdigest()
    assert {info.key for info in store.list()} == {"kept", "a/b"}


def _failing(function, number: int):
    def call(*arguments, **named):
        if call is os.open and (arguments[1] & os.O_ACCMODE) == os.O_RDONLY:
            return function(*arguments, **named)  # fail when the temporary file is made
        raise OSError(number, os.strerror(number))

    return call


def test_a_failing_read_is_a_store_error(store, monkeypatch):
    """An I/O error in the middle of a read is a store error, not an OSError."""
    store.put("a", b"x" * 1000)
    with store.open("a") as stream:
        monkeypatch.setattr(os, "preadv", _failing(os.preadv, errno.EIO))
        with pytest.raises(StoreUnavailable, match="E615"):
            stream.read()


def test_an_object_cut_while_it_is_read_is_noticed(store):
    """A file that something else cuts short is not taken for a shorter object."""
    store.put("a", b"x" * 1_000_000)
    with store.open("a") as stream:
        assert stream.read(10) == b"x" * 10
        (store.root / "a").chmod(0o644)
        os.truncate(store.root / "a", 500_000)
        with pytest.raises(StoreUnavailable, match="E621"):
            stream.read()


# --- disks without hard links, disks without case ---


@pytest.fixture
def without_links(monkeypatch):
    """No disk without hard links can be mounted everywhere; its answer to link is what matters."""
    monkeypatch.setattr(os, "link", _failing(os.link, errno.EPERM))


def test_without_links_objects_are_renamed_and_never_replaced(store, without_links):
    """On FAT and the like a lock stands in: one racing creator wins, and the store says what it cannot."""
    assert not store.capabilities.conditional_writes
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda n: _try_put(store, bytes([n]) * 1000), range(8)))
    assert sum(isinstance(result, ObjectConflict) for result in results) == 7
    assert not store.put("k", (store.root / "k").read_bytes()).created
    assert names(store.root / ".tmp") == []


def test_with_links_racing_creators_are_told_apart(store):
    """The usual disk promises conditional writes."""
    assert store.capabilities.conditional_writes
    assert not store.capabilities.retention
    assert names(store.root / ".tmp") == []


def _try_put(store, data: bytes):
    try:
        return store.put("k", data)
    except ObjectConflict as exc:
        return exc


def test_other_spellings_are_a_conflict_where_case_is_ignored(store, monkeypatch):
    """On a disk that takes ``A`` for ``a`` a second spelling is refused and never read as the first."""
    store.put("case/a", b"1")
    store._folds_case = True
    monkeypatch.setattr(folder.os, "listdir", lambda _: ["CASE", "A"])  # as such a disk would show them
    for data in (b"1", b"2"):
        with pytest.raises(ObjectConflict, match=r"ignores case.*E620"):
            store.put("case/a", data)
    with pytest.raises(ObjectMissing):
        store.open("case/a")


def test_case_matters_on_this_disk(store):
    """Where the disk tells case apart, so does the store."""
    store.put("a", b"1")
    store.put("A", b"2")
    assert [info.key for info in store.list()] == ["A", "a"]


# --- what others put into the folder ---


def test_symbolic_links_are_never_followed(store, tmp_path):
    """A link in a store leads nowhere: it is not listed, not read, not written through."""
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "key.pem").write_bytes(b"secret")
    store.put("a/real", b"x")
    (store.root / "folder").symlink_to(secret)
    (store.root / "a/file").symlink_to(secret / "key.pem")
    assert [info.key for info in store.list()] == ["a/real"]
    assert list(store.list_folders("")) == ["a"]
    for key in ("folder/key.pem", "a/file"):
        with pytest.raises(StoreError) as caught:
            store.open(key)
        assert caught.value.code in {"E602", "E609"}
    with pytest.raises(ObjectConflict, match="E608"):
        store.put("folder/new", b"x")
    with pytest.raises(ObjectConflict, match="E608"):
        store.put("a/file", b"x")
    assert names(secret) == ["key.pem"]


def test_a_store_may_be_named_by_a_link(store, tmp_path):
    """The root itself may be a link: a person chose it."""
    store.put("a", b"x")
    (tmp_path / "link").symlink_to(store.root)
    assert [info.key for info in FolderStore(tmp_path / "link").list()] == ["a"]


def test_devices_and_pipes_are_no_objects(store):
    """A FIFO in the store holds nobody up and is not listed."""
    store.put("a", b"x")
    os.mkfifo(store.root / "pipe")
    assert [info.key for info in store.list()] == ["a"]
    with pytest.raises(ObjectMissing):
        store.open("pipe")
    with pytest.raises(ObjectConflict, match="E608"):
        store.put("pipe", b"x")


def test_names_that_are_no_keys_are_not_listed(store):
    """Hidden names at the top, names that are not UTF-8 and names with control characters are not keys."""
    store.put("a", b"x")
    for name in (b".hidden", b"latin\xe9", b"new\nline", b"back\\slash"):
        (store.root / os.fsdecode(name)).write_bytes(b"")
    (store.root / ".git").mkdir()
    (store.root / ".git/config").write_bytes(b"")
    assert [info.key for info in store.list()] == ["a"]


def test_deep_folders_end_the_listing_at_the_longest_key(store):
    """Folders nested deeper than any key do not exhaust the listing."""
    store.put("a", b"x")
    here = Path.cwd()
    os.chdir(store.root)
    try:
        for _ in range(600):
            Path("d").mkdir()
            os.chdir("d")
        Path("f").write_bytes(b"")
    finally:
        os.chdir(here)
    assert [info.key for info in store.list()] == ["a"]
    subprocess.run(["rm", "-rf", store.root], check=True)


def test_one_name_is_an_object_or_a_folder(store):
    """Where an object is, no folder can be, and the other way round."""
    store.put("a/b", b"x")
    with pytest.raises(ObjectConflict, match="E608"):
        store.put("a", b"x")
    with pytest.raises(ObjectConflict, match="E608"):
        store.put("a/b/c", b"x")
    with pytest.raises(ObjectConflict, match="E608"):
        store.replace("a", b"x", etag=None)
    assert [info.key for info in store.list()] == ["a/b"]


# --- leftovers ---


def test_cleanup_spares_living_writers(store):
    """The file of a writer at work stays; the file of a dead one goes, also one that was linked already."""
    store.put("a", b"x")
    os.link(store.root / "a", store.root / ".tmp/linked")
    (store.root / ".tmp/dead").write_bytes(b"half")
    (store.root / ".tmp/folder").mkdir()
    temporary = os.open(store.root / ".tmp", disk.FOLDER)
    with disk.temporary_file(temporary) as (descriptor, name):
        assert store.cleanup() == 2
        assert names(store.root / ".tmp") == sorted([name, "folder"])
        assert os.fstat(descriptor).st_nlink == 1
    os.close(temporary)
    assert (store.root / "a").stat().st_nlink == 1


def test_clean_ups_do_not_disturb_writers(store):
    """While clean-ups run all the time, every put succeeds."""
    store.put("first", b"")

    def work(number: int) -> None:
        for turn in range(60):
            if number < 2:
                store.cleanup()
            else:
                assert store.put(f"{number}/{turn}", b"data").created

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert sum(1 for _ in store.list()) == 121
