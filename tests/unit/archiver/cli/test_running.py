import io
import json
from dataclasses import replace

import pytest
from rich.console import Console

from archiver.batch.account import Account
from archiver.cli.run_view import RunView
from archiver.cli.running import print_run, say_row
from archiver.errors import ExitCode
from archiver.incidents.register import RowProblem, Seed
from archiver.summary import summarise
from tests.unit.manifests.records import record

SEED = Seed("https://a.test/\x1b[31m", ("KZ-1",), line=3)
GOOD = summarise(record(), "unsealed")


def account(*captures, **facts):
    made = Account(**facts)
    for one in captures:
        made.take(one)
    return made


def view(*, quiet=False, terminal=False):
    out = io.StringIO()
    made = RunView(Account(), Console(file=out, width=200, force_terminal=terminal), quiet=quiet)
    made.out = out
    return made


@pytest.mark.parametrize("outcome", ["blocked", "removed", "login-wall", "unreachable", "failed", "unclear"])
def test_any_page_that_is_not_captured_makes_the_run_one_in_part(outcome):
    """One outcome other than captured among many is exit code 3."""
    other = replace(GOOD, outcome=outcome, url="https://b.test/")
    assert account(GOOD, other, replace(GOOD, url="https://c.test/")).exit_code == ExitCode.PARTIAL


def test_a_seed_left_undone_makes_the_run_one_in_part():
    """What is put off for a later run is not done."""
    made = account(GOOD)
    made.leave(SEED, "put off", failed=False)
    assert made.exit_code == ExitCode.PARTIAL


def test_a_capture_that_is_not_sealed_though_there_is_a_key_makes_the_run_one_in_part():
    """Sealed, it is done."""
    assert account(GOOD, to_be_sealed=True).exit_code == ExitCode.PARTIAL
    assert account(replace(GOOD, state="sealed"), to_be_sealed=True).exit_code == ExitCode.DONE


def test_a_failure_of_ours_counts_for_more_than_any_page():
    """Exit code 1, whatever was captured."""
    assert account(GOOD, failures=["packing failed"]).exit_code == ExitCode.FAILED


def test_a_run_that_captured_everything_or_had_it_already_is_done():
    """Captured pages and skipped seeds are exit code 0."""
    made = account(GOOD)
    made.skip(SEED, "captured before")
    assert made.exit_code == ExitCode.DONE


def test_a_second_attempt_that_succeeds_makes_good_for_the_first():
    """A site that was overloaded and then was not is done; another vantage makes good for nothing."""
    down = replace(GOOD, outcome="overloaded")
    assert account(down, GOOD).exit_code == ExitCode.DONE
    assert account(GOOD, down).exit_code == ExitCode.PARTIAL
    assert account(down, replace(GOOD, vantage="elsewhere")).exit_code == ExitCode.PARTIAL


def test_the_document_holds_captures_skipped_left_and_problems(capfd):
    """One JSON object says what was made, what was left out or undone, and which rows were bad."""
    made = account(GOOD, problems=["a note"])
    made.skip(SEED, "captured before")
    made.leave(SEED, "failed", failed=True)
    rows = [RowProblem(4, "no url", "fill it in")]
    print_run(made, as_json=True, rows=rows, duplicates=[RowProblem(5, "twice", "remove one")])
    document = json.loads(capfd.readouterr().out)
    assert document["captures"] == json.loads(json.dumps([GOOD.to_json()]))
    assert document["skipped"][0]["line"] == 3
    assert document["left"][0]["failed"] is True
    assert document["summary"]["outcomes"] == {"captured": 1}
    assert [(one["kind"], one.get("line")) for one in document["problems"]] == [
        ("row", 4),
        ("duplicate", 5),
        ("run", None),
    ]


def test_the_view_counts_seeds_and_what_an_earlier_run_left():
    """A capture that was completed first is one more than the register has; the bar still ends full."""
    shown = view()
    shown.enrolled(2)
    shown.finished(GOOD)
    shown.started(SEED)
    shown.phase(SEED, "pack")
    shown.skipped(SEED, "captured before")
    shown.started(replace(SEED, url=GOOD.url))
    shown.finished(GOOD)
    assert (shown.over, shown.total) == (3, 3)


def test_what_is_shown_on_the_way_is_clean():
    """URLs, titles and notes reach the terminal without control characters, each on its line."""
    shown = view()
    shown.started(SEED)
    shown.finished(replace(GOOD, url=SEED.url + "[bold]"))
    shown.problem("odd\r\n\x1b]0;x\x07")
    lines = shown.out.getvalue().splitlines()
    assert len(lines) == 2
    assert all(line.isprintable() for line in lines)
    assert "[bold]" in lines[0]


def test_the_live_view_says_what_runs_and_what_came_of_it():
    """Totals, what runs now with its vantage, and failures by kind are there; control characters are not."""
    shown = view(terminal=True)
    shown.enrolled(4)
    shown.started(replace(SEED, vantage="ru-msk"))
    shown.finished(replace(GOOD, outcome="overloaded"))
    shown.skipped(SEED, "captured before")
    out = io.StringIO()
    Console(file=out, width=200).print(shown)
    text = out.getvalue()
    assert "2/5" in text
    assert "load https://a.test/" in text
    assert "from ru-msk" in text
    assert "1 overloaded, 1 skipped" in text
    assert "\x1b" not in text


def test_a_quiet_run_tells_failures_and_nothing_else():
    """Cron gets no mail for a run that went well."""
    shown = view(quiet=True)
    shown.started(SEED)
    shown.finished(GOOD)
    shown.waiting(30)
    assert shown.out.getvalue() == ""
    shown.failed("packing failed")
    assert "packing failed" in shown.out.getvalue()


def test_rows_and_reasons_are_told_clean(capfd):
    """What a register or a page says of itself cannot steer the terminal either."""
    say_row("r\x1b.csv", RowProblem(3, "\x1b[31m\n", "correct it"))
    made = account(replace(GOOD, outcome="failed", outcome_reason="\x1b[31m"))
    made.leave(SEED, "\x1b[31m", failed=True)
    print_run(made, as_json=False)
    out, err = capfd.readouterr()
    assert "\x1b" not in out + err
    assert "line 3" in err


def test_a_quiet_run_tells_what_went_wrong_and_nothing_else(capfd):
    """Nothing at all when all is well, since cron makes a letter of any word; else the pages and why."""
    good = account(GOOD)
    good.skip(SEED, "captured before")
    print_run(good, as_json=False, quiet=True)
    assert capfd.readouterr() == ("", "")
    bad = account(GOOD, replace(GOOD, capture_id="20260101t000000z-0000000000", outcome="blocked"))
    bad.leave(SEED, "put off until noon", failed=False)
    print_run(bad, as_json=False, quiet=True)
    told = capfd.readouterr()
    assert told.out == ""
    assert "blocked" in told.err
    assert "put off until noon" in told.err
    assert len(told.err.splitlines()) == 2
