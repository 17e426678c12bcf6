"""``make demo``: the whole job on the example sites, with the commands that a user would type.

Serves the sites, captures the register into ``./archive``, verifies all of it, and writes one page on
which the captures can be looked at. A second run captures nothing twice.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from archiver.errors import ExitCode
from archiver.reports.index import render_index
from archiver.summary import CaptureSummary
from examples.sites import REPOSITORY, serve

ARCHIVER = str(Path(sys.executable).with_name("archiver"))
REGISTER = "examples/barometer-2026-q1.csv"
STORE = "archive"
PAGE = REPOSITORY / "archive.html"
JOBS = 2
GOOD_CAPTURE = {ExitCode.DONE, ExitCode.PARTIAL}
"""PARTIAL: pages that were removed, blocked or unreachable are part of the example."""
GOOD_VERDICT = {ExitCode.DONE, ExitCode.EVIDENCE_INDETERMINATE}
"""INDETERMINATE: intact, and its time is not proven while no timestamp authority is set."""


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _run(words: list[str], good: set[ExitCode], *, keep: bool = False) -> str:
    """Run one command of the archiver; end the demonstration with its exit code when it went wrong."""
    done = subprocess.run(
        [ARCHIVER, *words],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE if keep else None,
        text=True,
        check=False,
    )
    if done.returncode not in good:
        sys.exit(done.returncode)
    return done.stdout or ""


def _stored() -> list[dict[str, Any]]:
    if not (REPOSITORY / STORE).is_dir():
        return []
    captures: list[dict[str, Any]] = json.loads(
        _run(["list", "--store", STORE, "--json"], {ExitCode.DONE}, keep=True),
    )["captures"]
    return captures


def _capture() -> list[dict[str, Any]]:
    """Capture the register, show the table of all captures once, and return them."""
    before = _stored()
    with serve() as sites:
        _say(
            f"\n$ archiver batch {REGISTER} --store ./{STORE} --jobs {JOBS} --allow-private-network --ca ..."
        )
        words = ["batch", REGISTER, "--store", STORE, "--jobs", str(JOBS), *sites.options()]
        _run(words, GOOD_CAPTURE)
    captures = _stored()
    if len(captures) == len(before):
        _say(f"\n$ archiver list --store ./{STORE}")
        _run(["list", "--store", STORE], {ExitCode.DONE})
    return captures


def _verify() -> None:
    _say(f"\n$ archiver verify --all --store ./{STORE}")
    reports = json.loads(_run(["verify", "--all", "--store", STORE, "--json"], GOOD_VERDICT, keep=True))
    for verdict, count in Counter(one["overall"] for one in reports["reports"]).items():
        _say(f"{count} captures: {verdict}")
    findings = Counter(
        (one["code"], one["text"]) for report in reports["reports"] for one in report["findings"]
    )
    for (code, text), count in findings.most_common():
        _say(f"  {count} x {code}: {text}")


def main() -> None:
    """Run the demonstration."""
    began = time.monotonic()
    captures = _capture()
    _verify()
    summaries = [_summary(capture) for capture in captures]
    render_index(summaries, PAGE, STORE)
    outcomes = ", ".join(f"{count} {name}" for name, count in Counter(s.outcome for s in summaries).items())
    _say(f"\n{len(summaries)} captures ({outcomes}) in {time.monotonic() - began:.0f} s")
    _say(f"Open {PAGE.as_uri()}")


def _summary(capture: dict[str, Any]) -> CaptureSummary:
    lists = {name: tuple(capture[name]) for name in ("incident_ids", "artifacts")}
    return CaptureSummary(**capture | lists)


if __name__ == "__main__":
    main()
