"""Captures that a store holds as ciphertext, encrypted with age before they leave this machine.

Each capture has a key of its own. Its files and its record (*the inner record*) are encrypted to that key,
and the key to the recipients, in ``key.age``. The record that is stored and sealed (*the outer record*)
lists the ciphertexts with their digests and tells neither address nor title nor people; so the seal, the
verifier and audits work without any key, and the inner record binds the plaintext once somebody opens it.

A key can be given to new recipients later: the capture's key is encrypted once more and put beside the
captures, at ``keys/<capture_id>/<SHA-256>.age``; nothing of the capture changes. It cannot be taken from
somebody who had it.

Source: age-encryption.org/v1; ChaCha20-Poly1305 in chunks, keys by X25519, Ed25519 or RSA of SSH.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import pyrage

from archiver.errors import ArchiverError, EnvironmentUnfit, ExitCode, UsageError
from manifests.canonical import MAX_JSON_BYTES
from manifests.codec import decode, encode
from manifests.digests import digest_stream
from manifests.errors import MalformedRecord
from manifests.record import Artifact, Completeness, EvidenceRecord, MissingPart, Outcome, Seed, Target
from manifests.record_network import Network, Recording
from manifests.record_process import Access, Collector, Environment, Origin, Statement
from storage.errors import StoreError

CIPHERTEXT = "ciphertext"
KEY_NAME = "key.age"
RECORD_NAME = "record.json"
HIDDEN_URL = "urn:archiver:confidential"
HIDDEN = "said in the encrypted record"
MEDIA_TYPE = "application/octet-stream"
MAX_KEY_BYTES = 64 * 1024
MAX_IDENTITY_BYTES = 64 * 1024
MAX_RECIPIENTS = 50

Open = Callable[[str], BinaryIO]


class Locked(ArchiverError):
    """None of the keys at hand opens a capture."""

    exit_code = ExitCode.USAGE


class PlaintextDiffers(ArchiverError):
    """A ciphertext opens to something other than its record says."""

    exit_code = ExitCode.EVIDENCE_FAILED


def check_recipients(recipients: Sequence[str]) -> list[Any]:
    """Return the keys that *recipients* name: ``age1...`` or the line of an SSH public key.

    Raises:
        UsageError: E180, one of them is none, or they are too many.
    """
    if len(recipients) > MAX_RECIPIENTS:
        raise UsageError(
            f"recipients: expected at most {MAX_RECIPIENTS}, got {len(recipients)}",
            code="E180",
            hint="name fewer",
        )
    return [_recipient(number, text) for number, text in enumerate(recipients, start=1)]


def conceal(
    folder: Path, inner: EvidenceRecord, recipients: Sequence[str], pseudonym: str = HIDDEN_URL
) -> EvidenceRecord:
    """Put ciphertexts in the place of a capture's files in *folder*, and return the outer record.

    Args:
        folder: Holds exactly the artefacts of *inner*; afterwards exactly those of the outer record.
        inner: The record of the plaintext.
        recipients: At least one.
        pseudonym: Stands in the outer record for the address; see ``archiver.pseudonyms``.

    Raises:
        EnvironmentUnfit: E181, the disk took no more.
    """
    keys = check_recipients(recipients)
    identity = pyrage.x25519.Identity.generate()
    try:
        (folder / KEY_NAME).write_bytes(pyrage.encrypt(str(identity).encode(), keys))
        (folder / RECORD_NAME).write_bytes(encode(inner))
        artifacts = [_listed(folder, KEY_NAME)]
        for number, name in enumerate([RECORD_NAME, *(one.path for one in inner.artifacts)]):
            path = folder / f"{number:03d}.age"
            with (folder / name).open("rb") as plain, path.open("wb") as secret:
                pyrage.encrypt_io(plain, secret, [identity.to_public()])
            (folder / name).unlink()
            artifacts.append(_listed(folder, path.name))
    except (OSError, pyrage.EncryptError) as error:
        raise EnvironmentUnfit(
            f"capture {inner.capture_id}: cannot be encrypted: expected room on the disk, got {error}",
            code="E181",
            hint="free space and run it again: the capture is kept and completed then",
        ) from error
    return _outer(inner, artifacts, len(keys), pseudonym)


def is_confidential(record: EvidenceRecord) -> bool:
    """Tell whether a record is an outer one."""
    return any(one.role == CIPHERTEXT for one in record.artifacts)


def read_identities(path: Path) -> list[Any]:
    """Return the secret keys of an age identity file or an unencrypted SSH private key.

    Raises:
        UsageError: E182, it cannot be read or holds none. Its content is never repeated.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_IDENTITY_BYTES)
        if data.startswith(b"-----BEGIN"):
            return [pyrage.ssh.Identity.from_buffer(data)]
        lines = [line.strip() for line in data.decode("ascii").splitlines()]
        found = [pyrage.x25519.Identity.from_str(line) for line in lines if line and not line.startswith("#")]
    except (OSError, UnicodeDecodeError, pyrage.IdentityError):
        found = []
    if not found:
        raise UsageError(
            f"identity {path}: expected an age identity file or an SSH key without passphrase, got none",
            code="E182",
            hint="make one with age-keygen, or give the right file",
        )
    return found


def capture_key(capture_id: str, envelopes: Iterator[bytes], identities: Sequence[Any]) -> Any:
    """Return the key of a capture, from the first of *envelopes* that one of *identities* opens.

    Raises:
        Locked: E183, none does.
    """
    for data in envelopes:
        try:
            return pyrage.x25519.Identity.from_str(pyrage.decrypt(data, list(identities)).decode("ascii"))
        except (pyrage.DecryptError, pyrage.IdentityError, UnicodeDecodeError):
            continue
    raise Locked(
        f"capture {capture_id}: cannot be opened: expected the key of a recipient, got none that fits",
        code="E183",
        hint="ask another recipient to run `archiver rekey`",
    )


def rewrap(identity: Any, recipients: Sequence[str]) -> bytes:
    """Encrypt the key of a capture to *recipients*."""
    return bytes(pyrage.encrypt(str(identity).encode(), check_recipients(recipients)))


def reveal(outer: EvidenceRecord, open_file: Open, identity: Any, folder: Path) -> EvidenceRecord:
    """Decrypt a capture into *folder*, each file held to the inner record, and return that record.

    Args:
        outer: The outer record.
        open_file: Opens an artefact of it by its path.
        identity: The key of the capture.
        folder: New or empty.

    Raises:
        PlaintextDiffers: E184, a file is not what the inner record says, or the record is none.
    """
    names = [one.path for one in outer.artifacts if one.role == CIPHERTEXT and one.path != KEY_NAME]
    data = io.BytesIO()
    _decrypt(outer, open_file, names[0], identity, data)
    try:
        inner = decode(data.getvalue()[: MAX_JSON_BYTES + 1])
    except MalformedRecord as error:
        raise _differs(outer, names[0], "an evidence record", str(error)) from error
    if inner.capture_id != outer.capture_id or len(inner.artifacts) != len(names) - 1:
        raise _differs(outer, names[0], f"the record of {outer.capture_id}", f"that of {inner.capture_id}")
    for name, artifact in zip(names[1:], inner.artifacts, strict=True):
        path = folder / artifact.path
        with path.open("xb") as plain:
            _decrypt(outer, open_file, name, identity, plain)
        with path.open("rb") as plain:
            found = digest_stream(plain)
        if (found.sha256, found.bytes) != (artifact.sha256, artifact.bytes):
            raise _differs(outer, name, f"sha256 {artifact.sha256}", f"sha256 {found.sha256}")
    (folder / RECORD_NAME).write_bytes(data.getvalue())
    return inner


def _decrypt(outer: EvidenceRecord, open_file: Open, name: str, identity: Any, plain: BinaryIO) -> None:
    with open_file(name) as secret:
        source = _Source(secret)
        try:
            pyrage.decrypt_io(source, plain, [identity])
        except (pyrage.DecryptError, OSError) as error:
            if source.failure is not None:
                raise source.failure from error
            if isinstance(error, OSError) and error.errno is not None:
                raise _no_room(outer, error) from error
            raise _differs(outer, name, "what its key opens", "something else or damage") from error


class _Source:
    """A stream that remembers why it failed: pyrage tells every failure as one of decryption."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.failure: StoreError | None = None

    def read(self, size: int = -1) -> bytes:
        try:
            return self._stream.read(size)
        except StoreError as error:
            self.failure = error
            raise


def _no_room(outer: EvidenceRecord, error: OSError) -> EnvironmentUnfit:
    return EnvironmentUnfit(
        f"capture {outer.capture_id}: cannot be decrypted: expected room on the disk, got {error.strerror}",
        code="E181",
        hint="name a folder on another disk",
    )


def _differs(outer: EvidenceRecord, name: str, expected: str, got: str) -> PlaintextDiffers:
    return PlaintextDiffers(
        f"capture {outer.capture_id}: file {name}: plaintext differs: expected {expected}, got {got}",
        code="E184",
        hint="run `archiver verify` on the capture; if that passes, it was stored like this",
    )


def _recipient(number: int, text: str) -> Any:
    kind = pyrage.ssh.Recipient if text.startswith("ssh-") else pyrage.x25519.Recipient
    try:
        return kind.from_str(text)
    except pyrage.RecipientError as error:
        raise UsageError(
            # Never repeated: a secret key may have been put there by mistake.
            f"recipient {number}: expected an age public key or the line of an SSH one, got neither",
            code="E180",
            hint="correct `recipients` in the settings",
        ) from error


def _listed(folder: Path, name: str) -> Artifact:
    with (folder / name).open("rb") as file:
        digests = digest_stream(file)
    return Artifact(
        role=CIPHERTEXT,
        path=name,
        media_type=MEDIA_TYPE,
        bytes=digests.bytes,
        sha256=digests.sha256,
        blake3=digests.blake3,
    )


def _outer(
    inner: EvidenceRecord, artifacts: Sequence[Artifact], count: int, pseudonym: str
) -> EvidenceRecord:
    """Say of a capture only what the outside must know: which, when, for which incident, and the digests."""
    state = inner.completeness.state
    missing = () if state == "complete" else (MissingPart(part="confidential", reason=HIDDEN),)
    environment = inner.environment
    return msgspec.structs.replace(
        inner,
        seed=Seed(url=pseudonym),
        target=Target(url=HIDDEN_URL),
        outcome=Outcome(kind=inner.outcome.kind, reason=HIDDEN, confidence_percent=100),
        completeness=Completeness(state=state, missing=missing),
        local_utc_offset_min=0,
        network=Network(),
        recording=Recording(),
        environment=Environment(
            tool=environment.tool,
            python_version=environment.python_version,
            operating_system=environment.operating_system,
            architecture=environment.architecture,
        ),
        collector=Collector(),
        statement=Statement(),
        access=Access(),
        origin=Origin(),
        previous=None,
        actions=(),
        limits=(),
        errors=(),
        alterations=(f"encrypted with age to {count} recipients; {HIDDEN}: everything left out here",),
        artifacts=tuple(artifacts),
    )
