"""Our signatures and OpenSSH's are the same bytes, and ``ssh-keygen`` decides as we do."""

from __future__ import annotations

import datetime as dt
import os
import signal
import subprocess
from pathlib import Path

import pytest

from manifests.keys import (
    AgentSigner,
    KeyUnusable,
    fingerprint,
    new_key,
    parse_public_line,
    public_line,
    read_key_file,
    unlock_key,
    write_key_file,
)
from manifests.signing import allowed_signers, sign, verify_signature
from manifests.trust import TrustedKey

RECORD = b'{"format":"evidence-record/1"}'
PASSPHRASE = "correct horse"
START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
END = dt.datetime(2026, 12, 1, tzinfo=dt.UTC)
REVOKED = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)


def run(*command, data=b""):
    return subprocess.run(command, input=data, capture_output=True, check=False, timeout=60)


@pytest.fixture(scope="module")
def key_file(tmp_path_factory) -> Path:
    """A key made by us; its passphrase is taken off for the tools that cannot be asked for one."""
    folder = tmp_path_factory.mktemp("keys")
    path = folder / "ours"
    write_key_file(path, new_key(PASSPHRASE.encode()))
    bare = folder / "bare"
    bare.write_bytes(path.read_bytes())
    bare.chmod(0o600)
    assert run("ssh-keygen", "-p", "-f", bare, "-P", PASSPHRASE, "-N", "").returncode == 0
    return path


@pytest.fixture(scope="module")
def signer(key_file):
    return unlock_key(read_key_file(key_file), PASSPHRASE.encode())


def test_ssh_keygen_reads_our_key(key_file, signer):
    """``ssh-keygen -y`` opens our key file and shows the public key and fingerprint that we show."""
    shown = run("ssh-keygen", "-y", "-P", PASSPHRASE, "-f", key_file).stdout.decode()
    assert parse_public_line(shown) == signer.public_key
    pub = key_file.with_suffix(".pub")
    pub.write_text(public_line(signer.public_key) + "\n")
    assert fingerprint(signer.public_key) in run("ssh-keygen", "-l", "-f", pub).stdout.decode()


def test_we_read_a_key_of_ssh_keygen(tmp_path):
    """A key that ``ssh-keygen`` made and encrypted signs for us."""
    path = tmp_path / "theirs"
    made = run("ssh-keygen", "-q", "-t", "ed25519", "-N", PASSPHRASE, "-C", "evidence", "-f", path)
    assert made.returncode == 0
    signer = unlock_key(read_key_file(path), PASSPHRASE.encode())
    assert parse_public_line(path.with_suffix(".pub").read_text()) == signer.public_key


@pytest.mark.parametrize("size", [0, 1, 30, 100_000])
def test_signature_is_byte_identical(key_file, signer, tmp_path, size):
    """``ssh-keygen -Y sign`` writes the same file, for records of any size."""
    data = bytes(size)
    (tmp_path / "record.json").write_bytes(data)
    bare = key_file.with_name("bare")
    done = run("ssh-keygen", "-Y", "sign", "-n", "evidence-record", "-f", bare, tmp_path / "record.json")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "record.json.sig").read_bytes() == sign(data, signer)


@pytest.mark.parametrize(
    ("period", "at", "good"),
    [
        ({}, dt.datetime(2026, 11, 24, 3, tzinfo=dt.UTC), True),
        ({"valid_after": START, "valid_before": END}, dt.datetime(2026, 11, 24, 3, tzinfo=dt.UTC), True),
        ({"valid_after": START, "valid_before": END}, dt.datetime(2025, 12, 31, tzinfo=dt.UTC), False),
        ({"valid_after": START, "valid_before": END}, dt.datetime(2026, 12, 2, tzinfo=dt.UTC), False),
        ({"valid_before": END, "revoked_at": REVOKED}, dt.datetime(2026, 5, 31, tzinfo=dt.UTC), True),
        ({"valid_before": END, "revoked_at": REVOKED}, dt.datetime(2026, 6, 2, tzinfo=dt.UTC), False),
    ],
)
def test_ssh_keygen_decides_periods_as_we_do(signer, tmp_path, period, at, good):
    """With our ``allowed_signers`` and the proven time, ``ssh-keygen -Y verify`` gives our verdict."""
    key = TrustedKey("evidence@example.org", signer.public_key, **period)
    (tmp_path / "allowed").write_text(allowed_signers([key]))
    (tmp_path / "sig").write_bytes(sign(RECORD, signer))
    command = ["ssh-keygen", "-Y", "verify", "-f", tmp_path / "allowed", "-I", key.principal]
    command += ["-n", "evidence-record", "-s", tmp_path / "sig", f"-Overify-time={at:%Y%m%d%H%M%S}Z"]
    done = run(*command, data=RECORD)
    assert (done.returncode == 0) is good, done.stderr
    assert bool(verify_signature(RECORD, sign(RECORD, signer), [key], at).principal) is good
    assert run(*command, data=RECORD + b"x").returncode != 0


@pytest.fixture
def agent(key_file, tmp_path):
    socket_path = tmp_path / "agent"
    env = os.environ | {"SSH_AUTH_SOCK": str(socket_path)}
    out = subprocess.run(
        ["ssh-agent", "-a", socket_path, "-s"], capture_output=True, check=True
    ).stdout.decode()
    pid = int(out.split("SSH_AGENT_PID=")[1].split(";")[0])
    subprocess.run(["ssh-add", "-q", key_file.with_name("bare")], env=env, check=True)
    yield socket_path
    os.kill(pid, signal.SIGTERM)


def test_agent_signs_the_same_bytes(agent, signer):
    """A key held by ssh-agent makes the signature that the key file makes."""
    assert sign(RECORD, AgentSigner(signer.public_key, agent)) == sign(RECORD, signer)


def test_agent_without_the_key_is_refused(agent):
    """An agent that does not hold the key gives an error, never a signature of another."""
    stranger = unlock_key(new_key(b"x"), b"x")
    with pytest.raises(KeyUnusable, match="refusal"):
        AgentSigner(stranger.public_key, agent).sign(b"data")


def test_absent_agent_is_refused(tmp_path, signer):
    """No agent at the socket is an error with a hint."""
    with pytest.raises(KeyUnusable, match="expected an answer"):
        AgentSigner(signer.public_key, tmp_path / "none").sign(b"data")
