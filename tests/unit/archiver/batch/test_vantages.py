"""Vantages: asked for by name, checked before they are used, and never telling their passwords."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from contextlib import contextmanager

import msgspec
import pytest

from archiver import circumstances
from archiver.batch.egress import VantageUnusable, check_vantage
from archiver.batch.settings import Vantage
from archiver.batch.vantage import settings_at, spread
from archiver.capture.limits import View
from archiver.capture.recorder.resolve import BadResolveRule, ResolveFailed, Resolver, parse_name_server
from archiver.config import Settings
from archiver.errors import UsageError
from archiver.incidents.register import RowProblem, Seed
from manifests.record_process import Clock

KZ = Vantage(
    upstream="socks5h://proxy.test:1080",
    credentials_from="KZ_PROXY",
    locale="kk-KZ",
    timezone="Asia/Almaty",
    languages=("kk-KZ", "ru"),
    country="KZ",
    resolver="9.9.9.9",
)
SETTINGS = Settings(vantages={"kz-ala": KZ, "de": Vantage(country="DE")}, view=View(locale="ru-KZ"))
SECRET = "pass:wörd/@"
ENVIRONMENT = {"KZ_PROXY": f"user:{SECRET}"}


def seed(vantage=None, line=2):
    row = {"incident_id": "T-1", "url": "http://a.test/"} | ({"Vantage": vantage} if vantage else {})
    return Seed("http://a.test/", ("T-1",), row=row, line=line)


def names(cell):
    return [one.vantage if isinstance(one, Seed) else one for one in spread([seed(cell)], SETTINGS)]


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        (None, [""]),
        ("  ", [""]),
        ("de", ["de"]),
        ("kz-ala, de", ["kz-ala", "de"]),
        ("de,", ["de"]),
        ("de;de  kz-ala", ["de", "kz-ala"]),
        ("default,de", ["", "de"]),
    ],
)
def test_a_row_asks_for_vantages_by_name(cell, expected):
    """Each once, in order; none, or that of the settings, is the vantage of the settings."""
    assert names(cell) == expected


@pytest.mark.parametrize("cell", ["kz-ala,nowhere", ",".join(f"v{n}" for n in range(30))])
def test_a_row_that_asks_for_one_that_is_not_there_is_captured_from_none(cell):
    """Half a comparison misleads; the row is told with its line."""
    (problem,) = names(cell)
    assert isinstance(problem, RowProblem)
    assert problem.line == 2
    assert "vantage" in problem.what


def test_a_vantage_changes_what_it_names_and_nothing_else():
    """Proxy, language, time zone, name server and country are its own; all else is of the settings."""
    at = settings_at(SETTINGS, "kz-ala", ENVIRONMENT)
    assert at.upstream == "socks5h://user:pass%3Aw%C3%B6rd%2F%40@proxy.test:1080"
    assert (at.view.locale, at.view.timezone, at.view.asks_for()) == ("kk-KZ", "Asia/Almaty", ("kk-KZ", "ru"))
    assert (at.resolver, at.vantage, at.vantage_country) == ("9.9.9.9", "kz-ala", "KZ")
    assert (at.store, at.limits, at.view.width_px) == (
        SETTINGS.store,
        SETTINGS.limits,
        SETTINGS.view.width_px,
    )
    assert settings_at(SETTINGS, "", {}) is SETTINGS


def test_languages_are_asked_for_as_a_browser_does():
    """Best first, with falling weights."""
    assert (
        View(locale="kk-KZ", languages=("kk-KZ", "ru", "en")).accept_language() == "kk-KZ,ru;q=0.9,en;q=0.8"
    )
    assert View(locale="kk-KZ").accept_language() == "kk-KZ"


@pytest.mark.parametrize("value", ["", "user", ":secret", "user:"[:4]])
def test_missing_credentials_are_told_before_the_run_without_their_value(value):
    """The variable is named; what it holds is not."""
    with pytest.raises(UsageError) as told:
        settings_at(SETTINGS, "kz-ala", {"KZ_PROXY": value})
    assert told.value.code == "E710"
    assert "KZ_PROXY" in str(told.value)
    assert "secret" not in str(told.value)


def test_credentials_have_no_place_in_the_settings_file():
    """Where others read it."""
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"upstream": "http://user:secret@proxy.test:8080"}, Vantage)


def test_no_credential_reaches_what_the_record_is_made_from():
    """The request that is kept in the spool says scheme and vantage of the proxy, and no more."""
    at = settings_at(SETTINGS, "kz-ala", ENVIRONMENT)
    clock, now = Clock(checked=False, reason="test"), circumstances.datetime.now(circumstances.UTC)
    means = {"browser": {"path": "/usr/bin/chromium"}}
    request = circumstances.request_of(seed(), at, means, clock, not_before=None, requested_at=now)
    text = json.dumps(request)
    assert request["upstream"] == {"scheme": "socks5h", "label": "kz-ala", "resolves_names": True}
    assert request["resolver"] == "9.9.9.9"
    for part in ("pass", "user:", "proxy.test"):
        assert part not in text.replace('"user_agent"', "")


@contextmanager
def server(answer):
    """Serve connections one after the other with *answer*, a function of the socket."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                try:
                    answer(connection)
                except OSError:
                    continue

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.close()


def proxy_to(said):
    """An HTTP proxy that opens every tunnel itself and gives *said* in it."""

    def answer(connection):
        asked = connection.recv(4096)
        if not asked:
            return
        asked_of.append(asked)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        connection.recv(4096)
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(said)}\r\n\r\n"
        connection.sendall(head.encode() + said.encode())

    asked_of: list[bytes] = []
    answer.asked = asked_of
    return answer


def country(said, expected="KZ"):
    vantage = Vantage(country=expected, country_check="http://where.test/trace")
    with server(proxy_to(said)) as port:
        check_vantage("kz-ala", vantage, f"http://user:{'hidden'}@127.0.0.1:{port}")


@pytest.mark.parametrize("said", ["fl=1\nloc=KZ\nts=2", '{"country": "KZ", "ip": "1.2.3.4"}'])
def test_a_proxy_that_is_where_it_says_may_be_used(said):
    """Asked through the proxy itself, in either of two common forms."""
    country(said)


@pytest.mark.parametrize(
    "said", ["loc=NL", '{"country": "NL"}', "", "<html>", '{"country": ["KZ"]}', "xloc=KZ", "[]"]
)
def test_a_proxy_that_lies_about_its_country_is_not_used(said):
    """E712 says what was expected and what was found; no answer is not a good one."""
    with pytest.raises(VantageUnusable) as told:
        country(said)
    assert told.value.code == "E712"
    assert "KZ" in str(told.value)
    assert "hidden" not in str(told.value)


def refusing(connection):
    connection.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")


@pytest.mark.parametrize(
    ("scheme", "answer"), [("socks5", lambda c: c.sendall(b"no")), ("socks5h", lambda c: c.close())]
)
def test_what_speaks_no_socks_is_a_dead_proxy(scheme, answer):
    """E711, and the hint says that nothing was recorded as unreachable."""
    with server(answer) as port, pytest.raises(VantageUnusable) as told:
        check_vantage("ru-msk", Vantage(), f"{scheme}://user:hidden@127.0.0.1:{port}")
    assert told.value.code == "E711"
    assert "hidden" not in str(told.value)
    assert "nothing was recorded as unreachable" in told.value.hint


def test_a_proxy_that_is_not_there_or_refuses_the_password_is_the_vantages_failure():
    """Neither says anything of a site."""
    with pytest.raises(VantageUnusable, match="E711"):
        check_vantage("de", Vantage(), "http://127.0.0.1:1")
    asked = Vantage(country="DE", country_check="http://where.test/")
    with server(refusing) as port, pytest.raises(VantageUnusable, match="E712"):
        check_vantage("de", asked, f"http://user:hidden@127.0.0.1:{port}")


@contextmanager
def name_server(*, silent=False):
    """A name server of ours: 192.0.2.7 for everything but ``none.test``, which does not exist."""
    import dns.message
    import dns.rcode
    import dns.rrset

    listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    listener.bind(("127.0.0.1", 0))

    def serve():
        while True:
            try:
                data, client = listener.recvfrom(4096)
            except OSError:
                return
            query = dns.message.from_wire(data)
            reply = dns.message.make_response(query)
            name, kind = query.question[0].name, query.question[0].rdtype
            if name.to_text() == "none.test.":
                reply.set_rcode(dns.rcode.NXDOMAIN)
            elif kind == 1:
                reply.answer.append(dns.rrset.from_text(name, 60, "IN", "A", "192.0.2.7"))
            if not silent:
                listener.sendto(reply.to_wire(), client)

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.close()


def resolve(text, host):
    async def ask():
        resolver = Resolver(text)
        try:
            return (await resolver.resolve(host, 20)).addresses
        finally:
            resolver.close()

    return asyncio.run(ask())


def test_a_named_name_server_is_asked_in_place_of_the_systems():
    """A name that no system resolver knows has the address that it gives; an address needs no question."""
    with name_server() as address:
        assert resolve(address, "blocked-at-home.test") == ["192.0.2.7"]
        assert resolve(address, "127.0.0.1") == ["127.0.0.1"]


def test_a_name_that_the_name_server_denies_fails_with_its_words():
    """NXDOMAIN is what it said, not what the system says."""
    with name_server() as address, pytest.raises(ResolveFailed) as told:
        resolve(address, "none.test")
    assert told.value.name == "NXDOMAIN"
    assert "none.test" in told.value.text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("9.9.9.9", ("9.9.9.9", 53)),
        ("9.9.9.9:5353", ("9.9.9.9", 5353)),
        ("[2620:fe::fe]:54", ("2620:fe::fe", 54)),
        ("2620:fe::fe", ("2620:fe::fe", 53)),
    ],
)
def test_a_name_server_is_given_by_its_address(text, expected):
    """With or without port."""
    assert parse_name_server(text) == expected


@pytest.mark.parametrize("text", ["", "dns.google", "9.9.9.9:0", "9.9.9.9:99999", "[::1]x:5", "1.2.3.4:x"])
def test_what_is_no_address_of_a_name_server_is_refused(text):
    """Before anything is loaded."""
    with pytest.raises((BadResolveRule, UsageError)):
        parse_name_server(text)
