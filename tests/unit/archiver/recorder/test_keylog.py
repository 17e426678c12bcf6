"""The key log reader: RFC 9850 lines in, secrets out, nothing else believed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.capture.recorder import keylog
from archiver.capture.recorder.keylog import KeyLog, KeyLogUnreadable

RANDOM = bytes(range(32))
OTHER = bytes(range(32, 64))
LABEL = "CLIENT_TRAFFIC_SECRET_0"


def line(random=RANDOM, label=LABEL, secret=b"\x07" * 32):
    return f"{label} {random.hex()} {secret.hex()}\n".encode()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "keys.log"


def read(path, data):
    path.write_bytes(data)
    log = KeyLog(path)
    log.refresh()
    return log


def test_secret_by_random_and_label(path):
    """A secret is found under its client random and its label and under no other."""
    log = read(path, line() + line(OTHER, "CLIENT_RANDOM", b"\x09" * 48))
    assert log.secret(RANDOM, LABEL) == b"\x07" * 32
    assert log.secret(OTHER, "CLIENT_RANDOM") == b"\x09" * 48
    assert log.secret(OTHER, LABEL) is None
    assert log.secret(RANDOM, "CLIENT_RANDOM") is None
    assert log.secret(b"", LABEL) is None


@pytest.mark.parametrize("form", [line().replace(b"\n", b"\r\n"), line().upper()])
def test_forms_that_rfc_9850_allows(path, form):
    """CR LF ends a line as well, and hex digits may be upper case."""
    assert read(path, form).secret(RANDOM, LABEL) == b"\x07" * 32


@pytest.mark.parametrize(
    "bad",
    [
        b"\n",
        b"# " + line(),
        b" " + line(),
        line()[:-1] + b" extra\n",
        line().replace(b" ", b"\t"),
        line().replace(b" ", b"  "),
        line(random=RANDOM[:31]),
        line(random=RANDOM + b"\0"),
        line(secret=b""),
        line()[:-2] + b"\n",
        line()[:-2] + b"g\n",
        line(label="client_random"),
        line(label=""),
        line(label="A" * 65),
        line(secret=b"\7" * 257),
        line().replace(b"CLIENT", b"CLI\0NT"),
        line().replace(b"CLIENT", "CLIËNT".encode()),
    ],
)
def test_other_lines_are_ignored(path, bad):
    """A line of another form gives no secret, and the good line after it still does."""
    log = read(path, bad)
    assert log.lines_for({RANDOM, RANDOM[:31]}) == b""
    assert read(path, bad + line(OTHER)).secret(OTHER, LABEL) == b"\x07" * 32


def test_unended_line_waits(path):
    """A line that is still being written gives nothing until it is ended."""
    log = KeyLog(path)
    for cut in (10, 60, len(line()) - 1):
        path.write_bytes(line()[:cut])
        assert not log.refresh()
        assert log.secret(RANDOM, LABEL) is None
    path.write_bytes(line())
    assert log.refresh()
    assert log.secret(RANDOM, LABEL) == b"\x07" * 32
    assert not log.refresh()


def test_first_secret_stands(path):
    """A second secret of the same label does not replace the first."""
    log = read(path, line() + line(secret=b"\x08" * 32))
    assert log.secret(RANDOM, LABEL) == b"\x07" * 32
    assert log.lines_for([RANDOM]) == line()


def test_lines_of_some_connections(path):
    """The lines of the connections asked for come verbatim, and no other connection's do."""
    upper = line(RANDOM, "CLIENT_RANDOM").replace(b"0707", b"0A0A")
    log = read(path, line() + line(OTHER) + upper)
    assert log.lines_for({RANDOM}) == line() + upper
    assert log.lines_for(set()) == b""


def test_missing_file_is_no_fault(path):
    """A key log that does not exist yet is an empty one."""
    log = KeyLog(path)
    assert not log.refresh()
    assert not log.dropped


def test_unreadable_file_is_named(tmp_path):
    """A key log that cannot be read raises our error, with the file's name and a hint."""
    log = KeyLog(tmp_path)
    with pytest.raises(KeyLogUnreadable, match=r"key log .*: read failed: expected .* \[E510\]") as caught:
        log.refresh()
    assert caught.value.hint


def test_dropped_lines_are_noticed(path):
    """The comment that Chromium writes when it left lines out marks the log; another comment does not."""
    assert not read(path, b"# hello\n" + line()).dropped
    assert read(path, b"# Some lines were dropped\n" + line()).dropped


def test_endless_line_does_not_fill_memory(path):
    """A line longer than any key log's is passed over and marks the log; the next line counts."""
    log = KeyLog(path)
    path.write_bytes(b"A" * (keylog.MAX_READ_BYTES + 5))
    log.refresh()
    with path.open("ab") as file:
        file.write(b"\n" + line())
    log.refresh()
    assert log.dropped
    assert log.secret(RANDOM, LABEL) == b"\x07" * 32


def test_log_past_the_limit(path, monkeypatch):
    """A log that outgrows the limit is read no further and is marked."""
    monkeypatch.setattr(keylog, "MAX_LOG_BYTES", 10)
    log = read(path, line())
    path.write_bytes(line() + line(OTHER))
    assert not log.refresh()
    assert log.dropped
    assert log.secret(OTHER, LABEL) is None


@given(st.lists(st.one_of(st.binary(max_size=80), st.just(line()), st.just(line(OTHER))), max_size=12))
def test_any_bytes_in_any_portions(tmp_path_factory, portions):
    """However the file grows and whatever is in it, the end is that of reading it at once."""
    path = tmp_path_factory.mktemp("log") / "keys.log"
    log = KeyLog(path)
    with path.open("wb", buffering=0) as file:
        for portion in portions:
            file.write(portion)
            log.refresh()
    at_once = KeyLog(path)
    at_once.refresh()
    assert log.lines_for({RANDOM, OTHER}) == at_once.lines_for({RANDOM, OTHER})
