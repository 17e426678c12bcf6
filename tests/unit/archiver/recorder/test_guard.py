"""The egress guard: what is inside stays out of reach, in every form that an address can take."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.capture.recorder.guard import (
    BadPolicy,
    RelayPolicy,
    check_address,
    check_host,
    check_unseen_host,
)
from archiver.capture.recorder.resolve import parse_resolve_rule

PUBLIC = RelayPolicy()
PRIVATE = RelayPolicy(allow_private=True)
INSIDE_V4 = ["127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0"]


def wrapped(v4):
    """Return the IPv6 addresses that carry *v4*: mapped, NAT64, 6to4, Teredo client and server."""
    number = int(ipaddress.IPv4Address(v4))
    public = int(ipaddress.IPv4Address("93.184.215.14"))
    return [
        str(ipaddress.IPv6Address(value))
        for value in (
            (0xFFFF << 32) | number,
            (0x64FF9B << 96) | number,
            (0x2002 << 112) | (number << 80),
            (0x20010000 << 96) | (public << 64) | (number ^ 0xFFFFFFFF),
            (0x20010000 << 96) | (number << 64) | (public ^ 0xFFFFFFFF),
        )
    ]


REFUSED = {
    "loopback": ["127.0.0.1", "127.0.0.2", "127.255.255.255", "::1"],
    "private": [
        "10.0.0.0",
        "10.255.255.255",
        "172.16.0.0",
        "172.31.255.255",
        "192.168.0.0",
        "192.168.255.255",
    ],
    "unique local": ["fc00::", "fd00::1", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"],
    "site-local": ["fec0::1", "feff::1"],
    "link-local": ["169.254.0.1", "169.254.255.255", "fe80::1", "febf::1", "fe80::1%eth0"],
    "cloud metadata": [
        *("169.254.169.254", "169.254.170.2", "100.100.100.200", "168.63.129.16", "192.0.0.192"),
        *("fd00:ec2::254", "fd20:ce::254"),
    ],
    "unspecified": ["0.0.0.0", "0.1.2.3", "::"],
    "broadcast": ["255.255.255.255"],
    "multicast": ["224.0.0.1", "239.255.255.255", "ff02::1", "ff0e::1"],
    "shared": ["100.64.0.0", "100.127.255.255"],
    "documentation": ["192.0.2.1", "198.51.100.1", "203.0.113.1", "2001:db8::1", "3fff::1"],
    "benchmark": ["198.18.0.1", "198.19.255.255"],
    "reserved": [
        *(
            "240.0.0.1",
            "255.255.255.254",
            "192.0.0.1",
            "192.88.99.1",
            "2001:2::1",
            "2001:10::1",
            "2001:20::1",
        ),
        *("::127.0.0.1", "::ffff:0:127.0.0.1", "4000::1", "5f00::1", "8000::1", "fe00::1"),
    ],
    "local-use NAT64": ["64:ff9b:1::1", "64:ff9b:1:ffff::7f00:1"],
    "discard-only": ["100::1"],
}


@pytest.mark.parametrize(("name", "ip"), [(name, ip) for name, ips in REFUSED.items() for ip in ips])
def test_refused_by_default(name, ip):
    """Every address that is not public unicast is refused, with its class in the reason."""
    assert name in (check_address(ip, PUBLIC) or "")


@pytest.mark.parametrize("ip", [form for v4 in INSIDE_V4 for form in wrapped(v4)])
def test_carried_addresses_are_refused(ip):
    """An inside IPv4 address is refused in every IPv6 form that carries it."""
    assert "is not a public address" in (check_address(ip, PUBLIC) or "")


@given(v4=st.ip_addresses(v=4))
def test_carrying_changes_no_verdict(v4):
    """A carried address is refused whenever the bare one is."""
    if check_address(str(v4), PUBLIC):
        assert all(check_address(form, PUBLIC) for form in wrapped(v4))


@given(ip=st.ip_addresses())
def test_nothing_that_python_calls_private_passes(ip):
    """The guard lets through no address that ``ipaddress`` itself holds to be anything but global."""
    if check_address(str(ip), PUBLIC) is None:
        carried = getattr(ip, "ipv4_mapped", None) or getattr(ip, "sixtofour", None) or ip
        assert carried.is_global or (ip.version == 6 and ip.teredo)
        assert not carried.is_multicast


@pytest.mark.parametrize(
    "ip",
    [
        *(
            "1.1.1.1",
            "93.184.215.14",
            "9.255.255.255",
            "11.0.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "100.63.255.255",
        ),
        *("100.128.0.0", "126.255.255.255", "128.0.0.1", "223.255.255.255", "2606:4700::1111", "2001:200::1"),
        *wrapped("93.184.215.14"),
    ],
)
def test_public_addresses_pass(ip):
    """Public unicast addresses pass, also carried ones, up to the edges of what is refused."""
    assert check_address(ip, PUBLIC) is None


@pytest.mark.parametrize(
    "ip", ["", "localhost", "2130706433", "127.1", "0x7f.0.0.1", "017700000001", "[::1]", "1.1.1.1 "]
)
def test_what_is_no_address_is_refused(ip):
    """Text that is not one canonical address is refused, not guessed at."""
    assert "is not an IP address" in (check_address(ip, PUBLIC) or "")


@pytest.mark.parametrize(
    "ip", [*REFUSED["loopback"], *REFUSED["private"], *REFUSED["unique local"], "fec0::1"]
)
def test_allow_private_opens_the_inside(ip):
    """``allow_private`` lets loopback and private addresses through."""
    assert check_address(ip, PRIVATE) is None


@pytest.mark.parametrize(
    "ip",
    [
        ip
        for name in (
            "cloud metadata",
            "unspecified",
            "broadcast",
            "multicast",
            "link-local",
            "reserved",
            "shared",
        )
        for ip in REFUSED[name]
    ],
)
def test_allow_private_opens_nothing_else(ip):
    """``allow_private`` opens neither metadata services nor what is no host's address."""
    assert check_address(ip, PRIVATE)


def test_named_addresses_pass_and_their_neighbours_do_not():
    """A setting that names an address or a network opens exactly that, in its carried form too."""
    policy = RelayPolicy(allowed_addresses=("10.1.2.0/24", "169.254.169.254", "fd00::7"))
    for ip in ("10.1.2.3", "169.254.169.254", "fd00::7", "::ffff:10.1.2.3"):
        assert check_address(ip, policy) is None
    for ip in ("10.1.3.1", "169.254.169.253", "fd00::8", "127.0.0.1"):
        assert check_address(ip, policy)


@pytest.mark.parametrize(
    "ip", ["0.0.0.0", "::", "255.255.255.255", "224.0.0.1", "ff02::1", "::ffff:224.0.0.1"]
)
def test_never_addresses_cannot_be_named(ip):
    """Naming every network there is does not open unspecified, broadcast and multicast addresses."""
    everything = RelayPolicy(allow_private=True, allowed_addresses=("0.0.0.0/0", "::/0"))
    assert check_address(ip, everything)


@pytest.mark.parametrize(
    "host", ["update.googleapis.com", "UPDATE.googleapis.com.", "accounts.google.com", "r1---sn.gvt1.com"]
)
def test_the_browsers_own_services_are_refused(host):
    """The browser's own calls are refused by name, whatever case or final dot."""
    assert "refused hosts" in (check_host(host, PUBLIC) or "")


@pytest.mark.parametrize(
    "host", ["google.com", "gvt1.com", "update.googleapis.com.evil.example", "xaccounts.google.com"]
)
def test_other_names_are_not(host):
    """Names that only look alike are left to the address check."""
    assert check_host(host, PUBLIC) is None


@pytest.mark.parametrize(
    "host",
    [
        *(
            "localhost",
            "LOCALHOST.",
            "a.localhost",
            "printer.local",
            "metadata.google.internal",
            "router",
            "nas.lan",
        ),
        *("x.home.arpa", "127.0.0.1", "2130706433", "0x7f000001", "017700000001", "127.1", "0", "::1"),
        *("::ffff:127.0.0.1", "10.0.0.1", "169.254.169.254"),
    ],
)
def test_local_names_never_go_to_an_upstream(host):
    """Where an upstream resolves, local names and every spelling of an inside address are refused here."""
    assert check_unseen_host(host, PUBLIC)


@pytest.mark.parametrize("host", ["example.org", "93.184.215.14", "2606:4700::1111", "localhost.example"])
def test_outside_names_may_go_to_an_upstream(host):
    """Ordinary names and public addresses may be handed to an upstream."""
    assert check_unseen_host(host, PUBLIC) is None


@pytest.mark.parametrize(
    "values",
    [
        {"allowed_addresses": ("10.0.0.1/8",)},
        {"allowed_addresses": ("localhost",)},
        {"max_bytes_per_capture": 0},
        {"max_connections": -1},
        {"connect_timeout_s": 0},
        {"upstream": "socks4://127.0.0.1:1"},
        {"upstream": "https://user:secret@proxy.example"},
        {"upstream": "proxy.example:3128"},
    ],
)
def test_policies_that_cannot_be_enforced_are_refused(values):
    """A policy is refused when it is made, and the message repeats no credentials."""
    with pytest.raises(BadPolicy, match=r"^relay policy: .* \[E213\]$") as caught:
        RelayPolicy(**values)
    assert "secret" not in str(caught.value)


def test_policy_round_trip():
    """A policy comes through JSON unchanged."""
    policy = RelayPolicy(
        resolve=(parse_resolve_rule("a.example:443:192.0.2.1:8443"),),
        allowed_addresses=("10.0.0.0/8",),
        allowed_uids=(7, 8),
        upstream="socks5://127.0.0.1:9050",
    )
    assert RelayPolicy.from_json(policy.to_json()) == policy
