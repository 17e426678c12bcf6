"""The cases of the corpus, each one change to the good capture of ``make``."""

from __future__ import annotations

import json
import re
import struct
import zipfile
from collections.abc import Iterator
from dataclasses import replace

import msgspec

from manifests.batch_tree import make_batch
from manifests.canonical import canonical_bytes
from manifests.custody_event import encode_event, new_event
from manifests.digests import digest_bytes
from manifests.edition import Edition, Withheld, encode_edition
from manifests.policy import SealPolicy
from manifests.renewal import make_renewal
from manifests.seal import LOG_ENTRY, LOG_PROOF, SIGNATURE, batch_files, stamp_files
from manifests.signing import sign
from manifests.trust import TrustedAuthority
from tests.unit.manifests.records import CAPTURE_ID
from tests.unit.manifests.seal.crafted_tokens import DAY, NOW, Recipe, issue, request
from tests.vectors.make import (
    GOOD,
    INDEX,
    LOG_SIGNER,
    MEMBERS,
    OTHER_ROOT,
    OTHER_TSA,
    PNG,
    RECORD,
    ROOT,
    SEAL,
    SIG,
    SIGNER,
    STRANGER,
    TRUST,
    WARC,
    Case,
    Files,
    flipped,
    log_with,
    logged,
    loose,
    packed,
    raw_record,
    record_of,
    records,
    resealed,
    sealed,
    stamp,
    stamped_with,
    sub,
    wacz_of,
    warc_of,
    whole,
    with_records,
    without,
    zipped,
)

KEY = TRUST.keys[0]


def all_cases() -> Iterator[Case]:
    """Yield every case."""
    yield from good_ones()
    yield from files_of_the_set()
    yield from records_that_lie()
    yield from zips()
    yield from packages()
    yield from warcs()
    yield from editions()
    yield from signatures()
    yield from tokens()
    yield from logs()


def passing(variant: str, how: str, files: Files, **facts: object) -> Case:
    return Case("passed", variant, how, files, overall="passed", **facts)


def good_ones() -> Iterator[Case]:
    yield passing("plain", "Nothing is changed.", GOOD)
    batch = make_batch([SIG, b"another", b"third"])
    seal = {SIGNATURE: SIG} | batch_files(batch, 0) | stamp_files("batch", stamp(batch.root_file))
    yield passing("batch", "One token serves a batch of three.", resealed(logged(RECORD, seal)))
    ended = replace(TRUST, keys=(replace(KEY, valid_before=NOW + DAY / 2),))
    yield passing("key-expired-since", "The key ended after the proven time.", GOOD, trust=ended)
    revoked = replace(TRUST, keys=(replace(KEY, revoked_at=NOW + DAY / 2),))
    yield passing("key-revoked-since", "The key was revoked after the proven time.", GOOD, trust=revoked)
    many = replace(
        TRUST, authorities=(*TRUST.authorities, TrustedAuthority("b", "http://b/", OTHER_ROOT.certificate))
    )
    yield passing("more-authorities", "A second authority is trusted and not needed.", GOOD, trust=many)
    two = {SIGNATURE: SIG} | stamp_files("record", stamp(SIG))
    two |= stamp_files("record", replace(stamp(SIG, signer=OTHER_TSA, root=OTHER_ROOT), authority="b"))
    both = replace(many, policy=SealPolicy(tokens_required=2))
    yield passing(
        "two-tokens",
        "Two authorities are required and both answered.",
        resealed(logged(RECORD, two)),
        trust=both,
    )
    record = record_of(loose(), incident_ids=("KZ-2026-Q1-4.03", "KZ-2026-Q1-6.13"))
    yield passing(
        "two-incidents", "The capture belongs to two incidents.", whole(loose(), record, sealed(record))
    )
    yield passing("no-accuracy", "The token states no accuracy.", stamped_with(accuracy=None))
    yield passing(
        "no-nonce", "Query and token have no nonce.", stamped_with(nonce=None, query=request(SIG, nonce=None))
    )
    renewed = dict(SEAL)
    number, data = make_renewal(renewed, RECORD)
    renewed |= {f"renewal-{number:02d}.json": data}
    renewed |= stamp_files(f"renewal-{number:02d}", stamp(data, gen_time=NOW + DAY))
    yield passing("renewed", "Stamped again a day later.", resealed(renewed), now=NOW + 2 * DAY)
    stored = record_of({"text.txt": b"News"})
    alone = whole({"text.txt": b"News"}, stored, sealed(stored))
    yield Case("package-missing", "", "There is no WACZ in the capture.", alone, overall="indeterminate")


def editions() -> Iterator[Case]:
    """A list that withholds the package, and lists that must excuse nothing."""
    name, shot = "capture.wacz", "screenshot-viewport.png"
    good = Edition(
        audience="public",
        capture_id=CAPTURE_ID,
        record_sha256=digest_bytes(RECORD).sha256,
        withheld=(Withheld(path=name, sha256=digest_bytes(GOOD[name]).sha256, reason="holds cookies"),),
    )
    files = without(GOOD, name)

    def listing(made: Edition) -> Files:
        return files | {"edition.json": encode_edition(made)}

    yield Case("artifact-withheld", "", "The package is withheld.", listing(good), overall="indeterminate")
    yield Case("artifact-missing", "not-withheld", "A file is gone besides.", without(listing(good), shot))
    yield Case(
        "edition-wrong",
        "other-record",
        "The list is of another record.",
        listing(msgspec.structs.replace(good, record_sha256="0" * 64)),
    )
    other = Withheld(path=name, sha256="0" * 64, reason="holds cookies")
    yield Case(
        "edition-wrong",
        "other-digest",
        "The list withholds a file of another digest.",
        listing(msgspec.structs.replace(good, withheld=(other,))),
    )
    signature = Withheld(path="record.json.sig", sha256=digest_bytes(SIG).sha256, reason="names a key")
    yield Case(
        "edition-wrong",
        "seal-withheld",
        "The list withholds the signature.",
        without(listing(msgspec.structs.replace(good, withheld=(signature,))), "seal/record.json.sig"),
    )


def files_of_the_set() -> Iterator[Case]:
    wacz, shot = GOOD["capture.wacz"], "screenshot-viewport.png"
    yield Case("artifact-missing", "removed", "A listed file is removed.", without(GOOD, shot))
    yield Case(
        "artifact-missing", "package-removed", "The package is removed.", without(GOOD, "capture.wacz")
    )
    yield Case("artifact-size-mismatch", "emptied", "A listed file is emptied.", GOOD | {shot: b""})
    yield Case(
        "artifact-size-mismatch", "longer", "A byte is appended to a file.", GOOD | {"text.txt": b"News!"}
    )
    yield Case(
        "artifact-digest-mismatch", "flipped", "One bit of a file is flipped.", GOOD | {shot: flipped(PNG)}
    )
    yield Case(
        "artifact-digest-mismatch",
        "swapped",
        "A screenshot of the same size from elsewhere.",
        GOOD | {shot: PNG[::-1]},
    )
    yield Case(
        "artifact-digest-mismatch",
        "package-flipped",
        "One bit of the package is flipped.",
        GOOD | {"capture.wacz": flipped(wacz)},
    )
    yield Case("unlisted-file", "added", "A file is added that nothing lists.", GOOD | {"extra.png": PNG})
    yield Case("unlisted-file", "in-seal", "A file is added to the seal.", GOOD | {"seal/notes.txt": b"x"})
    yield Case(
        "unsafe-name", "", "A file with a name that shells read otherwise.", GOOD | {"-rf x.txt": b"x"}
    )
    yield Case("record-missing", "", "The evidence record is removed.", without(GOOD, "record.json"))
    files = loose()
    files["screenshot-viewport.png"] = PNG[::-1]
    record = record_of(files)
    yield Case(
        "artifact-not-in-package",
        "",
        "The loose screenshot is not the one in the package; the maker sealed both.",
        whole(files, record, sealed(record)),
    )


def records_that_lie() -> Iterator[Case]:
    facts = json.loads(RECORD)

    def changed(**values: object) -> bytes:
        return canonical_bytes(facts | values)

    yield Case("record-not-json", "", "The record is no JSON.", raw_record(b"{"))
    yield Case(
        "record-byte-order-mark",
        "",
        "The record begins with a byte order mark.",
        raw_record(b"\xef\xbb\xbf" + RECORD),
    )
    twice = b'{"access":' + canonical_bytes(facts["access"]) + b"," + RECORD[1:]
    yield Case("record-duplicate-key", "", "A key is given twice.", raw_record(twice))
    yield Case(
        "record-number-not-exact",
        "float",
        "A number is a float.",
        raw_record(RECORD.replace(b'"confidence_percent":99', b'"confidence_percent":99.5')),
    )
    yield Case(
        "record-not-canonical",
        "spaces",
        "The record is indented.",
        raw_record(json.dumps(facts, indent=1).encode()),
    )
    yield Case(
        "record-not-canonical",
        "order",
        "The keys are in another order.",
        raw_record(
            json.dumps(dict(reversed(facts.items())), separators=(",", ":"), ensure_ascii=False).encode()
        ),
    )
    deep = b'{"a":' * 200 + b"1" + b"}" * 200
    yield Case("record-too-deep", "", "The record is nested 200 deep.", raw_record(deep))
    yield Case(
        "record-lone-surrogate",
        "",
        "A string holds half a surrogate pair.",
        raw_record(RECORD.replace(b'"captured"', b'"\\ud800"', 1)),
    )
    yield Case(
        "record-format-unknown",
        "",
        "The record is of a format that does not exist.",
        raw_record(changed(format="evidence-record/9")),
        overall="indeterminate",
    )
    yield Case(
        "record-schema",
        "unknown-field",
        "The record has a field that the format has not.",
        raw_record(changed(verdict="true")),
    )
    yield Case(
        "record-schema",
        "missing-field",
        "The record lacks a field.",
        raw_record(canonical_bytes({k: v for k, v in facts.items() if k != "clock"})),
    )
    yield Case(
        "record-schema", "bad-time", "A time is not of the form.", raw_record(changed(started_at="yesterday"))
    )
    yield Case(
        "record-contradiction",
        "artifact-twice",
        "Two artefacts have one path.",
        raw_record(changed(artifacts=[*facts["artifacts"], facts["artifacts"][0]])),
    )
    yield Case(
        "record-contradiction",
        "impossible-day",
        "A time does not exist.",
        raw_record(changed(started_at="2026-02-30T08:12:03.100Z")),
    )
    yield Case(
        "record-of-other-capture",
        "",
        "The record lies in the folder of another capture.",
        GOOD,
        capture_id="20261124t081203z-0000000000",
    )
    edited = changed(outcome=facts["outcome"] | {"kind": "removed"})
    yield Case(
        "signature-wrong",
        "record-edited",
        "The outcome in the record is edited; the seal is old.",
        GOOD | {"record.json": edited},
    )
    moved = changed(incident_ids=["KZ-2026-Q1-9.99"])
    yield Case(
        "signature-wrong",
        "incident-moved",
        "The capture is moved to another incident.",
        GOOD | {"record.json": moved},
    )
    rehashed = loose() | {"text.txt": b"Lies"}
    yield Case(
        "signature-wrong",
        "rehashed",
        "A file is replaced and its digests in the record renewed.",
        whole(rehashed, record_of(rehashed), SEAL),
    )


def zips() -> Iterator[Case]:
    wacz = GOOD["capture.wacz"]
    names = [*MEMBERS.items()]
    yield Case(
        "zip-duplicate-member",
        "",
        "Two members have one name and other bytes.",
        packed(zipped([*names, ("pages/pages.jsonl", b"{}")])),
    )
    yield Case("zip-hidden-bytes", "prefix", "Bytes stand before the first member.", packed(b"MZ" + wacz))
    yield Case("zip-malformed", "trailing", "Bytes stand behind the end.", packed(wacz + b"hidden"))
    gap = gapped(wacz)
    yield Case("zip-hidden-bytes", "between", "Bytes stand between two members.", packed(gap))
    at = wacz.index(b"pages/pages.jsonl")
    yield Case(
        "zip-headers-disagree",
        "name",
        "A local header names another member.",
        packed(wacz[:at] + b"pages/pagex.jsonl" + wacz[at + 17 :]),
    )
    local = wacz.index(b"PK\x03\x04")
    yield Case(
        "zip-headers-disagree",
        "size",
        "A local header states another size.",
        packed(wacz[: local + 18] + b"\x01\x00\x00\x00" + wacz[local + 22 :]),
    )
    central = wacz.index(b"PK\x01\x02")
    yield Case(
        "zip-feature-refused",
        "encrypted",
        "A member is marked as encrypted.",
        packed(wacz[: central + 8] + b"\x01\x00" + wacz[central + 10 :]),
    )
    crc = (
        wacz[: local + 14]
        + b"\0\0\0\0"
        + wacz[local + 18 : central + 16]
        + b"\0\0\0\0"
        + wacz[central + 20 :]
    )
    yield Case("zip-checksum", "", "CRC-32 of a member is wrong in both headers.", packed(crc))
    yield Case(
        "zip-unsafe-name",
        "",
        "A member's name leads out of the folder.",
        packed(zipped([*names, ("../evil.txt", b"x")])),
    )
    yield Case("zip-malformed", "cut", "The end of the ZIP is cut off.", packed(wacz[:-10]))
    yield Case("zip-malformed", "empty", "The package is empty.", packed(b""))
    yield Case("zip-malformed", "not-a-zip", "The package is a picture.", packed(PNG * 5))


def gapped(wacz: bytes) -> bytes:
    """Put four bytes before the second member and mend every offset behind them."""
    second = wacz.index(b"PK\x03\x04", 4)
    out = bytearray(wacz[:second] + b"GAP!" + wacz[second:])
    at = out.index(b"PK\x01\x02")
    while out[at : at + 4] == b"PK\x01\x02":
        (offset,) = struct.unpack_from("<I", out, at + 42)
        if offset:
            struct.pack_into("<I", out, at + 42, offset + 4)
        lengths = struct.unpack_from("<HHH", out, at + 28)
        at += 46 + sum(lengths)
    (start,) = struct.unpack_from("<I", out, at + 16)
    struct.pack_into("<I", out, at + 16, start + 4)
    return bytes(out)


def packages() -> Iterator[Case]:
    def put(name: str, data: bytes):
        return lambda parts: parts | {name: data}

    yield Case(
        "wacz-member-missing",
        "pages",
        "The list of pages is missing.",
        packed(wacz_of(lambda p: without(p, "pages/pages.jsonl"), relist=False)),
    )
    yield Case(
        "wacz-member-missing",
        "digest",
        "The digest of the datapackage is missing.",
        packed(wacz_of(lambda p: without(p, "datapackage-digest.json"), relist=False)),
    )
    yield Case(
        "wacz-member-unlisted",
        "",
        "A member is added that the datapackage does not list.",
        packed(wacz_of(put("archive/more.warc.gz", b"x"))),
    )
    yield Case(
        "wacz-not-stored",
        "",
        "The members are compressed.",
        packed(zipped(MEMBERS.items(), zipfile.ZIP_DEFLATED)),
    )
    yield Case(
        "wacz-digest-mismatch",
        "member",
        "A member is changed, the datapackage is not.",
        packed(wacz_of(put("pages/pages.jsonl", flipped(MEMBERS["pages/pages.jsonl"], 90)), relist=False)),
    )
    yield Case(
        "wacz-digest-mismatch",
        "datapackage",
        "The datapackage is changed, its digest is not.",
        packed(
            wacz_of(
                put("datapackage.json", MEMBERS["datapackage.json"].replace(b"vectors", b"vectorz")),
                relist=False,
            )
        ),
    )
    yield Case(
        "wacz-datapackage",
        "",
        "The datapackage is of another profile.",
        packed(
            wacz_of(
                lambda p: (
                    p | {"datapackage.json": p["datapackage.json"].replace(b"data-package", b"wacz-package")}
                )
            )
        ),
    )
    yield Case(
        "wacz-pages",
        "",
        "The list of pages is no JSON.",
        packed(wacz_of(put("pages/pages.jsonl", b"nothing\n"))),
    )
    yield Case("wacz-index", "", "The index is no index.", packed(wacz_of(put(INDEX, b"nothing\n"))))
    lines = MEMBERS[INDEX].splitlines(keepends=True)
    yield Case(
        "wacz-index-mismatch",
        "offset",
        "A line of the index points elsewhere.",
        packed(wacz_of(put(INDEX, re.sub(rb'"offset": ?"\d+"', b'"offset": "7"', MEMBERS[INDEX], count=1)))),
    )
    yield Case(
        "wacz-record-not-indexed",
        "line-removed",
        "A line of the index is removed.",
        packed(wacz_of(put(INDEX, b"".join(lines[1:])))),
    )


def warcs() -> Iterator[Case]:
    body_changed = sub(b"WARC-Type: response", b"<h1>News</h1"[:12], b"<h1>Lies</h1"[:12])
    yield Case(
        "warc-block-digest-mismatch",
        "",
        "A payload is changed, its digests are not.",
        packed(with_records(body_changed)),
    )
    yield Case(
        "warc-payload-digest-mismatch",
        "",
        "The payload digest is of something else.",
        packed(with_records(wrong_payload)),
    )
    yield Case(
        "warc-digest-missing",
        "",
        "The block digest of a record is removed.",
        packed(
            with_records(
                lambda found: [
                    re.sub(rb"WARC-Block-Digest: [^\r]+\r\n", b"", one)
                    if b"WARC-Type: response" in one
                    else one
                    for one in found
                ]
            )
        ),
    )
    yield Case(
        "warc-record-type",
        "",
        "A record is of a type that nothing here writes.",
        packed(with_records(sub(b"WARC-Type: request", b"WARC-Type: request", b"WARC-Type: revisix"))),
    )
    ids = with_records(
        lambda found: [
            re.sub(
                rb"WARC-Record-ID: [^\r]+",
                b"WARC-Record-ID: <urn:uuid:00000000-0000-4000-8000-000000000000>",
                one,
            )
            for one in found
        ]
    )
    yield Case("warc-duplicate-record-id", "", "All records have one identifier.", packed(ids))

    def smuggle(parts: Files) -> Files:
        extra = records(parts[WARC])[1].replace(b"/a\r\n", b"/b\r\n")
        return parts | {WARC: parts[WARC] + warc_of([extra])}

    yield Case(
        "wacz-record-not-indexed",
        "smuggled",
        "A response is added that the index does not know.",
        packed(wacz_of(smuggle)),
    )
    yield Case(
        "warc-truncated",
        "",
        "The WARC ends within its last record.",
        packed(wacz_of(lambda p: p | {WARC: p[WARC][:-30]})),
    )
    yield Case(
        "warc-trailing-data",
        "",
        "Bytes follow the last record.",
        packed(wacz_of(lambda p: p | {WARC: p[WARC] + b"hidden bytes"})),
    )
    yield Case(
        "warc-member-not-one-record",
        "",
        "Two records share a gzip member.",
        packed(wacz_of(lambda p: p | {WARC: warc_of([b"".join(records(p[WARC]))])})),
    )
    yield Case(
        "warc-malformed",
        "",
        "A record does not begin as a WARC record.",
        packed(
            wacz_of(lambda p: p | {WARC: warc_of([b"XARC/1.1\r\n" + one[10:] for one in records(p[WARC])])})
        ),
    )


def wrong_payload(found: list[bytes]) -> list[bytes]:
    digest = rb"(WARC-Payload-Digest: sha256:)[A-Z2-7=]+"
    other = rb"\1" + b"A" * 52 + b"===="
    return [re.sub(digest, other, one) if b"WARC-Type: response" in one else one for one in found]


def signatures() -> Iterator[Case]:
    foreign = sealed(RECORD, by=STRANGER)
    yield Case(
        "signature-key-unknown",
        "",
        "Signed again with a key that nobody trusts.",
        resealed(foreign),
        overall="indeterminate",
    )
    early = replace(TRUST, keys=(replace(KEY, valid_before=NOW - DAY),))
    yield Case("signature-key-expired", "", "The key had ended before the proven time.", GOOD, trust=early)
    late = replace(TRUST, keys=(replace(KEY, valid_after=NOW + DAY / 4),))
    yield Case(
        "signature-key-not-yet-valid", "", "The key was not yet valid at the proven time.", GOOD, trust=late
    )
    revoked = replace(TRUST, keys=(replace(KEY, revoked_at=NOW - DAY),))
    yield Case(
        "signature-key-revoked", "", "The key had been revoked before the proven time.", GOOD, trust=revoked
    )
    yield Case(
        "signature-missing",
        "",
        "The signature is removed, the rest of the seal stays.",
        without(GOOD, f"seal/{SIGNATURE}"),
    )
    yield Case(
        "signature-malformed",
        "",
        "The signature is not SSHSIG.",
        resealed(SEAL | {SIGNATURE: b"-----BEGIN PGP SIGNATURE-----\n"}),
    )
    other = sign(RECORD, SIGNER, "file")
    seal = {SIGNATURE: other} | stamp_files("record", stamp(other))
    yield Case(
        "signature-namespace-wrong",
        "",
        "Signed for another purpose (namespace).",
        resealed(logged(RECORD, seal)),
    )
    yield Case(
        "unsigned", "", "The whole seal is removed.", whole(loose(), RECORD, {}), overall="indeterminate"
    )


def tokens() -> Iterator[Case]:
    bare = {SIGNATURE: SIG}
    yield Case(
        "unsealed", "no-token", "Signed, and no authority answered.", resealed(bare), overall="indeterminate"
    )
    yield Case(
        "timestamp-missing",
        "",
        "The token is removed, its query stays.",
        without(GOOD, "seal/record.tsa.tsr"),
    )
    yield Case(
        "timestamp-malformed",
        "",
        "The token is no token.",
        resealed(SEAL | {"record.tsa.tsr": b"0\x03\x02\x01\x00"}),
    )
    yield Case(
        "timestamp-malformed",
        "cut",
        "The token is cut short.",
        resealed(SEAL | {"record.tsa.tsr": SEAL["record.tsa.tsr"][:-9]}),
    )
    yield Case(
        "timestamp-wrong-data",
        "other-capture",
        "The token is over the signature of another capture.",
        stamped_with(over=b"another signature"),
    )
    yield Case(
        "timestamp-request-mismatch",
        "nonce",
        "The token answers a query with another nonce.",
        stamped_with(nonce=8),
    )
    yield Case(
        "timestamp-not-granted",
        "",
        "The reply says that the request was rejected.",
        stamped_with(status="rejection"),
    )
    yield Case(
        "timestamp-certificate-id-wrong",
        "absent",
        "The token does not name its certificate (ESSCertID).",
        stamped_with(named=""),
    )
    yield Case(
        "timestamp-certificate-id-wrong",
        "wrong",
        "The token names another certificate.",
        stamped_with(named_digest=b"\0" * 32),
    )
    for variant, recipe in (
        ("no-eku", Recipe(issuer=ROOT, eku=None)),
        ("eku-not-critical", Recipe(issuer=ROOT, eku_critical=False)),
    ):
        how = f"The authority's certificate is not one for time stamping alone ({variant})."
        yield Case("timestamp-purpose-wrong", variant, how, stamped_with(signer=issue(recipe)))
    expired = issue(Recipe(issuer=ROOT, not_after=NOW - DAY))
    yield Case(
        "timestamp-certificate-period",
        "",
        "The certificate had ended when the token was made.",
        stamped_with(signer=expired),
    )
    yield Case(
        "timestamp-in-future", "", "The token is of next year.", stamped_with(gen_time=NOW + 200 * DAY)
    )
    yield Case(
        "timestamp-before-capture",
        "",
        "The token is older than the capture.",
        stamped_with(gen_time=NOW - 30 * DAY),
    )
    yield Case(
        "timestamp-weak-algorithm",
        "",
        "The token is over a SHA-1.",
        stamped_with(hash_name="sha1", query=request(SIG, hash_name="sha1")),
    )
    yield Case(
        "timestamp-chain-untrusted",
        "",
        "The token is by an authority under another root.",
        stamped_with(signer=OTHER_TSA, root=OTHER_ROOT),
    )
    yield Case(
        "timestamp-signature-wrong",
        "",
        "One bit of the token's signature is flipped.",
        resealed(SEAL | {"record.tsa.tsr": flipped(SEAL["record.tsa.tsr"], len(SEAL["record.tsa.tsr"]) - 2)}),
    )
    strict = replace(TRUST, authorities=(replace(TRUST.authorities[0], policies=frozenset({"1.2.3"})),))
    yield Case(
        "timestamp-policy-refused",
        "",
        "The token is under a policy that is not accepted.",
        GOOD,
        trust=strict,
    )
    nobody = replace(TRUST, authorities=())
    yield Case(
        "timestamp-authority-unknown",
        "",
        "Nobody trusts the authority.",
        GOOD,
        trust=nobody,
        overall="indeterminate",
    )
    two = replace(TRUST, policy=SealPolicy(tokens_required=2))
    yield Case(
        "unsealed",
        "one-of-two-tokens",
        "Two authorities are required, one answered.",
        GOOD,
        trust=two,
        overall="indeterminate",
    )
    batch = make_batch([SIG, b"another"])
    wrong = {SIGNATURE: SIG} | batch_files(batch, 1) | stamp_files("batch", stamp(batch.root_file))
    yield Case(
        "batch-path-wrong",
        "",
        "The path is that of another capture of the batch.",
        resealed(logged(RECORD, wrong)),
    )
    broken = {SIGNATURE: SIG} | batch_files(batch, 0) | stamp_files("batch", stamp(batch.root_file))
    broken["batch-path.txt"] = b"somewhere\n"
    yield Case("batch-path-malformed", "", "The path is no path.", resealed(logged(RECORD, broken)))
    later = dict(SEAL)
    number, _ = make_renewal(later, RECORD)
    name = f"renewal-{number:02d}"
    false = canonical_bytes({"files": {}, "format": "evidence-renewal/1"})
    later |= {f"{name}.json": false} | stamp_files(name, stamp(false, gen_time=NOW + DAY))
    yield Case(
        "renewal-mismatch", "", "The renewal is not over what it renews.", resealed(later), now=NOW + 2 * DAY
    )
    yield Case(
        "timestamp-not-renewed",
        "",
        "Years have passed and nothing was renewed.",
        GOOD,
        now=NOW + 2000 * DAY,
        overall="indeterminate",
    )


def logs() -> Iterator[Case]:
    bare = without(SEAL, LOG_ENTRY, LOG_PROOF)
    yield Case("unlogged", "", "Stamped, and no log has it.", resealed(bare), overall="indeterminate")
    yield Case(
        "log-proof-missing",
        "",
        "The log's proof is removed, the entry stays.",
        without(GOOD, f"seal/{LOG_PROOF}"),
    )
    yield Case("log-proof-malformed", "", "The proof is no proof.", resealed(SEAL | {LOG_PROOF: b"proof\n"}))
    entry = SEAL[LOG_ENTRY]
    log = log_with([encode_event(new_event("sealed", "vectors")), entry])
    yield Case(
        "log-proof-wrong",
        "other-leaf",
        "The proof is for another entry.",
        resealed(SEAL | {LOG_PROOF: log.prove(1, log.head())}),
    )
    replaced = encode_event(new_event("sealed", "vectors", capture_id="x"))
    yield Case(
        "log-proof-wrong", "entry-replaced", "The entry is replaced.", resealed(SEAL | {LOG_ENTRY: replaced})
    )
    yield Case(
        "log-proof-wrong",
        "entry-is-no-event",
        "The entry is no custody event.",
        resealed(SEAL | {LOG_ENTRY: b"{}"}),
    )
    yield Case(
        "log-entry-mismatch",
        "digest",
        "The logged event is over another record.",
        resealed(logged(RECORD, bare, digests={"record.json": "0" * 64})),
    )
    yield Case(
        "log-entry-mismatch",
        "capture",
        "The logged event names another capture.",
        resealed(logged(RECORD, bare, capture_id="20261124t081203z-0000000000")),
    )
    yield Case(
        "log-entry-mismatch",
        "type",
        "The logged event is not *sealed*.",
        resealed(logged(RECORD, bare, type="captured")),
    )
    yield Case(
        "log-unknown",
        "no-log-trusted",
        "No log is trusted.",
        GOOD,
        trust=replace(TRUST, logs=()),
        overall="indeterminate",
    )
    forged = logged(RECORD, bare, log_signer=STRANGER)
    yield Case(
        "log-checkpoint-signature-wrong",
        "",
        "The checkpoint of that log is signed by another key.",
        resealed(forged),
    )
    away = log_with([entry], LOG_SIGNER, "example.net/other")
    yield Case(
        "log-unknown",
        "other-origin",
        "The proof is of a log of another name.",
        resealed(SEAL | {LOG_PROOF: away.prove(1, away.head())}),
        overall="indeterminate",
    )
