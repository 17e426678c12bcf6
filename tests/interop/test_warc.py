import base64
import gzip
import hashlib
import io
import random
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from warc_samples import AT, HTML, OK, REQUEST, body, chunked, exchange, plain_ones, write_warc
from warcio.archiveiterator import ArchiveIterator

from archiver.errors import ArchiverError, EnvironmentUnfit
from archiver.formats.fields import warc_digest
from archiver.formats.warc import WarcWriter

# warcio check crashes on br records where the brotli module can be imported.
CHECK = "import sys; sys.modules['brotli'] = sys.modules['brotlicffi'] = None\n"
CHECK += "from warcio.cli import main; main(['check', sys.argv[1]])"


def check(path):
    return subprocess.run([sys.executable, "-c", CHECK, path], capture_output=True, text=True, check=False)


def records(path):
    with path.open("rb") as file:
        for record in ArchiveIterator(file, no_record_parse=True):
            yield record.rec_headers, record.raw_stream.read()


def written(tmp_path, *exchanges):
    write_warc(tmp_path / "data.warc.gz", list(exchanges))
    return list(records(tmp_path / "data.warc.gz"))


@pytest.fixture
def writer():
    with WarcWriter(io.BytesIO(), filename="x", info={}, created_at=AT) as opened:
        yield opened


def in_memory(one):
    out = io.BytesIO()
    with WarcWriter(out, filename="data.warc.gz", info={}, created_at=AT) as writer:
        entries = writer.write_exchange(one)
    return out.getvalue(), entries


def test_warcio_check_passes_every_kind_of_exchange(tmp_path):
    """A checker that we did not write finds every digest right, br, truncated and empty bodies included."""
    write_warc(tmp_path / "data.warc.gz", plain_ones())
    result = check(tmp_path / "data.warc.gz")
    assert (result.returncode, result.stdout) == (0, ""), result


def test_warcio_check_finds_a_changed_byte(tmp_path):
    """The check above can fail: one byte of a body changed is reported."""
    path = tmp_path / "data.warc.gz"
    write_warc(path, [exchange()])
    plain = gzip.decompress(path.read_bytes()).replace(b"paragraph", b"paragraqh", 1)
    path = tmp_path / "data.warc"
    path.write_bytes(plain)
    assert check(path).returncode == 1


def test_warcio_check_accepts_chunked_messages(tmp_path):
    """The tool digests payloads with their framing, the standard without: neither calls it damaged."""
    write_warc(tmp_path / "data.warc.gz", [chunked()])
    assert check(tmp_path / "data.warc.gz").returncode == 0


def test_a_chunked_message_keeps_its_framing_and_no_payload_digest(tmp_path):
    """The block keeps the framing; the digest of the entity is left to the index."""
    headers, block = written(tmp_path, chunked())[1]
    assert block.endswith(b"5;x=y\r\nhello\r\n6\r\n world\r\n0\r\nX-Trailer: 1\r\n\r\n")
    assert headers["WARC-Payload-Digest"] is None
    entity = base64.b32encode(hashlib.sha256(b"hello world").digest()).decode()
    entries = write_warc(tmp_path / "again.warc.gz", [chunked()])
    assert f"sha256:{entity}" in {entry.payload_digest for entry in entries}


def test_broken_chunking_has_no_payload_digest(tmp_path):
    """Where the framing was broken no payload digest is claimed; the block digest stands."""
    one = chunked()
    one.response_body.payload_sha256 = ""
    headers, _ = written(tmp_path, one)[1]
    assert headers["WARC-Payload-Digest"] is None
    assert headers["WARC-Block-Digest"]


def test_heads_and_bodies_survive_byte_for_byte(tmp_path):
    """Latin-1, doubled spaces, tabs, case, order and duplicates of headers come back as they were."""
    _, response, request, _ = written(tmp_path, exchange())
    assert response[1] == OK + HTML
    assert request[1] == REQUEST


@settings(max_examples=150)
@given(head=st.binary(max_size=400), data=st.binary(max_size=400), request=st.binary(max_size=200))
def test_any_bytes_survive(head, data, request):
    """Whatever a server sends as head or body, the WARC gives the same bytes back, with true digests."""
    one = exchange(request_head=request, response_head=head, response_body=body(data))
    raw, _ = in_memory(one)
    found = {}
    for record in ArchiveIterator(io.BytesIO(raw), no_record_parse=True):
        found[record.rec_type] = block = record.raw_stream.read()
        digest = warc_digest(hashlib.sha256(block).hexdigest())
        assert record.rec_headers["WARC-Block-Digest"] == digest
    assert found["response"] == head + data
    assert found["request"] == request


@settings(max_examples=200)
@given(url=st.text(max_size=80), ip=st.sampled_from(["192.0.2.1", ""]))
def test_no_url_can_add_a_header(url, ip):
    """A URL with line breaks, NEL, tabs or surrogates stays one value: the records have our fields only."""
    raw, entries = in_memory(exchange(url=f"http://a.test/{url}", ip=ip))
    fields = "Type Record-ID Date Filename Target-URI IP-Address Protocol Block-Digest Payload-Digest"
    allowed = {f"WARC-{field}" for field in [*fields.split(" "), "Concurrent-To"]}
    allowed |= {"Content-Type", "Content-Length"}
    for record in ArchiveIterator(io.BytesIO(raw), no_record_parse=True):
        assert {name for name, _ in record.rec_headers.headers} <= allowed
    assert all(entry.uri.isascii() and entry.uri.isprintable() and " " not in entry.uri for entry in entries)


@pytest.mark.parametrize("field", ["ip", "protocol", "tls_version", "cipher"])
@pytest.mark.parametrize("evil", ["x\r\nWARC-Type: response", "x\ny", "x\x00", "x\x85y", "\u0436"])
def test_a_value_that_would_break_a_header_is_refused(writer, field, evil):
    """Values that need no encoding by nature are refused, not written, when they hold anything else."""
    before = writer._offset
    one = exchange(**{field: evil}) if field in {"ip", "protocol"} else exchange()
    options = {} if field in {"ip", "protocol"} else {field: evil}
    with pytest.raises(ArchiverError, match="E231"):
        writer.write_exchange(one, **options)
    assert writer._offset == before


@pytest.mark.parametrize("evil", ["image/png\r\nX: y", "image/\u0436"])
def test_a_media_type_that_would_break_a_header_is_refused(writer, evil):
    """A resource cannot smuggle a header in by its media type."""
    with pytest.raises(ArchiverError, match="E231"):
        writer.write_resource("urn:x:y", evil, b"", AT)


@pytest.mark.parametrize("size", [0, len(HTML) - 1, len(HTML) + 1])
def test_a_body_of_another_length_is_refused(writer, size):
    """A body that is not as long as it states is an error, not a record with a wrong length."""
    one = exchange()
    one.response_body.size_bytes = size
    with pytest.raises(ArchiverError, match="E232"):
        writer.write_exchange(one)


def test_a_missing_exhibit_and_a_missing_folder_are_told(writer, tmp_path):
    """The file system's own errors become ours."""
    with pytest.raises(EnvironmentUnfit, match="E233"):
        writer.write_resource("urn:x:y", "image/png", tmp_path / "none.png", AT)
    with pytest.raises(EnvironmentUnfit, match="E230"):
        WarcWriter(tmp_path / "no" / "x.warc.gz", filename="x", info={}, created_at=AT)


def test_a_full_disk_is_told():
    """Running out of room while writing is an error of the environment, not a traceback."""
    with Path("/dev/full").open("wb", buffering=0) as full, pytest.raises(EnvironmentUnfit, match="E230"):
        WarcWriter(full, filename="x", info={"software": "x"}, created_at=AT)


def test_the_facts_of_the_connection_are_stated(tmp_path):
    """Address, protocol layers, cipher, truncation and the relay's own time stand on the records."""
    one = exchange(protocol="h2", truncated="length")
    _, (response, _), (request, _), _ = written(tmp_path, one)
    pairs = response.headers
    assert [value for name, value in pairs if name == "WARC-Protocol"] == ["h2", "tls/1.3"]
    assert response["WARC-Cipher-Suite"] == "TLS_AES_128_GCM_SHA256"
    assert response["WARC-IP-Address"] == "192.0.2.7"
    assert response["WARC-Truncated"] == "length"
    assert response["WARC-Date"] == request["WARC-Date"] == "2026-11-24T08:12:03.123456Z"
    assert request["WARC-Concurrent-To"] == response["WARC-Record-ID"]
    assert request["WARC-Truncated"] is None


def test_a_request_without_response_says_so(tmp_path):
    """Nothing received is a request record and metadata that says it, never an empty response."""
    one = exchange(response_head=None, response_body=None, truncated="time")
    _, request, metadata, _ = written(tmp_path, one)
    assert request[0]["WARC-Type"] == "request"
    assert metadata[0]["WARC-Concurrent-To"] == request[0]["WARC-Record-ID"]
    assert b"response: none was received\r\ntruncated: time\r\n" in metadata[1]


def test_a_note_cannot_add_a_line(tmp_path):
    """A remark with line breaks stays on its line."""
    *_, (_, block), _ = written(tmp_path, exchange(notes=["bad head\r\nresponse: fine\u2028x"]))
    assert block.startswith(b"note: bad head  response: fine x\r\nfetchTimeMs: 2\r\n")


def test_entries_point_at_their_records(tmp_path):
    """Offset, length and digest of an entry cut out exactly one gzip member: that record."""
    path = tmp_path / "data.warc.gz"
    entries = write_warc(path, plain_ones())
    raw = path.read_bytes()
    for entry in entries:
        member = raw[entry.offset : entry.offset + entry.length]
        assert hashlib.sha256(member).hexdigest() == entry.sha256
        assert f"WARC-Record-ID: {entry.record_id}".encode() in gzip.decompress(member)
    assert entries[-1].offset + entries[-1].length == len(raw)


def test_what_does_not_shrink_is_stored():
    """Bytes that are compressed already cost no more than their size and a little."""
    data = random.Random(1).randbytes(300_000)
    raw, _ = in_memory(exchange(response_body=body(data)))
    assert data[:200] in raw
    assert len(raw) < len(data) + 2000


def test_a_very_long_url_reads_back(tmp_path):
    """A URL of 2 MB, Chromium's longest, is kept whole."""
    url = "https://site.test/?" + "q" * 2_000_000
    headers, _ = written(tmp_path, exchange(url=url))[1]
    assert headers["WARC-Target-URI"] == url
