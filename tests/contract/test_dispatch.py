"""What every dispatch promises, whatever it is made of; see ``archiver.batch.dispatch``."""

from __future__ import annotations

import signal
import threading
from dataclasses import replace

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.contract.dispatching import STORE, Embedded, seed, sixty, start

LABS = {"embedded": Embedded}


@pytest.fixture(params=sorted(LABS))
def lab(request, tmp_path):
    return LABS[request.param](tmp_path)


class Bench:
    """One dispatch, one worker, one run."""

    def __init__(self, lab):
        self.lab = lab
        self.dispatch = lab.open()
        self.worker = self.dispatch.join()

    def enrol(self, *seeds, run="run", **options):
        return self.dispatch.enrol(run, STORE, seeds, **options)

    def claim(self, worker="", run="run", per_host=1, vantages=None):
        return self.dispatch.claim(worker or self.worker, per_host, run=run, vantages=vantages)

    def job(self, **options):
        return self.claim(**options).job

    def urls(self, **options):
        found = []
        while job := self.job(**options):
            found.append(job.seed.url)
        return found

    def end(self, job, state="done", worker="", **facts):
        return self.dispatch.end(worker or self.worker, job, state, **facts)

    def load(self, job, *, busy=False, pause_s=0.0):
        counted = []
        self.dispatch.loaded(job, busy=busy, pause_s=lambda troubles: counted.append(troubles) or pause_s)
        return counted[0]


@pytest.fixture
def bench(lab):
    made = Bench(lab)
    yield made
    made.dispatch.close()


def test_jobs_come_in_the_order_of_the_register_and_each_once(bench):
    """However many there are."""
    assert bench.enrol(*(seed(n) for n in range(1_010))) == 1_010
    assert [one.seed.url for one in bench.dispatch.rest("run")] == [seed(n).url for n in range(1_010)]
    assert [bench.job().seed.url for _ in range(4)] == [seed(n).url for n in range(4)]


def test_a_seed_comes_back_as_it_was(bench):
    """Row, note, origin and vantage survive."""
    whole = replace(
        seed(1), role="source", note="замечание", row={"url": "x", "мой": "ә"}, origin={"kind": "memento"}
    )
    bench.enrol(whole)
    assert bench.job().seed == whole


def test_two_spellings_are_one_job_and_other_stores_incidents_and_vantages_are_others(bench):
    """What is asked for twice is done once; what is asked for in another respect is not the same."""
    other = replace(seed(1), url="HTTP://H1.test:80/1")
    assert bench.enrol(seed(1), seed(1, incident="T-2"), seed(1, vantage="de"), other) == 3
    assert bench.dispatch.enrol("run", "/elsewhere", [seed(1)]) == 4


def test_one_page_of_a_host_at_a_time_from_one_vantage_over_all_workers_and_runs(bench):
    """Another host or another vantage need not wait."""
    bench.enrol(*(seed(n, "a.test") for n in range(3)))
    bench.enrol(seed(9), seed(0, "a.test", vantage="de"))
    bench.enrol(seed(7, "a.test"), run="other")
    second = bench.dispatch.join()
    first, other, elsewhere = bench.job(), bench.job(worker=second), bench.job()
    assert [one.seed.vantage for one in (first, other, elsewhere)] == ["", "", "de"]
    assert other.seed.url == seed(9).url
    assert bench.job() is None
    assert bench.job(worker=second, run="other") is None
    assert bench.job(worker=second, per_host=2).seed.url == seed(1, "a.test").url


def test_a_host_is_left_alone_until_its_pause_is_over(bench):
    """The pause starts when the page is loaded, and troubles in a row are counted until a good answer."""
    bench.enrol(*(seed(n, "a.test") for n in range(4)))
    assert bench.load(bench.job(), busy=True, pause_s=10) == 1
    bench.lab.advance(9)
    claim = bench.claim()
    assert claim.job is None
    assert claim.due_in_s == pytest.approx(1, abs=0.5)
    bench.lab.advance(2)
    assert bench.load(bench.job(), busy=True) == 2
    assert bench.load(bench.job(), busy=False) == 0


def test_what_is_put_off_comes_back_when_its_wait_is_over_and_not_before(bench):
    """Retry gaps are kept, and no job behind it has to wait for it."""
    bench.enrol(seed(1), seed(2))
    bench.end(bench.job(), "put-off", attempts=1, wait_s=60, capture_id="c", over=False)
    assert bench.job().seed.url == seed(2).url
    assert bench.claim().due_in_s == pytest.approx(60, abs=1)
    bench.lab.advance(61)
    again = bench.job()
    assert (again.attempts, again.in_run, again.starts) == (1, 1, 1)


def test_a_wait_is_kept_for_the_next_run(bench):
    """Closing everything in between changes nothing."""
    bench.enrol(seed(1))
    bench.end(bench.job(), "put-off", attempts=1, wait_s=60, capture_id="c")
    bench.dispatch.end_run("run")
    bench.dispatch.leave(bench.worker)
    bench.dispatch.close()
    later = Bench(bench.lab)
    later.enrol(seed(1), run="next")
    assert later.job(run="next") is None
    bench.lab.advance(61)
    assert later.job(run="next").attempts == 1
    later.dispatch.close()


def test_time_that_runs_backwards_stalls_nothing(bench):
    """A wait that began in what is now the future is over."""
    bench.enrol(seed(1))
    bench.lab.advance(366 * 86_400)
    job = bench.job()
    bench.load(job, busy=True, pause_s=60)
    bench.end(job, "put-off", attempts=1, wait_s=60, over=False)
    assert bench.job() is None
    bench.lab.advance(-366 * 86_400)
    assert bench.claim().job.key == job.key


def test_a_paused_vantage_gives_out_nothing_and_no_other_waits_for_it(bench):
    """Until the pause ends or somebody ends it."""
    bench.enrol(seed(1, vantage="kz"), seed(2, vantage="de"))
    bench.dispatch.pause_vantage("kz", 300)
    assert bench.job().seed.vantage == "de"
    assert bench.claim().due_in_s == pytest.approx(300, abs=1)
    bench.dispatch.free_vantages(["kz"])
    assert bench.job().seed.vantage == "kz"


def test_a_worker_gets_jobs_of_its_own_vantages_alone(bench):
    """Vantages are never crossed, whatever the run."""
    bench.enrol(seed(1, vantage="kz"), seed(2, vantage="de"), seed(3))
    bench.enrol(seed(4, vantage="kz"), run="other")
    assert set(bench.urls(run=None, vantages=["kz"])) == {seed(1).url, seed(4).url}
    assert bench.urls(run=None, vantages=[]) == []
    assert bench.urls(run="run", vantages=["de", ""]) == [seed(2).url, seed(3).url]


def test_a_job_knows_the_run_it_was_given_out_for(bench):
    """Attempts are counted in that run."""
    bench.enrol(seed(1), run="other")
    assert bench.job(run=None).run == "other"


def test_a_dead_workers_jobs_come_back_after_all_others_with_their_starts_counted(bench):
    """What a program died over may be what killed it."""
    bench.enrol(*(seed(n) for n in range(3)))
    dead = bench.dispatch.join()
    first = bench.job(worker=dead)
    assert bench.dispatch.reap([dead]) == 1
    assert bench.urls() == [seed(n).url for n in (1, 2, 0)]
    assert first.starts == 1


def test_starts_are_counted_over_workers_and_forgotten_with_a_capture(bench):
    """The fourth start of a poison page says that there were three before; a captured page has none."""
    bench.enrol(seed(1))
    for _ in range(3):
        dead = bench.dispatch.join()
        bench.job(worker=dead)
        bench.dispatch.reap([dead])
    job = bench.job()
    assert job.starts == 4
    bench.end(job, "put-off", capture_id="c", attempts=1, over=False)
    assert bench.job().starts == 1


def test_leaving_in_good_order_counts_no_start(bench):
    """Ctrl-C is no sign of a poison page."""
    bench.enrol(seed(1))
    bench.job()
    bench.dispatch.leave(bench.worker)
    assert bench.job(worker=bench.dispatch.join()).starts == 1


def test_a_job_given_back_unstarted_counts_no_start(bench):
    """A dead vantage is no sign of a poison page either."""
    bench.enrol(seed(1))
    bench.dispatch.unstart(bench.worker, bench.job())
    assert bench.job().starts == 1


def test_a_lost_lease_changes_nothing_any_more(bench):
    """A worker that hung and woke up cannot undo what the next one did."""
    bench.enrol(seed(1))
    hung = bench.dispatch.join()
    stale = bench.job(worker=hung)
    bench.dispatch.reap([hung])
    fresh = bench.job()
    assert bench.end(stale, "failed", worker=hung) is False
    bench.dispatch.unstart(hung, stale)
    assert bench.job() is None
    assert bench.end(fresh, "done", capture_id="c") is True


def test_what_has_failed_for_good_is_not_given_out_unless_asked_for_afresh(bench):
    """It is told as what is left, and ``afresh`` forgets it."""
    bench.enrol(seed(1))
    bench.end(bench.job(), "failed", reason="captured 6 times", attempts=6)
    bench.enrol(seed(1), run="next")
    assert bench.job(run="next") is None
    assert [(one.state, one.reason) for one in bench.dispatch.rest("next")] == [
        ("failed", "captured 6 times")
    ]
    bench.enrol(seed(1), run="hand", afresh=True)
    job = bench.job(run="hand")
    assert (job.starts, job.attempts) == (1, 0)


def test_what_is_done_is_looked_at_again_since_the_store_may_have_lost_it(bench):
    """Dispatch never says by itself that a capture exists."""
    bench.enrol(seed(1))
    bench.end(bench.job(), "done", capture_id="c")
    bench.enrol(seed(1), run="next")
    assert bench.job(run="next") is not None


def test_what_needs_no_capture_is_not_given_out(bench):
    """Unless it is under way: then it is finished."""
    bench.enrol(seed(1), seed(2))
    running = bench.job()
    waiting = next(one for one in bench.dispatch.rest("run") if one.state == "waiting")
    bench.dispatch.skip(waiting.key, "in the store")
    bench.dispatch.skip(running.key, "in the store")
    assert bench.job() is None
    assert bench.dispatch.progress("run") == {"running": 1, "skipped": 1}


def test_what_is_urgent_jumps_the_queue(bench):
    """A page that is being deleted right now comes before thousands, those that failed before included."""
    bench.enrol(*(seed(n) for n in range(5)))
    bench.enrol(seed(3), seed(8), urgent=True)
    bench.enrol(seed(7), urgent=True)
    assert bench.urls() == [seed(n).url for n in (7, 3, 8, 0, 1, 2, 4)]


def test_a_cancelled_run_gives_out_nothing_and_what_is_under_way_is_finished(bench):
    """Its jobs stay for other runs, and a run that asks again gets them."""
    bench.enrol(seed(1), seed(2), seed(3))
    bench.enrol(seed(3), run="other")
    running = bench.job()
    assert bench.dispatch.cancel("run") == 2
    assert bench.job() is None
    assert bench.dispatch.progress("run") == {"running": 1, "cancelled": 2}
    assert bench.end(running, "put-off", attempts=1, over=False)
    assert bench.job() is None
    assert bench.job(run="other").seed.url == seed(3).url
    bench.enrol(seed(2))
    assert bench.job().seed.url == seed(2).url


def test_progress_counts_every_job_once_by_its_state(bench):
    """Nothing is missing from the sum."""
    bench.enrol(*(seed(n) for n in range(6)))
    bench.end(bench.job(), "done", capture_id="c")
    bench.end(bench.job(), "failed")
    bench.end(bench.job(), "put-off", wait_s=60)
    bench.end(bench.job(), "skipped")
    bench.job()
    expected = {"done": 1, "failed": 1, "put-off": 1, "skipped": 1, "running": 1, "waiting": 1}
    assert bench.dispatch.progress("run") == expected
    assert bench.dispatch.progress("nobody's") == {}


def test_the_rest_says_what_is_undone_and_why(bench):
    """In the order of the register."""
    bench.enrol(seed(1), seed(2), seed(3))
    bench.end(bench.job(), "put-off", reason="overloaded", wait_s=60)
    bench.end(bench.job(), "done", capture_id="c")
    told = list(bench.dispatch.rest("run"))
    assert [(one.seed.url, one.state) for one in told] == [(seed(1).url, "put-off"), (seed(3).url, "waiting")]
    assert told[0].reason == "overloaded"
    assert told[0].due_in_s == pytest.approx(60, abs=1)


def test_a_memento_that_was_found_and_not_captured_joins_the_next_run(bench):
    """A kill between finding and capturing it does not lose it."""
    bench.enrol(seed(1), seed(2))
    job = bench.job()
    memento = replace(seed(3, "archive.test"), role="memento")
    bench.dispatch.enrol_memento(job, STORE, memento)
    bench.end(job, "done", capture_id="c")
    assert bench.urls() == [seed(2).url, memento.url]
    bench.dispatch.reap([bench.worker])
    bench.enrol(seed(1), seed(2), run="next")
    assert memento.url in bench.urls(run="next", worker=bench.dispatch.join())


def test_a_round_is_begun_once_until_it_is_closed(bench):
    """A broken ``--again`` is gone on with and not begun anew."""
    assert bench.dispatch.open_round("r") is True
    assert bench.dispatch.open_round("r") is False
    bench.dispatch.close_round("r")
    assert bench.dispatch.open_round("r") is True


def test_captures_made_before_a_round_do_not_count(bench):
    """Each job remembers how many there were."""
    bench.enrol(seed(1), seed(2))
    bench.dispatch.count_from("run", lambda one: one.line)
    assert [bench.job().held_before, bench.job().held_before] == [2, 3]


def test_a_worker_that_lives_is_not_dead(bench):
    """Nor is the one that asks, nor one that left."""
    other = bench.lab.open()
    living, gone = other.join(), other.join()
    other.beat(living)
    other.leave(gone)
    assert bench.dispatch.dead(bench.worker) == []
    assert other.dead(living) == []
    other.close()


def _end(run):
    run.stdin.write("\n")
    run.stdin.close()


def test_processes_over_the_same_run_do_each_job_once(lab):
    """Three at once, each told the same 60 seeds: nothing is lost, nothing done twice, no host has two."""
    lab.open().close()
    runs = [start(lab.address, "run") for _ in range(3)]
    for run in runs:
        assert run.stdout.readline() == "ready\n"
    lines: list[str] = []
    threads = [threading.Thread(target=lambda r=run: lines.extend(r.stdout)) for run in runs]
    for thread in threads:
        thread.start()
    for run in runs:
        _end(run)
    for thread in threads:
        thread.join(60)
    for run in runs:
        run.wait(10)
        run.stdout.close()
    started = [line.split()[2] for line in lines if line.startswith("start")]
    assert sorted(started) == sorted(one.url for one in sixty())


def test_the_jobs_of_a_killed_process_are_found_and_done_by_another(lab):
    """Three are killed over the same page; then it says so, and nothing else was lost."""
    dispatch = lab.open()
    dispatch.enrol("run", STORE, sixty())
    poison = seed(4).url
    done = set()
    for _ in range(3):
        victim = start(lab.address, "run", poison)
        _end(victim)
        assert victim.wait(60) == -signal.SIGKILL
        done |= {line.split()[2] for line in victim.stdout if line.startswith("end")}
        victim.stdout.close()
    worker = dispatch.join()
    assert dispatch.reap(dispatch.dead(worker)) == 1
    job = dispatch.claim(worker, 1, run="run").job
    assert (job.seed.url, job.starts) == (poison, 4)
    assert done == {one.url for one in sixty()} - {poison}
    dispatch.close()


class Runs(RuleBasedStateMachine):
    """Workers come, claim, end jobs, leave, die and are reaped, and runs are cancelled, in any order."""

    lab = Embedded

    @initialize()
    def begin(self):
        import tempfile
        from pathlib import Path

        self.folder = tempfile.TemporaryDirectory()
        self.dispatch = self.lab(Path(self.folder.name)).open()
        self.leases: dict[str, list] = {}
        self.runs = 0

    @rule()
    def another_worker(self):
        self.leases[self.dispatch.join()] = []

    @rule()
    def another_run(self):
        self.dispatch.enrol(f"run-{self.runs}", STORE, [seed(n, f"h{n % 2}.test") for n in range(4)])
        self.runs += 1

    def worker(self, pick):
        return sorted(self.leases)[pick % len(self.leases)]

    @precondition(lambda self: self.leases)
    @rule(pick=st.integers(0, 9), per_host=st.integers(1, 2))
    def claims(self, pick, per_host):
        held = [one for jobs in self.leases.values() for one in jobs]
        if job := self.dispatch.claim(self.worker(pick), per_host).job:
            assert job.key not in {one.key for one in held}
            assert sum(one.host == job.host for one in held) < per_host
            self.leases[self.worker(pick)].append(job)

    @precondition(lambda self: any(self.leases.values()))
    @rule(pick=st.integers(0, 9))
    def ends_a_job(self, pick):
        names = [name for name in sorted(self.leases) if self.leases[name]]
        name = names[pick % len(names)]
        assert self.dispatch.end(name, self.leases[name].pop(), "done", capture_id="c")

    @precondition(lambda self: self.leases)
    @rule(pick=st.integers(0, 9), dies=st.booleans())
    def goes(self, pick, dies):
        name = self.worker(pick)
        if dies:
            assert self.dispatch.reap([name]) == len(self.leases.pop(name))
        else:
            self.dispatch.leave(name)
            self.leases.pop(name)

    @precondition(lambda self: self.runs)
    @rule(pick=st.integers(0, 9))
    def is_cancelled(self, pick):
        self.dispatch.cancel(f"run-{pick % self.runs}")

    @invariant()
    def leases_are_what_is_running_and_nothing_is_lost(self):
        if hasattr(self, "leases") and self.runs:
            running = {one.key for jobs in self.leases.values() for one in jobs}
            for number in range(self.runs):
                counts = self.dispatch.progress(f"run-{number}")
                assert sum(counts.values()) == 4
                assert counts.get("running", 0) == len(running)

    def teardown(self):
        if hasattr(self, "leases"):
            self.dispatch.close()
            self.folder.cleanup()


TestRuns = Runs.TestCase
TestRuns.settings = hypothesis_settings(max_examples=15, stateful_step_count=20)
