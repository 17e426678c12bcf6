import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.config import load_settings
from archiver.errors import ArchiverError

FILE = """
store = "evidence"
jobs = 3
operator = "A. B."
resolve = ["a.test:127.0.0.1"]
ca_files = ["ca.pem"]
[view]
width_px = 1440
[limits]
load_ms = 5000
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "archiver.toml"
    path.write_text(FILE)
    return path


def test_each_layer_is_stronger_than_the_one_before(file):
    """An option beats the environment, the environment beats the file, the file beats the default."""
    environment = {"ARCHIVER_JOBS": "4", "ARCHIVER_OPERATOR": "C. D.", "ARCHIVER_VIEW_HEIGHT_PX": "900"}
    settings = load_settings(file, environment, {"jobs": 5, "operator": None})
    assert (settings.jobs, settings.operator) == (5, "C. D.")
    assert (settings.view.width_px, settings.view.height_px, settings.view.scale_percent) == (1440, 900, 100)
    assert settings.limits.load_ms == 5000


def test_lists_of_options_come_before_those_of_the_file(file):
    """A rule given by option is looked at first, and a root given by option is trusted besides the others."""
    settings = load_settings(file, {}, {"resolve": ("*:127.0.0.2",), "ca_files": ("/more.pem",)})
    assert settings.resolve == ("*:127.0.0.2", "a.test:127.0.0.1")
    assert settings.ca_files[0] == "/more.pem"


def test_paths_of_the_file_are_taken_from_its_folder(file, monkeypatch, tmp_path):
    """The same file means the same from every working directory; a bucket and a home stay what they are."""
    monkeypatch.chdir("/")
    settings = load_settings(file, {}, {})
    assert settings.store == str(tmp_path / "evidence")
    assert settings.ca_files == (str(tmp_path / "ca.pem"),)
    file.write_text('store = "s3://bucket/x"\nspool = "~/spool"')
    monkeypatch.setenv("HOME", "/home/e")
    settings = load_settings(file, {}, {})
    assert (settings.store, settings.spool) == ("s3://bucket/x", "/home/e/spool")
    file.write_text('stores = ["~/a", "b", "s3://bucket/x", "s3://other@bucket"]')
    settings = load_settings(file, {"HOME": "/home/e"}, {})
    assert settings.stores == ("/home/e/a", str(file.parent / "b"), "s3://bucket/x", "s3://other@bucket")


def test_the_file_is_looked_for_where_it_is_said(file, monkeypatch, tmp_path):
    """$ARCHIVER_CONFIG, then the working directory, then the XDG folder."""
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    assert load_settings(None, {}, {}).jobs == 2
    assert load_settings(None, {"ARCHIVER_CONFIG": str(file)}, {}).jobs == 3
    (tmp_path / "archiver").mkdir()
    file.rename(tmp_path / "archiver" / "archiver.toml")
    assert load_settings(None, {"XDG_CONFIG_HOME": str(tmp_path)}, {}).jobs == 3
    (empty / "archiver.toml").write_text("jobs = 7")
    assert load_settings(None, {"XDG_CONFIG_HOME": str(tmp_path)}, {}).jobs == 7


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("jbos = 3", "E251", "jobs"),
        ("[limits]\nload = 3", "E251", "limits.load_ms"),
        ("[view]\nzzzzzz = 3", "E251", "known are"),
        ("[budget]\nx = 1", "E251", "known are"),
        ('jobs = "3"', "E252", "int"),
        ("jobs = 0", "E252", ">= 1"),
        ("jobs = 1.5", "E252", "int"),
        ("jobs = 33", "E252", "<= 32"),
        ("allow_private_network = 1", "E252", "bool"),
        ("allowed_addresses = ['10.1.2.3/24']", "E252", "10.1.2.3/24"),
        ("allowed_addresses = ['intranet.example']", "E252", "address or a network"),
        ("store = ''", "E252", "length"),
        ("store = 3", "E252", "str"),
        ("view = 3", "E252", "object"),
        ("[view]\nwidth_px = 20000", "E252", "7680"),
        ("[view]\nlocale = 'ru KZ'", "E252", "locale"),
        ("[view]\ntimezone = '../etc'", "E252", "timezone"),
        ("[limits]\nload_ms = 0", "E252", "limits.load_ms"),
        ("[limits]\ntotal_ms = 99999999999", "E252", "limits.total_ms"),
        ("vantage_country = 'Kazakhstan'", "E252", "vantage_country"),
        ('user_agent = "a\\nb"', "E252", "user_agent"),
        ("ca_files = 'ca.pem'", "E252", "array"),
        ("jobs = 1\njobs = 2", "E250", "TOML"),
        ("jobs", "E250", "TOML"),
        ("\x00", "E250", "TOML"),
    ],
)
def test_a_bad_setting_is_refused_by_name(file, text, code, words):
    """Unknown keys, wrong types and values out of range name the file, the key and what was expected."""
    file.write_text(text)
    with pytest.raises(ArchiverError, match=code) as caught:
        load_settings(file, {}, {})
    assert str(file) in str(caught.value)
    assert words in f"{caught.value} {caught.value.hint}"


@pytest.mark.parametrize("rule", ["a.test", "a.test:x", "a b:127.0.0.1", ":127.0.0.1"])
def test_a_bad_resolve_rule_is_refused_at_once(rule):
    """A rule that no capture could use is told before the first one."""
    with pytest.raises(ArchiverError):
        load_settings(None, {}, {"resolve": (rule,)})


@pytest.mark.parametrize(
    ("variable", "value", "code"),
    [
        ("ARCHIVER_JBOS", "3", "E251"),
        ("ARCHIVER_JOBS", "three", "E252"),
        ("ARCHIVER_JOBS", "", "E252"),
        ("ARCHIVER_JOBS", "9" * 30, "E252"),
        ("ARCHIVER_ALLOW_PRIVATE_NETWORK", "maybe", "E252"),
        ("ARCHIVER_VIEW_WIDTH", "3", "E251"),
    ],
)
def test_a_bad_variable_is_refused_by_name(variable, value, code):
    """A typing error in the environment is told, not ignored."""
    with pytest.raises(ArchiverError, match=code):
        load_settings(None, {variable: value}, {})


def test_variables_that_are_no_settings_are_left_alone():
    """Other programs' variables, and those that other parts read, are not ours to judge."""
    environment = {"ARCHIVE": "x", "archiver_jobs": "x", "ARCHIVER_DEBUG": "1", "PATH": "/bin"}
    assert load_settings(None, environment, {}) == load_settings(None, {}, {})


def test_truth_values_and_lists_of_the_environment_are_read():
    """true, 1 and yes are true; commas separate."""
    environment = {"ARCHIVER_ALLOW_PRIVATE_NETWORK": "Yes", "ARCHIVER_TSA": "one, two,"}
    settings = load_settings(None, environment, {})
    assert settings.allow_private_network is True
    assert settings.tsa == ("one", "two")


def test_a_missing_and_an_oversized_file_are_told(tmp_path):
    """A file that was named and cannot be read is an error; so is one that no person wrote."""
    for path, size in ((tmp_path / "none.toml", None), (tmp_path / "big.toml", 300_000)):
        if size:
            path.write_text("#" * size)
        with pytest.raises(ArchiverError, match="E250"):
            load_settings(path, {}, {})


@given(st.text(max_size=60))
def test_any_text_is_settings_or_a_clear_error(tmp_path_factory, text):
    """No file makes anything but settings or our own error."""
    path = tmp_path_factory.getbasetemp() / "any.toml"
    path.write_text(text, encoding="utf-8", errors="replace")
    problem = None
    try:
        load_settings(path, {}, {})
    except ArchiverError as error:
        problem = error
    assert problem is None or problem.code in {"E250", "E251", "E252"}
