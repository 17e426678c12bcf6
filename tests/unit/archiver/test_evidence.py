from __future__ import annotations

import pytest

from archiver.capture.recorder.exchange import Exchange
from archiver.evidence import Sighting, main_chain


def redirect(url: str, location: str) -> Exchange:
    head = f"HTTP/1.1 302 Found\r\nLocation: {location}\r\n\r\n".encode("utf-8", "surrogateescape")
    return Exchange(
        connection=1,
        stream=None,
        url=url,
        method="GET",
        protocol="http/1.1",
        request_head=b"GET / HTTP/1.1\r\n\r\n",
        request_body=None,
        response_head=head,
        response_body=None,
        started_at_ns=1,
        response_at_ns=2,
        finished_at_ns=3,
        ip="192.0.2.1",
        port=80,
        tls=False,
    )


@pytest.mark.parametrize(
    "location",
    [
        "http://[bad/",
        "//[::1",
        "http://a\u2100b/",
        "http://[1.2.3.4]/",
        "\x00",
        "http://host:port/",
        "[",
        "#",
        "\udcff",
    ],
)
def test_a_location_that_is_no_url_is_kept_as_it_was_sent(location: str):
    """A server cannot keep a capture from being stored by a redirect to nonsense."""
    seen = Sighting.of(redirect("http://site.example/", location))
    assert [step.url for step in main_chain("http://site.example/#part", [seen])] == ["http://site.example/"]


def test_an_ordinary_location_is_resolved():
    """Relative redirects are followed from the address that sent them."""
    first = Sighting.of(redirect("http://site.example/a/b", "../c?d#e"))
    second = Sighting.of(redirect("http://site.example/c?d", "http://[bad/"))
    chain = main_chain("http://site.example/a/b", [second, first])
    assert [step.location for step in chain] == ["http://site.example/c?d#e", "http://[bad/"]
