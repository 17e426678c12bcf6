import io
import zipfile

import pytest
from PIL import Image

from archiver.cli.main import run

OLE = bytes.fromhex("d0cf11e0a1b11ae1") + bytes(504)
PROTECTED = OLE + "EncryptedPackage".encode("utf-16-le") + bytes(600)
PAGE = (
    "<html><head><meta charset=utf-8></head><body><h2>1. Ситуация</h2><h3>Январь</h3>"
    "<p><a href='https://a.test/'>Журналиста</a> оштрафовали.</p></body></html>"
)


def bomb():
    out = io.BytesIO()
    with (
        zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as package,
        package.open("word/document.xml", "w") as part,
    ):
        for _ in range(80):
            part.write(bytes(1024 * 1024))
    return out.getvalue()


def scan():
    out = io.BytesIO()
    Image.new("L", (60, 80), 255).save(out, "PDF")
    return out.getvalue()


CASES = {
    "protected.docx": (PROTECTED, "protected by a password"),
    "protected.xlsx": (PROTECTED, "protected by a password"),
    "renamed.docx": (OLE, "a file of the older Word or Excel"),
    "bomb.docx": (bomb, "unpacked: expected at most"),
    "garbage.docx": (b"PK\x03\x04" + bytes(90), "expected a DOCX file"),
    "scan.pdf": (scan, "pictures of pages (a scan)"),
    "garbage.pdf": (b"%PDF-1.4\n" + b"\xff" * 500, "expected a PDF"),
    "empty.docx": (b"", "an empty file"),
    "empty.csv": (b" \n", "an empty file"),
    "binary.md": (bytes(range(256)), "binary data"),
    "report.doc": (OLE, "expected it to end in"),
    "quote.csv": (
        b'section,month,text,url\n1,January,"broken,https://a.test/\n',
        "line 2: expected a row of CSV",
    ),
    "header.csv": (b"a,b,c\n1,2,3\n", "expected columns such as"),
    "sections.md": (b"Only [a text](https://a.test/).", "expected '1. General situation'"),
    "nested.html": (b"<div>" * 100_000 + b"a", "expected '1. General situation'"),
    "missing.md": (None, "No such file"),
}


@pytest.mark.parametrize("name", CASES)
def test_what_cannot_be_read_is_one_clear_error(tmp_path, capfd, name):
    """With its code, a hint and exit code 2; no register is written."""
    data, told = CASES[name]
    if data is not None:
        (tmp_path / name).write_bytes(data() if callable(data) else data)
    words = ["--country", "KZ", "--quarter", "2026-Q1", "-o", str(tmp_path / "r.csv")]
    assert run(["incidents", "import", str(tmp_path / name), *words]) == 2
    error = capfd.readouterr().err
    assert told in error
    assert "[E24" in error
    assert "hint: " in error
    assert "Traceback" not in error
    assert not (tmp_path / "r.csv").exists()


def test_a_page_in_windows_1251_that_says_utf_8_is_read_and_told(tmp_path, capfd):
    """A page saved in another encoding than it says is read as what it is."""
    (tmp_path / "r.html").write_bytes(PAGE.encode("windows-1251"))
    words = ["--country", "KZ", "--quarter", "2026-Q1", "-o", str(tmp_path / "r.csv")]
    assert run(["incidents", "import", str(tmp_path / "r.html"), *words]) == 0
    assert "read as Windows-1251" in capfd.readouterr().err
    text = (tmp_path / "r.csv").read_text("utf-8-sig")
    assert "KZ-2026-Q1-1.01,1,2026-01,Журналиста оштрафовали.,Журналиста,https://a.test/" in text


@pytest.mark.parametrize(
    "words",
    [
        ("--country", "KAZ", "--quarter", "2026-Q1", "-o", "r.csv"),
        ("--country", "KZ", "--quarter", "2026-Q5", "-o", "r.csv"),
        ("--country", "KZ", "--quarter", "2026-Q1", "-o", "r.xlsx"),
    ],
)
def test_options_that_make_no_id_are_refused(tmp_path, capfd, monkeypatch, words):
    """Country, quarter and the register's name are checked before anything is read."""
    monkeypatch.chdir(tmp_path)
    assert run(["incidents", "import", "none.md", *words]) == 2
    assert "[E24" in capfd.readouterr().err
