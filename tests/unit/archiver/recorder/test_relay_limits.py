"""The relay under budgets, full disks, kills, hostile clients and other local users."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import resource
import shutil
import signal
import socket
import subprocess
import sys
from dataclasses import replace

import pytest
from relay_lab import (
    OPEN_HOUSE,
    Recording,
    dial,
    listening,
    receive,
    receive_to_end,
    relay_pid,
    request,
    send,
    until,
    until_quiet,
)

from archiver.capture.recorder.guard import RelayPolicy
from archiver.capture.recorder.peer import _read_proc, peer_owner
from archiver.capture.recorder.relay_client import Relay, RelayLost, RelayRefused
from archiver.capture.recorder.wire import Kind

KIB, MIB = 1024, 1024 * 1024
NOBODY = 65534
as_root = pytest.mark.skipif(os.getuid() != 0, reason="another user's process can only be started by root")


@pytest.fixture
async def relay():
    async with Relay() as running:
        yield running


async def endless(sock):
    while True:
        await send(sock, b"x" * 65536)


async def test_byte_budget_stops_the_capture(relay, tmp_path):
    """At its byte budget a capture ends and says so; what came before is kept, and other tapes go on."""
    tape = await relay.open_tape(tmp_path / "wire.bin", replace(OPEN_HOUSE, max_bytes_per_capture=MIB))
    other = await relay.open_tape(tmp_path / "other.bin", OPEN_HOUSE)
    async with listening(endless) as port:
        _, client = await dial(tape.port, "127.0.0.1", port)
        data, error = await receive_to_end(client)
        async with asyncio.timeout(20):
            await tape.stopped.wait()
        with pytest.raises(OSError):
            await dial(tape.port, "127.0.0.1", port)
        assert (await dial(other.port, "127.0.0.1", port))[0] == 0
    status = await tape.close()
    recording = Recording(tmp_path / "wire.bin")
    assert error is ConnectionResetError
    assert (status.budget_reached, status.failure) == (True, None)
    assert MIB <= status.wire_bytes < MIB + 256 * KIB
    assert recording.data[1, Kind.SERVER_DATA].startswith(data)
    assert "byte budget" in recording.facts(Kind.CLOSED)[0]["why"]
    assert recording.torn_bytes == 0


async def test_one_connection_over_its_budget_ends_alone(relay, tmp_path):
    """A connection at its own byte budget is reset, counted and named; the others of the tape go on."""
    policy = replace(OPEN_HOUSE, max_bytes_per_connection=MIB)
    tape = await relay.open_tape(tmp_path / "wire.bin", policy)
    async with listening(endless) as port, listening(lambda sock: send(sock, b"x" * 1000)) as modest:
        _, other = await dial(tape.port, "127.0.0.1", modest)
        _, client = await dial(tape.port, "127.0.0.1", port)
        data, error = await receive_to_end(client)
        assert await receive_to_end(other) == (b"x" * 1000, None)
        assert (await dial(tape.port, "127.0.0.1", modest))[0] == 0
    status = await tape.close()
    recording = Recording(tmp_path / "wire.bin")
    assert error is ConnectionResetError
    assert (status.cut_count, status.budget_reached, status.failure) == (1, False, None)
    assert MIB <= len(recording.data[2, Kind.SERVER_DATA]) < MIB + 128 * KIB
    assert recording.data[2, Kind.SERVER_DATA].startswith(data)
    assert ["connection" in facts["why"] for facts in recording.facts(Kind.CLOSED)].count(True) == 1


async def test_full_disk_stops_the_capture(relay, tmp_path):
    """When the disk takes no more, nothing more is forwarded, the reason is told, the rest is readable."""
    resource.prlimit(await pid_of(relay, tmp_path), resource.RLIMIT_FSIZE, (300_000, 300_000))
    tape = await relay.open_tape(tmp_path / "wire.bin", OPEN_HOUSE)
    async with listening(endless) as port:
        _, client = await dial(tape.port, "127.0.0.1", port)
        data, error = await receive_to_end(client)
        async with asyncio.timeout(20):
            await tape.stopped.wait()
    assert tape.last_status.failure == "file too large"
    assert (await tape.close()).failure == "file too large"
    recording = Recording(tmp_path / "wire.bin")
    assert error is ConnectionResetError
    assert recording.data[1, Kind.SERVER_DATA].startswith(data)
    assert (tmp_path / "wire.bin").stat().st_size == 300_000


async def pid_of(relay, folder):
    """Return the pid of a relay that answers, so that its own set-up is over."""
    await (await relay.open_tape(folder / "first.bin", OPEN_HOUSE)).close()
    return relay_pid(relay)


@contextlib.contextmanager
def small_file_system(mount):
    mount.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", mount], check=True)
    try:
        yield mount
    finally:
        subprocess.run(["umount", mount], check=True)


@as_root
async def test_full_file_system_is_named(relay, tmp_path):
    """A file system without room is named in the failure as the system names it."""
    with small_file_system(tmp_path / "small") as mount:
        tape = await relay.open_tape(mount / "wire.bin", OPEN_HOUSE)
        async with listening(endless) as port:
            _, client = await dial(tape.port, "127.0.0.1", port)
            data, _ = await receive_to_end(client)
        status = await tape.close()
        assert Recording(mount / "wire.bin").data[1, Kind.SERVER_DATA].startswith(data)
    assert status.failure == "no space left on device"


async def test_too_many_connections_are_refused_and_recorded(relay, tmp_path):
    """The connection over the limit is refused, the others live on."""
    tape = await relay.open_tape(tmp_path / "wire.bin", replace(OPEN_HOUSE, max_connections=3))
    async with listening(receive_to_end) as port:
        clients = [(await dial(tape.port, "127.0.0.1", port))[1] for _ in range(3)]
        with pytest.raises((OSError, AssertionError)):
            await dial(tape.port, "127.0.0.1", port)
        assert (await tape.status()).live_count == 3
        clients[0].close()
        await until(tape, lambda status: status.live_count == 2)
        assert (await dial(tape.port, "127.0.0.1", port))[0] == 0
    await tape.close()
    (refused,) = Recording(tmp_path / "wire.bin").facts(Kind.REFUSED)
    assert refused["error"] == "more than 3 connections at once"


async def test_kill_9_of_the_relay_keeps_every_byte_received(tmp_path):
    """A relay that is killed leaves every byte that the client got on disk, and the client side is told."""
    async with Relay() as relay:
        tape = await relay.open_tape(tmp_path / "wire.bin", OPEN_HOUSE)
        async with listening(endless) as port:
            _, client = await dial(tape.port, "127.0.0.1", port)
            early = await receive(client, MIB)
            os.kill(relay_pid(relay), signal.SIGKILL)
            late, _ = await receive_to_end(client)
        async with asyncio.timeout(20):
            await tape.stopped.wait()
        with pytest.raises(RelayLost, match=r"\[E214\]"):
            await tape.status()
        with pytest.raises(RelayLost):
            await relay.open_tape(tmp_path / "more.bin", OPEN_HOUSE)
        assert (await tape.close()).failure == "the relay process ended"
    recording = Recording(tmp_path / "wire.bin")
    assert recording.data[1, Kind.SERVER_DATA].startswith(early + late)


@pytest.mark.parametrize("how", ["end of input", "SIGTERM"])
async def test_relay_ends_in_order_with_its_parent(tmp_path, how):
    """When input ends or SIGTERM comes, open connections are closed on record and the relay exits."""
    relay = Relay()
    await relay.start()
    tape = await relay.open_tape(tmp_path / "wire.bin", OPEN_HOUSE)
    async with listening(receive_to_end) as port:
        _, client = await dial(tape.port, "127.0.0.1", port)
        await send(client, b"last words")
        await until(tape, lambda status: status.client_bytes == 10)
        process = relay._process
        if how == "SIGTERM":
            process.terminate()
        else:
            process.stdin.close()
        async with asyncio.timeout(20):
            assert await process.wait() == 0
        client.close()
    await relay.close()
    recording = Recording(tmp_path / "wire.bin")
    assert recording.data[1, Kind.CLIENT_DATA] == b"last words"
    assert recording.facts(Kind.CLOSED)[0]["by"] == "relay"
    assert recording.torn_bytes == 0


async def test_interrupt_from_the_terminal_does_not_end_the_relay(relay, tmp_path):
    """SIGINT is the parent's to handle: the relay goes on recording."""
    tape = await relay.open_tape(tmp_path / "wire.bin", OPEN_HOUSE)
    os.kill(relay_pid(relay), signal.SIGINT)
    assert (await tape.status()).failure is None


GARBAGE = [
    b"",
    b"\x05",
    b"\x05\x01",
    b"\x05\x00",
    b"\x05\x01\x02",
    b"\x04\x01\x00\x50\x7f\x00\x00\x01\x00",
    b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"\x05\x01\x00\x04\x01\x00\x01\x7f\x00\x00\x01\x00\x50",
    b"\x05\x01\x00\x05\x02\x00\x01\x7f\x00\x00\x01\x00\x50",
    b"\x05\x01\x00\x05\x03\x00\x01\x7f\x00\x00\x01\x00\x50",
    b"\x05\x01\x00\x05\x01\x00\x02\x7f\x00\x00\x01\x00\x50",
    b"\x05\x01\x00\x05\x01\x00\x03\x00\x00\x50",
    b"\x05\x01\x00\x05\x01\x00\x03\x04a\0.b\x00\x50",
    b"\x05\x01\x00\x05\x01\x00\x03\x03\xff\xfe\xfd\x00\x50",
    b"\x05\x01\x00\x05\x01\x00\x03\xffshort",
    b"\x05\x01\x00\x05\x01\x00\x04\x00\x00",
    *(random.Random(seed).randbytes(40) for seed in range(20)),
]


async def test_garbage_greetings_are_refused_and_recorded(relay, tmp_path):
    """Whatever is no SOCKS5 CONNECT is refused with a reason on record, and the port serves on."""
    loop = asyncio.get_running_loop()
    tape = await relay.open_tape(tmp_path / "wire.bin", OPEN_HOUSE)
    for garbage in GARBAGE:
        client = socket.socket()
        client.setblocking(False)
        await loop.sock_connect(client, ("127.0.0.1", tape.port))
        await send(client, garbage)
        with contextlib.suppress(OSError):  # refused before it had said all
            client.shutdown(socket.SHUT_WR)
        await receive_to_end(client)
        client.close()
    await until(tape, lambda status: status.refused_count == len(GARBAGE))
    async with listening(receive_to_end) as port:
        assert (await dial(tape.port, "127.0.0.1", port))[0] == 0
    await tape.close()
    refused = Recording(tmp_path / "wire.bin").facts(Kind.REFUSED)
    assert len(refused) == len(GARBAGE)
    assert all(facts["stage"] == "socks" and facts["error"] for facts in refused)


async def test_a_connection_in_the_making_is_recorded_when_the_tape_closes(relay, tmp_path):
    """A client that has said nothing yet when the capture ends is on record as well."""
    tape = await relay.open_tape(tmp_path / "wire.bin", OPEN_HOUSE)
    loop = asyncio.get_running_loop()
    client = socket.socket()
    client.setblocking(False)
    await loop.sock_connect(client, ("127.0.0.1", tape.port))
    await send(client, b"\x05\x01\x00")
    assert await receive(client, 2) == b"\x05\x00"
    await tape.close()
    client.close()
    assert Recording(tmp_path / "wire.bin").facts(Kind.REFUSED)[0]["error"] == "the tape was closed"


FOREIGNER = """
import socket, sys
client = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
try:
    client.sendall(bytes.fromhex(sys.argv[2]))
    if sys.argv[3] == "wait":
        print(client.recv(100).hex())
except OSError:
    pass
"""


def run_as_nobody(port, data, mode):
    python = shutil.which("python3", path="/usr/bin:/bin") or sys.executable
    command = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", python, "-c", FOREIGNER]
    return subprocess.run(
        [*command, str(port), data.hex(), mode],
        check=True,
        capture_output=True,
        text=True,
        timeout=20,
        cwd="/",
    ).stdout.strip()


@as_root
@pytest.mark.parametrize("mode", ["wait", "leave at once"])
async def test_other_users_are_refused(relay, tmp_path, mode):
    """Another user's process gets nowhere, also when it sends all at once and has left before we look."""
    tape = await relay.open_tape(tmp_path / "wire.bin", OPEN_HOUSE)
    served = []

    async def handler(sock):
        served.append(sock)

    async with listening(handler) as port:
        data = b"".join(request("127.0.0.1", port))
        answer = await asyncio.to_thread(run_as_nobody, tape.port, data, mode)
        await until(tape, lambda status: status.stranger_count == 1)
    status = await tape.close()
    (refused,) = Recording(tmp_path / "wire.bin").facts(Kind.REFUSED)
    assert (answer, served, status.opened_count) == ("", [], 0)
    assert refused["stage"] == "peer"
    assert mode != "wait" or refused["error"] == f"user {NOBODY} may not use this port"


@as_root
async def test_the_allowed_user_is_served_and_nobody_else(relay, tmp_path):
    """With the browser's user named, that user is served and the relay's own is not."""
    tape = await relay.open_tape(tmp_path / "wire.bin", replace(OPEN_HOUSE, allowed_uids=(NOBODY,)))
    async with listening(receive_to_end) as port:
        answer = await asyncio.to_thread(run_as_nobody, tape.port, b"\5\1\0", "wait")
        with pytest.raises((OSError, AssertionError)):
            await dial(tape.port, "127.0.0.1", port)
    await tape.close()
    assert answer == "0500"


@pytest.mark.parametrize(
    ("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::ffff:127.0.0.1")]
)
def test_both_kernel_tables_know_the_peer(family, host):
    """sock_diag and /proc name the same user and socket, and no holder once the peer has closed."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket(family) as client:
        client.connect((host, listener.getsockname()[1]))
        accepted, peer = listener.accept()
        local = accepted.getsockname()
        owner = peer_owner(peer, local)
        assert owner == _read_proc(peer, local)
        assert (owner.uid, owner.inode) == (os.getuid(), os.fstat(client.fileno()).st_ino)
        client.close()
        assert peer_owner(peer, local) is None
        accepted.close()


async def test_an_existing_wire_file_is_not_touched(relay, tmp_path):
    """A tape is never opened over a file that is there."""
    (tmp_path / "wire.bin").write_bytes(b"evidence")
    with pytest.raises(RelayRefused, match=r"file exists \[E211\]$"):
        await relay.open_tape(tmp_path / "wire.bin", RelayPolicy())
    assert (tmp_path / "wire.bin").read_bytes() == b"evidence"


async def test_a_closed_tape_answers_with_an_error(relay, tmp_path):
    """Asking a closed tape is an error with a code, not a hang."""
    tape = await relay.open_tape(tmp_path / "wire.bin", RelayPolicy())
    await tape.close()
    for ask in (tape.status, tape.close):
        with pytest.raises(RelayRefused, match=r"\[E217\]$"):
            await ask()


async def test_a_relay_that_is_not_running_is_lost():
    """Before the start and after the end a relay says that it is not running."""
    relay = Relay()
    with pytest.raises(RelayLost):
        await relay.ask({"do": "status", "tape": 1}, 1)
    await relay.close()


@pytest.mark.skipif(not shutil.which("curl"), reason="needs curl")
async def test_curl_is_served(relay, tmp_path):
    """A client that we did not write gets its page through the relay."""

    async def handler(sock):
        await receive(sock, 4)
        await send(sock, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")

    tape = await relay.open_tape(tmp_path / "wire.bin", OPEN_HOUSE)
    async with listening(handler) as port:
        command = ["curl", "-sS", "--noproxy", "", "--socks5-hostname", f"127.0.0.1:{tape.port}"]
        run = await asyncio.create_subprocess_exec(*command, f"http://127.0.0.1:{port}/", stdout=-1)
        out, _ = await run.communicate()
        await until_quiet(tape)
    await tape.close()
    assert out == b"hello"
