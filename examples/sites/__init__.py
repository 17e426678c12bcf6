"""The example sites: small, deterministic, on loopback, one page at least of every kind that matters.

``python -m examples.sites`` serves them until interrupted; tests and the demonstration use :func:`serve`.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
STOP_WAIT_S = 10


@dataclass(frozen=True, slots=True)
class Sites:
    """Where the running example sites are.

    Args:
        resolve: Rules for ``--resolve``, one for each host and port.
        ca: PEM file with the root to trust for this run.
        ports: Name of the server to its loopback port; the names are those of ``hosts.Ports``.
    """

    resolve: tuple[str, ...]
    ca: Path
    ports: dict[str, int]

    def options(self) -> list[str]:
        """Return the options that make ``archiver`` capture from these sites."""
        rules = [word for rule in self.resolve for word in ("--resolve", rule)]
        return [*rules, "--ca", str(self.ca), "--allow-private-network"]


@contextlib.contextmanager
def serve() -> Iterator[Sites]:
    """Serve the example sites from a process of their own for as long as the context lasts.

    Raises:
        RuntimeError: The process ended before its ports listened; its words are on standard error.
    """
    with tempfile.TemporaryDirectory(prefix="example-sites-") as folder:
        command = [sys.executable, "-m", "examples.sites", "--folder", folder, "--until-input-ends"]
        with subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=REPOSITORY,
        ) as process:
            try:
                yield _described(process)
            finally:
                if process.stdin:
                    process.stdin.close()
                process.wait(STOP_WAIT_S)


def _described(process: subprocess.Popen[str]) -> Sites:
    """Read the description, which ends with an empty line, as soon as it comes."""
    lines = []
    if process.stdout:
        for line in process.stdout:
            if not line.strip():
                break
            lines.append(line)
    if not lines:
        raise RuntimeError("example sites: start failed: expected a description, got none")
    facts = json.loads("".join(lines))
    return Sites(tuple(facts["resolve"]), Path(facts["ca"]), facts["ports"])
