"""Puts objects into a folder store in children that are killed with -9, and looks at what they leave.

Run as a program of one thread, so that it may fork: ``killing.py FOLDER random|calls COUNT``. Prints
one JSON object: ``kills``, ``whole`` objects found after kills, and ``faults``, which must be empty.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import os
import random
import signal
import sys
from pathlib import Path

from storage.folder import FolderStore

MIB = 1024 * 1024
CALLS = ("open", "write", "fchmod", "fsync", "link", "unlink", "mkdir", "close", "rename", "stat")


def data_of(key: str) -> bytes:
    """The bytes that belong under *key*, of up to 3 MiB."""
    return hashlib.shake_256(key.encode()).digest(1 + int(key[-1], 16) * MIB // 8)


class Reporting(io.BytesIO):
    """A source that tells over a pipe each time it is read."""

    def __init__(self, data: bytes, pipe: int) -> None:
        super().__init__(data)
        self.pipe = pipe

    def read(self, size: int | None = -1) -> bytes:
        os.write(self.pipe, b".")
        return super().read(size)


def in_child(work) -> tuple[int, int]:
    """Run *work* with a pipe in a child; return its pid and the pipe's reading end."""
    reading, writing = os.pipe()
    child = os.fork()
    if child:
        os.close(writing)
        return child, reading
    try:
        work(writing)
    finally:
        os._exit(0)


def put_for_ever(store: FolderStore, seed: int, pipe: int) -> None:
    number = 0
    while True:
        key = f"captures/{seed}-{number}/{number % 16:x}"
        store.put(key, Reporting(data_of(key), pipe))
        number += 1


def kill_at_random(store: FolderStore, seed: int) -> bool:
    child, pipe = in_child(lambda writing: put_for_ever(store, seed, writing))
    left = random.randrange(1, 40)
    while left > 0:
        left -= len(os.read(pipe, left))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(pipe)
    return True


def put_and_die(store: FolderStore, seed: int, call_number: int) -> None:
    """Put two objects, dying at the given one of the system calls on the way."""
    left = call_number

    def counted(function):
        def call(*arguments, **named):
            nonlocal left
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments, **named)

        return call

    for name in CALLS:
        setattr(os, name, counted(getattr(os, name)))
    fcntl.flock = counted(fcntl.flock)
    for number in (1, 9):
        key = f"captures/{seed}-{call_number}/deep/{number}"
        store.put(key, data_of(key))


def kill_at_call(store: FolderStore, call_number: int) -> bool:
    child, pipe = in_child(lambda _: put_and_die(store, 0, call_number))
    _, status = os.waitpid(child, 0)
    os.close(pipe)
    return os.WIFSIGNALED(status)


def faults(store: FolderStore) -> list[str]:
    """What is wrong in the store: objects with other bytes than were put, leftovers after a clean-up."""
    found = []
    for info in store.list():
        with store.open(info.key) as stream:
            if stream.read() != data_of(info.key):
                found.append(info.key)
    store.cleanup()
    return found + [str(path) for path in (store.root / ".tmp").iterdir()]


def main() -> None:
    root, way, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    result = {"kills": 0, "whole": 0, "faults": []}
    for number in range(1, count + 1):
        store = FolderStore(root / str(number // 20))
        store.put("kept/a", data_of("kept/a"))
        killed = kill_at_random(store, number) if way == "random" else kill_at_call(store, number)
        if not killed:
            break
        result["kills"] += 1
        if way == "calls" or number % 20 == 19:
            result["faults"] += faults(store)
            result["whole"] += sum(1 for _ in store.list("captures/"))
    sys.stdout.write(json.dumps(result))


if __name__ == "__main__":
    main()
