"""The seal of a capture: which files it consists of, and what all of them together prove.

Below ``seal/``, each name made by a function of this module::

    record.json.sig                         SSHSIG over record.json
    record.p7s, certificate....json         by certificate (manifests.certificate_signature)
    batch-root.txt, batch-path.txt          when one token serves a batch (manifests.batch_tree)
    <what>.<authority>.tsq  .tsr            query and reply, byte for byte
    <what>.<authority>.chain.pem            certificates, signer first
    <what>.<authority>.revocation.json      what was known of their revocation (manifests.revocation)
    record.tlog-entry.json                  the custody event *sealed*
    record.tlog-proof                       that the log holds it
    renewal-01.json, ...                    digests of all the above, stamped again years later

``<what>`` says what the token is over: ``record`` is record.json.sig, ``batch`` is batch-root.txt,
``renewal-01`` is renewal-01.json.

A capture is *signed*, *stamped* and *sealed* by what verifies, never by what is merely there. Nothing is
skipped on the way: a token without a good signature stamps nothing.
"""

from __future__ import annotations

import enum
import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from manifests.batch_tree import Batch, check_path
from manifests.certificate_signature import (
    CERTIFICATE_FILES,
    CERTIFICATE_REVOCATION,
    CERTIFICATE_SIGNATURE,
    CERTIFICATE_TSA_REVOCATION,
    verify_certificate_signature,
)
from manifests.checkpoint import Checkpoint
from manifests.custody_event import CustodyEvent
from manifests.findings import Code, Finding
from manifests.proof import Interval, ProofError, utc_text
from manifests.renewal import MAX_RENEWALS, check_renewal, is_renewal, renewal_name
from manifests.signing import verify_signature
from manifests.timestamps import Stamp, TimestampVerdict, verify_timestamp
from manifests.tlog_proof import verify_log_proof
from manifests.trust import Trust

SIGNATURE = "record.json.sig"
BATCH_ROOT = "batch-root.txt"
BATCH_PATH = "batch-path.txt"
LOG_ENTRY = "record.tlog-entry.json"
LOG_PROOF = "record.tlog-proof"
_STAMP = re.compile(r"(record|batch|renewal-\d\d)\.([a-z0-9-]{1,40})\.(tsq|tsr|chain\.pem|revocation\.json)")


class SealState(enum.Enum):
    """How far proof has got."""

    UNSEALED = "unsealed"
    SIGNED = "signed"
    STAMPED = "stamped"
    SEALED = "sealed"


@dataclass(slots=True)
class SealVerdict:
    """What a seal proves.

    Args:
        state: By what verified.
        principal: Who signed; None when not proven.
        key: Fingerprint of the signing key, or empty.
        organisation: Whose certificate signed too; None when none did, or it is not proven.
        organisation_at: When it had, at the latest; None without.
        interval: The earliest proven end: the signed record existed at ``interval.latest``.
        good_until: Until when the tokens can be relied on without a renewal; None without tokens.
        checkpoint: Of the log that holds the seal, or None.
        index: Number of the event in the log, or -1.
        findings: All that is wrong, missing or worth a note.
        files: The names that were accounted for.
    """

    state: SealState = SealState.UNSEALED
    principal: str | None = None
    key: str = ""
    organisation: str | None = None
    organisation_at: datetime | None = None
    interval: Interval | None = None
    good_until: datetime | None = None
    checkpoint: Checkpoint | None = None
    index: int = -1
    findings: list[Finding] = field(default_factory=list)
    files: set[str] = field(default_factory=set)


def stamp_files(what: str, stamp: Stamp) -> dict[str, bytes]:
    """The files of one token; *what* is ``record``, ``batch`` or ``renewal-01`` and so on."""
    start = f"{what}.{stamp.authority}"
    return {
        f"{start}.tsq": stamp.request,
        f"{start}.tsr": stamp.reply,
        f"{start}.chain.pem": stamp.chain,
        f"{start}.revocation.json": stamp.revocation,
    }


def batch_files(batch: Batch, number: int) -> dict[str, bytes]:
    """The files that the capture of signature *number* gets from its batch, besides the tokens."""
    return {BATCH_ROOT: batch.root_file, BATCH_PATH: batch.path_files[number]}


def sealed_digests(record: bytes, files: Mapping[str, bytes]) -> dict[str, str]:
    """What the custody event *sealed* lists: SHA-256 of the record and of every file of the seal so far."""
    return {name: hashlib.sha256(data).hexdigest() for name, data in {"record.json": record, **files}.items()}


def verify_seal(
    record: bytes,
    files: Mapping[str, bytes],
    trust: Trust,
    *,
    capture_id: str,
    captured_at: datetime,
    now: datetime,
) -> SealVerdict:
    """Decide what a seal proves, and how far it got.

    1. Every token over the signature, or over the root of a batch to which its path leads.
    2. The signature, at the earliest time that enough tokens prove; now, without. The organisation's second
       signature, where there is one or the policy asks for it, at the time of the token within it.
    3. The log's proof of the event *sealed*, whose digests are those of all the files before it.
    4. Every renewal came while what it renews could be relied on, the last still can be.
    5. The state, from what was proven in 1 to 3.

    Args:
        record: The record's bytes, as stored.
        files: The seal's files by name, without ``seal/``.
        trust: Keys, authorities, logs and policy.
        capture_id: That the event must name.
        captured_at: When the capture began, by the record.
        now: The verifier's clock, aware UTC.
    """
    check = _Check(record, files, trust, capture_id, captured_at, now)
    stamps = check.stamps("record", SIGNATURE) | check.stamps("batch", BATCH_ROOT)  # 1
    check.time(stamps)
    check.signature()  # 2
    check.certificate()
    check.log()  # 3
    check.renewals(stamps)  # 4
    check.verdict.state = check.state()  # 5
    return check.verdict


Stamps = dict[str, TimestampVerdict]
"""The good tokens over one thing, by authority."""


@dataclass(slots=True)
class _Check:
    record: bytes
    files: Mapping[str, bytes]
    trust: Trust
    capture_id: str
    captured_at: datetime
    now: datetime
    verdict: SealVerdict = field(default_factory=SealVerdict)
    is_logged: bool = False

    def stamps(self, what: str, stamped: str) -> Stamps:
        """The good tokens of one kind over the file *stamped*, when that leads to the signature."""
        found = (_STAMP.fullmatch(name) for name in self.files)
        names = sorted({match[2] for match in found if match and match[1] == what})
        leads = self._batch_leads() if stamped == BATCH_ROOT else stamped in self.files
        good = {}
        for name in names:
            start = f"{what}.{name}"
            self.verdict.files.update(each for each in self.files if each.startswith(f"{start}."))
            result = verify_timestamp(
                self.files.get(stamped, b""),
                self.trust.authority(name),
                request=self.files.get(f"{start}.tsq"),
                reply=self.files.get(f"{start}.tsr"),
                chain_file=self.files.get(f"{start}.chain.pem"),
                revocation_file=self.files.get(f"{start}.revocation.json"),
                captured_at=self.captured_at,
                now=self.now,
            )
            self.verdict.findings += result.findings
            if result.interval is not None and leads:
                good[name] = result
        return good

    def _batch_leads(self) -> bool:
        there = {BATCH_ROOT, BATCH_PATH} & self.files.keys()
        self.verdict.files |= there
        if not there:
            return True
        root, path = self.files.get(BATCH_ROOT, b""), self.files.get(BATCH_PATH, b"")
        return self._holds(check_path, self.files.get(SIGNATURE, b""), path, root)

    def time(self, stamps: Stamps) -> None:
        """The interval that enough tokens prove: that of the one which bounds it earliest."""
        required = self.trust.policy.tokens_required
        intervals = [each.interval for each in stamps.values() if each.interval is not None]
        self.verdict.interval = min(intervals, key=lambda each: each.latest, default=None)
        if len(intervals) < required or self.verdict.interval is None:
            self.verdict.interval = None
            self._report(Finding(Code.UNSEALED, "seal", f"{required} good timestamps", str(len(stamps))))
            return
        delay = self.verdict.interval.latest - self.captured_at
        if delay > timedelta(seconds=self.trust.policy.max_stamp_delay_s):
            expected = f"within {self.trust.policy.max_stamp_delay_s} s of the capture"
            self._report(Finding(Code.TIMESTAMP_LATE, "seal", expected, f"{delay} after"))

    def signature(self) -> None:
        """Who signed, judged at the proven time."""
        at = self.verdict.interval.latest if self.verdict.interval else self.now
        if not self.files:
            self._report(Finding(Code.UNSIGNED, "seal"))
            return
        found = verify_signature(self.record, self.files.get(SIGNATURE), self.trust.keys, at)
        self.verdict.files |= {SIGNATURE} & self.files.keys()
        self.verdict.principal, self.verdict.key = found.principal, found.key
        self.verdict.findings += found.findings

    def certificate(self) -> None:
        """Which organisation signed too, with its certificate."""
        there = set(CERTIFICATE_FILES) & self.files.keys()
        self.verdict.files |= there
        if there != set(CERTIFICATE_FILES):
            if there or self.trust.policy.certificate_required:
                self._report(Finding(Code.CERTIFICATE_SIGNATURE_MISSING, "seal"))
            return
        found = verify_certificate_signature(
            self.record,
            self.files[CERTIFICATE_SIGNATURE],
            self.trust,
            revocation_file=self.files[CERTIFICATE_REVOCATION],
            tsa_revocation_file=self.files[CERTIFICATE_TSA_REVOCATION],
            captured_at=self.captured_at,
            now=self.now,
        )
        self.verdict.findings += found.findings
        self.verdict.organisation = found.principal
        self.verdict.organisation_at = found.interval.latest if found.interval else None

    def log(self) -> None:
        """That the log holds the event *sealed* over every file before it."""
        entry, proof = self.files.get(LOG_ENTRY), self.files.get(LOG_PROOF)
        self.verdict.files |= {LOG_ENTRY, LOG_PROOF} & self.files.keys()
        if entry is None and proof is None:
            self._report(Finding(Code.UNLOGGED, "seal"))
            return
        found = verify_log_proof(entry, proof, self.trust.logs)
        self.verdict.findings += found.findings
        if found.event is not None and self._holds(self._check_event, found.event):
            self.is_logged = True
            self.verdict.checkpoint, self.verdict.index = found.checkpoint, found.index

    def _check_event(self, event: CustodyEvent) -> None:
        later = {LOG_ENTRY, LOG_PROOF}
        before = {
            name: data for name, data in self.files.items() if name not in later and not is_renewal(name)
        }
        expected = sealed_digests(self.record, before)
        pairs = [("type", "sealed", event.type), ("capture", self.capture_id, event.capture_id)]
        names = sorted(expected.keys() | event.digests.keys())
        pairs += [(name, expected.get(name, "no file"), event.digests.get(name, "nothing")) for name in names]
        for name, wanted, got in pairs:
            if wanted != got:
                raise ProofError(Code.LOG_ENTRY_MISMATCH, f"log entry {name}", wanted, got)

    def renewals(self, stamps: Stamps) -> None:
        """Each renewal in its time, and the last one still in force."""
        good_until = self._good_until(stamps)
        for number in range(1, MAX_RENEWALS + 1):
            name = f"{renewal_name(number)}.json"
            if name not in self.files or good_until is None:
                break
            self.verdict.files.add(name)
            renewed = self.stamps(renewal_name(number), name)
            if not self._holds(check_renewal, self.files, self.record, number):
                break
            stamps = {
                key: each
                for key, each in renewed.items()
                if each.interval and each.interval.latest <= good_until
            }
            limit, good_until = good_until, self._good_until(stamps)
            if good_until is None:
                self._report(Finding(Code.RENEWAL_TOO_LATE, name, f"before {utc_text(limit)}", "none"))
        self.verdict.good_until = good_until
        if good_until is not None and good_until < self.now:
            expected = f"a renewal before {utc_text(good_until)}"
            self._report(Finding(Code.TIMESTAMP_NOT_RENEWED, "seal", expected, "none"))

    def _good_until(self, stamps: Stamps) -> datetime | None:
        """When the first certificate of the last token that counts ends."""
        required = self.trust.policy.tokens_required
        # The root is pinned by its bytes: its own end takes nothing away.
        chains = [stamp.chain[:-1] or stamp.chain for stamp in stamps.values()]
        ends = sorted(min(each.not_valid_after_utc for each in chain) for chain in chains)
        return ends[-required] if len(ends) >= required else None

    def state(self) -> SealState:
        """From what was proven, in order: nothing later counts without what comes before it."""
        if self.verdict.principal is None:
            return SealState.UNSEALED
        if self.verdict.interval is None:
            return SealState.SIGNED
        if self.trust.policy.certificate_required and self.verdict.organisation is None:
            return SealState.STAMPED
        if self.trust.policy.log_required and not self.is_logged:
            return SealState.STAMPED
        return SealState.SEALED

    def _holds(self, check: Callable[..., None], *args: object) -> bool:
        """Run *check* and keep what it finds."""
        try:
            check(*args)
        except ProofError as error:
            self._report(error.finding)
            return False
        return True

    def _report(self, finding: Finding) -> None:
        self.verdict.findings.append(finding)
