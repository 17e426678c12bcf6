import sqlite3
import subprocess
import sys
from dataclasses import replace

import pytest

from archiver.catalogue import Catalogue, CatalogueBroken, catalogue_path
from archiver.errors import ArchiverError
from archiver.summary import summarise
from tests.unit.manifests.records import record

BASE = summarise(record(), "unsealed")


def capture(number, **changes):
    return replace(BASE, capture_id=f"20261124t08120{number}z-7f3k2m9qx4", **changes)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "cache" / "c.sqlite"


@pytest.fixture
def catalogue(path):
    opened = Catalogue(path)
    yield opened
    opened.close()


def test_what_is_added_is_found_as_it_was(catalogue):
    """Every field comes back, by ID, by the beginning of it, by incident, by any spelling of the URL."""
    one = capture(1, url="https://Сайт.kz/новости", incident_ids=("A", "B"), final_url="https://b.test/")
    catalogue.add(one)
    catalogue.add(capture(2))
    assert catalogue.get(one.capture_id) == one
    assert catalogue.get("20261124t081201") == one
    assert list(catalogue.find(incident_id="B")) == [one]
    assert list(catalogue.find(url="https://xn--80aswg.kz:443/новости")) == [one]
    assert list(catalogue.find(url="https://B.test")) == [one]
    assert [found.capture_id[:15] for found in catalogue.find()] == ["20261124t081201", "20261124t081202"]


@pytest.mark.parametrize(
    "asked", ["", "2026", "20261124T081201", "2026112_", "%", "x", "'; DROP TABLE captures"]
)
def test_no_or_several_captures_are_an_error_that_names_them(catalogue, asked):
    """An ID that fits none or more than one gives no capture, whatever signs it holds."""
    catalogue.add(capture(1))
    catalogue.add(capture(2))
    with pytest.raises(ArchiverError, match="E260"):
        catalogue.get(asked)


@pytest.mark.parametrize("wanted", [{"incident_id": "a"}, {"incident_id": "A%"}, {"url": "https://a.test/x"}])
def test_what_was_not_asked_for_is_not_found(catalogue, wanted):
    """Incidents and URLs are compared whole and with their case."""
    catalogue.add(capture(1, incident_ids=("A",), url="https://a.test/X"))
    assert list(catalogue.find(**wanted)) == []


def test_adding_again_takes_the_place_of_what_was_known(catalogue):
    """A capture that has been sealed meanwhile, or moved to other incidents, is there once."""
    catalogue.add(capture(1, incident_ids=("A",)))
    catalogue.add(capture(1, incident_ids=("B",), state="sealed"))
    assert [found.state for found in catalogue.find()] == ["sealed"]
    assert list(catalogue.find(incident_id="A")) == []


@pytest.mark.parametrize(
    "content", [b"", b"not a database, by any means" * 100, b"SQLite format 3\x00" + b"\xff" * 500]
)
def test_a_file_that_is_no_catalogue_is_replaced(path, content):
    """An empty, foreign or corrupt file in its place is no error: there is a new, empty catalogue."""
    path.parent.mkdir()
    path.write_bytes(content)
    catalogue = Catalogue(path)
    catalogue.add(capture(1))
    assert len(list(catalogue.find())) == 1
    catalogue.close()


def test_a_database_of_somebody_else_or_of_another_version_is_replaced(path, catalogue):
    """Another application's tables, or ours of another version, are never read."""
    catalogue.add(capture(1))
    catalogue.close()
    for statement in ("PRAGMA user_version = 99", "PRAGMA application_id = 1", "DROP TABLE incident_links"):
        with sqlite3.connect(path) as connection:
            connection.execute(statement)
        connection.close()
        reopened = Catalogue(path)
        assert list(reopened.find()) == []
        reopened.add(capture(1))
        reopened.close()


def test_damage_while_in_use_is_told_and_can_be_repaired(path):
    """A catalogue that is overwritten under our hands is our own error, and a new one takes its place."""
    catalogue = Catalogue(path)
    catalogue.add(capture(1))
    catalogue.close()
    data = path.read_bytes()
    path.write_bytes(data[:4096] + b"\xff" * (len(data) - 4096))
    reopened = Catalogue(path)
    with pytest.raises(CatalogueBroken, match="E263"):
        list(reopened.find())
    reopened.sync([capture(2).capture_id], lambda _: capture(2))
    assert len(list(reopened.find())) == 1
    reopened.close()


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    """Where no catalogue can lie, the error says what is needed."""
    (tmp_path / "file").write_text("x")
    (tmp_path / "c.sqlite").mkdir()
    for path in (tmp_path / "file" / "c.sqlite", tmp_path / "c.sqlite"):
        with pytest.raises(ArchiverError, match="E262"):
            Catalogue(path)


def test_sync_takes_in_what_is_new_and_drops_what_is_gone(catalogue):
    """After a sync the catalogue holds what the store holds; an unreadable capture is left out."""
    catalogue.add(capture(1))
    catalogue.add(capture(2))
    store = {one.capture_id: one for one in (capture(2), capture(3), capture(4))}
    asked = []

    def load(capture_id):
        asked.append(capture_id)
        return None if capture_id == capture(4).capture_id else store[capture_id]

    catalogue.sync(store, load)
    assert [found.capture_id for found in catalogue.find()] == [capture(2).capture_id, capture(3).capture_id]
    assert asked == [capture(3).capture_id, capture(4).capture_id]


WORKER = """
import sys
from dataclasses import replace
from pathlib import Path
from archiver.catalogue import Catalogue
from archiver.summary import summarise
from tests.unit.manifests.records import record
base = summarise(record(), "unsealed")
catalogue = Catalogue(Path(sys.argv[1]))
for number in range(60):
    catalogue.add(replace(base, capture_id=f"{sys.argv[2]}-{number:02}"))
    assert len(list(catalogue.find())) > number
"""


def test_several_processes_share_a_catalogue(path):
    """Four processes that open, write and read one new catalogue at once lose nothing and see no error."""
    command = [sys.executable, "-c", WORKER, str(path)]
    workers = [subprocess.Popen([*command, name], stderr=subprocess.PIPE, text=True) for name in "abcd"]
    assert [(worker.communicate()[1], worker.returncode) for worker in workers] == [("", 0)] * 4
    catalogue = Catalogue(path)
    assert len(list(catalogue.find())) == 240
    catalogue.close()


def test_each_store_has_a_catalogue_of_its_own(tmp_path, monkeypatch):
    """Two spellings of one folder share a catalogue; two stores never do."""
    monkeypatch.chdir(tmp_path)
    assert catalogue_path(tmp_path, "archive") == catalogue_path(tmp_path, str(tmp_path / "archive"))
    names = {
        catalogue_path(tmp_path, url) for url in ("archive", "s3://bucket/archive", "s3://bucket", "other")
    }
    assert len(names) == 4


def test_a_sync_that_is_broken_off_keeps_what_it_had(catalogue, monkeypatch):
    """Whole batches are kept, so that the next sync of a large store goes on from there."""
    monkeypatch.setattr("archiver.catalogue.BATCH_CAPTURES", 2)
    store = {one.capture_id: one for one in map(capture, range(1, 6))}

    def load(capture_id):
        if capture_id == capture(5).capture_id:
            raise KeyboardInterrupt
        return store[capture_id]

    with pytest.raises(KeyboardInterrupt):
        catalogue.sync(store, load)
    assert len(list(catalogue.find())) == 4
    catalogue.sync(store, store.__getitem__)
    assert len(list(catalogue.find())) == 5
