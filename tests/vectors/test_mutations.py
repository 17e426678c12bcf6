"""Whatever is changed anywhere in a sealed capture, it does not pass."""

from __future__ import annotations

import itertools
import json
import os
import random
import shutil
from datetime import datetime
from pathlib import Path

import pytest

from manifests.evidence_set import FolderSet
from manifests.report import Verdict
from manifests.seal_check import seal_check
from manifests.trust import parse_trust
from manifests.verifier import Expectation, verify_capture

CORPUS = Path(__file__).parent / "corpus"
MUTATIONS = int(os.environ.get("MUTATIONS", "1500"))
"""Random ones for each of the two good captures; 100,000 have been run once."""


class Sealed:
    """A good capture in a folder of its own, to be broken and mended."""

    def __init__(self, name: str, folder: Path) -> None:
        expect = json.loads((CORPUS / name / "expect.json").read_text())
        shutil.copytree(CORPUS / name / "capture", folder)
        self.folder = folder
        self.trust = parse_trust((CORPUS / name / "trust.toml").read_bytes())
        self.now = datetime.fromisoformat(expect["now"])
        self.expected = Expectation(capture_id=expect["capture_id"])
        self.files = {p.relative_to(folder): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}

    def verdict(self) -> Verdict:
        check = seal_check(self.trust, self.now)
        return verify_capture(FolderSet(self.folder), "x", expected=self.expected, seal_check=check).overall

    def verdict_with(self, name: Path, data: bytes) -> Verdict:
        (self.folder / name).write_bytes(data)
        try:
            return self.verdict()
        finally:
            (self.folder / name).write_bytes(self.files[name])


@pytest.fixture(params=["passed--certificate", "passed--batch"])
def sealed(request, tmp_path):
    return Sealed(request.param, tmp_path / "capture")


def mutated(data: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(data))
    kind = chance.randrange(5)
    if kind == 0:
        return data[:at] + bytes([data[at] ^ (1 << chance.randrange(8))]) + data[at + 1 :]
    if kind == 1:
        return data[:at] + chance.randbytes(chance.randint(1, 8)) + data[at:]
    if kind == 2:
        return data[:at] + data[at + chance.randint(1, 16) :]
    if kind == 3:
        return data[:at]
    end = min(len(data), at + chance.randint(1, 16))
    return data[:at] + bytes(end - at) + data[end:]


def test_the_unchanged_capture_passes(sealed):
    """What is broken below is whole to begin with."""
    assert sealed.verdict() is Verdict.PASSED


def test_no_random_change_passes(sealed):
    """Bits flipped, bytes put in, taken out, zeroed or cut off, anywhere: none passes, none raises."""
    chance = random.Random(20261124)
    names = list(sealed.files)
    sizes = [len(data) for data in sealed.files.values()]
    for number in range(MUTATIONS):
        # Half by size, half by file, so that the small files of the seal get their share.
        name = chance.choices(names, sizes)[0] if number % 2 else chance.choice(names)
        data = mutated(sealed.files[name], chance)
        if data != sealed.files[name]:
            assert sealed.verdict_with(name, data) is not Verdict.PASSED, (name, number)


def test_no_file_can_be_removed_or_added(sealed):
    """Each file is needed, and nothing may lie beside them."""
    for name, data in sealed.files.items():
        (sealed.folder / name).unlink()
        assert sealed.verdict() is not Verdict.PASSED, name
        (sealed.folder / name).write_bytes(data)
        extra = sealed.folder / name.parent / "extra.bin"
        extra.write_bytes(b"x")
        assert sealed.verdict() is not Verdict.PASSED
        extra.unlink()


def test_no_two_files_can_be_swapped(sealed):
    """Each file's bytes are bound to its name."""
    names = list(sealed.files)
    for one, other in itertools.pairwise(names):
        (sealed.folder / one).write_bytes(sealed.files[other])
        (sealed.folder / other).write_bytes(sealed.files[one])
        assert sealed.verdict() is not Verdict.PASSED, (one, other)
        (sealed.folder / one).write_bytes(sealed.files[one])
        (sealed.folder / other).write_bytes(sealed.files[other])
