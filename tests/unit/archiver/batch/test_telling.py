"""How a batch is told: hooks, the account that needs no memory, the command's own bad input."""

from __future__ import annotations

import http.server
import json
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

from archiver.batch.account import Account, DiskList
from archiver.batch.notify import notify
from archiver.batch.settings import Notify
from benchmarks.batch import environment, stub_batch

ARCHIVER = Path(sys.executable).with_name("archiver")
SUMMARY = {"register": "r.csv", "captures": 3, "exit_code": 3}


@contextmanager
def hook(status=200):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            got.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_): ...

    got: list[tuple[str, bytes]] = []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/hook/secret-token", got
    finally:
        server.shutdown()
        server.server_close()


def test_a_webhook_gets_the_summary(tmp_path):
    """As JSON, once."""
    with hook() as (address, got):
        assert notify(Notify(webhook=address), SUMMARY) == []
    assert [(path, json.loads(body)) for path, body in got] == [("/hook/secret-token", SUMMARY)]


def test_a_command_gets_the_summary_on_its_standard_input(tmp_path):
    """Whatever it prints stays out of the way."""
    command = (
        sys.executable,
        "-c",
        f"import sys; open({str(tmp_path / 'got')!r}, 'w').write(sys.stdin.read())",
    )
    assert notify(Notify(command=command), SUMMARY) == []
    assert json.loads((tmp_path / "got").read_text()) == SUMMARY


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (Notify(command=("/nonexistent/tell",)), "/nonexistent/tell"),
        (Notify(command=("sh", "-c", "echo no address >&2; exit 7")), "7 (no address)"),
        (Notify(webhook="http://user:pw@127.0.0.1:1/hook/secret-token"), "127.0.0.1:1"),
    ],
)
def test_a_hook_that_fails_is_a_problem_that_says_no_secret(settings, expected):
    """It undoes nothing; a path or password of the address may be all that protects it."""
    (problem,) = notify(settings, SUMMARY)
    assert expected in problem
    assert "secret-token" not in problem
    assert "pw" not in problem


def test_a_webhook_that_refuses_does_not_keep_the_command_from_being_told(tmp_path):
    """Each hook for itself."""
    with hook(500) as (address, _):
        made = Notify(webhook=address, command=("touch", str(tmp_path / "told")))
        assert len(notify(made, SUMMARY)) == 1
    assert (tmp_path / "told").exists()


def test_what_is_kept_on_disk_reads_like_a_list():
    """While it grows, and for the JSON encoder."""
    kept = DiskList()
    assert not kept
    kept.append({"a": "ә"})
    first = iter(kept)
    assert next(first) == {"a": "ә"}
    kept.append({"b": 2})
    assert next(first) == {"b": 2}
    assert (len(kept), json.loads(json.dumps(kept))) == (2, [{"a": "ә"}, {"b": 2}])
    assert Account().summary()["exit_code"] == 0


def batch(folder, text):
    register = folder / "register.csv"
    register.write_text(text)
    command = [str(ARCHIVER), "batch", str(register), "--store", str(folder / "store")]
    return subprocess.run(
        command, env=environment(folder), capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize(
    "row", ['T-1,"http://a.test/', 'T-1,"http://a.test/"x', 'T-1,"http://a.test/\n\n"",']
)
def test_a_register_of_one_row_with_a_broken_quote_is_a_clear_error(tmp_path, row):
    """The line is named, nothing is loaded, exit code 2."""
    done = batch(tmp_path, f"incident_id,url\n{row}")
    assert done.returncode == 2, done.stderr
    assert "line 2" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "store" / "captures").exists()


def test_memory_does_not_grow_with_the_number_of_seeds(tmp_path):
    """A register ten times as long needs less than 12 MB more; all of its seeds are done.

    ``benchmarks.batch memory`` measures 100 against 10,000.
    """
    small, large = stub_batch(tmp_path, 100), stub_batch(tmp_path, 1_000)
    assert (small["captures"], large["captures"]) == (100, 1_000)
    assert large["peak_mb"] - small["peak_mb"] < 12
