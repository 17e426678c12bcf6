import hashlib
import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import blake3
import pytest
from cdxj_indexer.main import CDXJIndexer
from hypothesis import given, settings
from hypothesis import strategies as st
from warc_samples import AT, body, chunked, exchange, plain_ones, write_warc
from warcio.archiveiterator import ArchiveIterator

from archiver.errors import EnvironmentUnfit
from archiver.formats.cdxj import index_lines
from archiver.formats.wacz import Page, write_wacz

PAGE = Page("https://site.test/page", AT, "Заголовок", "Мәтін of the page")
FACTS = {"title": "A capture", "created_at": AT, "software": "archiver 0.1.0"}


@pytest.fixture
def warc(tmp_path):
    path = tmp_path / "data.warc.gz"
    return path, write_warc(path, [*plain_ones(), chunked()])


def validate(path):
    command = [Path(sys.executable).parent / "wacz", "validate", "-f", path]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def package(tmp_path, warc):
    path = tmp_path / "capture.wacz"
    return path, write_wacz(path, *warc, [PAGE], **FACTS)


def test_wacz_validate_accepts(package):
    """The reference validator accepts the package."""
    result = validate(package[0])
    assert result.returncode == 0, result.stdout + result.stderr


def test_wacz_validate_accepts_a_capture_of_nothing(tmp_path):
    """A load that failed before anything came is a valid package with no page and no index line."""
    entries = write_warc(tmp_path / "data.warc.gz", [])[:-1]
    write_wacz(tmp_path / "x.wacz", tmp_path / "data.warc.gz", entries, [], **FACTS)
    result = validate(tmp_path / "x.wacz")
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    "name", ["archive/data.warc.gz", "indexes/index.cdxj", "pages/pages.jsonl", "datapackage.json"]
)
def test_wacz_validate_refuses_a_changed_member(tmp_path, package, name):
    """The acceptance above can fail: any member changed after packing is refused."""
    changed = tmp_path / "changed.wacz"
    with zipfile.ZipFile(package[0]) as old, zipfile.ZipFile(changed, "w") as new:
        for member in old.infolist():
            data = old.read(member)
            new.writestr(
                member, data.replace(b"A capture", b"B capture") + b"\n" if member.filename == name else data
            )
    assert validate(changed).returncode != 0


def test_the_package_is_laid_out_as_replay_needs_it(package):
    """Members are stored, in a fixed order, each once, without data descriptors."""
    with zipfile.ZipFile(package[0]) as archive:
        members = archive.infolist()
        assert archive.testzip() is None
    names = ["archive/data.warc.gz", "indexes/index.cdxj", "pages/pages.jsonl"]
    assert [m.filename for m in members] == [*names, "datapackage.json", "datapackage-digest.json"]
    assert {m.compress_type for m in members} == {zipfile.ZIP_STORED}
    assert {m.flag_bits for m in members} == {0}


def test_the_same_input_makes_the_same_bytes(tmp_path, warc):
    """Two packings of one WARC are equal, whenever and wherever they are made."""
    digests = [write_wacz(tmp_path / name, *warc, [PAGE], **FACTS) for name in ("a.wacz", "b.wacz")]
    assert digests[0] == digests[1]


def test_the_digests_returned_are_those_of_the_file(package):
    """Size, SHA-256 and BLAKE3 are of the whole file as it lies on disk."""
    path, digests = package
    data = path.read_bytes()
    assert digests.size_bytes == len(data)
    assert digests.sha256 == hashlib.sha256(data).hexdigest()
    assert digests.blake3 == blake3.blake3(data).hexdigest()


def test_every_index_line_leads_to_its_record(package):
    """Reading the WARC at an index line's offset gives the record of that URL, as replay does."""
    with zipfile.ZipFile(package[0]) as archive:
        lines = archive.read("indexes/index.cdxj").splitlines()
        raw = archive.read("archive/data.warc.gz")
    assert lines == sorted(lines)
    for line in lines:
        facts = json.loads(line.split(b" ", 2)[2])
        start, length = int(facts["offset"]), int(facts["length"])
        member = raw[start : start + length]
        assert facts["recordDigest"] == "sha256:" + hashlib.sha256(member).hexdigest()
        (record,) = ArchiveIterator(io.BytesIO(member), no_record_parse=True)
        assert record.rec_headers["WARC-Target-URI"] == facts["url"]


def posted(kind: bytes, data: bytes):
    head = b"POST /api HTTP/1.1\r\nHost: site.test\r\nContent-Type: " + kind
    head += b"\r\nContent-Length: %d\r\n\r\n" % len(data)
    return exchange(
        url="https://site.test/api?v=1", method="POST", request_head=head, request_body=body(data)
    )


def test_the_index_agrees_with_another_indexer(tmp_path):
    """cdxj-indexer makes the same lines from the WARC alone, POST bodies in the key included."""
    path = tmp_path / "data.warc.gz"
    # It cannot read br where the brotli module is installed, and files a HEAD under the key of the page.
    ones = [one for one in plain_ones() if not one.url.endswith(("/br", "/head"))]
    ones += [
        posted(b"application/x-www-form-urlencoded; charset=utf-8", b"a=1&b=%D0%96+x&a=2"),
        posted(b"application/x-www-form-urlencoded", b"\xff\xfe"),
        posted(b"application/json", b'{"q": {"a": [1, "x", {"a": true}], "b": null}, "q2": 1.5}'),
        posted(b"application/json", b"{broken"),
        posted(b"text/plain", b"just text"),
        posted(b"application/octet-stream", b"\x00" * 9000),
    ]
    entries = write_warc(path, ones)
    out = io.StringIO()
    CDXJIndexer(out, [str(path)], post_append=True, sort=True, digest_records=True).process_all()

    def comparable(line):
        key, time, facts = line.split(" ", 2)
        return key, time, {name: value for name, value in json.loads(facts).items() if value}

    theirs = sorted(map(comparable, out.getvalue().splitlines()), key=str)
    ours = sorted(map(comparable, index_lines(entries, path.name).decode().splitlines()), key=str)
    assert ours == theirs


def test_the_pages_carry_title_and_text(package):
    """The page list names the page, its time, its title and its text for search."""
    with zipfile.ZipFile(package[0]) as archive:
        head, page = map(json.loads, archive.read("pages/pages.jsonl").splitlines())
        facts = json.loads(archive.read("datapackage.json"))
    assert head["format"] == "json-pages-1.0"
    assert head["hasText"] is True
    assert (page["url"], page["title"], page["text"]) == (PAGE.url, PAGE.title, PAGE.text)
    assert page["ts"] == "2026-11-24T08:12:03.123Z"
    assert facts["mainPageUrl"] == PAGE.url


@settings(max_examples=60)
@given(title=st.text(st.characters(codec=None), max_size=60), text=st.text(max_size=60))
def test_no_title_or_text_can_break_the_page_list(tmp_path_factory, title, text):
    """Whatever a page calls itself, the list stays one JSON object a line, in valid UTF-8."""
    folder = tmp_path_factory.mktemp("wacz")
    entries = write_warc(folder / "data.warc.gz", [])
    write_wacz(folder / "x.wacz", folder / "data.warc.gz", entries, [Page("u", AT, title, text)], **FACTS)
    with zipfile.ZipFile(folder / "x.wacz") as archive:
        lines = archive.read("pages/pages.jsonl").decode("utf-8").split("\n")
    assert len(lines) == 3
    assert json.loads(lines[1])["url"] == "u"


def test_a_package_beyond_4_gib_uses_zip64(tmp_path, warc, monkeypatch):
    """Past the old ZIP limit (lowered here) the package is written with ZIP64 and reads back."""
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 1000)
    write_wacz(tmp_path / "x.wacz", *warc, [PAGE], **FACTS)
    with zipfile.ZipFile(tmp_path / "x.wacz") as archive:
        assert archive.read("archive/data.warc.gz") == warc[0].read_bytes()


def test_a_missing_warc_and_a_missing_folder_are_told(tmp_path, warc):
    """The file system's own errors become ours, and name what was expected."""
    with pytest.raises(EnvironmentUnfit, match="E235"):
        write_wacz(tmp_path / "x.wacz", tmp_path / "none.warc.gz", [], [], **FACTS)
    with pytest.raises(EnvironmentUnfit, match="E235"):
        write_wacz(tmp_path / "no" / "x.wacz", *warc, [], **FACTS)
