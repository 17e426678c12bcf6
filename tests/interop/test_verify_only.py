"""The verify-only distribution verifies without the libraries that capturing needs."""

from __future__ import annotations

import importlib.metadata
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[2]
CORPUS = ROOT / "tests" / "vectors" / "corpus"
LEFT_OUT = ("playwright", "boto3", "botocore", "sqlalchemy", "warcio", "ntplib", "jinja2", "PIL", "openpyxl")


def needed(names: list[str]) -> set[str]:
    """The distributions that those need, and what these need."""
    found: set[str] = set()
    todo = [re.split(r"[<>=!~ ;\[]", name)[0] for name in names]
    while todo:
        name = todo.pop()
        if name.lower() not in found:
            found.add(name.lower())
            lines = [line for line in importlib.metadata.requires(name) or [] if "extra ==" not in line]
            todo += [re.split(r"[<>=!~ ;\[(]", line)[0] for line in lines]
    return found


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """The wheel unpacked, with links to the libraries that it requires, and to no others."""
    out, site = tmp_path_factory.mktemp("wheel"), tmp_path_factory.mktemp("site")
    environment = os.environ | {"PYTHON": sys.executable}
    subprocess.run(
        [ROOT / "scripts" / "build-verify.sh", out], env=environment, check=True, capture_output=True
    )
    (wheel,) = out.glob("*.whl")
    ZipFile(wheel).extractall(site)
    project = tomllib.loads((ROOT / "packaging" / "verify" / "pyproject.toml").read_text())["project"]
    for name in needed(project["dependencies"]):
        distribution = importlib.metadata.distribution(name)
        for top in {Path(str(file)).parts[0] for file in distribution.files or []} - {"..", "__pycache__"}:
            target = site / top
            if not target.exists():
                target.symlink_to(Path(str(distribution.locate_file(top))))
    return site


def verify(site: Path, case: str) -> subprocess.CompletedProcess[str]:
    code = f"import sys; sys.path.insert(0, {str(site)!r}); from archiver.cli.main import main; main()"
    folder = CORPUS / case
    words = ["verify", str(folder / "capture"), "--trust", str(folder / "trust.toml")]
    # -I and -S: nothing of this environment is in reach but the folder above.
    command = [sys.executable, "-I", "-S", "-c", code, *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("name", LEFT_OUT)
def test_what_only_capturing_needs_is_not_in_reach(installed, name):
    """The test below would find out if one of them were imported."""
    assert not (installed / name).exists()


def test_good_evidence_is_verified(installed):
    """A sealed capture is intact; its token's time is judged by today's clock like everything else."""
    done = verify(installed, "passed--plain")
    assert "Traceback" not in done.stderr, done.stderr
    assert "integrity passed" in done.stdout


@pytest.mark.parametrize(
    "case", ["artifact-digest-mismatch--flipped", "zip-duplicate-member", "signature-wrong--rehashed"]
)
def test_bad_evidence_fails(installed, case):
    """The small distribution finds what the whole one finds."""
    done = verify(installed, case)
    assert done.returncode == 4, done.stdout + done.stderr
    assert case.partition("--")[0] in done.stdout


def test_a_command_of_the_whole_program_says_what_to_install(installed):
    """Capturing with the verifier alone is a clear error, not a traceback."""
    code = f"import sys; sys.path.insert(0, {str(installed)!r}); from archiver.cli.main import main; main()"
    words = ["capture", "https://a.example/", "--incident", "X"]
    command = [sys.executable, "-I", "-S", "-c", code, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert "pip install archiver" in done.stderr
