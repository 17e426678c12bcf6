from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from archiver.capture.browser import UNPRIVILEGED_UID
from tests.browser.conftest import PATIENCE_S

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("kills")]

LIVE = "https://hundred.example/"


def drip_server():
    """A page that begins and then never ends; tells when it was asked for."""
    import socket

    listener = socket.create_server(("127.0.0.1", 0))
    asked = threading.Event()

    def serve() -> None:
        connections = []
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connections.append(connection)
            if connection.recv(65536):
                connection.sendall(
                    b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 100000\r\n\r\n"
                    b"<h1>first words</h1>"
                )
                asked.set()

    threading.Thread(target=serve, daemon=True).start()
    return listener, asked


def wait_for_words(spool: Path) -> None:
    """Sent is not received: wait until the words are on the disk."""
    until = time.monotonic() + PATIENCE_S
    while not any(b"first words" in wire.read_bytes() for wire in spool.glob("2*/wire.bin")):
        assert time.monotonic() < until
        time.sleep(0.01)


def processes(text: str) -> list[int]:
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if text.encode() in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


@pytest.mark.parametrize("who", ["archiver", "relay", "browser"])
def test_what_was_received_survives_a_kill_of(bench, who):
    """After kill -9 in mid-body the first words are in an interrupted capture, and the next run is clean."""
    listener, asked = drip_server()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
    words = ["capture", url, "--incident", "T-1", "--allow-private-network"]
    with subprocess.Popen(
        bench.command(*words), env=bench.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as run:
        assert asked.wait(PATIENCE_S)
        wait_for_words(bench.spool)
        home = (
            str(next(bench.spool.glob("2*/request.json")).read_bytes())
            .split('"key_log":"')[1]
            .split("/keys.log")[0]
        )
        if who == "archiver":
            victims = [run.pid]
        elif who == "relay":
            victims = [p for p in processes("archiver.capture.recorder.relay") if parent(p) == run.pid]
        else:
            victims = processes(f"{home}/keys.log")
        assert victims
        for victim in victims:
            try:
                os.kill(victim, signal.SIGKILL)
            except ProcessLookupError:
                continue
        run.communicate(timeout=PATIENCE_S)
    listener.close()
    told = bench.capture(LIVE, code=None)
    listed = {one["url"]: one for one in bench.run("list")["captures"]}
    assert listed[url]["completeness"] == "interrupted"
    assert b"first words" in bench.file(listed[url], "transcript.pcapng").read_bytes()
    assert listed[LIVE]["outcome"] == "captured"
    assert any(one["url"] == LIVE for one in told)
    assert processes(home) == []
    assert [path for path in bench.spool.iterdir() if path.name.startswith("2")] == []


def parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


@pytest.mark.skipif(os.getuid() != 0, reason="only root has privileges to drop")
def test_no_part_of_the_browser_runs_as_root(bench):
    """Started as root, every browser process runs as an unprivileged user."""
    listener, asked = drip_server()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
    words = ["capture", url, "--incident", "T-1", "--allow-private-network"]
    with subprocess.Popen(
        bench.command(*words), env=bench.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as run:
        assert asked.wait(PATIENCE_S)
        line = next(bench.spool.glob("2*/request.json")).read_text()
        home = line.split('"key_log":"')[1].split("/keys.log")[0]
        browsers = processes(f"{home}/keys.log")
        users = {int(Path(f"/proc/{pid}/status").read_text().split("Uid:")[1].split()[0]) for pid in browsers}
        command = b"".join(Path(f"/proc/{pid}/cmdline").read_bytes() for pid in browsers)
        run.send_signal(signal.SIGINT)
        run.communicate(timeout=PATIENCE_S)
    listener.close()
    assert users == {UNPRIVILEGED_UID}
    assert b"--no-sandbox" not in command
    assert run.returncode == 130


@pytest.mark.skipif(os.getuid() != 0, reason="only root starts the browser as another user")
def test_a_temporary_folder_that_shuts_the_browser_out_is_named(bench, tmp_path):
    """Below a folder that root alone may enter no browser starts, and the error says which folder that is."""
    shut = tmp_path / "shut"
    shut.mkdir(mode=0o700)
    inside = replace(bench, extra={"TMPDIR": str(shut)})
    command = inside.command("capture", LIVE, "--incident", "T-1")
    done = subprocess.run(
        command, env=inside.environment(), capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert done.returncode == 1
    assert f"got {shut} [E107]" in done.stderr
    assert list(shut.iterdir()) == []


def test_private_addresses_are_refused_unless_asked_for(bench):
    """Without the option a loopback page is not dialled; the refusal is itself a stored capture."""
    told = bench.run("capture", "http://127.0.0.1:8081/", "--incident", "T-1", code=3)
    (one,) = told["captures"]
    assert one["outcome"] == "failed"
    assert [r["rule"] for r in bench.record(one)["network"]["refusals"]] == ["address-not-public"]
    assert bench.record(one)["network"]["connections"] == []


@pytest.mark.skipif(os.getuid() != 0, reason="only root can mount a small disk")
def test_a_full_spool_is_a_clear_error_and_loses_nothing(bench, tmp_path):
    """When the disk takes no more the run stops and says so; with room again what was received is stored."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", disk], check=True)
    try:
        small = replace(bench, extra={"ARCHIVER_SPOOL": str(disk / "spool")})
        article = "https://www.dala.example/ru/2026/03/obrashchenie-zhurnalistov"
        command = small.command("capture", article, "--incident", "T-1", *small.sites.options())
        done = subprocess.run(
            command, env=small.environment(), capture_output=True, text=True, timeout=PATIENCE_S, check=False
        )
        assert done.returncode == 1
        assert "[E110]" in done.stderr
        assert "No space left on device" in done.stderr
        subprocess.run(["mount", "-o", "remount,size=80m", disk], check=True)
        small.capture(LIVE, code=None)
        listed = {one["url"]: one["completeness"] for one in small.run("list")["captures"]}
        assert listed == {article: "interrupted", LIVE: "complete"}
    finally:
        subprocess.run(["umount", "-l", disk], check=True)
