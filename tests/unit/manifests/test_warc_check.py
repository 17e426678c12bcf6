import base64
import gzip
import hashlib
import io
import re

import pytest
from warcio.archiveiterator import ArchiveIterator

from manifests.findings import Code
from manifests.http_payload import MAX_CHUNK_LINE_BYTES, PayloadDigester
from manifests.warc_check import check_warc
from tests.unit.manifests.captures import (
    WARC,
    case_name,
    header_fields,
    joined_warc,
    packed,
    parts,
    split_warc,
)

GOOD = parts()[WARC]
RECORDS = split_warc(GOOD)
OTHER_ID = "<urn:uuid:00000000-0000-4000-8000-000000000000>"


def check(warc, piece_bytes=1 << 20):
    records = []
    pieces = (warc[at : at + piece_bytes] for at in range(0, len(warc), piece_bytes))
    findings = check_warc(pieces, "data.warc.gz", records.append)
    return records, {finding.code for finding in findings.items}


def digest_text(data):
    return "sha256:" + base64.b32encode(hashlib.sha256(data).digest()).decode()


def made(kind, block, *, payload=None, uri="http://a.test/", **fields):
    """One record with right digests; *fields* replace, add, or with None remove."""
    facts = {
        "WARC-Type": kind,
        "WARC-Record-ID": OTHER_ID,
        "WARC-Target-URI": uri,
        "WARC-Date": "2026-11-24T08:12:03.123456Z",
        "Content-Type": f"application/http; msgtype={kind}"
        if kind in ("response", "request")
        else "text/plain",
        "WARC-Payload-Digest": payload,
        "WARC-Block-Digest": digest_text(block),
        "Content-Length": str(len(block)),
    } | {name.replace("_", "-"): value for name, value in fields.items()}
    lines = [f"{name}: {value}\r\n" for name, value in facts.items() if value is not None]
    return b"WARC/1.1\r\n" + "".join(lines).encode("latin-1") + b"\r\n" + block + b"\r\n\r\n"


def with_one(record):
    """The codes found when *record* follows the good warcinfo."""
    return check(joined_warc([RECORDS[0], record]))[1]


def resource(**fields):
    return made("resource", b"block", **({"payload": digest_text(b"block")} | fields))


def test_every_record_of_our_writer_is_sound():
    """What the project's writer makes of exchanges of every kind is read without a finding."""
    records, codes = check(GOOD)
    assert codes == set()
    assert len(records) == len(RECORDS)
    assert sum(record.length for record in records) == len(GOOD)


def test_offsets_types_and_addresses_are_those_that_warcio_reads():
    """A reader that we did not write finds the same records in the same places."""
    ours = [(r.offset, r.length, r.kind, r.uri) for r in check(GOOD)[0]]
    theirs = []
    iterator = ArchiveIterator(io.BytesIO(GOOD), no_record_parse=True)
    for record in iterator:
        record.raw_stream.read()
        headers = record.rec_headers
        theirs.append(
            (iterator.get_record_offset(), record.rec_type, headers.get_header("WARC-Target-URI") or "")
        )
    assert [(offset, kind, uri) for offset, _, kind, uri in ours] == theirs


@pytest.mark.parametrize("piece_bytes", [1, 3, 4096, 100_000])
def test_the_size_of_pieces_makes_no_difference(piece_bytes):
    """Records are the same however the bytes arrive."""
    assert check(GOOD, piece_bytes) == check(GOOD)


@pytest.mark.parametrize("cut", [1, 4, 8, 20, 100, 3000])
def test_a_file_that_ends_within_a_record_is_found(cut):
    """Truncation anywhere within a record is found for what it is."""
    assert Code.WARC_TRUNCATED in check(GOOD[:-cut])[1]


def test_a_file_that_ends_between_records_is_caught_by_its_references():
    """Where whole records are cut off, a record that refers to one of them tells of it."""
    without_response = [r for r in RECORDS if b"WARC-Type: response" not in r]
    assert check(joined_warc(without_response))[1] == {Code.WARC_DANGLING_REFERENCE}


@pytest.mark.parametrize(
    "extra", [b"\0", b"\n", b"hidden", GOOD[:1], b"\x1f\x8b\x08\x08x\0\0\0\0\xff\xffname\0"]
)
def test_bytes_that_belong_to_no_record_are_found(extra):
    """Trailing bytes, and gzip headers with fields to hide in, are found."""
    assert check(GOOD + extra)[1] == {Code.WARC_TRAILING_DATA}
    assert check(extra + GOOD)[1] >= {Code.WARC_TRAILING_DATA}


def test_a_gzip_member_with_a_file_name_is_found():
    """Optional gzip fields are not ours and could hold anything."""
    out = io.BytesIO()
    with gzip.GzipFile("hidden.txt", "wb", fileobj=out) as member:
        member.write(RECORDS[0])
    assert Code.WARC_TRAILING_DATA in check(out.getvalue())[1]


@pytest.mark.parametrize(
    ("warc", "codes"),
    [
        (b"", {Code.WARC_MALFORMED}),
        (packed(b""), {Code.WARC_TRUNCATED}),
        (GOOD + packed(b""), {Code.WARC_TRUNCATED}),
        (GOOD + packed(b"hidden"), {Code.WARC_TRUNCATED}),
        (packed(RECORDS[0] + RECORDS[1]), {Code.WARC_MEMBER_NOT_ONE_RECORD}),
        (packed(RECORDS[0][:-1]), {Code.WARC_MEMBER_NOT_ONE_RECORD}),
        (packed(RECORDS[0] + b"\n"), {Code.WARC_MEMBER_NOT_ONE_RECORD}),
        (packed(RECORDS[0][:200]) + packed(RECORDS[0][200:]), {Code.WARC_TRUNCATED, Code.WARC_MALFORMED}),
        (RECORDS[0], {Code.WARC_TRAILING_DATA, Code.WARC_MALFORMED}),
        (GOOD[:-8] + bytes(8), {Code.WARC_MALFORMED}),
        (GOOD + GOOD, {Code.WARC_DUPLICATE_RECORD_ID, Code.WARC_RECORD_TYPE}),
        (joined_warc(RECORDS[1:3]), {Code.WARC_RECORD_TYPE}),
    ],
    ids=case_name,
)
def test_a_broken_structure_is_found(warc, codes):
    """Each way in which members and records can fail to fit gives its findings."""
    found = check(warc)[1]
    assert codes <= found
    assert found


def test_a_made_record_is_sound():
    """The records that the next tests break are whole before."""
    assert with_one(resource()) == set()


@pytest.mark.parametrize(
    ("record", "code"),
    [
        (resource().replace(b"block\r\n\r\n", b"bl0ck\r\n\r\n"), Code.WARC_BLOCK_DIGEST_MISMATCH),
        (resource(payload=digest_text(b"other")), Code.WARC_PAYLOAD_DIGEST_MISMATCH),
        (resource(payload=None), Code.WARC_DIGEST_MISSING),
        (resource(WARC_Block_Digest=None), Code.WARC_DIGEST_MISSING),
        (resource(WARC_Block_Digest="sha1:" + "A" * 32), Code.WARC_MALFORMED),
        (resource(WARC_Block_Digest="sha256:" + "0" * 64), Code.WARC_MALFORMED),
        (resource(WARC_Block_Digest="sha256:"), Code.WARC_MALFORMED),
        (resource(Content_Length="4"), Code.WARC_MEMBER_NOT_ONE_RECORD),
        (resource(Content_Length="6"), Code.WARC_MEMBER_NOT_ONE_RECORD),
        (resource(Content_Length="60"), Code.WARC_TRUNCATED),
        (resource(Content_Length="+5"), Code.WARC_MALFORMED),
        (resource(Content_Length="05"), Code.WARC_MALFORMED),
        (resource(Content_Length="-5"), Code.WARC_MALFORMED),
        (resource(Content_Length="5, 5"), Code.WARC_MALFORMED),
        (resource(Content_Length="9" * 15), Code.WARC_TOO_LARGE),
        (resource(Content_Length="9" * 16), Code.WARC_MALFORMED),
        (resource(Content_Length=None), Code.WARC_MALFORMED),
        (resource(WARC_Type="conversion"), Code.WARC_RECORD_TYPE),
        (resource(WARC_Type="Resource"), Code.WARC_RECORD_TYPE),
        (resource(WARC_Type="warcinfo"), Code.WARC_RECORD_TYPE),
        (resource(WARC_Record_ID="<urn:uuid:1>"), Code.WARC_MALFORMED),
        (resource(WARC_Record_ID=header_fields(RECORDS[0])["WARC-Record-ID"]), Code.WARC_DUPLICATE_RECORD_ID),
        (resource(WARC_Date="2026-11-24"), Code.WARC_MALFORMED),
        (resource(WARC_Target_URI=None), Code.WARC_MALFORMED),
        (resource(WARC_Target_URI="http://a.test/\xe9"), Code.WARC_MALFORMED),
        (resource(WARC_Concurrent_To=OTHER_ID.replace("0>", "1>")), Code.WARC_DANGLING_REFERENCE),
        (resource(X="a\r\n folded"), Code.WARC_MALFORMED),
        (resource(X="a\x00b"), Code.WARC_MALFORMED),
        (resource(X="a\nb: c"), Code.WARC_MALFORMED),
        (resource(warc_date="2026-11-24T08:12:03Z"), Code.WARC_MALFORMED),
        (resource().replace(b"WARC/1.1", b"WARC/1.0"), Code.WARC_MALFORMED),
        (resource().replace(b": ", b":"), Code.WARC_MALFORMED),
        (resource().replace(b"\r\n", b"\n"), Code.WARC_TRUNCATED),
        (resource(X="x" * 5_000_000), Code.WARC_TOO_LARGE),
        (made("revisit", b"", payload=digest_text(b"nowhere")), Code.WARC_DANGLING_REFERENCE),
    ],
    ids=case_name,
)
def test_each_flaw_of_a_record_is_found(record, code):
    """A record with one flaw gives the finding of that flaw."""
    assert with_one(record) == {code}


def test_a_revisit_of_a_payload_in_the_file_is_sound():
    """A revisit may refer to what an earlier record holds."""
    again = made("revisit", b"", payload=digest_text(b"block"), WARC_Record_ID=OTHER_ID.replace("0>", "1>"))
    assert check(joined_warc([RECORDS[0], resource(), again]))[1] == set()


def test_a_flaw_does_not_hide_the_next():
    """After a bad record the next ones are still read."""
    bad = resource().replace(b"block\r\n\r\n", b"bl0ck\r\n\r\n")
    second = resource(payload=digest_text(b"x"), WARC_Record_ID=OTHER_ID.replace("0>", "1>"))
    records, codes = check(joined_warc([RECORDS[0], bad, b"junk", second, *RECORDS[1:]]))
    assert codes == {
        Code.WARC_BLOCK_DIGEST_MISMATCH,
        Code.WARC_TRUNCATED,
        Code.WARC_PAYLOAD_DIGEST_MISMATCH,
    }
    assert len(records) == len(RECORDS) + 2


def test_a_bomb_in_a_gzip_member_is_not_kept():
    """A megabyte that unpacks to a gigabyte of header is given up at the limit."""
    assert with_one(b"WARC/1.1\r\nX: " + b"x" * 60_000_000) == {Code.WARC_TOO_LARGE}


HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
WHOLE = b"5;x=y\r\nhello\r\n6\r\n world\r\n0\r\nX-Trailer: 1\r\n\r\n"


def payload_of(block, pieces=1):
    digester = PayloadDigester()
    step = max(1, len(block) // pieces)
    for at in range(0, len(block), step):
        digester.feed(block[at : at + step])
    digester.end(hashlib.sha256(block).hexdigest())
    return digester


def hexed(data):
    return hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("pieces", [1, 7, 1000])
def test_the_payload_of_a_chunked_answer_is_what_the_chunks_hold(pieces):
    """Framing, extensions and trailers are no payload, however the bytes arrive."""
    payload = payload_of(HEAD + WHOLE, pieces)
    assert payload.candidates == {hexed(b"hello world"), hexed(WHOLE)}
    assert not payload.undetermined


@pytest.mark.parametrize(
    "body",
    [
        WHOLE[:-1],
        WHOLE[:20],
        WHOLE + b"x",
        WHOLE.replace(b"6\r\n", b"8\r\n"),
        WHOLE.replace(b"5;", b"g;"),
        WHOLE.replace(b"hello\r\n", b"hello"),
        WHOLE.replace(b"hello\r\n", b"helloX\r\n"),
        b"",
        b"\r\n" + WHOLE,
        b"0x5\r\nhello\r\n0\r\n\r\n",
        b"f" * 16 + b"\r\n",
        b"5;" + b"x" * (MAX_CHUNK_LINE_BYTES + 1) + b"\r\nhello\r\n0\r\n\r\n",
        b"0\r\n" + b"a: b\r\n" * 50_000 + b"\r\n",
        b"1" * 100_000,
    ],
    ids=range(14),
)
def test_where_framing_breaks_no_payload_is_called_wrong(body):
    """Servers that break chunk framing leave the payload open; the block digest still binds every byte."""
    assert payload_of(HEAD + body).undetermined
    record = made("response", HEAD + body, payload=digest_text(b"whatever the recorder took"))
    assert with_one(record) == set()


@pytest.mark.parametrize(
    ("block", "payload", "codes"),
    [
        (HEAD + WHOLE, b"hello world", set()),
        (HEAD + WHOLE, WHOLE, set()),
        (HEAD + WHOLE, b"hello", {Code.WARC_PAYLOAD_DIGEST_MISMATCH}),
        (HEAD + WHOLE, HEAD + WHOLE, {Code.WARC_PAYLOAD_DIGEST_MISMATCH}),
        (b"HTTP/1.1 200 OK\r\n\r\nbody", b"body", set()),
        (b"HTTP/1.1 200 OK\n\nbody", b"body", set()),
        (b"HTTP/1.1 200 OK\r\n\r\nbody", b"HTTP/1.1 200 OK\r\n\r\nbody", {Code.WARC_PAYLOAD_DIGEST_MISMATCH}),
        (b"HTTP/1.1 200 OK\r\n\r\n", b"", set()),
        (b"\x00\x01 no HTTP at all", b"\x00\x01 no HTTP at all", set()),
        (b"\x00 no HTTP\n\nat all", b"\x00 no HTTP\n\nat all", set()),
        (b"\x00 no HTTP\n\nat all", b"x", {Code.WARC_PAYLOAD_DIGEST_MISMATCH}),
    ],
)
def test_the_payload_is_the_body_and_not_the_message(block, payload, codes):
    """A payload digest over head and body, or over part of the body, is found."""
    assert with_one(made("response", block, payload=digest_text(payload))) == codes


def test_the_index_may_state_what_a_record_leaves_unsaid():
    """For a record without payload digest the values that an index may give are known."""
    records, _ = check(joined_warc([RECORDS[0], made("response", HEAD + WHOLE)]))
    assert records[1].payload_digests == {"", digest_text(b"hello world"), digest_text(WHOLE)}
    records, _ = check(joined_warc([RECORDS[0], made("response", HEAD + WHOLE[:-1])]))
    assert records[1].payload_digests is None


def test_our_records_state_the_digests_in_base32():
    """The form that the checks demand is the one that our writer writes."""
    assert all(re.search(rb"WARC-Block-Digest: sha256:[A-Z2-7]{52}====\r\n", record) for record in RECORDS)
