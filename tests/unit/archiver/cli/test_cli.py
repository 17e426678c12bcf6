import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest

from archiver.cli import main as main_module
from archiver.cli.main import cli, run
from archiver.cli.options import EXIT_MEANINGS
from archiver.cli.output import clean
from archiver.cli.reference import reference, walk
from archiver.errors import ExitCode
from tests.unit.archiver.cli.stored import HTML, PNG, Stored, capture_id, put

ROOT = Path(__file__).parents[4]


@pytest.fixture(autouse=True)
def machine(tmp_path, monkeypatch):
    """A home of its own for each test, with no settings in it."""
    for variable in [name for name in os.environ if name.startswith(("ARCHIVER_", "XDG_"))]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def stored(tmp_path):
    root = tmp_path / "archive"
    put(root, 1, url="https://a.test/путь", title="Әділдік")
    put(root, 2, incident="KZ-2", kind="blocked")
    return Stored(root)


@pytest.fixture
def call(capfd):
    def call(*arguments):
        code = run(arguments)
        out, err = capfd.readouterr()
        assert "Traceback" not in out + err
        return code, out, err

    return call


def test_list_prints_every_capture_with_what_scripts_rely_on(call, stored):
    """The JSON objects have the fields that are promised, oldest first."""
    code, out, _ = call("list", "--json")
    captures = json.loads(out)["captures"]
    assert code == ExitCode.DONE
    assert [one["capture_id"] for one in captures] == [capture_id(1), capture_id(2)]
    promised = {"capture_id", "incident_ids", "url", "outcome", "state", "started_at", "bytes", "artifacts"}
    assert promised <= captures[0].keys()
    assert captures[0]["state"] == "unsealed"
    assert captures[0]["register_line"] == 2


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (["--incident", "KZ-2"], [2]),
        (["--url", "HTTPS://A.test:443/путь"], [1]),
        (["--incident", "KZ-1", "--url", "https://a.test/"], []),
        (["--incident", "KZ"], []),
    ],
)
def test_list_finds_by_incident_and_url(call, stored, options, found):
    """Both filters narrow the list; an incident is compared whole."""
    code, out, _ = call("list", "--json", *options)
    assert code == ExitCode.DONE
    assert [one["capture_id"] for one in json.loads(out)["captures"]] == [
        capture_id(number) for number in found
    ]


def test_the_table_keeps_ids_and_urls_whole(call, stored):
    """Piped, the table cuts nothing: a script that greps it finds the ID and the URL."""
    put(stored.root, 3, url="https://a.test/" + "x" * 80)
    _, out, _ = call("list")
    assert all(capture_id(number) in out for number in (1, 2, 3))
    assert "x" * 80 in out
    assert "https://a.test/путь" in out


def test_the_list_keeps_up_with_the_store(call, stored):
    """What another machine put into the store or took out of it shows at once; the catalogue only helps."""
    call("list")
    put(stored.root, 3)
    for path in sorted(stored.file(1, "").rglob("*")):
        path.unlink()
    stored.file(1, "").rmdir()
    _, out, _ = call("list", "--json")
    assert [one["capture_id"] for one in json.loads(out)["captures"]] == [capture_id(2), capture_id(3)]


def test_a_broken_record_is_told_and_stops_no_list(call, stored):
    """One unreadable record is a warning; the other captures are listed."""
    stored.overwrite(1, "record.json", b"{}")
    code, out, err = call("list", "--json")
    assert [one["capture_id"] for one in json.loads(out)["captures"]] == [capture_id(2)]
    assert code == ExitCode.DONE
    assert f"capture {capture_id(1)}: left out" in err


def test_the_record_of_another_capture_is_not_taken_for_this_one(call, stored):
    """A record copied under another ID is refused by every command that reads it."""
    stored.overwrite(1, "record.json", stored.file(2, "record.json").read_bytes())
    code, _, err = call("show", capture_id(1))
    assert code == ExitCode.FAILED
    assert "E261" in err


def test_show_takes_the_beginning_of_an_id(call, stored):
    """Enough of an ID to be the only one is enough; the record comes with --json."""
    code, out, _ = call("show", capture_id(1)[:15], "--json")
    shown = json.loads(out)
    assert code == ExitCode.DONE
    assert shown["capture_id"] == shown["record"]["capture_id"] == capture_id(1)
    told = call("show", capture_id(1))[1]
    assert "sha256" in told
    assert "90 of 100" in told


@pytest.mark.parametrize("asked", ["2026", "20270101t000000z-7f3k2m9qx4", "", "x", "../captures", "%"])
@pytest.mark.parametrize("command", ["show", "open", "verify", "export"])
def test_an_id_of_no_or_of_several_captures_is_refused(call, stored, command, asked):
    """Every command that takes an ID refuses one that names no single capture."""
    further = ["--output", "out"] if command == "export" else []
    code, out, err = call(command, asked, *further)
    assert code == ExitCode.USAGE
    assert out == ""
    assert "hint:" in err


def test_verify_says_what_is_not_proven(call, stored):
    """An unsealed capture never passes: its time is unproven, and the exit code says so."""
    code, out, _ = call("verify", capture_id(1), "--json")
    report = json.loads(out)
    assert code == ExitCode.EVIDENCE_INDETERMINATE
    assert report["overall"] == "indeterminate"
    assert report["reports"][0]["verdicts"]["integrity"] != "failed"


@pytest.mark.parametrize("name", ["screenshot-full.png", "dom.html", "record.json"])
def test_verify_fails_on_a_changed_file(call, stored, name):
    """One byte more in any file fails the capture, and the whole run."""
    stored.overwrite(2, name, stored.file(2, name).read_bytes() + b" ")
    code, out, _ = call("verify", "--all", "--json")
    assert code == ExitCode.EVIDENCE_FAILED
    assert [one["overall"] for one in json.loads(out)["reports"]] == ["indeterminate", "failed"]


def test_a_seal_is_judged_by_the_trust_file_only(call, stored, tmp_path):
    """Without a trust file a seal is not checked; with one, a signature that is none fails."""
    stored.file(1, "seal").mkdir()
    stored.file(1, "seal/record.json.sig").write_text("no signature")
    (tmp_path / "trust.toml").write_text('format = "evidence-trust/1"\n')
    assert call("verify", capture_id(1))[0] == ExitCode.EVIDENCE_INDETERMINATE
    assert call("verify", capture_id(1), "--trust", "trust.toml")[0] == ExitCode.EVIDENCE_FAILED


@pytest.mark.parametrize("content", ["", "x", 'format = "other/1"', None])
def test_a_trust_file_that_cannot_be_used_is_a_usage_error(call, stored, tmp_path, content):
    """Nothing is verified by half a trust file."""
    if content is not None:
        (tmp_path / "trust.toml").write_text(content)
    code, out, err = call("verify", "--all", "--trust", "trust.toml")
    assert (code, out) == (ExitCode.USAGE, "")
    assert "error: trust file" in err


def test_a_capture_without_a_record_is_neither_proven_nor_refuted(call, stored):
    """What a broken-off run left is named by verify --all, and the others are verified all the same."""
    stored.file(1, "record.json").unlink()
    code, out, _ = call("verify", "--all", "--json")
    report = json.loads(out)
    assert code == ExitCode.EVIDENCE_INDETERMINATE
    assert report["unfinished"] == [capture_id(1)]
    assert len(report["reports"]) == 1
    assert call("verify", capture_id(1))[0] == ExitCode.EVIDENCE_FAILED


def test_verify_fails_on_a_file_beside_the_listed_ones_and_on_a_link(call, stored):
    """Whatever no record lists is found, also what no store would ever list."""
    stored.file(1, "extra.txt").write_text("x")
    stored.file(2, "link.txt").symlink_to("/etc/passwd")
    code, out, _ = call("verify", "--all")
    assert code == ExitCode.EVIDENCE_FAILED
    assert out.count("FAILED (") == 2


def test_an_export_is_verified_and_listed_as_a_store(call, stored, tmp_path):
    """The exported folder stands alone: verify and list take it, also one capture of it, also renamed."""
    code, out, err = call("export", "--incident", "KZ-1", "--output", "out", "--json")
    assert code == ExitCode.DONE
    assert json.loads(out)["captures"] == [capture_id(1)]
    assert "passwords" in err
    assert call("verify", "out")[0] == ExitCode.EVIDENCE_INDETERMINATE
    one = tmp_path / "out" / "data" / "captures" / capture_id(1)
    assert call("verify", str(one))[0] == ExitCode.EVIDENCE_INDETERMINATE
    one.rename(tmp_path / "handed-over")
    assert call("verify", "handed-over")[0] == ExitCode.EVIDENCE_INDETERMINATE
    assert (tmp_path / "out/data/incidents/KZ-1" / f"{capture_id(1)}.json").is_file()


def test_an_export_can_be_run_again_and_added_to(call, stored):
    """A second export into the same folder finds the same files and adds the new ones."""
    call("export", capture_id(1), "--output", "out")
    code, _, _ = call("export", capture_id(1), capture_id(2), "--output", "out")
    assert code == ExitCode.DONE
    assert len(json.loads(call("list", "--store", "out/data", "--json")[1])["captures"]) == 2


def test_an_altered_capture_is_not_exported(call, stored, tmp_path):
    """A file that is not what its record states fails the export, and no record is written there."""
    stored.overwrite(1, "dom.html", b"other")
    code, _, err = call("export", capture_id(1), "--output", "out")
    assert code == ExitCode.EVIDENCE_FAILED
    assert "sha256" in err
    assert not list((tmp_path / "out").rglob("record.json"))


def test_a_capture_with_a_file_gone_is_not_exported(call, stored):
    """A listed file that is not there is failed evidence, not a store that refuses."""
    stored.file(1, "dom.html").unlink()
    assert call("export", capture_id(1), "--output", "out")[0] == ExitCode.EVIDENCE_FAILED


def test_an_export_into_a_folder_with_other_files_is_refused(call, stored, tmp_path):
    """Somebody's folder is not mixed with evidence; neither is a file taken for one."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("x")
    for output in ("mine", "mine/letter.txt"):
        assert call("export", capture_id(1), "--output", output)[0] == ExitCode.USAGE


def test_export_wants_captures_or_an_incident(call, stored):
    """Neither, both, or an incident without captures exports nothing."""
    for arguments in (
        [],
        [capture_id(1), "--incident", "KZ-1"],
        ["--incident", "KZ-9"],
        ["--incident", "K Z"],
    ):
        assert call("export", *arguments, "--output", "out")[0] == ExitCode.USAGE


def test_open_hands_out_only_what_is_as_recorded(call, stored, monkeypatch):
    """The screenshot is copied, checked and opened; an altered one is refused and not left lying about."""
    launched = []
    monkeypatch.setattr(click, "launch", lambda path: launched.append(path) or 0)
    code, out, _ = call("open", capture_id(1))
    assert code == ExitCode.DONE
    assert Path(out.strip()).read_bytes() == PNG
    assert launched == [out.strip()]
    stored.overwrite(2, "screenshot-full.png", b"other")
    code, out, err = call("open", capture_id(2))
    assert (code, out) == (ExitCode.EVIDENCE_FAILED, "")
    assert "E275" in err
    assert not [path for path in Path.home().rglob("*") if path.is_file() and capture_id(2) in str(path)]


def test_open_never_starts_what_could_run_scripts(call, stored, monkeypatch):
    """The captured page itself is named, not opened; --json opens nothing at all."""
    monkeypatch.setattr(click, "launch", lambda _: pytest.fail("opened"))
    code, out, err = call("open", capture_id(1), "--file", "dom.html")
    assert code == ExitCode.DONE
    assert Path(out.strip()).read_bytes() == HTML
    assert "not opened" in err
    assert json.loads(call("open", capture_id(1), "--json")[1])["path"]
    assert call("open", capture_id(1), "--file", "../record.json")[0] == ExitCode.USAGE


def test_reindex_makes_the_catalogue_anew(call, stored):
    """From the store alone; a record that cannot be read makes it a job done in part."""
    for path in Path.home().rglob("*.sqlite"):
        path.unlink()
    assert json.loads(call("reindex", "--json")[1]) == {"captures": 2, "unreadable": {}}
    stored.overwrite(1, "record.json", b"[]")
    code, out, _ = call("reindex", "--json")
    assert code == ExitCode.PARTIAL
    assert list(json.loads(out)["unreadable"]) == [capture_id(1)]


def test_a_broken_catalogue_heals_by_itself(call, stored):
    """Whatever happened to the index, the list is right."""
    call("list")
    (path,) = Path.home().rglob("*.sqlite")
    data = path.read_bytes()
    for damage in (b"", b"rubbish" * 1000, data[:4096] + b"\xff" * (len(data) - 4096)):
        path.write_bytes(damage)
        assert len(json.loads(call("list", "--json")[1])["captures"]) == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ["capture", "https://a.test/"],
        ["capture", "--incident", "KZ-1"],
        ["capture", "a.test", "--incident", "KZ-1"],
        ["capture", "https://u:p@a.test/", "--incident", "KZ-1"],
        ["capture", "file:///etc/passwd", "--incident", "KZ-1"],
        ["capture", "https://a.test/", "--incident", "../x"],
        ["capture", "https://a.test/", "--incident", "KZ-1", "--jobs", "0"],
        ["capture", "https://a.test/", "--incident", "KZ-1", "--jobs", "two"],
        ["capture", "https://a.test/", "--incident", "KZ-1", "--resolve", "a.test"],
        ["capture", "https://a.test/", "--incident", "KZ-1", "--ca", "none.pem"],
        ["capture", "https://a.test/", "--incident", "KZ-1", "--note", "x" * 40_000],
        ["capture", "https://a.test/", "--incident", "KZ-1", "--note", "\udcff"],
        ["capture", "https://a.test/", "--incident", "KZ-1", "--store", "ftp://a/b"],
        ["capture", "https://a.test/", "--incident", "KZ-1", "--config", "none.toml"],
        ["batch"],
        ["batch", "none.csv"],
        ["batch", "bad.csv"],
        ["list", "--incident", "a b"],
        ["list", "--url", "a.test"],
        ["list", "--store", ""],
        ["verify"],
        ["verify", "x", "--all"],
        ["export", "x"],
        ["nonsense"],
        ["--nonsense"],
        ["show"],
    ],
)
def test_what_cannot_be_carried_out_is_a_usage_error_with_a_hint(call, tmp_path, arguments):
    """Exit code 2, one line of error with its code, one line of hint, nothing on standard output."""
    (tmp_path / "bad.csv").write_text("incident_id,url\nKZ 1,https://a.test/\nKZ-1,ftp://a.test/\n")
    code, out, err = call(*arguments)
    assert code == ExitCode.USAGE
    assert out == ""
    assert "error: " in err
    assert "hint: " in err
    assert "[E" in err


def test_bad_rows_are_told_with_their_lines(call, tmp_path):
    """Before anything is captured, each bad row is named."""
    (tmp_path / "bad.csv").write_text("incident_id,url\nKZ 1,https://a.test/\nKZ-1,ftp://a.test/\n")
    _, _, err = call("batch", "bad.csv")
    assert "bad.csv: line 2:" in err
    assert "bad.csv: line 3:" in err


def test_a_store_that_is_not_there_is_a_store_that_refuses(call):
    """Reading commands do not make a store; they exit with 6."""
    for arguments in (["list"], ["verify", "--all"], ["show", "x"], ["reindex"]):
        code, _, err = call(*arguments)
        assert code == ExitCode.STORE_REFUSED
        assert "hint:" in err


def test_an_unforeseen_error_is_one_line_unless_asked(call, monkeypatch, capfd):
    """A defect of ours exits with 1 and says how to see more; ARCHIVER_DEBUG=1 shows where."""
    monkeypatch.setattr("archiver.cli.doctor.check_machine", lambda _: 1 / 0)
    code, out, err = call("doctor")
    assert (code, out) == (ExitCode.FAILED, "")
    assert "internal error: ZeroDivisionError" in err
    assert "ARCHIVER_DEBUG=1" in err
    monkeypatch.setenv("ARCHIVER_DEBUG", "1")
    run(["doctor"])
    assert "Traceback" in capfd.readouterr().err


def test_doctor_tells_what_fails_and_what_to_do(call, tmp_path):
    """A browser that is none and a store that cannot be fail the machine, each with a thing to do."""
    (tmp_path / "archiver.toml").write_text('browser = "none"\nstore = "missing/archive"\n')
    code, out, _ = call("doctor", "--json")
    checks = {one["name"]: one for one in json.loads(out)["checks"]}
    assert code == ExitCode.FAILED
    assert checks["browser"]["state"] == checks["store"]["state"] == "fails"
    assert checks["browser"]["todo"]
    assert checks.keys() == {"browser", "self-test", "store", "spool", "clock", "fonts"}
    assert not (tmp_path / "missing").exists()


def test_a_time_server_that_does_not_answer_is_a_warning(call, tmp_path):
    """A closed port on loopback is no time server; the machine can capture all the same."""
    (tmp_path / "archiver.toml").write_text('ntp_servers = ["127.0.0.1:9", "x:y"]\n')
    checks = {one["name"]: one for one in json.loads(call("doctor", "--json")[1])["checks"]}
    assert checks["clock"]["state"] == "warning"
    assert "127.0.0.1:9" in checks["clock"]["found"]


@pytest.mark.parametrize(
    "text",
    ["\x1b]0;owned\x07", "\x1b[31mred", "a\r\nb", "\u202egnp.exe", "\u2066x", "\x9b31m", "a\x00b", "\ud800"],
)
def test_nothing_from_a_page_can_steer_the_terminal(text):
    """Control sequences, line breaks, direction marks and half characters do not get through."""
    assert clean(text).isprintable()
    assert len(clean(text * 100, 50)) == 50


def test_a_hostile_title_reaches_no_terminal(call, stored):
    """Neither the text form nor the JSON of a capture carries a title's control characters."""
    put(stored.root, 3, title="\x1b]0;owned\x07\u202e[bold red]x[/]", url="https://a.test/[link=http://b]")
    for arguments in (["show", capture_id(3)], ["list"], ["show", capture_id(3), "--json"]):
        code, out, err = call(*arguments)
        assert code == ExitCode.DONE
        assert not {"\x1b", "\x07", "\u202e"} & set(out + err)


def test_every_command_states_exit_codes_and_every_option_has_help():
    """No command or option is undocumented, and each help has the same table of exit codes."""
    assert set(EXIT_MEANINGS) == set(ExitCode)
    for name, command in walk("archiver", cli):
        text = command.get_help(click.Context(command, info_name=name))
        assert all(meaning[:40] in text for meaning in EXIT_MEANINGS.values()), name
        assert all(option.help for option in command.params if isinstance(option, click.Option)), name
        options = {text for option in command.params for text in option.opts}
        assert isinstance(command, click.Group) or {"--json", "--config"} <= options, name


def test_the_reference_is_that_of_the_program():
    """docs/cli.md is what the commands say of themselves today."""
    text = (ROOT / "docs" / "cli.md").read_text()
    assert text == reference(), "run `python -m archiver.cli.reference > docs/cli.md`"


def program(*arguments, **options):
    command = [sys.executable, "-c", "from archiver.cli.main import main; main()", *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


def test_a_reader_that_has_had_enough_is_no_error(stored):
    """``archiver list | head`` ends quietly."""
    reader, writer = os.pipe()
    os.close(reader)
    process = subprocess.run(
        [sys.executable, "-c", "from archiver.cli.main import main; main()", "list"],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writer)
    assert (process.returncode, process.stderr) == (0, "")


def test_the_commands_that_need_no_browser_start_without_one(stored):
    """List and export run without Playwright and boto3, verify without the catalogue's database too."""
    absent = ["playwright", "boto3", "botocore"]
    for arguments, expected, missing in (
        (["verify", "--all"], 5, [*absent, "sqlalchemy", "openpyxl", "warcio"]),
        (["list"], 0, absent),
        (["export", capture_id(1), "--output", "out"], 0, absent),
    ):
        code = f"import sys\nfor name in {missing}: sys.modules[name] = None\n"
        code += "from archiver.cli.main import run\nsys.exit(run(sys.argv[1:]))"
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == expected, done.stderr


def test_ctrl_c_exits_with_130(tmp_path):
    """An interrupt is told in one line, with the exit code that shells know."""
    os.mkfifo(tmp_path / "register.csv")
    process = program("batch", "register.csv", cwd=tmp_path)
    # The program is reading the register once somebody can open it for writing.
    with (tmp_path / "register.csv").open("w"):
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert "error: interrupted" in err
    assert "Traceback" not in err


def test_every_kind_of_error_has_an_exit_code():
    """Each error of our packages leads to the exit code of whoever is at fault."""
    from manifests.errors import ManifestError, VerificationError
    from storage import errors

    expected = {
        errors.InvalidKey: 2,
        errors.InvalidStoreUrl: 2,
        errors.ObjectMissing: 4,
        errors.DigestMismatch: 4,
        errors.ObjectConflict: 6,
        errors.StoreRefused: 6,
        errors.StoreUnavailable: 6,
        errors.SourceUnreadable: 1,
        ManifestError: 1,
        VerificationError: 4,
    }
    for kind, code in expected.items():
        assert main_module._exit_code(kind("x", code="E000")) == code, kind
