"""``make demo``: the whole job on the example sites, with the commands that a user would type.

Serves the sites, captures the register into ``./archive``, seals and verifies all of it, shows that one
changed byte is found, and writes one page on which the captures can be looked at. A second run captures
nothing twice. Its key and its timestamp authority are made for the demonstration and prove nothing.
``make demo STORE=s3`` does it on an S3 server with Object Lock of this machine, below ``./archive-s3``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from archiver.errors import ExitCode
from archiver.reports.index import render_index
from archiver.s3_server import start_s3
from archiver.summary import CaptureSummary
from archiver.tsa_server import WARNING
from archiver.tsa_server import serve as serve_tsa
from examples.sites import REPOSITORY, serve

ARCHIVER = str(Path(sys.executable).with_name("archiver"))
REGISTER = "examples/barometer-2026-q1.csv"
ON_S3 = sys.argv[1:] == ["s3"]
FOLDER = "archive-s3" if ON_S3 else "archive"
STORE = "s3://evidence/demo" if ON_S3 else FOLDER
S3_PORT = 18_333
PAGE = REPOSITORY / f"{FOLDER}.html"
JOBS = 2
GOOD_CAPTURE = {ExitCode.DONE, ExitCode.PARTIAL}
"""PARTIAL: pages that were removed, blocked or unreachable are part of the example."""
HOME = REPOSITORY / FOLDER / ".demo"
"""Key, trust file and authority of the demonstration; names with a dot are none of the store's."""
TSA = "demo-tsa"
ENVIRONMENT = os.environ | {
    "XDG_CONFIG_HOME": str(HOME),
    "ARCHIVER_KEY_PASSPHRASE": "demonstration",
    "ARCHIVER_TSA": "",
    # Nobody waits before a screen for a site that is made to be down.
    "ARCHIVER_BATCH_WAIT_MS": "0",
}


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _run(words: list[str], good: set[ExitCode], *, keep: bool = False) -> str:
    """Run one command of the archiver; end the demonstration with its exit code when it went wrong."""
    done = subprocess.run(
        [ARCHIVER, *words],
        cwd=REPOSITORY,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE if keep else None,
        text=True,
        check=False,
    )
    if done.returncode not in good:
        sys.exit(done.returncode)
    return done.stdout or ""


def _stored() -> list[dict[str, Any]]:
    if not (ON_S3 or (REPOSITORY / STORE).is_dir()):
        return []
    captures: list[dict[str, Any]] = json.loads(
        _run(["list", "--store", STORE, "--json"], {ExitCode.DONE}, keep=True),
    )["captures"]
    return captures


def _capture() -> list[dict[str, Any]]:
    """Capture the register, show the table of all captures once, and return them."""
    before = _stored()
    with serve() as sites, serve_tsa(HOME / "tsa") as authority:
        _prepare_seal(authority.url)
        _say(f"\n$ archiver batch {REGISTER} --store {STORE} --jobs {JOBS} --allow-private-network --ca ...")
        words = ["batch", REGISTER, "--store", STORE, "--jobs", str(JOBS), *sites.options()]
        _run(words, GOOD_CAPTURE)
    captures = _stored()
    if len(captures) == len(before):
        _say(f"\n$ archiver list --store {STORE}")
        _run(["list", "--store", STORE], {ExitCode.DONE})
    return captures


def _prepare_seal(url: str) -> None:
    """Make a key at the first run, and trust the authority where it listens this time."""
    quiet = {"keep": True}
    if not (HOME / "archiver" / "trust.toml").exists():
        _say("$ archiver key new")
        _run(["key", "new", "--principal", "demonstration"], {ExitCode.DONE}, **quiet)
    else:
        _run(["trust", "remove", TSA], {ExitCode.DONE}, **quiet)
    _say(f"$ archiver trust add-tsa {TSA}        ({WARNING})")
    root = str(HOME / "tsa" / "root.pem")
    _run(["trust", "add-tsa", TSA, "--url", url, "--root", root], {ExitCode.DONE}, **quiet)


def _verify() -> None:
    _say(f"\n$ archiver verify --all --store {STORE}")
    words = ["verify", "--all", "--store", STORE, "--json"]
    reports = json.loads(_run(words, {ExitCode.DONE}, keep=True))
    for verdict, count in Counter(one["overall"] for one in reports["reports"]).items():
        _say(f"{count} captures: {verdict}")
    findings = Counter(
        (one["code"], one["text"]) for report in reports["reports"] for one in report["findings"]
    )
    for (code, text), count in findings.most_common():
        _say(f"  {count} x {code}: {text}")


def _tamper(capture: dict[str, Any]) -> None:
    """Change one byte in a copy of a capture and show that it is found."""
    with tempfile.TemporaryDirectory(prefix="demo-") as folder:
        copy = Path(folder) / "copy"
        words = ["export", capture["capture_id"], "--store", STORE, "--output", str(copy)]
        _run(words, {ExitCode.DONE}, keep=True)
        path = copy / "data" / "captures" / capture["capture_id"] / "screenshot-full.png"
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.chmod(0o644)
        path.write_bytes(data)
        _say("\n$ archiver verify COPY        (one byte of a screenshot changed)")
        report = json.loads(_run(["verify", str(copy), "--json"], {ExitCode.EVIDENCE_FAILED}, keep=True))
        _say(report["overall"])
        for finding in report["reports"][0]["findings"]:
            if finding["severity"] == "failure":
                _say(f"  {finding['code']}: {finding['text']}")


@contextmanager
def _store() -> Iterator[None]:
    """Run and set up the S3 server where the demonstration is on one; a folder needs nothing."""
    if not ON_S3:
        yield
        return
    _say(f"$ archiver store serve {FOLDER} --port {S3_PORT} &")
    server = start_s3(REPOSITORY / FOLDER, S3_PORT)
    try:
        ENVIRONMENT.update(server.environment())
        _say(f"$ archiver store init {STORE}")
        _run(["store", "init", STORE], {ExitCode.DONE})
        yield
    finally:
        server.stop()


def _show_s3(captures: list[dict[str, Any]]) -> str:
    """Audit the bucket, show that the server itself refuses a deletion, and copy everything out."""
    _say(f"\n$ archiver audit --full --store {STORE}")
    _run(["audit", "--full", "--store", STORE], {ExitCode.DONE})
    ids = [capture["capture_id"] for capture in captures]
    _say(f"\n$ archiver delete {ids[0]} --reason demonstration --store {STORE}")
    words = ["delete", ids[0], "--reason", "demonstration", "--store", STORE]
    _run(words, {ExitCode.STORE_REFUSED})
    copy = f"{FOLDER}/export"
    _run(["export", *ids, "--store", STORE, "--output", copy], {ExitCode.DONE}, keep=True)
    return f"{copy}/data"


def main() -> None:
    """Run the demonstration."""
    with _store():
        _demonstrate()


def _demonstrate() -> None:
    began = time.monotonic()
    captures = _capture()
    _verify()
    _tamper(next(one for one in captures if one["url"].endswith("/posts/1042")))
    summaries = [_summary(capture) for capture in captures]
    render_index(summaries, PAGE, _show_s3(captures) if ON_S3 else STORE)
    outcomes = ", ".join(f"{count} {name}" for name, count in Counter(s.outcome for s in summaries).items())
    _say(f"\n{len(summaries)} captures ({outcomes}) in {time.monotonic() - began:.0f} s")
    _say(f"Open {PAGE.as_uri()}")


def _summary(capture: dict[str, Any]) -> CaptureSummary:
    lists = {name: tuple(capture[name]) for name in ("incident_ids", "artifacts")}
    return CaptureSummary(**capture | lists)


if __name__ == "__main__":
    main()
