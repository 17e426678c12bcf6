import json

import pytest

from manifests.findings import Code
from tests.unit.manifests.captures import (
    DATAPACKAGE,
    DIGEST,
    INDEX,
    PAGES,
    WARC,
    bent,
    case_name,
    digested,
    found_codes,
    header_fields,
    joined_warc,
    listed,
    packed,
    parts,
    reindexed,
    split_warc,
    write_capture,
    zipped,
)

RECORDS = split_warc(parts()[WARC])
LINES = parts()[INDEX].splitlines(keepends=True)


def without(name):
    return {key: value for key, value in parts().items() if key != name}


def datapackage(**changes):
    """The good package with *changes* to its datapackage, and a digest file that fits."""
    value = json.loads(parts()[DATAPACKAGE]) | changes
    kept = {key: fact for key, fact in value.items() if fact is not None}
    return digested(parts() | {DATAPACKAGE: json.dumps(kept).encode()})


def first_resource(**changes):
    resources = json.loads(parts()[DATAPACKAGE])["resources"]
    resources[0] = {key: value for key, value in (resources[0] | changes).items() if value is not None}
    return datapackage(resources=resources)


def line(**changes):
    """The package with *changes* to the JSON of the first line of its index."""
    key, time, facts = LINES[0].split(b" ", 2)
    value = json.loads(facts) | changes
    text = json.dumps({name: fact for name, fact in value.items() if fact is not None})
    changed = key + b" " + time + b" " + text.encode() + b"\n"
    return listed(parts() | {INDEX: b"".join([changed, *LINES[1:]])})


def indexed(*lines):
    return listed(parts() | {INDEX: b"".join(lines)})


def pages(data):
    return listed(parts() | {PAGES: data})


def warc(records):
    data = joined_warc(records)
    return listed(parts() | {WARC: data, INDEX: reindexed(data)})


def raw_warc(data):
    """The good package with another WARC under the old index."""
    return listed(parts() | {WARC: data})


SMUGGLED = RECORDS[1].replace(
    header_fields(RECORDS[1])["WARC-Record-ID"].encode(), b"<urn:uuid:00000000-0000-4000-8000-000000000000>"
)
PAGE_HEAD, PAGE = parts()[PAGES].splitlines(keepends=True)


@pytest.mark.parametrize(
    "members",
    [parts(), listed(parts()), dict(reversed(parts().items())), warc(RECORDS), pages(PAGE_HEAD)],
    ids=["as written", "listed again", "another order", "packed and indexed again", "no page"],
)
def test_sound_packages_have_no_finding(tmp_path, members):
    """The good package, and the same content put together anew, is found sound."""
    assert bent(tmp_path / "c", members) == set()


def test_members_other_than_the_warc_may_be_compressed(tmp_path):
    """WACZ demands stored members only where replay reads by offset."""
    assert bent(tmp_path / "c", parts(), frozenset({INDEX, PAGES, DATAPACKAGE, DIGEST})) == set()


BAD = {
    "no datapackage": (without(DATAPACKAGE), {Code.WACZ_MEMBER_MISSING, Code.WACZ_MEMBER_UNLISTED}),
    "no digest file": (without(DIGEST), {Code.WACZ_MEMBER_MISSING}),
    "no index": (listed(without(INDEX)), {Code.WACZ_MEMBER_MISSING}),
    "no pages": (listed(without(PAGES)), {Code.WACZ_MEMBER_MISSING}),
    "no warc": (
        listed(without(WARC)),
        {Code.WACZ_MEMBER_MISSING, Code.WACZ_INDEX_MISMATCH, Code.ARTIFACT_NOT_IN_PACKAGE},
    ),
    "listed and gone": (without(PAGES), {Code.WACZ_MEMBER_MISSING}),
    "unlisted": (parts() | {"pages/extra.jsonl": b"x"}, {Code.WACZ_MEMBER_UNLISTED}),
    "unlisted at the root": (parts() | {"x.txt": b"x"}, {Code.WACZ_MEMBER_UNLISTED}),
    "changed member": (
        parts() | {PAGES: PAGE_HEAD + PAGE.replace(b"https", b"http")},
        {Code.WACZ_DIGEST_MISMATCH},
    ),
    "changed datapackage": (
        parts() | {DATAPACKAGE: parts()[DATAPACKAGE].replace(b'"title": "t"', b'"title": "u"')},
        {Code.WACZ_DIGEST_MISMATCH},
    ),
    "digest of another file": (
        parts() | {DIGEST: parts()[DIGEST].replace(b"datapackage.json", b"datapackage.jsan")},
        {Code.WACZ_DATAPACKAGE},
    ),
    "digest signed": (
        parts() | {DIGEST: parts()[DIGEST].rstrip(b"}\n ") + b', "signedData": {}}'},
        {Code.WACZ_DATAPACKAGE},
    ),
    "wrong size": (first_resource(bytes=1), {Code.WACZ_DIGEST_MISMATCH}),
    "no size": (first_resource(bytes=None), {Code.WACZ_DATAPACKAGE, Code.WACZ_MEMBER_UNLISTED}),
    "wrong hash": (first_resource(hash="sha256:" + "0" * 64), {Code.WACZ_DIGEST_MISMATCH}),
    "weak hash": (first_resource(hash="md5:" + "0" * 32), {Code.WACZ_DATAPACKAGE, Code.WACZ_MEMBER_UNLISTED}),
    "one name twice": (first_resource(name="index.cdxj"), {Code.WACZ_DATAPACKAGE}),
    "wrong profile": (datapackage(profile="wacz"), {Code.WACZ_DATAPACKAGE, Code.WACZ_MEMBER_UNLISTED}),
    "wrong version": (datapackage(wacz_version="1.2.0"), {Code.WACZ_DATAPACKAGE, Code.WACZ_MEMBER_UNLISTED}),
    "unknown field": (datapackage(home="x"), {Code.WACZ_DATAPACKAGE, Code.WACZ_MEMBER_UNLISTED}),
    "key twice": (
        digested(parts() | {DATAPACKAGE: parts()[DATAPACKAGE].replace(b"{", b'{"title":"x",', 1)}),
        {Code.WACZ_DATAPACKAGE, Code.WACZ_MEMBER_UNLISTED},
    ),
    "no json": (
        digested(parts() | {DATAPACKAGE: b"<html>"}),
        {Code.WACZ_DATAPACKAGE, Code.WACZ_MEMBER_UNLISTED},
    ),
    "pages without head": (pages(PAGE), {Code.WACZ_PAGES}),
    "pages empty": (pages(b""), {Code.WACZ_PAGES}),
    "pages without end": (pages(PAGE_HEAD + PAGE[:-1]), {Code.WACZ_PAGES}),
    "pages of another format": (pages(PAGE_HEAD.replace(b"1.0", b"2.0")), {Code.WACZ_PAGES}),
    "page without url": (pages(PAGE_HEAD + b'{"id":"1","ts":"x","title":"y"}\n'), {Code.WACZ_PAGES}),
    "page key twice": (pages(PAGE_HEAD + PAGE.replace(b"{", b'{"url":"x",', 1)), {Code.WACZ_PAGES}),
    "blank page": (pages(PAGE_HEAD + b"\n"), {Code.WACZ_PAGES}),
    "index empty": (indexed(), {Code.WACZ_RECORD_NOT_INDEXED}),
    "index lacks a line": (indexed(*LINES[1:]), {Code.WACZ_RECORD_NOT_INDEXED}),
    "index out of order": (indexed(*reversed(LINES)), {Code.WACZ_INDEX}),
    "index line twice": (indexed(LINES[0], *LINES), {Code.WACZ_INDEX}),
    "index without end": (
        indexed(*LINES[:-1], LINES[-1][:-1]),
        {Code.WACZ_INDEX, Code.WACZ_RECORD_NOT_INDEXED},
    ),
    "index without json": (indexed(b"a 20261124081203 x\n", *LINES), {Code.WACZ_INDEX}),
    "index with a bad time": (indexed(b"a 2026 {}\n", *LINES), {Code.WACZ_INDEX}),
    "index of another url": (line(url="https://else.test/"), {Code.WACZ_INDEX_MISMATCH}),
    "index with another length": (line(length="1"), {Code.WACZ_INDEX_MISMATCH}),
    "index with another offset": (line(offset="1"), {Code.WACZ_INDEX_MISMATCH, Code.WACZ_RECORD_NOT_INDEXED}),
    "index of another file": (
        line(filename="else.warc.gz"),
        {Code.WACZ_INDEX_MISMATCH, Code.WACZ_RECORD_NOT_INDEXED},
    ),
    "index with another payload": (line(digest="sha256:AAAA"), {Code.WACZ_INDEX_MISMATCH}),
    "index without payload": (line(digest=None), {Code.WACZ_INDEX_MISMATCH}),
    "index with another record": (line(recordDigest="sha256:" + "0" * 64), {Code.WACZ_INDEX_MISMATCH}),
    "index without record digest": (line(recordDigest=None), {Code.WACZ_INDEX, Code.WACZ_RECORD_NOT_INDEXED}),
    "index with a number": (line(length=1), {Code.WACZ_INDEX, Code.WACZ_RECORD_NOT_INDEXED}),
    "index with an unknown field": (line(x="1"), {Code.WACZ_INDEX, Code.WACZ_RECORD_NOT_INDEXED}),
    "record smuggled in": (raw_warc(parts()[WARC] + packed(SMUGGLED)), {Code.WACZ_RECORD_NOT_INDEXED}),
    "record removed": (
        raw_warc(parts()[WARC][: parts()[WARC].rindex(b"\x1f\x8b\x08\0")]),
        {Code.WACZ_INDEX_MISMATCH, Code.ARTIFACT_NOT_IN_PACKAGE},
    ),
    "exhibit removed": (warc(RECORDS[:-1]), {Code.ARTIFACT_NOT_IN_PACKAGE}),
    "response removed": (warc([RECORDS[0], *RECORDS[2:]]), {Code.WARC_DANGLING_REFERENCE}),
}


@pytest.mark.parametrize(("members", "codes"), BAD.values(), ids=BAD.keys())
def test_a_package_that_is_not_what_it_lists_is_found(tmp_path, members, codes):
    """Each lie of a package gives its findings although the evidence record fits the package's bytes."""
    assert bent(tmp_path / "c", members) == codes


def test_a_changed_page_is_found_in_its_record(tmp_path):
    """A page changed with index, list and evidence record made anew still contradicts its block digest."""
    changed = [record.replace(b"<p>paragraph</p>", b"<p>paragraphs</p", 1) for record in RECORDS]
    assert changed != RECORDS
    assert bent(tmp_path / "c", warc(changed)) >= {Code.WARC_BLOCK_DIGEST_MISMATCH}


def test_a_compressed_warc_is_found(tmp_path):
    """A deflated WARC cannot be replayed by offset."""
    assert bent(tmp_path / "c", parts(), frozenset({WARC})) == {Code.WACZ_NOT_STORED}


@pytest.mark.parametrize(
    "package", [b"", b"PK", zipped({}), b"x" * 1000, zipped(parts())[:-30]], ids=case_name
)
def test_what_is_no_package_is_found(tmp_path, package):
    """Bytes that are no ZIP, or an empty one, are found and raise nothing."""
    folder = write_capture(tmp_path / "c", {"capture.wacz": package})
    assert found_codes(folder) & {Code.ZIP_MALFORMED, Code.WACZ_MEMBER_MISSING}
