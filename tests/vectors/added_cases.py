"""More cases of the corpus: signatures by certificate, opened facts, other incidents, and logs of a store."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from manifests.checkpoint import LogKey
from manifests.commitments import commit
from manifests.custody_event import encode_event, new_event
from manifests.custody_log import CustodyLog
from manifests.digests import digest_bytes
from manifests.policy import SealPolicy
from manifests.seal import SIGNATURE, stamp_files
from manifests.tiles import bundle_path
from manifests.trust import Trust
from tests.unit.manifests.seal.cades import cades, organisation, trusted
from tests.unit.manifests.seal.crafted_tokens import DAY, NOW
from tests.unit.manifests.seal.log_stores import MemoryLogStore
from tests.vectors.make import (
    CAPTURE_ID,
    GOOD,
    LOG_SIGNER,
    ORIGIN,
    OTHER_TSA,
    RECORD,
    SIG,
    STRANGER,
    TRUST,
    TSA,
    Case,
    Files,
    logged,
    loose,
    record_of,
    resealed,
    sealed,
    stamp,
    whole,
)

ROOT, ONE = organisation()
OTHER_ROOT, OTHER = organisation("Somebody Else")
WITH_CERTIFICATE = replace(TRUST, certificates=(trusted(ROOT, ONE),))


def added_cases() -> Iterator[Case]:
    """Yield every case of this module."""
    yield from certificates()
    yield from facts()
    yield from links()
    yield from logs()


def certified(record: bytes = RECORD, *, root=ROOT, one=ONE, tsa=TSA, **token) -> Files:
    """A capture that is signed by certificate over *record*, and sealed with that."""
    seal = {SIGNATURE: SIG} | stamp_files("record", stamp(SIG)) | cades(record, root, one, tsa, **token)
    return resealed(logged(RECORD, seal))


def certificates() -> Iterator[Case]:
    yield Case(
        "passed",
        "certificate",
        "A trusted organisation signed with its certificate too.",
        certified(),
        trust=WITH_CERTIFICATE,
        overall="passed",
    )
    yield Case(
        "certificate-unknown",
        "untrusted",
        "Signed by a certificate that nobody trusts.",
        certified(root=OTHER_ROOT, one=OTHER),
        trust=WITH_CERTIFICATE,
        overall="indeterminate",
    )
    _, neighbour = organisation("Somebody Else", root=ROOT)
    yield Case(
        "certificate-unknown",
        "neighbour",
        "Signed by another certificate of the same root.",
        certified(one=neighbour),
        trust=WITH_CERTIFICATE,
        overall="indeterminate",
    )
    yield Case(
        "certificate-signature-wrong",
        "other-record",
        "The certificate signed another record.",
        certified(RECORD + b" "),
        trust=WITH_CERTIFICATE,
    )
    yield Case(
        "certificate-signature-malformed",
        "no-timestamp",
        "The signature by certificate has no timestamp.",
        certified(stamped=False),
        trust=WITH_CERTIFICATE,
    )
    yield Case(
        "timestamp-wrong-data",
        "in-certificate-signature",
        "The timestamp in the signature by certificate is over something else.",
        certified(data=b"something else"),
        trust=WITH_CERTIFICATE,
    )
    yield Case(
        "timestamp-authority-unknown",
        "in-certificate-signature",
        "The timestamp in the signature by certificate is by an authority that nobody trusts.",
        certified(tsa=OTHER_TSA),
        trust=WITH_CERTIFICATE,
        overall="indeterminate",
    )
    root, ended = organisation(not_after=NOW - DAY)
    yield Case(
        "certificate-period",
        "ended",
        "The certificate had ended when it signed.",
        certified(root=root, one=ended),
        trust=replace(TRUST, certificates=(trusted(root, ended),)),
    )
    yield Case(
        "certificate-revoked",
        "",
        "The certificate had been revoked before the proven time.",
        certified(),
        trust=replace(TRUST, certificates=(trusted(ROOT, ONE, revoked_at=NOW - DAY),)),
    )
    root, unfit = organisation(signs=False)
    yield Case(
        "certificate-unfit",
        "",
        "The certificate is not one for signing.",
        certified(root=root, one=unfit),
        trust=replace(TRUST, certificates=(trusted(root, unfit),)),
    )
    yield Case(
        "certificate-signature-missing",
        "",
        "The policy asks for a signature by certificate, and there is none.",
        GOOD,
        trust=replace(WITH_CERTIFICATE, policy=SealPolicy(certificate_required=True)),
        overall="indeterminate",
    )


def facts() -> Iterator[Case]:
    fixed, opening = commit("collector.operator", "A. Person")
    record = record_of(loose(), commitments=(fixed,))
    files = whole(loose(), record, sealed(record))
    told = {"name": opening.name, "salt": opening.salt, "value": opening.value}
    yield Case(
        "passed", "opened", "A fact is opened as it was fixed.", files, overall="passed", opened=(told,)
    )
    for variant, lie in (
        ("other-value", {"value": "B. Person"}),
        ("other-salt", {"salt": "0" * 64}),
        ("other-name", {"name": "collector.organisation"}),
    ):
        how = f"A fact is opened to something else than the record fixed ({variant})."
        yield Case("commitment-wrong", variant, how, files, opened=(told | lie,))


def links() -> Iterator[Case]:
    yield Case(
        "record-of-other-incident",
        "link-moved",
        "The link in the folder of another incident leads to this capture; its record was not changed.",
        GOOD,
        incident_id="KZ-2026-Q1-9.99",
    )


# --- whole logs --------------------------------------------------------------------------------------------

SEALED = {"record.json": digest_bytes(RECORD).sha256}
LINKED = encode_event(new_event("linked", "vectors", capture_id=CAPTURE_ID, incident_id="KZ-2026-Q2-1.01"))
ENTRIES = [
    encode_event(new_event("captured", "vectors", capture_id=CAPTURE_ID, digests=SEALED)),
    encode_event(new_event("sealed", "vectors", capture_id=CAPTURE_ID, digests=SEALED)),
    encode_event(new_event("verified", "vectors", capture_id=CAPTURE_ID)),
    LINKED,
]


def log_of(entries: list[bytes], signer=LOG_SIGNER, origin: str = ORIGIN) -> CustodyLog:
    log = CustodyLog(MemoryLogStore(), origin, signer)
    for entry in entries:
        log.append([entry])
    return log


def objects(log: CustodyLog) -> Files:
    return dict(log.store.objects)


def logs() -> Iterator[Case]:
    good = log_of(ENTRIES)
    store, seen = objects(good), good.head().note
    note = {f"links/{CAPTURE_ID}/1.json": LINKED}

    def case(code: str, variant: str, how: str, log: Files, links: Files = note, **more) -> Case:
        lying = {f"log/{name}": data for name, data in log.items()}
        facts = {"overall": "failed", "trust": Trust(logs=(LogKey(ORIGIN, LOG_SIGNER.public_key),))} | more
        return Case(code, variant, how, lying | links, seen=seen, is_log=True, **facts)

    yield case("passed", "log", "A log with a capture, a check of it and a link.", store, overall="passed")
    short = objects(log_of(ENTRIES[:2]))
    yield case("log-rolled-back", "truncated", "The log was cut back to an earlier state.", short, {})
    swapped = objects(log_of([ENTRIES[1], ENTRIES[0], *ENTRIES[2:]]))
    yield case("log-forked", "reordered", "Another log with two entries in each other's place.", swapped)
    other = encode_event(new_event("verified", "somebody", capture_id=CAPTURE_ID))
    forked = objects(log_of([*ENTRIES[:2], other, ENTRIES[3]]))
    yield case("log-forked", "entry-replaced", "Another log with one entry replaced, signed anew.", forked)
    bundle = next(name for name in store if name == bundle_path(0, 4))
    damaged = store | {bundle: store[bundle].replace(b'"verified"', b'"audited" ', 1)}
    yield case("log-damaged", "entry-edited", "An entry is edited where it lies.", damaged)
    yield case(
        "log-damaged", "no-entries", "The entries are gone.", {k: v for k, v in store.items() if k != bundle}
    )
    foreign = objects(log_of(ENTRIES, STRANGER))
    yield case("log-checkpoint-signature-wrong", "whole-log", "A log that another key signed.", foreign)
    away = objects(log_of(ENTRIES, origin="example.net/other"))
    yield case("log-checkpoint-signature-wrong", "other-origin", "A log of another name in its place.", away)
    gone = encode_event(
        new_event("captured", "vectors", capture_id="20261124t081203z-0000000000", digests=SEALED)
    )
    missing = log_of([*ENTRIES, gone])
    yield case("log-capture-missing", "", "The log holds a capture that is not there.", objects(missing))
    changed = encode_event(
        new_event("sealed", "vectors", capture_id=CAPTURE_ID, digests={"record.json": "0" * 64})
    )
    differs = objects(log_of([*ENTRIES, changed]))
    yield case("log-capture-differs", "", "The log holds another record of the capture.", differs)
    moved = LINKED.replace(b"KZ-2026-Q2-1.01", b"KZ-2026-Q2-9.99")
    yield case(
        "link-not-logged", "moved", "A link leads to another incident.", store, {next(iter(note)): moved}
    )
    yield case("link-not-logged", "removed", "The note of a link is removed.", store, {})
    undone = encode_event(
        new_event("unlinked", "somebody", capture_id=CAPTURE_ID, incident_id="KZ-2026-Q2-1.01")
    )
    lying = note | {f"links/{CAPTURE_ID}/2.json": undone}
    yield case(
        "link-not-logged", "unlinked", "A note undoes a link, and the log knows nothing.", store, lying
    )
