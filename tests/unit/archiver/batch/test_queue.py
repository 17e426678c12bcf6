"""What the embedded dispatch promises beyond the contract: its file, its locks, its clock."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess

import pytest

from archiver.batch import queries
from archiver.batch import queue as queues
from archiver.batch.presence import Presence, dead_of
from archiver.batch.queue import Queue
from archiver.errors import EnvironmentUnfit
from tests.contract.dispatching import STORE, seed, start


@pytest.fixture
def path(tmp_path):
    return tmp_path / "queue.sqlite"


def claimed(queue):
    queue.enrol("run", STORE, [seed(1)])
    return queue.claim(queue.join(), 1, run="run").job


@pytest.mark.parametrize("content", [b"", b"not a database, and long enough to be looked at" * 100])
def test_a_damaged_queue_is_put_aside_and_begun_anew(path, content):
    """It costs waits and never a capture; an empty file is no damage."""
    path.write_bytes(content)
    queue = Queue(path)
    assert claimed(queue) is not None
    assert (queue.put_aside is not None) == bool(content)
    queue.close()


def test_a_database_of_somebody_else_is_put_aside_whole(path):
    """It is not written into."""
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE letters (text)")
    other.close()
    queue = Queue(path)
    queue.close()
    with sqlite3.connect(queue.put_aside) as other:
        assert other.execute("SELECT name FROM sqlite_master").fetchall() == [("letters",)]
    other.close()


def test_a_queue_that_cannot_be_made_is_a_clear_error(tmp_path):
    """No traceback, one thing to do."""
    (tmp_path / "file").write_text("")
    with pytest.raises(EnvironmentUnfit) as told:
        Queue(tmp_path / "file" / "queue.sqlite")
    assert told.value.code == "E700"
    assert told.value.hint


@pytest.mark.skipif(os.getuid() != 0, reason="only root can mount a small disk")
def test_a_full_disk_is_told_as_such_and_costs_no_job(tmp_path):
    """E110 as anywhere in the spool; with room again the queue is whole."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", disk], check=True)
    try:
        queue = Queue(disk / "queue.sqlite")
        assert queue.enrol("run", STORE, [seed(1)]) == 1
        with pytest.raises(EnvironmentUnfit, match=r"full|space") as told:
            queue.enrol("run", STORE, (seed(n) for n in range(2, 9_000)))
        assert told.value.code == "E110"
        subprocess.run(["mount", "-o", "remount,size=8m", disk], check=True)
        assert queue.claim(queue.join(), 1, run="run").job.seed == seed(1)
        queue.close()
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


def test_what_is_committed_is_on_the_disk_and_every_transaction_takes_the_lock_first(path):
    """Write-ahead mode with full syncing; a second writer waits before it reads."""
    queue = Queue(path)
    with queue._transaction() as connection:
        values = [
            connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "synchronous")
        ]
        other = sqlite3.connect(path, timeout=0)
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")
        other.close()
    assert values == ["wal", 2]
    queue.close()


def test_fifty_thousand_rows_are_enrolled_and_claimed_without_a_scan(path):
    """The question for the next job uses the index of the run's open jobs, in their order."""
    queue = Queue(path)
    total = queue.enrol("run", STORE, (seed(n, f"h{n % 700}.test") for n in range(50_000)))
    assert total == 50_000
    assert queue.claim(queue.join(), 1, run="run").job.seed.url.endswith("/0")
    question = queries.claimable(queries.wanted("run", None), 1.0, 1)
    with queue._transaction() as connection:
        text = str(question.compile(compile_kwargs={"literal_binds": True}))
        plan = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}")]
    assert any("members_open" in step for step in plan)
    assert not any("TEMP B-TREE" in step or step.startswith("SCAN") for step in plan)
    queue.close()


def test_a_killed_process_is_found_dead_by_its_lock(path):
    """No clock is asked and no time has to pass; its lock file goes too."""
    queue = Queue(path)
    victim = start(f"embedded:{path}", "run", seed(4).url)
    victim.stdin.write("\n")
    victim.stdin.close()
    assert victim.wait(60) == -signal.SIGKILL
    victim.stdout.close()
    worker = queue.join()
    (dead,) = queue.dead(worker)
    assert dead.startswith(f"{victim.pid}-")
    assert [file.stem for file in (path.parent / "runs").iterdir()] == [worker]
    queue.close()


def test_a_lock_that_is_held_is_a_life(tmp_path):
    """One whose file is gone is dead: it left and could not say so, or somebody cleared the folder."""
    living = Presence(tmp_path)
    assert dead_of(tmp_path, [living.worker, "nobody"]) == ["nobody"]
    living.end()
    assert dead_of(tmp_path, [living.worker]) == [living.worker]


@pytest.mark.parametrize("step_s", [-365 * 86_400, -3, 3, 365 * 86_400])
def test_setting_the_time_of_day_moves_no_wait(path, monkeypatch, step_s):
    """A gap between two pages of a host neither ends nor stalls when the clock is set meanwhile."""
    queue = Queue(path)
    job = claimed(queue)
    queue.loaded(job, busy=True, pause_s=lambda _: 600)
    queue.enrol("run", STORE, [seed(2, job.host)])
    wrong = queues.time.time() + step_s
    monkeypatch.setattr(queues.time, "time", lambda: wrong)
    later = Queue(path)
    for one in (queue, later):
        claim = one.claim(one.join(), 1, run="run")
        assert claim.job is None
        assert claim.due_in_s == pytest.approx(600, abs=30)
        one.close()


def test_a_boot_with_a_wrong_clock_stalls_nothing(path, monkeypatch):
    """Waits that began in what is now the future are over; those of the last boot that are not go on."""
    began = queues.time.time()
    queue = Queue(path)
    job = claimed(queue)
    queue.loaded(job, busy=True, pause_s=lambda _: 600)
    queue.enrol("run", STORE, [seed(2, job.host)])
    queue.close()
    for boot, time_of_day, is_held in (("second", 60, True), ("third", -365 * 86_400, False)):
        monkeypatch.setattr(queues, "boot_id", lambda boot=boot: boot)
        monkeypatch.setattr(queues.time, "time", lambda shown=time_of_day: began + shown)
        queue = Queue(path)
        assert (queue.claim(queue.join(), 1, run="run").job is None) is is_held
        queue.close()
