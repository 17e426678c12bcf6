import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from archiver.errors import ExitCode

ROOT = Path(__file__).parents[4]
PAGE = "https://tm.example/s/dala_live"
BLOCKED = "https://www.ulys-media.example/ru/2026/01/freedom"
PROGRAM = [sys.executable, "-c", "from archiver.cli.main import main; main()"]

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def sites(tmp_path_factory):
    """The example sites, which end with us however we end."""
    command = [sys.executable, "-m", "examples.sites", "--until-input-ends"]
    folder = tmp_path_factory.mktemp("sites")
    process = subprocess.Popen(
        [*command, "--folder", folder], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    yield json.loads("".join(iter(process.stdout.readline, "\n")))
    process.stdin.close()
    process.wait(timeout=30)
    process.stdout.close()


@pytest.fixture
def start(tmp_path):
    """Start the program in a folder and a home of its own."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("ARCHIVER_", "XDG_"))
    }
    environment |= {"HOME": str(tmp_path / "home"), "PYTHONPATH": str(ROOT)}

    def start(*arguments, **options):
        return subprocess.Popen(
            [*PROGRAM, *arguments],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )

    return start


@pytest.fixture
def call(start):
    def call(*arguments):
        process = start(*arguments)
        out, err = process.communicate(timeout=120)
        assert "Traceback" not in err
        return process.returncode, out, err

    return call


@pytest.fixture
def network(sites):
    options = ["--allow-private-network", "--ca", sites["ca"]]
    return options + [part for rule in sites["resolve"] for part in ("--resolve", rule)]


def test_a_page_is_captured_once_unless_asked_again(call, network):
    """Exit 0 and one JSON document; the second run skips, --again captures once more; all is intact."""
    arguments = ["capture", PAGE, "--incident", "KZ-1", "--note", "Жазба", *network, "--json"]
    code, out, err = call(*arguments)
    (made,) = json.loads(out)["captures"]
    assert code == ExitCode.DONE, err
    promised = {"capture_id", "incident_ids", "url", "outcome", "state", "started_at", "bytes", "artifacts"}
    assert promised <= made.keys()
    assert (made["outcome"], made["url"], made["incident_ids"]) == ("captured", PAGE, ["KZ-1"])
    code, out, _ = call(*arguments)
    document = json.loads(out)
    assert (code, document["captures"], len(document["skipped"])) == (ExitCode.DONE, [], 1)
    assert call(*arguments, "--again")[0] == ExitCode.DONE
    code, out, _ = call("verify", "--all", "--json")
    reports = json.loads(out)["reports"]
    assert code == ExitCode.EVIDENCE_INDETERMINATE
    assert [report["verdicts"]["integrity"] for report in reports] == ["passed", "passed"]


def test_a_batch_keeps_bad_rows_blocked_pages_and_unknown_columns(call, network, tmp_path):
    """Exit 3: the bad row is told by its line, the blocked page is stored with its row in the record."""
    register = tmp_path / "r.csv"
    register.write_text(f"incident_id;url;note;Автор\nKZ 1;{PAGE};;\nKZ-2;{BLOCKED};;Ә. Қ.\n")
    code, out, err = call("batch", "r.csv", *network, "--json")
    document = json.loads(out)
    (made,) = document["captures"]
    assert code == ExitCode.PARTIAL, err
    assert made["outcome"] == "blocked"
    assert [(one["kind"], one["line"]) for one in document["problems"]] == [("row", 2)]
    assert "r.csv: line 2:" in err
    shown = json.loads(call("show", made["capture_id"], "--json")[1])
    cells = {cell["column"]: cell["value"] for cell in shown["record"]["seed"]["row"]["cells"]}
    assert cells["Автор"] == "Ә. Қ."
    assert shown["record"]["seed"]["row"]["line"] == 3


def test_a_run_that_is_interrupted_is_completed_by_the_next(start, call, network, tmp_path):
    """Ctrl-C ends with 130 and no traceback; what was begun is stored by the next run, nothing twice."""
    register = tmp_path / "r.csv"
    rows = "".join(f"KZ-{number},{PAGE}\n" for number in range(3))
    register.write_text(f"incident_id,url\n{rows}")
    process = start("batch", "r.csv", *network, process_group=0)
    told = process.stderr.readline()
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert told.startswith("captured: ")
    assert process.returncode == ExitCode.INTERRUPTED
    assert "error: interrupted" in err
    assert "Traceback" not in err
    assert call("batch", "r.csv", *network)[0] in {ExitCode.DONE, ExitCode.PARTIAL}
    captures = json.loads(call("list", "--json")[1])["captures"]
    whole = [one["incident_ids"][0] for one in captures if one["completeness"] != "interrupted"]
    assert sorted(whole) == ["KZ-0", "KZ-1", "KZ-2"]


def test_no_browser_is_told_and_loses_nothing(call, tmp_path):
    """A machine without a browser gets one clear error and exit code 1."""
    (tmp_path / "archiver.toml").write_text('browser = "none"\n')
    code, out, err = call("capture", PAGE, "--incident", "KZ-1")
    assert (code, out) == (ExitCode.FAILED, "")
    assert "error: browser" in err
    assert "hint:" in err
