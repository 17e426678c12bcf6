"""Captures put into stores the way the pipeline does it, and what befalls them there."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

import blake3

from archiver.storing import begin_store, store_capture
from manifests.codec import encode
from manifests.record import Seed, Target
from storage.errors import StoreUnavailable
from storage.memory import MemoryStore
from tests.unit.manifests.records import artifact, record

ASKED = {"put", "open", "stat", "list", "list_folders", "replace", "hold", "release", "lock_of"}
FILES = {"screenshot-full.png": b"\x89PNG\r\n\x1a\n a picture" * 99, "dom.html": b"<p>evidence</p>" * 999}


def capture_id(number: int) -> str:
    return f"20261124t08{number // 60:02d}{number % 60:02d}z-7f3k2m9qx4"


def put_capture(store, number: int = 1, incidents=("KZ-1",)) -> str:
    """Store one capture, and return its ID."""
    one = capture_id(number)
    files = {name: data + str(number).encode() for name, data in FILES.items()}
    made = record(
        capture_id=one,
        incident_ids=tuple(incidents),
        seed=Seed(url="https://a.test/"),
        target=Target(url="https://a.test/"),
        artifacts=tuple(_listed(name, data) for name, data in files.items()),
    )
    begin_store(store)
    with tempfile.TemporaryDirectory() as folder:
        for name, data in files.items():
            (Path(folder) / name).write_bytes(data)
        store_capture(store, Path(folder), made, encode(made))
    return one


def damage(store, key: str, at: int = 5) -> None:
    """Change one byte of an object behind the back of a folder or memory store."""
    if isinstance(store, MemoryStore):
        data = bytearray(store._objects[key])
        data[at] ^= 1
        store._objects[key] = bytes(data)
        return
    path = store.root / key
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)


def remove(store, key: str) -> None:
    if isinstance(store, MemoryStore):
        del store._objects[key]
    else:
        (store.root / key).unlink()


class Named(MemoryStore):
    """A memory store with a name of its own that can go down."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.url = url
        self.down = False

    def __getattribute__(self, name: str):
        asked = name in {
            "put",
            "open",
            "stat",
            "list",
            "list_folders",
            "replace",
            "hold",
            "release",
            "lock_of",
        }
        if asked and self.down:
            raise StoreUnavailable(f"store {self.url} is down", code="E639")
        return super().__getattribute__(name)


def _listed(name: str, data: bytes):
    facts = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    role = "dom" if name.endswith("html") else "screenshot-full"
    return artifact(path=name, role=role, blake3=blake3.blake3(data).hexdigest(), **facts)
