from __future__ import annotations

import http.client
import json
import socket
import ssl
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, Response, sync_playwright

from archiver.capture.browser import find_browser
from archiver.capture.recorder.resolve import parse_resolve_rule
from examples.sites import REPOSITORY, Sites, hosts, texts
from examples.sites.app import ARTICLE_PATH, CYRILLIC_PATH
from examples.sites.fonts import web_font
from examples.sites.papers import secret_passport
from examples.sites.pictures import landscape, ornament

LIVE = f"https://{hosts.NEWS}/ru/2026/03/referendum-onlayn"
MIB = 1024 * 1024


def trusting(sites: Sites, protocols: list[str] | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=sites.ca)
    context.set_alpn_protocols(protocols or ["http/1.1"])
    return context


def get(sites: Sites, host: str, path: str, headers: dict[str, str] | None = None, port: str = "https"):
    """Ask one of the sites over TLS with HTTP/1.1 and return status, headers and body."""
    raw = socket.create_connection((hosts.ADDRESS, sites.ports[port]))
    with trusting(sites).wrap_socket(raw, server_hostname=host) as secure:
        connection = http.client.HTTPConnection(host)
        connection.sock = secure
        connection.request("GET", quote(path, safe="/?=&%"), headers=headers or {})
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()


@pytest.fixture(scope="module")
def browser(sites: Sites):
    parts = (rule.split(":") for rule in sites.resolve)
    rules = ",".join(f"MAP {host}:{asked} {address}:{port}" for host, asked, address, port in parts)
    flags = [f"--host-resolver-rules={rules}", "--no-sandbox", "--ignore-certificate-errors"]
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=str(find_browser("")), args=flags)
        yield launched
        launched.close()


def load(browser: Browser, url: str) -> tuple[list[Response], dict[str, object]]:
    """Load a page and return its responses and what it looks like."""
    with browser.new_page(viewport={"width": 1280, "height": 800}) as page:
        responses: list[Response] = []
        page.on("response", lambda response: responses.append(response))  # noqa: PLW0108
        page.goto(url, wait_until="networkidle")
        seen = page.evaluate(
            "({height: document.documentElement.scrollHeight,"
            " fonts: [...document.fonts].map(f => f.status),"
            " shown: [...document.images].filter(i => i.naturalWidth).length,"
            " images: document.images.length})"
        )
        seen["body_bytes"] = sum(len(response.body()) for response in responses if response.status == 200)
        return responses, seen


@pytest.mark.browser
def test_the_article_is_a_page_with_forty_resources_of_every_kind(browser):
    """The article loads 40 resources, about 1.5 MB: pictures, styles, fonts, scripts, a POST and a stream."""
    responses, seen = load(browser, f"https://{hosts.NEWS}{ARTICLE_PATH}")
    kinds = {response.request.resource_type for response in responses}
    assert len(responses) == 41
    assert {"document", "image", "stylesheet", "font", "script", "fetch"} <= kinds
    assert [r.request.method for r in responses].count("POST") == 1
    assert 1.3 * MIB < seen["body_bytes"] < 1.6 * MIB
    assert seen["fonts"].count("loaded") == 3
    assert seen["shown"] == seen["images"]


@pytest.mark.browser
def test_the_long_page_is_not_whole_before_somebody_scrolls(browser):
    """Taller than 20,000 px and than a texture, with most of its pictures missing until they come near."""
    _, seen = load(browser, LIVE)
    assert seen["height"] > 20_000
    assert seen["shown"] < seen["images"] / 4
    assert seen["images"] == texts.LIVE_ENTRY_COUNT + 1


@pytest.mark.parametrize(
    ("host", "path", "status", "words"),
    [
        (hosts.ULYS, "/ru/2026/01/freedom", 451, "149-ФЗ"),
        (hosts.AGENCY, "/", 503, "DDoS"),
        (hosts.VIDEOS, "/@lmc-kz", 404, "This channel was removed"),
        (hosts.SOCIAL, "/respublika.media/posts/1042", 200, "Пять вопросов"),
        (hosts.SOCIAL, "/respublika.media/posts/1017", 200, "GIORGIO ARMANI"),
        (hosts.SOCIAL, "/login/", 200, 'type="password"'),
        (hosts.PHOTOS, "/azattyq.media/", 200, "интеллектуальной собственности"),
        (hosts.CHANNELS, "/s/dala_live", 200, "подписчиков"),
        (hosts.IDN, "/сайлау/2026", 200, "байқаушылардың"),
        (hosts.NEWS, CYRILLIC_PATH, 200, "Масс-медиа туралы заң"),
        (hosts.NEWS, "/no/such/page", 404, "не найдена"),
    ],
)
def test_each_kind_of_page_answers_as_such_pages_do(sites, host: str, path: str, status: int, words: str):
    """Status and words are those that a reader of such a page sees."""
    found, _, body = get(sites, host, path)
    assert (found, words in body.decode()) == (status, True)


@pytest.mark.parametrize(
    ("host", "path", "status", "target"),
    [
        (hosts.ULYS, "/ru/2026/01/turlov", 302, f"http://{hosts.PROVIDER}/?u={hosts.ULYS}"),
        (hosts.SOCIAL, "/just.journalism/about", 302, "/login/?next=/just.journalism/about"),
        (hosts.SHORT, "/k8", 301, f"http://{hosts.SHORT}/go?id=8&lang=kk"),
        (hosts.SHORT, "/go", 302, f"https://{hosts.NEWS}{quote(CYRILLIC_PATH)}"),
    ],
)
def test_redirects_have_bodies(sites, host: str, path: str, status: int, target: str):
    """A redirect answers with a body too, which a recorder must not lose."""
    found, headers, body = get(sites, host, path)
    assert (found, headers["location"]) == (status, target)
    assert b"Moved" in body


@pytest.mark.parametrize("coding", ["br", "gzip", "identity"])
def test_the_same_request_gets_the_same_bytes(sites, coding: str):
    """Nothing but the date differs between two answers, in any content coding."""
    one, other = (get(sites, hosts.NEWS, ARTICLE_PATH, {"accept-encoding": coding}) for _ in range(2))
    assert one[2] == other[2]
    assert one[1].get("content-encoding", "identity") == coding


@pytest.mark.parametrize(
    "make",
    [
        lambda: landscape.__wrapped__(7, 320, 180),
        lambda: ornament.__wrapped__(7, 96),
        lambda: web_font.__wrapped__(80, 100),
        secret_passport.__wrapped__,
    ],
)
def test_what_is_drawn_is_drawn_alike_every_time(make):
    """Pictures, fonts and the PDF depend on their number alone, not on clock or chance."""
    assert make() == make()


def test_another_reader_finds_the_stamp_in_the_pdf(tmp_path: Path):
    """The PDF is valid for poppler, has one page, and its Kazakh and Russian text can be searched."""
    path = tmp_path / "passport.pdf"
    path.write_bytes(secret_passport())
    done = subprocess.run(["pdftotext", "-layout", path, "-"], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert "ПАСПОРТ БЮДЖЕТНОЙ ПРОГРАММЫ" in done.stdout
    assert "ҚАЗАҚСТАН РЕСПУБЛИКАСЫ" in done.stdout
    assert done.stdout.count("\f") == 1


@pytest.mark.parametrize("port", ["reset", "https_reset"])
def test_the_mirror_resets_every_connection(sites, port: str):
    """The connection ends in a reset and not in an orderly end, before any byte of an answer."""
    with socket.create_connection((hosts.ADDRESS, sites.ports[port])) as raw:
        raw.sendall(f"GET / HTTP/1.1\r\nHost: {hosts.AGENCY_MIRROR}\r\n\r\n".encode())
        with pytest.raises(ConnectionResetError):
            raw.recv(1)


def test_the_cut_page_ends_in_a_reset_after_part_of_it(sites):
    """What arrives is less than announced, and then comes a reset."""
    received = b""
    with socket.create_connection((hosts.ADDRESS, sites.ports["reset"])) as raw:
        raw.sendall(f"GET / HTTP/1.1\r\nHost: {hosts.CUT}\r\n\r\n".encode())
        with pytest.raises(ConnectionResetError):  # noqa: PT012  # the reset comes after any number of reads
            while data := raw.recv(65_536):
                received += data
    head, _, body = received.partition(b"\r\n\r\n")
    assert b"Content-Length: 60000" in head
    assert 0 < len(body) < 60_000


@pytest.mark.parametrize("host", [hosts.NEWS, hosts.WEEKLY])
def test_a_client_that_trusts_nobody_new_refuses_the_certificates(sites, host: str):
    """Neither the run's own authority nor the self-signed certificate is trusted by the system."""
    port = "https_self_signed" if host == hosts.WEEKLY else "https"
    raw = socket.create_connection((hosts.ADDRESS, sites.ports[port]))
    with raw, pytest.raises(ssl.SSLCertVerificationError):
        ssl.create_default_context().wrap_socket(raw, server_hostname=host)


def test_the_self_signed_certificate_is_refused_even_with_the_authority(sites):
    """The run's authority did not sign it."""
    raw = socket.create_connection((hosts.ADDRESS, sites.ports["https_self_signed"]))
    with raw, pytest.raises(ssl.SSLCertVerificationError):
        trusting(sites).wrap_socket(raw, server_hostname=hosts.WEEKLY)


@pytest.mark.parametrize(("port", "protocol"), [("https", "h2"), ("https_h1", "http/1.1")])
def test_the_ports_speak_the_protocols_they_are_named_for(sites, port: str, protocol: str):
    """One TLS port offers HTTP/2, the other does not, to the same client."""
    host = hosts.NEWS if port == "https" else hosts.HUNDRED_H1
    raw = socket.create_connection((hosts.ADDRESS, sites.ports[port]))
    with trusting(sites, ["h2", "http/1.1"]).wrap_socket(raw, server_hostname=host) as secure:
        assert secure.selected_alpn_protocol() == protocol


def test_no_resolve_rule_leads_away_from_this_machine(sites):
    """Each rule is one that the archiver takes, and its address is loopback; the vanished host has none."""
    rules = [parse_resolve_rule(rule) for rule in sites.resolve]
    assert {rule.address for rule in rules} == {hosts.ADDRESS}
    assert not [rule for rule in rules if rule.match(hosts.VANISHED, 443)]


def test_the_sites_end_with_the_process_that_started_them():
    """Killed with no time to clean up, the parent leaves no server behind."""
    program = (
        "import os, signal\nfrom examples.sites import serve\n"
        "with serve() as sites:\n"
        "    print(sites.ports['http'], flush=True)\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    # The servers hold their parent's standard error, so its end is theirs.
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((hosts.ADDRESS, int(done.stdout)))


def test_the_port_file_appears_whole(tmp_path: Path):
    """Whoever waits for the port file can read it as soon as it is there."""
    command = [
        sys.executable,
        "-m",
        "examples.sites",
        "--until-input-ends",
        "--port-file",
        tmp_path / "sites.json",
    ]
    done = subprocess.run(command, cwd=REPOSITORY, input="", capture_output=True, text=True, check=True)
    facts = json.loads((tmp_path / "sites.json").read_text())
    assert facts == json.loads(done.stdout)
    assert set(facts) == {"resolve", "ca", "ports"}
