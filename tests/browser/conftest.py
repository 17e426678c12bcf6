from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from archiver.capture.canary import KNOWN_NAME
from examples.sites import Sites, serve

ARCHIVER = Path(sys.executable).with_name("archiver")
_SHARED = Path(tempfile.gettempdir()) / f"archiver-tests-{os.getuid()}"
PATIENCE_S = 800
"""For what hangs: a whole register on a loaded machine takes minutes."""
REGISTER = Path(__file__).parents[2] / "examples" / "barometer-2026-q1.csv"


def _share_self_test(cache: Path) -> None:
    """Let the self-test of a browser build that one test has paid for count for all tests of this run."""
    shared, own = _SHARED / KNOWN_NAME, cache / KNOWN_NAME
    source, target = (own, shared) if own.exists() and not shared.exists() else (shared, own)
    if source.exists() and not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f"{os.getpid()}.part")
        shutil.copyfile(source, part)
        part.replace(target)


@dataclass(frozen=True)
class Bench:
    """The command line, with settings and caches of its own."""

    folder: Path
    sites: Sites
    extra: dict[str, str] = field(default_factory=dict)

    @property
    def store(self) -> Path:
        return self.folder / "store"

    @property
    def spool(self) -> Path:
        return self.folder / "spool"

    def environment(self) -> dict[str, str]:
        _share_self_test(self.folder / "cache" / "archiver")
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ARCHIVER_")}
        return kept | {
            "XDG_CACHE_HOME": str(self.folder / "cache"),
            "XDG_CONFIG_HOME": str(self.folder / "config"),
            "XDG_STATE_HOME": str(self.folder / "state"),
            "ARCHIVER_SPOOL": str(self.spool),
            "ARCHIVER_NTP_SERVERS": "",
            "ARCHIVER_BATCH_ATTEMPTS_PER_RUN": "1",
            "ARCHIVER_BATCH_WAIT_MS": "0",
            "ARCHIVER_BATCH_HOST_GAP_MS": "0",
            # What is put off stays so for as long as any test takes.
            "ARCHIVER_BATCH_RETRY_MS": "3600000",
            **self.extra,
        }

    def command(self, *words: str) -> list[str]:
        return [str(ARCHIVER), *words, "--store", str(self.store), "--json"]

    def run(self, *words: str, code: int | None = 0) -> dict[str, Any]:
        """Run a command against the store and return its JSON; *code* is what it must exit with."""
        done = subprocess.run(
            self.command(*words),
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        assert code is None or done.returncode == code, (done.returncode, done.stderr[-2000:])
        assert "Traceback" not in done.stderr, done.stderr[-3000:]
        return json.loads(done.stdout) if done.stdout.strip() else {}

    def tool(self, *words: str, code: int = 0) -> dict[str, Any]:
        """Run a command that has nothing to do with a store."""
        command = [str(ARCHIVER), *words, "--json"]
        done = subprocess.run(
            command,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        assert done.returncode == code, (done.returncode, done.stderr[-2000:])
        assert "Traceback" not in done.stderr, done.stderr[-3000:]
        return json.loads(done.stdout) if done.stdout.strip() else {}

    def capture(
        self, *urls: str, options: tuple[str, ...] = (), code: int | None = 0
    ) -> list[dict[str, Any]]:
        """Capture pages of the example sites."""
        words = ["capture", *urls, "--incident", "T-1", *self.sites.options(), *options]
        return self.run(*words, code=code).get("captures", [])

    def file(self, capture: dict[str, Any], name: str) -> Path:
        return self.store / "captures" / capture["capture_id"] / name

    def record(self, capture: dict[str, Any]) -> dict[str, Any]:
        return json.loads(self.file(capture, "record.json").read_bytes())


@pytest.fixture(scope="session")
def sites():
    with serve() as served:
        yield served


@pytest.fixture
def bench(tmp_path: Path, sites: Sites) -> Bench:
    return Bench(tmp_path, sites)


@pytest.fixture(scope="session")
def quarter(tmp_path_factory: pytest.TempPathFactory, sites: Sites) -> tuple[Bench, list[dict[str, Any]]]:
    """The example register, captured once for every test that only looks."""
    bench = Bench(tmp_path_factory.mktemp("quarter"), sites)
    told = bench.run("batch", str(REGISTER), *sites.options(), "--jobs", "2", code=3)
    return bench, told["captures"]
