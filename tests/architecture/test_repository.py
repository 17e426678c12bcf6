from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from email import message_from_bytes
from pathlib import Path
from zipfile import ZipFile

import pytest

from tests.architecture.code import PACKAGES, ROOT

# Written so that this file does not hold what it looks for.
REGISTRY_HOSTS = r"pypi[.]org|python[h]osted[.]org|registry[.]npm[j]s|deb[.]debian[.]org|proxy[.]go[l]ang"
MACHINE_PATHS = r"/(?:work|opt)/(?:main|shared|pypi|wheels|[.]library)|/tmp/(?:boot|bash_jobs)"
SECRETS = r"-----BEGIN (?:RSA |EC |OPENSSH )?PRIVATE KEY|AKIA[0-9A-Z]{16}"
MAX_TRACKED_FILE_BYTES = 1024 * 1024


def _tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def _settings() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


@pytest.mark.parametrize(
    ("what", "pattern"),
    [("a package registry's host", REGISTRY_HOSTS), ("a path of one machine", MACHINE_PATHS)],
)
def test_no_tracked_file_names(what: str, pattern: str):
    """What is committed works elsewhere: nothing in it points at one machine or one index."""
    found = [
        str(path.relative_to(ROOT)) for path in _tracked() if re.search(pattern.encode(), path.read_bytes())
    ]
    assert found == [], what


def test_no_secret_is_tracked_outside_the_test_vectors():
    """A private key in the repository is everybody's; vectors for tests are marked by their folder."""
    found = [
        str(path.relative_to(ROOT))
        for path in _tracked()
        if "vectors" not in path.parts and re.search(SECRETS.encode(), path.read_bytes())
    ]
    assert found == []


def test_no_tracked_file_is_large():
    """A clone stays quick; large data is made by the code that needs it."""
    sizes = {str(path.relative_to(ROOT)): path.stat().st_size for path in _tracked()}
    assert {name: size for name, size in sizes.items() if size > MAX_TRACKED_FILE_BYTES} == {}


def _locked(name: str) -> dict[str, str]:
    text = (ROOT / name).read_text("utf-8")
    return dict(re.findall(r"^([A-Za-z0-9._-]+)==(\S+) \\$", text, re.MULTILINE))


@pytest.mark.parametrize(
    "name", ["requirements-build.txt", "requirements.txt", "requirements-demo.txt", "requirements-dev.txt"]
)
def test_every_locked_package_has_a_version_and_a_hash(name: str):
    """An install takes exactly the files that were looked at, or fails."""
    blocks = re.split(
        r"\n(?=[A-Za-z0-9])", re.sub(r"^\s*#.*\n?", "", (ROOT / name).read_text("utf-8"), flags=re.MULTILINE)
    )
    assert len(blocks) > 1
    for block in blocks:
        assert re.match(r"[A-Za-z0-9._-]+==\S+ \\\n    --hash=sha256:[0-9a-f]{64}", block), block[:80]


def test_every_dependency_is_locked():
    """``make lock`` was run after the last change of the dependencies."""
    locked = {_canonical(name) for name in _locked("requirements.txt")}
    wanted = {
        _canonical(re.split(r"[<>=~!\[; ]", line)[0]) for line in _settings()["project"]["dependencies"]
    }
    assert wanted - locked == set()


def test_the_locks_agree_where_they_meet():
    """A package has one version, whichever lock installs it."""
    chosen: dict[str, set[str]] = {}
    for part in ("-build", "", "-demo", "-dev"):
        for package, version in _locked(f"requirements{part}.txt").items():
            chosen.setdefault(package, set()).add(version)
    assert {package: versions for package, versions in chosen.items() if len(versions) > 1} == {}


def test_the_wheel_holds_the_three_packages_with_their_data_and_nothing_else(tmp_path: Path):
    """``pip install .`` gives what runs from the repository gives: templates and roots included."""
    _build_wheel(tmp_path)
    (wheel,) = tmp_path.glob("*.whl")
    with ZipFile(wheel) as archive:
        names = set(archive.namelist())
        metadata = message_from_bytes(archive.read(next(n for n in names if n.endswith("/METADATA"))))
    tops = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    assert tops == set(PACKAGES)
    data = {
        str(path.relative_to(ROOT))
        for path in _tracked()
        if path.relative_to(ROOT).parts[0] in PACKAGES and path.suffix not in {".md", ".pyi"}
    }
    assert data - names == set()
    assert metadata["License-Expression"] == "AGPL-3.0-or-later"
    assert any(name.endswith("/licenses/LICENSE") for name in names)


def _build_wheel(folder: Path) -> None:
    """Build from a copy of what is tracked, so that nothing left lying about gets in."""
    source = folder / "source"
    for path in _tracked():
        if path.relative_to(ROOT).parts[0] in {*PACKAGES, "pyproject.toml", "LICENSE", "README.md"}:
            target = source / path.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(source)],
        check=True,
        capture_output=True,
        cwd=folder,
    )


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
