"""Resolve rules: what reads as one rule is applied as that, all else is refused; the system resolver."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.capture.recorder.resolve import (
    BadResolveRule,
    ResolveFailed,
    Resolver,
    ResolveRule,
    host_matches,
    parse_resolve_rule,
)

LABEL = st.from_regex(r"[a-z0-9_]([a-z0-9_-]{0,10}[a-z0-9_])?", fullmatch=True)
NAME = st.lists(LABEL, min_size=1, max_size=4).map(".".join)
HOST = st.one_of(NAME, NAME.map("*.{}".format), st.just("*"))
PORT = st.none() | st.integers(1, 65535)
RULE = st.builds(ResolveRule, HOST, PORT, st.ip_addresses().map(str), PORT)


@given(rule=RULE)
def test_round_trip(rule):
    """A rule written out reads back as itself."""
    assert parse_resolve_rule(str(rule)) == rule


@given(text=st.text(st.sampled_from("*.:[]a1-%/ \0é"), max_size=30))
def test_any_text_is_a_rule_or_refused(text):
    """No text crashes the reader, and what it accepts has an address that can be dialled."""
    try:
        rule = parse_resolve_rule(text)
    except BadResolveRule:
        return
    ipaddress.ip_address(rule.address)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("a.example:192.0.2.1", ResolveRule("a.example", None, "192.0.2.1")),
        ("A.Example.:443:192.0.2.1", ResolveRule("a.example", 443, "192.0.2.1")),
        ("a.example:192.0.2.1:8443", ResolveRule("a.example", None, "192.0.2.1", 8443)),
        ("*.example:443:192.0.2.1:8443", ResolveRule("*.example", 443, "192.0.2.1", 8443)),
        ("*:[2001:db8::1]", ResolveRule("*", None, "2001:db8::1")),
        ("a.example:443:[2001:db8::1]:8443", ResolveRule("a.example", 443, "2001:db8::1", 8443)),
        ("a.example:fe80::1", ResolveRule("a.example", None, "fe80::1")),
        ("a.example:443:2001:db8:0:0:0:0:0:1", ResolveRule("a.example", 443, "2001:db8::1")),
        ("a.example:::1", ResolveRule("a.example", None, "::1")),
        ("a.example:443:::1", ResolveRule("a.example", 443, "::1")),
    ],
)
def test_forms(text, rule):
    """Ports on either side, wildcards and IPv6 with and without brackets are read."""
    assert parse_resolve_rule(text) == rule


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "a.example",
        "a.example:",
        ":192.0.2.1",
        "a.example:b.example",
        "a.example:192.0.2",
        "a.example:192.0.2.256",
        "a.example:0:192.0.2.1",
        "a.example:65536:192.0.2.1",
        "a.example:192.0.2.1:0",
        "a.example:192.0.2.1:99999999999999999999",
        "a.example:+443:192.0.2.1",
        "a.example:٤٤٣:192.0.2.1",
        "a.example:443:8443",
        "a.example:443:192.0.2.1:8443:1",
        "a.example:[2001:db8::1",
        "a.example:2001:db8::1]",
        "a.example:[]",
        "a.example:[2001:db8::1]x",
        "a.example:[fe80::1%eth0]",
        "a.example:2001:db8::1",  # 2001 could be the port
        "a.*.example:192.0.2.1",
        "**:192.0.2.1",
        "*.:192.0.2.1",
        "*example:192.0.2.1",
        "a..example:192.0.2.1",
        "a b:192.0.2.1",
        "a/b:192.0.2.1",
        "пример.example:192.0.2.1",
        "a.example:192.0.2.1\n",
        "a" * 500 + ":192.0.2.1",
    ],
)
def test_refused(text):
    """What could be read in two ways, or in none, is refused with one line that says what was expected."""
    with pytest.raises(BadResolveRule, match=r"expected .* got .*\[E212\]$") as caught:
        parse_resolve_rule(text)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("pattern", "host", "matches"),
    [
        ("*", "anything", True),
        ("a.example", "A.EXAMPLE.", True),
        ("*.example", "a.b.example", True),
        ("*.example", "example", False),
        ("*.example", "badexample", False),
        ("a.example", "b.a.example", False),
        ("a.example", "a.example.org", False),
        ("*.example", "a.example.org", False),
    ],
)
def test_host_patterns(pattern, host, matches):
    """A suffix matches names under it, not itself and not names that merely end alike."""
    assert host_matches(pattern, host) is matches


def test_rule_is_for_its_port():
    """A rule with a port answers for that port alone."""
    rule = parse_resolve_rule("a.example:443:192.0.2.1")
    assert rule.match("a.example", 443)
    assert not rule.match("a.example", 80)


async def test_system_resolver_knows_localhost_and_remembers():
    """The system's answer is given, and given again without asking for a minute."""
    resolver = Resolver()
    first = await resolver.resolve("localhost", 10)
    again = await resolver.resolve("LOCALHOST.", 10)
    resolver.close()
    assert "127.0.0.1" in first.addresses
    assert (first.cached, again.cached) == (False, True)
    assert first.addresses == again.addresses


@pytest.mark.parametrize("host", ["256.256.256.256.", "a" * 64 + ".invalid", "..", ":::"])
async def test_names_without_address_fail_in_the_resolvers_words(host):
    """Names that cannot exist fail with the system's text and error name, never with a traceback."""
    resolver = Resolver()
    with pytest.raises(ResolveFailed) as caught:
        await resolver.resolve(host, 10)
    resolver.close()
    assert caught.value.text.startswith("[Errno")
    assert caught.value.name.startswith("EAI_")
