from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import pytest

from archiver.cli.main import run
from archiver.errors import ExitCode, UsageError
from archiver.unpacking import unpack_export

CORPUS = Path(__file__).parents[2] / "vectors" / "corpus"


def zip_of(folder: Path, members: list[tuple[str, bytes]], **options) -> Path:
    path = folder / "export.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members:
            info = zipfile.ZipInfo(name)
            info.external_attr = options.get("attributes", 0o100644 << 16)
            archive.writestr(info, data, zipfile.ZIP_DEFLATED)
    return path


@pytest.mark.parametrize(
    "members",
    [
        [("../evil", b"x")],
        [("/etc/passwd", b"x")],
        [("a/../../b", b"x")],
        [("-rf", b"x")],
        [("a\\b", b"x")],
        [("a", b"x"), ("A", b"y")],
        [("bomb", b"\0" * 10_000_000)],
    ],
)
def test_what_no_export_holds_is_refused(members, tmp_path):
    """Names that lead out, names that some disk takes for one, and bombs are refused; nothing is written."""
    target = tmp_path / "out"
    target.mkdir()
    with pytest.raises(UsageError, match="E166"):
        unpack_export(zip_of(tmp_path, members), target)
    assert list(target.iterdir()) == []


def test_links_and_broken_files_are_refused(tmp_path):
    """A link is no evidence, and neither is a file that is no ZIP."""
    with pytest.raises(UsageError):
        unpack_export(zip_of(tmp_path, [("a", b"/etc/passwd")], attributes=0o120777 << 16), tmp_path / "out")
    broken = tmp_path / "broken.zip"
    broken.write_bytes(b"PK\x03\x04nothing")
    with pytest.raises(UsageError):
        unpack_export(broken, tmp_path / "out2")


@pytest.mark.parametrize(
    ("case", "code"),
    [("passed--plain", ExitCode.DONE), ("artifact-digest-mismatch--flipped", ExitCode.EVIDENCE_FAILED)],
)
def test_a_zip_is_judged_like_its_folder(case, code, tmp_path, capsys):
    """The same evidence as a ZIP gets the same verdict, whether it passes or fails."""
    archive = shutil.make_archive(str(tmp_path / "export"), "zip", CORPUS / case / "capture")
    words = ["verify", archive, "--trust", str(CORPUS / case / "trust.toml")]
    folder = run(["verify", str(CORPUS / case / "capture"), *words[2:]])
    assert run(words) == folder
    assert folder == code or code is ExitCode.DONE
    capsys.readouterr()
