"""Sealing what lies in a store: sign, stamp, log. Each capture goes as far as proof can be had, no further.

1. What an earlier run had obtained and not yet stored is stored.
2. Every capture that is not sealed is signed, by the certificate of an organisation too where one is set.
3. Those without tokens are stamped, in one batch or each alone, as the policy says. Tokens are kept on disk
   before the first of their files is stored: a store never replaces a file, and half of one token and half of
   another would stay there for ever.
4. What verifies as stamped is logged, and its proof stored. Nothing else is.

With no authority in reach a capture stays signed; sealing again later goes on from there. Two machines that
seal one store do no harm: whoever stores the first file that differs goes on, the other leaves the capture.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import itertools
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from archiver.errors import EnvironmentUnfit
from archiver.summary import RecordUnfit, capture_prefix, load_record
from manifests.batch_tree import make_batch
from manifests.certificate_signature import CERTIFICATE_SIGNATURE
from manifests.custody_event import encode_event, new_event
from manifests.custody_log import MAX_BATCH_ENTRIES, CustodyLog
from manifests.errors import MalformedRecord
from manifests.keys import Signer, fingerprint
from manifests.renewal import make_renewal, renewal_name
from manifests.seal import (
    LOG_ENTRY,
    LOG_PROOF,
    SIGNATURE,
    SealState,
    SealVerdict,
    batch_files,
    sealed_digests,
    stamp_files,
    verify_seal,
)
from manifests.seal_check import captured_at
from manifests.signing import sign
from manifests.timestamps import Stamp
from manifests.trust import Trust
from manifests.tsa_client import TsaUnavailable, stamp_by_policy
from manifests.verifier import MAX_SEAL_FILE_BYTES
from storage.errors import ObjectConflict
from storage.interface import Store

MAX_GROUP = 256
_READY, _MAKING = "ready-", "making-"
_UNKNOWN = datetime.min.replace(tzinfo=UTC)


class Certifier(Protocol):
    """Whoever signs with an organisation's certificate (``archiver.certificate_signing``)."""

    def sign(self, record: bytes, trust: Trust) -> dict[str, bytes]:
        """The files of the second signature, by their names in the seal. Raises ``TsaUnavailable``."""
        ...


@dataclass(frozen=True, slots=True)
class Sealer:
    """What sealing needs.

    Args:
        store: Holds the captures.
        log: The custody log, opened for appending.
        signer: Signs the records; its key must be in *trust*.
        trust: Whose authorities are asked, in their order, and whose policy holds.
        staging: A folder of this machine for tokens on their way.
        actor: Who seals, as a pseudonym, for the log.
        certifier: Signs with an organisation's certificate too; None without one.
    """

    store: Store
    log: CustodyLog
    signer: Signer
    trust: Trust
    staging: Path
    actor: str
    certifier: Certifier | None = None


@dataclass(slots=True)
class Sealing:
    """One capture on its way.

    Args:
        capture_id: Its ID.
        record: Its record's bytes.
        files: The files of its seal, by name.
        captured_at: When the load began, by the record.
        state: How far proof has got, by what verified.
        problems: Why it got no further, one sentence each.
    """

    capture_id: str
    record: bytes = b""
    files: dict[str, bytes] = field(default_factory=dict)
    captured_at: datetime = _UNKNOWN
    state: SealState = SealState.UNSEALED
    problems: list[str] = field(default_factory=list)


def pending(store: Store) -> Iterator[str]:
    """The captures of *store* that no log proof lies beside, in their order."""
    for capture_id in store.list_folders("captures/"):
        prefix = capture_prefix(capture_id)
        names = {info.key.removeprefix(prefix) for info in store.list(prefix)}
        if "record.json" in names and f"seal/{LOG_PROOF}" not in names:
            yield capture_id


def seal(sealer: Sealer, capture_ids: Iterable[str]) -> Iterator[Sealing]:
    """Take each capture as far as it goes, and yield it with the state it reached.

    Raises:
        EnvironmentUnfit: The signer's key is not trusted, or the staging folder cannot be used.
        StoreError, ManifestError: The store or the log failed; running again goes on from there.
    """
    if not any(key.public_key == sealer.signer.public_key for key in sealer.trust.keys):
        raise EnvironmentUnfit(
            f"signing key {fingerprint(sealer.signer.public_key)}: expected a trusted one, got another",
            code="E162",
            hint="add the key with `archiver trust`",
        )
    with _alone(sealer.staging):
        _store_leftovers(sealer)  # 1
        ids = iter(capture_ids)
        while group := list(itertools.islice(ids, MAX_GROUP)):
            yield from _seal_group(sealer, [_open(sealer.store, capture_id) for capture_id in group])


@contextlib.contextmanager
def _alone(staging: Path) -> Iterator[None]:
    """Hold the staging folder: what lies in it is then of runs that have ended."""
    try:
        staging.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(staging, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise _staging_unfit(staging, error) from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise EnvironmentUnfit(
            f"staging folder {staging}: expected no other run that seals, got one",
            code="E164",
            hint="wait until it has ended",
        ) from error
    finally:
        os.close(handle)


def _staging_unfit(staging: Path, error: OSError) -> EnvironmentUnfit:
    return EnvironmentUnfit(
        f"staging folder {staging}: expected room and permission, got {error.strerror}",
        code="E163",
        hint="set `spool` to a folder of your own with room for a few captures",
    )


def _seal_group(sealer: Sealer, opened: Sequence[Sealing]) -> Sequence[Sealing]:
    group = [capture for capture in opened if not capture.problems]
    for capture in group:  # 2
        if SIGNATURE not in capture.files:
            _put(sealer.store, capture, {SIGNATURE: sign(capture.record, sealer.signer)})
    if sealer.certifier is not None:
        _certify(sealer, sealer.certifier, group)
    bare = [capture for capture in group if not any(name.endswith(".tsr") for name in capture.files)]
    if bare:
        _stamp(sealer, bare)  # 3
    for capture in group:
        _judge(sealer.trust, capture)
    _log(sealer, [capture for capture in group if _may_be_logged(sealer, capture)])  # 4
    return opened


def _certify(sealer: Sealer, certifier: Certifier, captures: Sequence[Sealing]) -> None:
    """Step 2 by certificate. No answer ends it: each capture would wait for the authorities anew."""
    made: dict[str, dict[str, bytes]] = {}
    try:
        for capture in captures:
            if CERTIFICATE_SIGNATURE not in capture.files and LOG_ENTRY not in capture.files:
                made[capture.capture_id] = certifier.sign(capture.record, sealer.trust)
    except TsaUnavailable as error:
        for capture in captures:
            if CERTIFICATE_SIGNATURE not in capture.files and capture.capture_id not in made:
                capture.problems.append(f"no signature by certificate: {error}")
    if made:
        folder = _stage(sealer.staging, made)
        for capture in captures:
            _put(sealer.store, capture, made.get(capture.capture_id, {}))
        shutil.rmtree(folder)


def _may_be_logged(sealer: Sealer, capture: Sealing) -> bool:
    """The log closes a seal: what is to be in it must be there, and no file is added afterwards."""
    wanted = sealer.certifier is not None or sealer.trust.policy.certificate_required
    is_certified = CERTIFICATE_SIGNATURE in capture.files or LOG_ENTRY in capture.files or not wanted
    return capture.state is SealState.STAMPED and is_certified


def _open(store: Store, capture_id: str) -> Sealing:
    prefix = capture_prefix(capture_id)
    try:
        facts, record = load_record(store, capture_id)
    except (MalformedRecord, RecordUnfit) as error:
        return Sealing(capture_id, problems=[str(error)])
    return Sealing(capture_id, record, _seal_files(store, prefix), captured_at(facts))


def _seal_files(store: Store, prefix: str) -> dict[str, bytes]:
    files = {}
    for info in store.list(f"{prefix}seal/"):
        with store.open(info.key, length=MAX_SEAL_FILE_BYTES) as stream:
            files[info.key.removeprefix(f"{prefix}seal/")] = stream.read()
    return files


def _stamp(sealer: Sealer, captures: Sequence[Sealing]) -> None:
    """Step 3 for captures that have a signature and no token."""
    obtained: dict[str, dict[str, bytes]] = {}
    if sealer.trust.policy.stamp_each:
        for capture in captures:
            stamps, failures = _ask(sealer.trust, capture.files[SIGNATURE])
            capture.problems += [str(each) for each in failures]
            if stamps:
                obtained[capture.capture_id] = _named("record", stamps)
    else:
        batch = make_batch([capture.files[SIGNATURE] for capture in captures])
        stamps, failures = _ask(sealer.trust, batch.root_file)
        for number, capture in enumerate(captures):
            capture.problems += [str(each) for each in failures]
            if stamps:
                obtained[capture.capture_id] = batch_files(batch, number) | _named("batch", stamps)
    if obtained:
        folder = _stage(sealer.staging, obtained)
        for capture in captures:
            _put(sealer.store, capture, obtained.get(capture.capture_id, {}))
        shutil.rmtree(folder)


def _ask(trust: Trust, data: bytes) -> tuple[list[Stamp], list[TsaUnavailable]]:
    """All the tokens that are required, or none: files are not added to a seal later."""
    stamps, failures = stamp_by_policy(data, trust.authorities, trust.policy.tokens_required)
    return (stamps if len(stamps) == trust.policy.tokens_required else []), failures


def _named(what: str, stamps: Sequence[Stamp]) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    for stamp in stamps:
        files |= stamp_files(what, stamp)
    return files


def _put(store: Store, capture: Sealing, files: Mapping[str, bytes]) -> None:
    """Store files of a seal in order, up to the first that somebody else has stored otherwise."""
    for name in sorted(files):
        try:
            store.put(f"{capture_prefix(capture.capture_id)}seal/{name}", files[name])
        except ObjectConflict:
            capture.problems.append(f"{name}: another run is sealing this capture")
            return
        capture.files[name] = files[name]


def _verdict(trust: Trust, capture: Sealing) -> SealVerdict:
    return verify_seal(
        capture.record,
        capture.files,
        trust,
        capture_id=capture.capture_id,
        captured_at=capture.captured_at,
        now=datetime.now(UTC),
    )


def _judge(trust: Trust, capture: Sealing) -> None:
    verdict = _verdict(trust, capture)
    capture.state = verdict.state
    if verdict.state in {SealState.UNSEALED, SealState.SIGNED}:
        capture.problems += [str(finding) for finding in verdict.findings]


def _log(sealer: Sealer, captures: Sequence[Sealing]) -> None:
    """Step 4. An entry that is stored already may be in the log already: a run may have ended between."""
    resumed = {capture.files[LOG_ENTRY] for capture in captures if LOG_ENTRY in capture.files}
    indices = _find(sealer.log, resumed)
    for capture in captures:
        if LOG_ENTRY not in capture.files:
            digests = sealed_digests(capture.record, capture.files)
            event = new_event("sealed", sealer.actor, capture_id=capture.capture_id, digests=digests)
            _put(sealer.store, capture, {LOG_ENTRY: encode_event(event)})
    captures = [capture for capture in captures if LOG_ENTRY in capture.files]
    missing = [capture.files[LOG_ENTRY] for capture in captures if capture.files[LOG_ENTRY] not in indices]
    for at in range(0, len(missing), MAX_BATCH_ENTRIES):
        batch = missing[at : at + MAX_BATCH_ENTRIES]
        first = sealer.log.append(batch).first_index
        indices |= {entry: first + number for number, entry in enumerate(batch)}
    head = sealer.log.head()
    for capture in captures:
        proof = sealer.log.prove(indices[capture.files[LOG_ENTRY]], head)
        _put(sealer.store, capture, {LOG_PROOF: proof})
        _judge(sealer.trust, capture)


def _find(log: CustodyLog, wanted: set[bytes]) -> dict[bytes, int]:
    if not wanted:
        return {}
    return {entry: index for index, entry in log.entries(log.settle()) if entry in wanted}


def _stage(staging: Path, obtained: Mapping[str, Mapping[str, bytes]]) -> Path:
    """Write tokens to disk, durably, under a name that says they are whole."""
    making = staging / f"{_MAKING}{uuid.uuid4().hex}"
    try:
        for capture_id, files in obtained.items():
            folder = making / capture_id
            folder.mkdir(mode=0o700, parents=True)
            for name, data in files.items():
                with (folder / name).open("wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
        return making.rename(staging / f"{_READY}{uuid.uuid4().hex}")
    except OSError as error:
        raise _staging_unfit(staging, error) from error


def _store_leftovers(sealer: Sealer) -> None:
    """Step 1. What a run was still writing when it died was in no store yet, and is asked for again."""
    for folder in sealer.staging.glob(f"{_MAKING}*"):
        shutil.rmtree(folder)
    for folder in sorted(sealer.staging.glob(f"{_READY}*")):
        for capture_folder in sorted(folder.iterdir()):
            files = {path.name: path.read_bytes() for path in capture_folder.iterdir()}
            _put(sealer.store, Sealing(capture_folder.name), files)
        shutil.rmtree(folder)


def renew(sealer: Sealer, capture_ids: Iterable[str], before: datetime) -> Iterator[Sealing]:
    """Stamp again what can be relied on only until *before*: old tokens and digests under a new token.

    Raises:
        EnvironmentUnfit, StoreError, ManifestError: As ``seal``.
    """
    with _alone(sealer.staging):
        _store_leftovers(sealer)
        for capture_id in capture_ids:
            capture = _open(sealer.store, capture_id)
            verdict = _verdict(sealer.trust, capture)
            if verdict.good_until is None or verdict.good_until >= before:
                continue
            capture.state = verdict.state
            number, data = make_renewal(capture.files, capture.record)
            name = renewal_name(number)
            stamps, failures = _ask(sealer.trust, data)
            capture.problems += [str(each) for each in failures]
            if stamps:
                files = {f"{name}.json": data} | _named(name, stamps)
                folder = _stage(sealer.staging, {capture_id: files})
                _put(sealer.store, capture, files)
                shutil.rmtree(folder)
                digests = {f"{name}.json": hashlib.sha256(data).hexdigest()}
                event = new_event("renewed", sealer.actor, capture_id=capture_id, digests=digests)
                sealer.log.append([encode_event(event)])
            yield capture
