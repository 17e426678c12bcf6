import io
from dataclasses import replace

import pytest
from rich.console import Console
from rich.progress import Progress as Bar

from archiver.cli.running import Run, _as_json, _Display, print_run, say_row
from archiver.errors import ExitCode
from archiver.incidents.register import RowProblem, Seed
from archiver.summary import summarise
from tests.unit.manifests.records import record

SEED = Seed("https://a.test/\x1b[31m", ("KZ-1",), line=3)
GOOD = summarise(record(), "unsealed")


@pytest.fixture
def display():
    out = io.StringIO()
    bar = Bar(console=Console(file=out, width=200), disable=True)
    made = _Display(Run(), bar, 2)
    made.out = out
    return made


@pytest.mark.parametrize("outcome", ["blocked", "removed", "login-wall", "unreachable", "failed", "unclear"])
def test_any_page_that_is_not_captured_makes_the_run_one_in_part(outcome):
    """One outcome other than captured among many is exit code 3."""
    assert Run([GOOD, replace(GOOD, outcome=outcome)]).exit_code == ExitCode.PARTIAL


def test_a_run_that_captured_everything_or_had_it_already_is_done():
    """Captured pages and skipped seeds are exit code 0."""
    assert Run([GOOD], skipped=[(SEED, "captured before")]).exit_code == ExitCode.DONE


def test_the_document_holds_captures_skipped_and_problems():
    """One JSON object says what was made, what was left out, and which rows were bad."""
    run = Run([GOOD], [(SEED, "captured before")], ["a note"])
    rows = [RowProblem(4, "no url", "fill it in")]
    document = _as_json(run, rows, [RowProblem(5, "twice", "remove one")])
    assert document["captures"] == [GOOD.to_json()]
    assert document["skipped"][0]["line"] == 3
    assert [(one["kind"], one.get("line")) for one in document["problems"]] == [
        ("row", 4),
        ("duplicate", 5),
        ("run", None),
    ]


def test_the_bar_counts_seeds_and_what_an_earlier_run_left(display):
    """A capture that was completed first is one more than the register has; the bar still ends full."""
    display.finished(GOOD)
    display.started(SEED)
    display.phase(SEED, "pack")
    display.skipped(SEED, "captured before")
    display.finished(GOOD)
    (task,) = display._bar.tasks
    assert (task.completed, task.total) == (3, 3)


def test_what_is_shown_on_the_way_is_clean(display):
    """URLs, titles and notes reach the terminal without control characters, each on its line."""
    display.started(SEED)
    display.finished(replace(GOOD, url=SEED.url + "[bold]"))
    display.problem("odd\r\n\x1b]0;x\x07")
    lines = display.out.getvalue().splitlines()
    assert len(lines) == 2
    assert all(line.isprintable() for line in lines)
    assert "[bold]" in lines[0]


def test_rows_and_reasons_are_told_clean(capfd):
    """What a register or a page says of itself cannot steer the terminal either."""
    say_row("r\x1b.csv", RowProblem(3, "\x1b[31m\n", "correct it"))
    print_run(Run([replace(GOOD, outcome="failed", outcome_reason="\x1b[31m")]), as_json=False)
    out, err = capfd.readouterr()
    assert "\x1b" not in out + err
    assert "line 3" in err
