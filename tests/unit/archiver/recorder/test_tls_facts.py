"""Which full handshake a resumed connection goes back to."""

from __future__ import annotations

import pytest

from archiver.capture.recorder.tls_facts import MAX_RESUMPTIONS, TlsFacts, ticket_id, tie_resumed

A, B, C = (ticket_id(name) for name in (b"a", b"b", b"c"))


def full(*tickets, sni="one.example"):
    return TlsFacts(sni=sni, ticket_ids=tickets)


def resumed(ticket, *tickets, sni="one.example"):
    return TlsFacts(sni=sni, resumed=True, psk_ids=(ticket,), ticket_ids=tickets)


def test_chain_of_tickets():
    """Each resumed connection leads to the full handshake, over resumed ones between."""
    facts = {1: full(A), 2: resumed(A, B), 3: resumed(B, C), 4: resumed(C), 5: full()}
    assert tie_resumed(facts) == {2: 1, 3: 1, 4: 1}


def test_same_ticket_from_two_of_one_root():
    """A ticket given out twice is no doubt when both givers go back to one handshake."""
    assert tie_resumed({1: full(A), 2: resumed(A, A), 3: resumed(A)}) == {2: 1, 3: 1}


@pytest.mark.parametrize(
    "facts",
    [
        {},
        {1: full(A)},
        {1: resumed(A)},
        {1: full(B), 2: resumed(A)},
        {1: full(A, sni="two.example"), 2: resumed(A)},
        {1: full(A, sni=None), 2: resumed(A)},
        {1: full(A), 2: full(A), 3: resumed(A)},
        {1: resumed(A, A)},
        {1: resumed(A, B), 2: resumed(B, A)},
        {1: full(A), 2: TlsFacts(sni="one.example", psk_ids=(A,))},
    ],
    ids=[
        "nothing",
        "nothing resumed",
        "unknown ticket",
        "other ticket",
        "ticket of another host",
        "ticket of no host",
        "two full handshakes",
        "own ticket",
        "a ring",
        "offered, not taken",
    ],
)
def test_no_tie_is_guessed(facts):
    """Where the tickets do not lead to exactly one full handshake of that host, nothing is said."""
    assert tie_resumed(facts) == {}


def test_long_chain_ends():
    """A chain longer than any real one is given up, not followed for ever."""
    count = MAX_RESUMPTIONS + 5
    facts = {0: full(ticket_id(b"0"))}
    for at in range(1, count):
        facts[at] = resumed(ticket_id(b"%d" % (at - 1)), ticket_id(b"%d" % at))
    tied = tie_resumed(facts)
    assert tied[MAX_RESUMPTIONS] == 0
    assert count - 1 not in tied


def test_one_ticket_for_all_is_cheap():
    """A server that gives every connection the same ticket creates doubt, not work without end."""
    facts = {0: full(A), 1: full(A)} | {at: resumed(A, A) for at in range(2, 3000)}
    assert tie_resumed(facts) == {}
