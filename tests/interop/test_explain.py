"""What ``archiver verify --explain`` prints is run as it stands, by tools that are not ours."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from manifests.codec import decode
from manifests.explain import explain
from manifests.trust import parse_trust

CORPUS = Path(__file__).parents[1] / "vectors" / "corpus"
GOOD = sorted(path.name for path in CORPUS.glob("passed--*") if (path / "capture").exists())


def run_script(case: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    record = decode((case / "capture" / "record.json").read_bytes())
    seal = {path.name: path.read_bytes() for path in (case / "capture" / "seal").iterdir()}
    script = explain(record, seal, parse_trust((case / "trust.toml").read_bytes()))
    return subprocess.run(
        ["bash", "-c", script], cwd=folder, capture_output=True, text=True, check=False, timeout=60
    )


@pytest.mark.parametrize("name", GOOD)
def test_the_commands_confirm_what_the_verifier_passes(name):
    """sha256sum, b3sum, ssh-keygen and openssl say of a good capture what our verifier says."""
    done = run_script(CORPUS / name, CORPUS / name / "capture")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("all checks passed\n")


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("passed--plain", "text.txt"),
        ("passed--plain", "capture.wacz"),
        ("passed--plain", "record.json"),
        ("passed--plain", "seal/record.json.sig"),
        ("passed--plain", "seal/record.tsa.tsr"),
        ("passed--plain", "seal/record.tlog-entry.json"),
        ("passed--batch", "seal/batch-root.txt"),
        ("passed--batch", "seal/batch-path.txt"),
    ],
)
def test_the_commands_find_a_changed_byte(name, changed, tmp_path):
    """One byte changed in a file makes the script of the good capture stop."""
    folder = tmp_path / "capture"
    shutil.copytree(CORPUS / name / "capture", folder)
    data = bytearray((folder / changed).read_bytes())
    at = len(data) // 2
    data[at] = ord("0") if data[at] != ord("0") else ord("1")
    (folder / changed).write_bytes(data)
    done = run_script(CORPUS / name, folder)
    assert done.returncode != 0, done.stdout
    assert "all checks passed" not in done.stdout


@pytest.mark.parametrize(
    "name",
    [
        "signature-key-unknown",
        "signature-key-expired",
        "timestamp-chain-untrusted",
        "timestamp-certificate-id-wrong--wrong",
        "log-proof-wrong--other-leaf",
        "log-checkpoint-signature-wrong",
        "artifact-digest-mismatch--swapped",
    ],
)
def test_the_commands_refuse_bad_evidence(name):
    """What our verifier does not pass for these reasons, the tools do not pass either."""
    assert json.loads((CORPUS / name / "expect.json").read_text())["overall"] != "passed"
    assert run_script(CORPUS / name, CORPUS / name / "capture").returncode != 0
