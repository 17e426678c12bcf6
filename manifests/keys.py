"""Ed25519 keys in OpenSSH form, and the two things that can sign with them: a key file and an agent.

Key files are what ``ssh-keygen -t ed25519`` writes and reads: OpenSSH private key format, encrypted
under a passphrase (bcrypt and AES-256), mode 0600. An unencrypted key is refused.

Source: OpenSSH PROTOCOL.key; draft-ietf-sshm-ssh-agent for the agent.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import socket
import stat
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PrivateFormat,
    PublicFormat,
    load_ssh_private_key,
)

from manifests.errors import ManifestError
from manifests.findings import shown

KIB = 1024
MAX_KEY_FILE_BYTES = 16 * KIB
MAX_AGENT_REPLY_BYTES = 4 * KIB
AGENT_TIMEOUT_S = 60  # a person may have to confirm, or to touch a token
KDF_ROUNDS = 24  # as ssh-keygen since OpenSSH 9.4: about 0.2 s a try
KEY_TYPE = b"ssh-ed25519"
_SIGN_REQUEST, _SIGN_RESPONSE = 13, 14


class KeyUnusable(ManifestError):
    """A key cannot be read, unlocked or written, or its holder refuses to sign."""


class Signer(Protocol):
    """Whoever can sign with one Ed25519 key."""

    @property
    def public_key(self) -> bytes:
        """The 32 bytes of the public key."""
        ...

    def sign(self, data: bytes) -> bytes:
        """The 64 bytes of the Ed25519 signature over *data*. Raises ``KeyUnusable``."""
        ...


class FileSigner:
    """Signs with a key held in memory, as read from a key file."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public_key = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

    def sign(self, data: bytes) -> bytes:
        """The Ed25519 signature over *data*, 64 bytes (RFC 8032)."""
        return self._key.sign(data)


@dataclass(frozen=True, slots=True)
class AgentSigner:
    """Signs through a running ssh-agent, which keeps the key.

    Args:
        public_key: The 32 bytes of the key to use.
        socket_path: Of the agent, as in ``SSH_AUTH_SOCK``.
    """

    public_key: bytes
    socket_path: Path

    def sign(self, data: bytes) -> bytes:
        """Ask the agent for the signature over *data* and check that it is one.

        Raises:
            KeyUnusable: No agent, the key is not in it, it refused, or its answer is no signature.
        """
        request = bytes([_SIGN_REQUEST]) + ssh_string(key_blob(self.public_key)) + ssh_string(data) + bytes(4)
        try:
            answer = self._ask(request)
        except OSError as error:
            raise KeyUnusable(
                f"ssh-agent {self.socket_path}: signing: expected an answer, got {error.strerror or error}",
                code="E483",
                hint="start ssh-agent, add the key with ssh-add, and set SSH_AUTH_SOCK",
            ) from error
        signature = answer[-64:]
        expected = bytes([_SIGN_RESPONSE]) + ssh_string(ssh_string(KEY_TYPE) + ssh_string(signature))
        if answer != expected or not verifies(self.public_key, signature, data):
            raise KeyUnusable(
                f"ssh-agent {self.socket_path}: signing with {fingerprint(self.public_key)}: "
                "expected a signature, got a refusal or a wrong one",
                code="E484",
                hint="add the key with ssh-add",
            )
        return signature

    def _ask(self, request: bytes) -> bytes:
        with socket.socket(socket.AF_UNIX) as agent:
            agent.settimeout(AGENT_TIMEOUT_S)
            agent.connect(str(self.socket_path))
            agent.sendall(ssh_string(request))
            with agent.makefile("rb") as stream:
                size = int.from_bytes(stream.read(4), "big")
                return stream.read(min(size, MAX_AGENT_REPLY_BYTES))


def verifies(public_key: bytes, signature: bytes, data: bytes) -> bool:
    """Whether *signature* is that of *public_key* (32 bytes) over *data* (RFC 8032)."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, data)
    except (InvalidSignature, ValueError):
        return False
    return True


def ssh_string(data: bytes) -> bytes:
    """*data* with its length before it (RFC 4251 section 5)."""
    return struct.pack(">I", len(data)) + data


def key_blob(public_key: bytes) -> bytes:
    """The wire form of an Ed25519 public key of 32 bytes (RFC 8709 section 4)."""
    return ssh_string(KEY_TYPE) + ssh_string(public_key)


def public_line(public_key: bytes, comment: str = "") -> str:
    """The line of a ``.pub`` file, without line end."""
    return f"ssh-ed25519 {base64.b64encode(key_blob(public_key)).decode()} {comment}".rstrip()


def parse_public_line(line: str) -> bytes:
    """Read a line of a ``.pub`` file; returns the 32 bytes of the key.

    Raises:
        KeyUnusable: Not an Ed25519 public key.
    """
    words = line.split()
    try:
        blob = base64.b64decode(words[1], validate=True)
    except (IndexError, binascii.Error, ValueError):
        blob = b""
    if len(blob) < 32 or words[0] != KEY_TYPE.decode() or blob != key_blob(blob[-32:]):
        raise KeyUnusable(
            f"public key {shown(line)}: reading: expected ssh-ed25519 and base64, got something else",
            code="E480",
            hint="paste the line of the .pub file",
        )
    return blob[-32:]


def fingerprint(public_key: bytes) -> str:
    """The name that ``ssh-keygen -l`` gives the key: ``SHA256:`` and 43 characters."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(key_blob(public_key)).digest()).decode().rstrip("=")


def new_key(passphrase: bytes) -> bytes:
    """Make a key; returns the text of its file, encrypted under *passphrase* (not empty)."""
    if not passphrase:
        raise KeyUnusable(
            "signing key new: passphrase: expected one, got none",
            code="E481",
            hint="give a passphrase; a key without one is worth what the disk is worth",
        )
    lock = PrivateFormat.OpenSSH.encryption_builder().kdf_rounds(KDF_ROUNDS).build(passphrase)
    return Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, lock)


def unlock_key(text: bytes, passphrase: bytes) -> FileSigner:
    """Decrypt the text of a key file.

    Raises:
        KeyUnusable: Not an OpenSSH key, not Ed25519, not encrypted, or another passphrase.
    """
    try:
        key = load_ssh_private_key(text, passphrase)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise KeyUnusable(
            f"signing key: unlocking: expected an encrypted OpenSSH key, got: {shown(str(error))}",
            code="E482",
            hint="check the passphrase; `ssh-keygen -y -f FILE` must accept it too",
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyUnusable(
            f"signing key: kind: expected Ed25519, got {type(key).__name__}",
            code="E482",
            hint="make one with `archiver key new`",
        )
    return FileSigner(key)


def write_key_file(path: Path, text: bytes) -> None:
    """Create *path*, mode 0600, with the text of a new key.

    Raises:
        KeyUnusable: The file exists already, or cannot be written.
    """
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise KeyUnusable(
            f"signing key {path}: writing: expected a new file, got {error.strerror}",
            code="E485",
            hint="choose another path; a key is never written over",
        ) from error


def read_key_file(path: Path) -> bytes:
    """The text of the key file at *path*.

    Raises:
        KeyUnusable: Absent, too large, or open to others than its owner.
    """
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            text = file.read(MAX_KEY_FILE_BYTES + 1)
    except OSError as error:
        raise KeyUnusable(
            f"signing key {path}: reading: expected a key file, got {error.strerror}",
            code="E486",
            hint="make one with `archiver key new`",
        ) from error
    if mode & 0o077:
        raise KeyUnusable(
            f"signing key {path}: permissions: expected 0600, got {mode:04o}",
            code="E487",
            hint=f"chmod 600 {path}",
        )
    if len(text) > MAX_KEY_FILE_BYTES:
        raise KeyUnusable(
            f"signing key {path}: size: expected at most {MAX_KEY_FILE_BYTES} bytes, got more",
            code="E486",
            hint="name the private key file",
        )
    return text
