import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.errors import ArchiverError
from archiver.incidents.rules import check_incident_id, check_seed_url, url_identity


@pytest.mark.parametrize("good", ["KZ-2026-Q1-4.03", "a", "0_x", "A" * 100])
def test_an_incident_id_is_kept_as_it_is(good):
    """What the design allows is returned unchanged."""
    assert check_incident_id(good) == good


@pytest.mark.parametrize(
    "bad",
    [
        "",
        ".x",
        "-x",
        "_x",
        "a/b",
        "a b",
        "../x",
        "a\n",
        "\u0410-1",
        "A" * 101,
        "a\x00",
        "a:b",
        "a\\b",
        "\u0661",
    ],
)
def test_other_incident_ids_are_refused(bad):
    """An ID that cannot be a folder name everywhere, or is no ASCII, is refused."""
    with pytest.raises(ArchiverError, match="E240"):
        check_incident_id(bad)


@pytest.mark.parametrize(
    "good",
    [
        "http://a.test",
        "HTTPS://A.test:8443/x?y=z#frag",
        "https://сайт.қаз/путь?запрос=1",
        "http://192.0.2.1/",
        "http://[2001:db8::1]:80/",
        "http://xn--80aswg.xn--p1ai/",
        "http://a_b.test./",
        "http://localhost/",
        "http://a.test/user@host?next=http://b.test/",
    ],
)
def test_a_seed_url_is_kept_as_it_is(good):
    """IDN hosts, Cyrillic paths, ports, addresses and fragments are taken as given."""
    assert check_seed_url(good) == good


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "a.test/page",
        "//a.test/",
        "ftp://a.test/",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "data:text/html,x",
        "chrome://settings",
        "view-source:http://a.test/",
        "http://",
        "http:///path",
        "http://user@a.test/",
        "http://user:secret@a.test/",
        "http://good.test\\@evil.test/",
        "http://good.test\\.evil.test/",
        "http://a.test:99999/",
        "http://a.test:x/",
        "http://[::1/",
        "http://[::zz]/",
        "http://a b.test/",
        "http://a.test/a b",
        " http://a.test/",
        "http://a.test/\r\nHost: b",
        "http://a.test/\x00",
        "http://a.test/\u202egnp.exe",
        "http://a.test/\u200b",
        "http://a.test/\ud800",
        "http://a..test/",
        "http://%61.test/",
        "http://" + "a" * 64 + ".test/",
        "http://" + "a." * 130 + "test/",
        "http://a.test/" + "x" * 8192,
        "http://a.test/" + "ж" * 4096,
    ],
)
def test_other_urls_are_refused(bad):
    """Other schemes, credentials, hidden characters, bad hosts and too long ones never reach the browser."""
    with pytest.raises(ArchiverError, match="E241"):
        check_seed_url(bad)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("http://A.test", "http://a.test/"),
        ("https://a.test:443/", "https://a.test/"),
        ("http://сайт.рф/", "http://xn--80aswg.xn--p1ai/"),
        ("http://САЙТ.рф/", "http://сайт.рф/"),
        ("http://a.test./x", "http://a.test/x"),
        ("http://[2001:DB8:0::1]/", "http://[2001:db8::1]/"),
    ],
)
def test_two_spellings_of_one_host_are_one_url(one, other):
    """Case, default port, IDN form and final dot make no difference."""
    assert url_identity(one) == url_identity(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("http://a.test/", "https://a.test/"),
        ("http://a.test/X", "http://a.test/x"),
        ("http://a.test/?a=1&b=2", "http://a.test/?b=2&a=1"),
        ("http://a.test:8080/", "http://a.test/"),
        ("http://a.test/#a", "http://a.test/#b"),
        ("http://a.test/x/", "http://a.test/x"),
    ],
)
def test_urls_that_a_server_may_tell_apart_are_two(one, other):
    """Scheme, port, path case, query order, fragment and final slash are never folded together."""
    assert url_identity(one) != url_identity(other)


@given(st.text(max_size=60))
def test_any_text_is_a_url_or_a_clear_error(text):
    """No text makes anything but a result or our own error of one line."""
    problem = None
    try:
        url_identity(check_seed_url("http://" + text))
    except ArchiverError as error:
        problem = error
    assert problem is None or (problem.code == "E241" and problem.hint and "\n" not in str(problem))
