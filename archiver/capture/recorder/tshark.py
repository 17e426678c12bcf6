"""Run tshark over a transcript and read what it says; nothing of ours parses a packet."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

from archiver.capture.recorder.connection_facts import Plaintext
from archiver.errors import EnvironmentUnfit

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

TIMEOUT_S = 1800
MAX_STDERR_BYTES = 4096
READ_BYTES = 1024 * 1024

_FILTER = re.compile(rb"ip(?:v6)?\.src eq (\S+) and tcp\.srcport eq ([0-9]+)")
_NODE = re.compile(rb"Node ([01]): (\S*):([0-9]+)")
_HEX = re.compile(r"([0-9a-f]{2})+")
_RULER = b"=" * 67

Endpoint = tuple[str, int]


class Followed(NamedTuple):
    """One conversation as tshark followed it: who it calls node 0, and what each node said."""

    node_0: Endpoint
    texts: tuple[Plaintext, Plaintext]


def version() -> str:
    """Return tshark's own version line."""
    with _run(["--version"]) as output:
        return output.readline().decode("utf-8", "replace").strip()


def follow(
    transcript: Path, conversations: Sequence[tuple[str, Endpoint, Endpoint]], objects: Path | None
) -> dict[Endpoint, Followed]:
    """Follow *conversations* (``tls`` or ``tcp``, client, server) in one run; the result is by client.

    Args:
        transcript: The pcapng file.
        conversations: Those to follow; tshark holds their plaintext in memory until the end.
        objects: Where to export HTTP/1 bodies to, or None.
    """
    arguments = ["-r", str(transcript), "-q"]
    for layer, client, server in conversations:
        arguments += ["-z", f"follow,{layer},raw,{_written(client)},{_written(server)}"]
    if objects is not None:
        arguments += ["--export-objects", f"http,{objects}"]
    found: dict[Endpoint, Followed] = {}
    with _run(arguments) as output:
        for line in output:
            if line.startswith(b"Filter:"):
                client_found = _FILTER.search(line)
                followed = _read_followed(output)
                if client_found is not None and followed is not None:
                    found[client_found[1].decode(), int(client_found[2])] = followed
    return found


def http2_digests(transcript: Path) -> dict[Endpoint, set[str]]:
    """Return the SHA-256 of what tshark shows as HTTP/2 data, by receiver.

    That is every DATA frame, every body put together from several, and each of those with its content coding
    undone, as far as tshark does so; which is which it does not say in a form that can be read safely.
    """
    names = ("ip.dst", "ipv6.dst", "tcp.dstport", "http2.data.data", "http2.body.reassembled.data")
    arguments = ["-r", str(transcript), "-Y", "http2.data.data", "-T", "fields"]
    for name in names:
        arguments += ["-e", name]
    digests: dict[Endpoint, set[str]] = {}
    with _run(arguments) as output:
        for line in output:
            columns = line.rstrip(b"\n").decode("ascii", "replace").split("\t")
            v4, v6, port, *values = (column.split(",") for column in columns)
            found = digests.setdefault((v4[0] or v6[0], int(port[0])), set())
            for value in (value for column in values for value in column):
                # A body that tshark has put together and then not shown stands as an empty or named value.
                if _HEX.fullmatch(value):
                    found.add(hashlib.sha256(bytes.fromhex(value)).hexdigest())
    return digests


def exported_digests(objects: Path) -> set[str]:
    """Return the SHA-256 of every file that tshark exported."""
    digests = set()
    for path in objects.iterdir():
        with path.open("rb") as stream:
            digests.add(hashlib.file_digest(stream, "sha256").hexdigest())
    return digests


class _Running:
    """A digest in the making."""

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()
        self._size = 0

    def add(self, data: bytes) -> None:
        self._sha256.update(data)
        self._size += len(data)

    def plaintext(self) -> Plaintext:
        return Plaintext(self._size, self._sha256.hexdigest())


def _read_followed(output: IO[bytes]) -> Followed | None:
    """Read one conversation, from after its filter line to its ruler; lines of node 1 begin with a tab."""
    node_0: Endpoint = ("", 0)
    running = (_Running(), _Running())
    for line in output:
        if line.startswith(_RULER):
            return Followed(node_0, (running[0].plaintext(), running[1].plaintext()))
        if (node := _NODE.match(line)) is not None:
            if node[1] == b"0":
                node_0 = (node[2].decode("ascii", "replace").strip("[]"), int(node[3]))
            continue
        running[line.startswith(b"\t")].add(bytes.fromhex(line.decode("ascii", "replace")))
    return None


@contextmanager
def _run(arguments: list[str]) -> Iterator[IO[bytes]]:
    """Run tshark with no one's settings but its defaults, and give its output; it must end well.

    Raises:
        EnvironmentUnfit: There is no tshark, it failed, or it took longer than ``TIMEOUT_S``.
    """
    with tempfile.TemporaryDirectory() as home, tempfile.TemporaryFile() as errors:
        environment = {"PATH": os.environ.get("PATH", ""), "HOME": home, "LC_ALL": "C.UTF-8", "TZ": "UTC"}
        try:
            process = subprocess.Popen(
                ["tshark", *arguments],
                stdout=subprocess.PIPE,
                stderr=errors,
                stdin=subprocess.DEVNULL,
                env=environment | {"WIRESHARK_CONFIG_DIR": home},
                bufsize=READ_BYTES,
            )
        except OSError as error:
            raise EnvironmentUnfit(
                f"tshark: starting it failed: expected the program, got {error.strerror}",
                code="E544",
                hint="install tshark (Debian: apt install tshark)",
            ) from error
        watchdog = threading.Timer(TIMEOUT_S, process.kill)
        watchdog.daemon = True
        watchdog.start()
        try:
            assert process.stdout is not None
            with process.stdout:
                yield process.stdout
            process.wait()
        except ValueError as error:
            raise _unfit(f"output of another form: {error}") from error
        finally:
            process.kill()
            process.wait()
            watchdog.cancel()
        if process.returncode:
            errors.seek(0)
            words = errors.read(MAX_STDERR_BYTES).decode("utf-8", "replace").split("\n")
            said = " ".join(line for line in words if line and not line.startswith("Running as user"))
            raise _unfit(f"exit status {process.returncode}: {said[:300]}")


def _unfit(got: str) -> EnvironmentUnfit:
    return EnvironmentUnfit(
        f"tshark: reading the transcript failed: expected an answer within {TIMEOUT_S} s, got {got}",
        code="E545",
        hint="open the transcript in Wireshark; if that works too, try another version of tshark",
    )


def _written(endpoint: Endpoint) -> str:
    host, port = endpoint
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
