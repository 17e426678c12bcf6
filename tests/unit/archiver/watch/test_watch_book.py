from __future__ import annotations

import msgspec
import pytest

from archiver.errors import EnvironmentUnfit
from archiver.watch.book import Book
from archiver.watch.rules import Event, Watch


def watch(url="https://a.test/", **facts) -> Watch:
    return Watch(url=url, incident_ids=("KZ-1",), added_at="2026-11-01T00:00:00.000Z", **facts)


EVENT = Event(
    url="https://a.test/",
    vantage="",
    incident_ids=("KZ-1",),
    was="present",
    became="removed",
    last_seen_at="a",
    first_seen_at="b",
    before="one",
    after="two",
    signal="status 404",
)


def test_stores_and_vantages_are_never_mixed(tmp_path):
    """One book serves several stores; each sees its own watches and events alone."""
    first, second = Book(tmp_path / "w.sqlite", "s3://one"), Book(tmp_path / "w.sqlite", "s3://two")
    assert first.add([watch(), watch(vantage="kz")]) == 2
    second.add([watch()])
    first.update(watch(vantage="kz", state="removed"), EVENT)
    assert [one.state for one in first.watches()] == ["", "removed"]
    assert [one.state for one in second.watches()] == [""]
    assert (len(first.events()), second.events()) == (1, [])
    assert (tmp_path / "w.sqlite").stat().st_mode & 0o777 == 0o600


def test_adding_again_keeps_what_is_known_and_takes_the_new_interval(tmp_path):
    """A second `watch add` must not forget that the page is gone."""
    book = Book(tmp_path / "w.sqlite", "s")
    book.add([watch()])
    book.update(watch(state="removed", due_s=9e9))
    again = msgspec.structs.replace(watch(every_s=600), incident_ids=("KZ-2",))
    assert book.add([again]) == 0
    (one,) = book.watches()
    assert (one.state, one.every_s, one.incident_ids, one.due_s) == ("removed", 600, ("KZ-1", "KZ-2"), 0)


def test_a_watch_ended_while_its_run_goes_on_stays_ended_and_its_event_is_kept(tmp_path):
    """The incident is closed in mid-run: what was seen is not lost, and nothing is looked at again."""
    book = Book(tmp_path / "w.sqlite", "s")
    book.add([watch()])
    book.update(watch(ended_at="2026-11-02T00:00:00.000Z"))
    book.update(watch(state="removed"), EVENT)
    (one,) = book.watches()
    assert (one.ended_at, one.state) == ("2026-11-02T00:00:00.000Z", "removed")
    assert book.events() == [EVENT]


def test_one_run_at_a_time(tmp_path):
    """Two crons must not capture everything twice; the lock goes with its holder."""
    first, second = Book(tmp_path / "w.sqlite", "s"), Book(tmp_path / "w.sqlite", "s")
    with first.alone() as is_first, second.alone() as is_second:
        assert (is_first, is_second) == (True, False)
    with second.alone() as is_second:
        assert is_second


@pytest.mark.parametrize("content", [b"no database", b"SQLite format 3\0" + b"\0" * 200])
def test_a_file_that_is_not_a_book_is_left_alone(tmp_path, content):
    """Watches cannot be made again from anything, so a damaged file is refused and not replaced."""
    path = tmp_path / "w.sqlite"
    path.write_bytes(content)
    with pytest.raises(EnvironmentUnfit, match="E730"):
        Book(path, "s").watches()
    assert path.read_bytes()[: len(content)] == content


def test_a_book_of_another_version_is_refused(tmp_path):
    """A newer program's book is not read by guessing."""
    book = Book(tmp_path / "w.sqlite", "s")
    with book._transaction() as connection:
        connection.exec_driver_sql("PRAGMA user_version = 2")
    with pytest.raises(EnvironmentUnfit, match="another database or version"):
        Book(tmp_path / "w.sqlite", "s")
