"""Incidents of a capture after it was made: in the log, in lists, under holds; never in its record."""

from __future__ import annotations

import pytest

from tests.unit.archiver.sealing.lab import capture_id

OLD, NEW = "KZ-2026-Q1-4.03", "KZ-2026-Q2-1.01"
WHY = ("--reason", "the same post, seen again")


def record_bytes(lab):
    return (lab.root / "captures" / capture_id(1) / "record.json").read_bytes()


def incidents(lab, one):
    return {each["capture_id"] for each in lab.call("list", "--incident", one)["captures"]}


def test_a_link_is_an_event_that_lists_follow_and_the_record_does_not(sealed):
    """The capture is found under both incidents, also after a reindex; its record and seal are untouched."""
    before = record_bytes(sealed)
    told = sealed.call("link", capture_id(1), "--incident", NEW, *WHY)
    assert told["incident_ids"] == [OLD, NEW]
    event = sealed.events()[-1]
    assert (event["type"], event["incident_id"], event["purpose"]) == ("linked", NEW, WHY[1])
    for _ in range(2):
        assert incidents(sealed, NEW) == {capture_id(1)}
        sealed.call("reindex")
    assert record_bytes(sealed) == before
    assert sealed.call("verify", "--all")["overall"] == "passed"


def test_an_unlinked_capture_leaves_the_incident_and_the_log_keeps_both(sealed):
    """Also the incident that the record names can be taken away, and comes back by a link."""
    sealed.call("link", capture_id(1), "--incident", NEW, *WHY)
    assert sealed.call("unlink", capture_id(1), "--incident", OLD, *WHY)["incident_ids"] == [NEW]
    assert capture_id(1) not in incidents(sealed, OLD)
    assert sealed.call("unlink", capture_id(1), "--incident", NEW, *WHY)["incident_ids"] == []
    assert sealed.call("link", capture_id(1), "--incident", OLD, *WHY)["incident_ids"] == [OLD]
    kinds = [one["type"] for one in sealed.events("--capture", capture_id(1))]
    assert kinds[-4:] == ["linked", "unlinked", "unlinked", "linked"]


def test_a_note_that_the_log_does_not_know_is_no_link_for_long(sealed):
    """A note put there by hand is found by whoever verifies the store."""
    sealed.call("link", capture_id(1), "--incident", NEW, *WHY)
    (note,) = (sealed.root / "links" / capture_id(1)).iterdir()
    forged = note.read_bytes().replace(NEW.encode(), b"KZ-2026-Q2-9.99")
    note.with_name("0" * 32 + ".json").write_bytes(forged)
    report = sealed.call("verify", "--all", code=4)
    assert "link-not-logged" in {each["code"] for log in report["logs"] for each in log["findings"]}


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("link", capture_id(1), "--incident", OLD, *WHY), 2),
        (("unlink", capture_id(1), "--incident", NEW, *WHY), 2),
        (("link", capture_id(1), "--incident", NEW, "--reason", " "), 2),
        (("link", capture_id(1), "--incident", "no good id", *WHY), 2),
        (("link", "2099", "--incident", NEW, *WHY), 2),
    ],
    ids=["linked-already", "not-linked", "no-reason", "bad-id", "no-capture"],
)
def test_a_link_that_makes_no_sense_is_refused_and_not_logged(sealed, words, code):
    """Nothing is written for an order that cannot be carried out."""
    before = len(sealed.events())
    sealed.call(*words, code=code)
    assert len(sealed.events()) == before


def test_a_capture_linked_to_a_held_incident_cannot_be_deleted(sealed):
    """A hold covers what is linked later, and what was linked goes with a deletion."""
    sealed.call("hold", NEW, *WHY)
    sealed.call("link", capture_id(1), "--incident", NEW, *WHY)
    sealed.call("delete", capture_id(1), *WHY, code=6)
    sealed.call("release", NEW, *WHY)
    sealed.call("delete", capture_id(1), *WHY)
    assert not (sealed.root / "links" / capture_id(1)).exists()
