"""A store with sealed captures, made by the commands that a person types, and a test authority."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from archiver.cli.main import run
from archiver.storing import begin_store, store_capture
from archiver.summary import load_record
from manifests.codec import decode
from storage.folder import FolderStore
from tests.vectors.make import loose, record_of


def capture_id(number: int) -> str:
    return f"20261124t0812{number:02d}z-7f3k2m9qx4"


@dataclass
class Lab:
    """One installation, with its settings in the environment and the store ``archive`` in *folder*."""

    folder: Path
    capfd: object

    @property
    def root(self) -> Path:
        return self.folder / "archive"

    @property
    def store(self) -> FolderStore:
        return FolderStore(self.root)

    def put(self, number: int, **facts) -> str:
        one = capture_id(number)
        files = loose()
        data = record_of(files, capture_id=one, **facts)
        folder = self.folder / f"made-{number}"
        folder.mkdir()
        for name, content in files.items():
            (folder / name).write_bytes(content)
        begin_store(self.store)
        store_capture(self.store, folder, decode(data), data)
        return one

    def call(self, *words: str, code: int = 0) -> dict:
        self.capfd.readouterr()
        got = run([*words, "--json"])
        out, err = self.capfd.readouterr()
        assert got == code, (got, err, out[-3000:])
        return json.loads(out) if out.strip() else {}

    def events(self, *words: str) -> list[dict]:
        return self.call("log", "show", *words)["events"]

    def record(self, one: str):
        return load_record(self.store, one)[0]
