from __future__ import annotations

import csv
import json
import struct
import subprocess
import sys
import zipfile

import pytest
from warcio.archiveiterator import ArchiveIterator

from tests.browser.conftest import REGISTER

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("quarter")]


def rows() -> dict[tuple[str, str], dict[str, str]]:
    with REGISTER.open(encoding="utf-8-sig") as file:
        return {(row["incident_id"], row["url"]): row for row in csv.DictReader(file)}


def test_every_row_becomes_a_capture_with_the_outcome_that_the_row_expects(quarter):
    """Each kind of page that the Barometer speaks of is captured and told from the others."""
    _, captures = quarter
    found = {(one["incident_ids"][0], one["url"]): one["outcome"] for one in captures}
    assert found == {key: row["expected_outcome"] for key, row in rows().items()}


def test_a_second_run_captures_nothing_twice(quarter):
    """What the store holds is not captured again unless asked for; sites that were down are put off."""
    bench, captures = quarter
    told = bench.run("batch", str(REGISTER), *bench.sites.options(), code=3)
    down = {one["url"] for one in captures if one["outcome"] in {"overloaded", "unreachable"}}
    assert told["captures"] == []
    assert {one["url"] for one in told["left"]} == down
    assert len(told["skipped"]) + len(told["left"]) == len(captures)


def test_the_incident_id_travels_from_the_row_to_key_and_record(quarter):
    """A plain listing leads from an incident to its captures, and the record names row and incident."""
    bench, captures = quarter
    for one in captures:
        incident = one["incident_ids"][0]
        link = json.loads((bench.store / "incidents" / incident / f"{one['capture_id']}.json").read_bytes())
        record = bench.record(one)
        cells = {cell["column"]: cell["value"] for cell in record["seed"]["row"]["cells"]}
        assert link["capture_id"] == one["capture_id"]
        assert record["incident_ids"] == [incident]
        assert cells == rows()[incident, one["url"]]


def test_verify_finds_nothing_wrong_and_says_that_time_is_unproven(quarter):
    """An unsealed capture is never called passed."""
    bench, captures = quarter
    told = bench.run("verify", "--all", code=None)
    text = json.dumps(told)
    assert "unsealed" in text or "unsigned" in text
    assert '"severity": "failure"' not in text
    assert len(captures) > 0


@pytest.mark.parametrize(
    "name", ["capture.wacz", "page.pdf", "text.txt", "screenshot-full.png", "transcript.pcapng"]
)
def test_one_flipped_byte_of_any_file_fails_verification(quarter, name, tmp_path):
    """Whatever file of a capture is changed, verify exits 4; the record itself is what a seal protects."""
    bench, captures = quarter
    one = next(one for one in captures if one["url"].endswith("/posts/1042"))
    path = bench.file(one, name)
    good = path.read_bytes()
    bad = bytearray(good)
    bad[len(bad) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(bad)
    try:
        bench.run("verify", one["capture_id"], code=4)
    finally:
        path.write_bytes(good)
        path.chmod(0o444)


def test_packages_are_accepted_by_the_formats_own_validator(quarter):
    """``wacz validate`` accepts every package."""
    bench, captures = quarter
    for one in captures[:6]:
        command = [sys.executable, "-m", "wacz.main", "validate", "-f", str(bench.file(one, "capture.wacz"))]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-500:] + done.stderr[-500:]


def test_a_page_of_100_resources_is_held_whole_over_http1_tls_and_http2(bench):
    """Every resource of the page has a response record, whatever protocol brought it."""
    urls = ["http://hundred.example/", "https://hundred.example/", "https://hundred-h1.example/"]
    captures = bench.capture(*urls)
    protocols = set()
    for one in captures:
        responses = {}
        wacz = zipfile.ZipFile(bench.file(one, "capture.wacz"))
        with wacz as package, package.open("archive/data.warc.gz") as file:
            for record in ArchiveIterator(file, no_record_parse=True):
                if record.rec_type == "response":
                    uri = record.rec_headers.get_header("WARC-Target-URI")
                    responses[uri] = record.rec_headers.get_header("WARC-Protocol")
        protocols |= set(responses.values())
        assert len(responses) >= 101
        held = bench.record(one)["recording"]
        assert held["missing"] == []
        assert held["browser_matched_count"] == held["browser_request_count"] >= 100
    assert {"h2", "http/1.1"} <= protocols


def test_a_long_page_comes_out_whole_in_tiles(quarter):
    """Tiles follow one another without gap or overlap and end where the page ends."""
    bench, captures = quarter
    one = next(one for one in captures if one["url"].endswith("referendum-onlayn"))
    tiles = [a for a in bench.record(one)["artifacts"] if a["role"] == "screenshot-full"]
    offset = 0
    for tile in tiles:
        head = bench.file(one, tile["path"]).read_bytes()[:24]
        width, height = struct.unpack(">II", head[16:24])
        assert (tile["width_px"], tile["height_px"], tile["offset_y_px"]) == (width, height, offset)
        offset += height
    assert offset > 20_000


def test_lazy_images_are_on_the_wire(quarter):
    """What loads only when it is scrolled to has been scrolled to."""
    bench, captures = quarter
    one = next(one for one in captures if one["url"].endswith("referendum-onlayn"))
    markup = bench.file(one, "dom.html").read_text()
    with zipfile.ZipFile(bench.file(one, "capture.wacz")) as package:
        index = package.read("indexes/index.cdxj").decode()
    assert markup.count("<img") >= 20
    assert index.count('"mime":"image/') + index.count('"mime": "image/') >= markup.count("<img")


def test_a_failed_load_has_a_failure_sheet_with_the_resolvers_own_words(quarter):
    """Absence is evidence: the sheet says what the browser's error page does not."""
    bench, captures = quarter
    one = next(one for one in captures if ".invalid" in one["url"])
    sheet = bench.file(one, "failure.html").read_text()
    assert "ERR_SOCKS_CONNECTION_FAILED" in sheet
    assert "Name or service not known" in sheet
    assert bench.file(one, "failure.png").read_bytes().startswith(b"\x89PNG")


def test_the_rejected_certificate_is_kept_with_the_browsers_verdict(quarter):
    """The chain that nothing loaded over is in the capture, with the signature check of the handshake."""
    bench, captures = quarter
    one = next(one for one in captures if one["outcome"] == "certificate")
    record = bench.record(one)
    tls = [c["tls"] for c in record["network"]["connections"] if c["tls"]]
    assert any(t["chain_sha256"] and t["certificate_verify"] == "valid" for t in tls)
    assert "ERR_CERT_AUTHORITY_INVALID" in json.dumps(record["errors"])
    assert bench.file(one, "certificates.pem").read_bytes().count(b"BEGIN CERTIFICATE") >= 1


def test_a_document_is_an_exhibit_of_its_own(quarter):
    """A PDF that the address leads to is kept byte for byte beside the viewer's picture."""
    bench, captures = quarter
    one = next(one for one in captures if one["url"].endswith(".pdf"))
    assert bench.file(one, "document.pdf").read_bytes().startswith(b"%PDF-")


def test_tshark_reads_the_requests_out_of_the_transcript(quarter):
    """A reader that is not ours opens the transcript decrypted and finds the page's address in it."""
    bench, captures = quarter
    one = next(one for one in captures if one["url"].endswith("obrashchenie-zhurnalistov"))
    command = ["tshark", "-r", str(bench.file(one, "transcript.pcapng")), "-Y", "http2.headers.path"]
    done = subprocess.run(
        [*command, "-T", "fields", "-e", "http2.headers.path"], capture_output=True, text=True, check=False
    )
    assert "/ru/2026/03/obrashchenie-zhurnalistov" in done.stdout
    assert len(set(done.stdout.replace(",", "\n").split())) >= 40


@pytest.mark.parametrize("end", ["obrashchenie-zhurnalistov", "hundred.example/", "posts/1042", ".pdf"])
def test_an_independent_reader_finds_every_byte(quarter, end):
    """Given the transcript alone, tshark gives every direction of every connection as we recorded it."""
    bench, captures = quarter
    one = next(one for one in captures if one["url"].endswith(end))
    told = bench.run("crosscheck", one["capture_id"])
    assert told["agrees"]
    assert len(told["directions"]) == 2 * len(bench.record(one)["network"]["connections"]) > 0
    assert len(told["exported"]) > 0


def test_crosscheck_finds_a_transcript_of_something_else(quarter):
    """A transcript that is not the capture's is not read at all: its digest is another."""
    bench, captures = quarter
    one = next(one for one in captures if one["url"].endswith("posts/1042"))
    other = next(one for one in captures if one["url"].endswith("dala_live"))
    path = bench.file(one, "transcript.pcapng")
    good = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(bench.file(other, "transcript.pcapng").read_bytes())
    try:
        assert bench.run("crosscheck", one["capture_id"], code=4) == {}
    finally:
        path.write_bytes(good)
        path.chmod(0o444)


def test_everything_known_can_be_made_anew_from_the_store_alone(quarter):
    """The catalogue is thrown away and lists the same afterwards."""
    bench, captures = quarter
    before = bench.run("list")
    bench.run("reindex")
    assert bench.run("list") == before
    assert len(json.dumps(before)) > len(captures)
