from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from dataclasses import replace

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from archiver.batch.presence import Presence
from archiver.batch.queue import Queue
from archiver.errors import EnvironmentUnfit
from archiver.incidents.register import Seed

STORE = "/store"
NOW = 1_000_000.0


def seed(number: int, host: str = "", incident: str = "T-1", vantage: str = "") -> Seed:
    return Seed(f"http://{host or f'h{number}.test'}/{number}", (incident,), line=number + 1, vantage=vantage)


@pytest.fixture
def queue(tmp_path):
    made = Queue(tmp_path / "queue.sqlite")
    made.begin("run")
    yield made
    made.close()


def claim(queue, now=NOW, run="run", per_host=1):
    return queue.claim(run, now, per_host).job


def urls(queue, **facts):
    found = []
    while job := claim(queue, **facts):
        found.append(job.seed.url)
    return found


def test_jobs_come_in_the_order_of_the_register(queue):
    """Each is given out once."""
    queue.enrol("run", STORE, [seed(n) for n in range(620)])
    assert urls(queue)[:600] == [seed(n).url for n in range(600)]


def test_a_seed_comes_back_as_it_was(queue):
    """Row, note, origin and vantage survive the database."""
    whole = replace(
        seed(1), role="source", note="замечание", row={"url": "x", "мой": "ә"}, origin={"kind": "memento"}
    )
    queue.enrol("run", STORE, [whole])
    assert claim(queue).seed == whole


def test_one_page_of_a_host_at_a_time_from_one_vantage(queue):
    """Another host or another vantage need not wait."""
    queue.enrol("run", STORE, [seed(n, "a.test") for n in range(3)])
    queue.enrol("run", STORE, [seed(9), seed(0, "a.test", vantage="de")])
    first, other, elsewhere = claim(queue), claim(queue), claim(queue)
    assert [one.seed.vantage for one in (first, other, elsewhere)] == ["", "", "de"]
    assert other.seed.url == seed(9).url
    assert claim(queue) is None
    assert claim(queue, per_host=2).seed.url == seed(1, "a.test").url


def test_a_host_is_left_alone_until_its_pause_is_over(queue):
    """The pause starts when the page is loaded, and troubles in a row are counted until a good answer."""
    queue.enrol("run", STORE, [seed(n, "a.test") for n in range(4)])
    counted = []

    def load(now, *, busy):
        queue.loaded(
            claim(queue, now), now, busy=busy, pause_s=lambda troubles: counted.append(troubles) or 10
        )

    load(NOW, busy=True)
    assert claim(queue, NOW + 9.9) is None
    assert queue.claim("run", NOW + 1, 1).due_at == NOW + 10
    load(NOW + 10, busy=True)
    load(NOW + 20, busy=False)
    assert counted == [1, 2, 0]


def test_a_clock_that_was_set_back_ends_waits(queue):
    """Put off while the clock was a year ahead, a seed does not wait a year."""
    queue.enrol("run", STORE, [seed(1)])
    ahead = NOW + 366 * 86_400
    job = claim(queue, ahead)
    queue.loaded(job, ahead, busy=True, pause_s=lambda _: 60)
    queue.end("run", job, "put-off", now=ahead, not_before=ahead + 60, over=False)
    assert claim(queue, ahead + 30) is None
    assert claim(queue, NOW).key == job.key


def test_a_dead_runs_jobs_come_back_after_all_others_with_their_starts_counted(queue):
    """What a program died over may be what killed it."""
    queue.begin("dead")
    queue.enrol("dead", STORE, [seed(n) for n in range(3)])
    queue.enrol("run", STORE, [seed(n) for n in range(3)])
    first = claim(queue, run="dead")
    assert queue.reap(["dead"]) == 1
    assert urls(queue) == [seed(n).url for n in (1, 2, 0)]
    assert first.starts == 1


def test_starts_are_counted_over_runs_and_forgotten_with_a_capture(queue):
    """The fourth start of a poison page says that there were three before; a captured page has none."""
    for number in range(3):
        queue.begin(f"dead-{number}")
        queue.enrol(f"dead-{number}", STORE, [seed(1)])
        claim(queue, run=f"dead-{number}")
        queue.reap([f"dead-{number}"])
    queue.enrol("run", STORE, [seed(1)])
    job = claim(queue)
    assert job.starts == 4
    queue.end("run", job, "put-off", capture_id="c", attempts=1, over=False)
    assert claim(queue).starts == 1


def test_what_has_failed_for_good_is_not_given_out_unless_asked_for_afresh(queue):
    """It is told as what is left, and ``afresh`` forgets it."""
    queue.enrol("run", STORE, [seed(1)])
    queue.end("run", claim(queue), "failed", reason="captured 6 times", attempts=6)
    queue.leave("run")
    queue.begin("next")
    queue.enrol("next", STORE, [seed(1)])
    assert claim(queue, run="next") is None
    assert [(one.state, one.reason) for one in queue.rest("next")] == [("failed", "captured 6 times")]
    queue.begin("hand")
    queue.enrol("hand", STORE, [seed(1)], afresh=True)
    job = claim(queue, run="hand")
    assert (job.starts, job.attempts) == (1, 0)


def test_what_is_done_is_looked_at_again_since_the_store_may_have_lost_it(queue):
    """The queue never says by itself that a capture exists."""
    queue.enrol("run", STORE, [seed(1)])
    queue.end("run", claim(queue), "done", capture_id="c")
    queue.begin("next")
    queue.enrol("next", STORE, [seed(1)])
    assert claim(queue, run="next") is not None


def test_a_lost_lease_changes_nothing_any_more(queue):
    """A run that hung and woke up cannot undo what the next one did."""
    queue.begin("hung")
    queue.enrol("hung", STORE, [seed(1)])
    stale = claim(queue, run="hung")
    queue.reap(["hung"])
    queue.enrol("run", STORE, [seed(1)])
    fresh = claim(queue)
    assert queue.end("hung", stale, "failed") is False
    assert queue.end("run", fresh, "done", capture_id="c") is True


def test_other_stores_incidents_and_vantages_are_other_jobs(queue):
    """The same URL may be asked for in each of them; two spellings of one URL are one."""
    other = replace(seed(1), url="HTTP://H1.test:80/1")
    many = [seed(1), seed(1, incident="T-2"), seed(1, vantage="de"), other]
    assert queue.enrol("run", STORE, many) == 3
    assert queue.enrol("run", "/elsewhere", [seed(1)]) == 4


def test_a_memento_that_was_found_and_not_captured_joins_the_next_run(queue):
    """A kill between finding and capturing it does not lose it."""
    queue.enrol("run", STORE, [seed(1), seed(2)])
    job = claim(queue)
    memento = replace(seed(3, "archive.test"), role="memento")
    queue.enrol_memento("run", STORE, memento, job)
    queue.end("run", job, "done", capture_id="c")
    assert urls(queue) == [seed(2).url, memento.url]
    queue.reap(["run"])
    queue.begin("next")
    queue.enrol("next", STORE, [seed(1), seed(2)])
    assert memento.url in urls(queue, run="next")


def test_leaving_takes_no_start_with_it(queue):
    """An orderly end, such as Ctrl-C, is no sign of a poison page."""
    queue.enrol("run", STORE, [seed(1)])
    claim(queue)
    queue.leave("run")
    queue.begin("next")
    queue.enrol("next", STORE, [seed(1)])
    assert claim(queue, run="next").starts == 1


def test_a_round_is_begun_once_until_it_is_closed(queue):
    """A broken ``--again`` is gone on with and not begun anew."""
    assert queue.open_round("r") is True
    assert queue.open_round("r") is False
    queue.close_round("r")
    assert queue.open_round("r") is True


@pytest.mark.parametrize("content", [b"", b"not a database, and long enough to be looked at" * 100])
def test_a_damaged_queue_is_put_aside_and_begun_anew(tmp_path, content):
    """It costs waits and never a capture; an empty file is no damage."""
    path = tmp_path / "queue.sqlite"
    path.write_bytes(content)
    queue = Queue(path)
    queue.begin("run")
    queue.enrol("run", STORE, [seed(1)])
    assert claim(queue) is not None
    assert (queue.put_aside is not None) == bool(content)
    queue.close()


def test_a_database_of_somebody_else_is_put_aside_whole(tmp_path):
    """It is not written into."""
    path = tmp_path / "queue.sqlite"
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


def test_fifty_thousand_rows_are_enrolled_and_claimed_without_a_scan(queue):
    """The question for the next job uses the index of the run's open jobs, in their order."""
    total = queue.enrol("run", STORE, (seed(n, f"h{n % 700}.test") for n in range(50_000)))
    assert total == 50_000
    assert claim(queue).seed.url.endswith("/0")
    with queue._engine.begin() as connection:
        from archiver.batch import queries

        text = str(queries.claimable("run", NOW, 1).compile(compile_kwargs={"literal_binds": True}))
        plan = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}")]
    assert any("members_open" in step for step in plan)
    assert not any("TEMP B-TREE" in step or step.startswith("SCAN") for step in plan)


CHILD = """
import sys
from archiver.batch.presence import Presence
from archiver.batch.queue import Queue
from pathlib import Path
folder = Path(sys.argv[1])
queue, presence = Queue(folder / "queue.sqlite"), Presence(folder / "runs")
queue.begin(presence.run_id)
from tests.unit.archiver.batch.test_queue import STORE, seed
queue.enrol(presence.run_id, STORE, [seed(n, "a.test" if n % 2 else "") for n in range(60)])
print("ready", flush=True)
sys.stdin.readline()
while True:
    claim = queue.claim(presence.run_id, 0, 1)
    if claim.job is None:
        if claim.running == 0 and claim.due_at is None:
            break
        continue
    print("start", claim.job.host, claim.job.seed.url, flush=True)
    if claim.job.starts == 1 and claim.job.seed.url == sys.argv[2]:
        import os, signal
        os.kill(os.getpid(), signal.SIGKILL)
    print("end", claim.job.host, claim.job.seed.url, flush=True)
    queue.loaded(claim.job, 0, busy=False, pause_s=lambda _: 0)
    queue.end(presence.run_id, claim.job, "done", capture_id="c")
"""


def child(folder, poison=""):
    command = [sys.executable, "-c", CHILD, str(folder), poison]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_processes_over_the_same_register_do_each_job_once(tmp_path):
    """Three at once, each told the same 60 seeds: nothing is lost, nothing done twice."""
    Queue(tmp_path / "queue.sqlite").close()
    runs = [child(tmp_path) for _ in range(3)]
    for run in runs:
        assert run.stdout.readline() == "ready\n"
    lines: list[str] = []
    threads = [threading.Thread(target=lambda r=run: lines.extend(r.stdout)) for run in runs]
    for thread in threads:
        thread.start()
    for run in runs:
        run.stdin.write("\n")
        run.stdin.close()
    for thread in threads:
        thread.join(60)
    for run in runs:
        run.wait(10)
        run.stdout.close()
    started = [line.split()[2] for line in lines if line.startswith("start")]
    assert sorted(started) == sorted(seed(n, "a.test" if n % 2 else "").url for n in range(60))


def test_a_killed_process_is_found_dead_by_its_lock_and_its_job_is_free_again(tmp_path):
    """No clock is asked and no time has to pass."""
    victim = child(tmp_path, seed(4).url)
    victim.stdin.write("\n")
    victim.stdin.close()
    assert victim.wait(60) == -signal.SIGKILL
    victim.stdout.close()
    queue, presence = Queue(tmp_path / "queue.sqlite"), Presence(tmp_path / "runs")
    queue.begin(presence.run_id)
    queue.enrol(presence.run_id, STORE, [seed(4)])
    assert claim(queue, run=presence.run_id) is None
    dead = presence.dead(queue.beat(presence.run_id))
    assert len(dead) == 1
    assert dead[0].startswith(f"{victim.pid}-")
    assert queue.reap(dead) == 1
    assert claim(queue, run=presence.run_id).starts == 2
    assert list((tmp_path / "runs").iterdir()) == [presence._path]
    presence.end()
    queue.close()


def test_a_living_process_is_not_found_dead(tmp_path):
    """Nor is this one by itself."""
    other = child(tmp_path)
    assert other.stdout.readline() == "ready\n"
    queue, presence = Queue(tmp_path / "queue.sqlite"), Presence(tmp_path / "runs")
    queue.begin(presence.run_id)
    beats = queue.beat(presence.run_id)
    assert len(beats) == 1
    assert presence.dead([*beats, presence.run_id]) == []
    other.stdin.close()
    os.kill(other.pid, signal.SIGKILL)
    other.wait()
    other.stdout.close()
    presence.end()
    queue.close()


class Runs(RuleBasedStateMachine):
    """Runs come, claim, end jobs, die and are reaped, in any order."""

    @initialize()
    def begin(self):
        import tempfile
        from pathlib import Path

        self.folder = tempfile.TemporaryDirectory()
        self.queue = Queue(Path(self.folder.name) / "queue.sqlite")
        self.leases: dict[str, list] = {}
        self.done: list[str] = []
        self.count = 0

    @rule()
    def another_run(self):
        name = f"run-{self.count}"
        self.count += 1
        self.queue.begin(name)
        self.queue.enrol(name, STORE, [seed(n, f"h{n % 2}.test") for n in range(4)])
        self.leases[name] = []

    @rule(pick=st.integers(0, 9), per_host=st.integers(1, 2))
    def claims(self, pick, per_host):
        if self.leases:
            name = sorted(self.leases)[pick % len(self.leases)]
            job = self.queue.claim(name, NOW, per_host).job
            if job:
                held = {one.key for jobs in self.leases.values() for one in jobs}
                assert job.key not in held
                self.leases[name].append(job)

    @rule(pick=st.integers(0, 9))
    def ends_a_job(self, pick):
        names = [name for name in sorted(self.leases) if self.leases[name]]
        if names:
            name = names[pick % len(names)]
            job = self.leases[name].pop()
            assert self.queue.end(name, job, "done", capture_id="c")

    @rule(pick=st.integers(0, 9))
    def dies(self, pick):
        if self.leases:
            name = sorted(self.leases)[pick % len(self.leases)]
            assert self.queue.reap([name]) == len(self.leases.pop(name))

    @invariant()
    def every_lease_has_a_living_owner(self):
        if hasattr(self, "queue"):
            with self.queue._engine.begin() as connection:
                owners = connection.exec_driver_sql(
                    "SELECT owner, count(*) FROM jobs WHERE state = 'running' GROUP BY owner"
                ).all()
            assert dict(map(tuple, owners)) == {n: len(jobs) for n, jobs in self.leases.items() if jobs}

    def teardown(self):
        if hasattr(self, "queue"):
            self.queue.close()
            self.folder.cleanup()


TestRuns = Runs.TestCase
TestRuns.settings = hypothesis_settings(max_examples=15, stateful_step_count=20, deadline=None)
