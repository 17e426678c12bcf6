"""The test authority, our client and ``openssl ts`` agree on what a token is."""

from __future__ import annotations

import datetime as dt
import http.server
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from archiver.tsa_server import POLICY, WARNING, serve
from manifests import http_fetch, tsa_client
from manifests.timestamps import build_request, verify_timestamp
from manifests.trust import TrustedAuthority
from manifests.tsa_client import TsaUnavailable, stamp, stamp_by_policy
from manifests.tsa_token import MAX_REPLY_BYTES

SIGNATURE = b"-----BEGIN SSH SIGNATURE-----\n..."


@pytest.fixture(scope="module")
def tsa(tmp_path_factory):
    with serve(tmp_path_factory.mktemp("tsa")) as running:
        yield running


@pytest.fixture(scope="module")
def trusted(tsa):
    return TrustedAuthority("test", tsa.url, tsa.root, frozenset({POLICY}))


def test_token_is_stored_so_that_openssl_accepts_it(tsa, trusted, tmp_path):
    """``openssl ts -verify`` accepts the stored reply over the data and the query, and refuses other data."""
    got = stamp(SIGNATURE, trusted)
    (tmp_path / "root.pem").write_bytes(tsa.root.public_bytes(Encoding.PEM))
    for name, content in (("data", SIGNATURE), ("q.tsq", got.request), ("r.tsr", got.reply), ("bad", b"x")):
        (tmp_path / name).write_bytes(content)

    def verify(*what):
        command = ["openssl", "ts", "-verify", *what, "-in", "r.tsr", "-CAfile", "root.pem"]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, check=False).returncode

    assert verify("-data", "data") == 0
    assert verify("-queryfile", "q.tsq") == 0
    assert verify("-data", "bad") != 0


def test_stamp_verifies_with_its_stored_files(trusted):
    """What the client stores is all that a later verifier needs, revocation answers included."""
    before = dt.datetime.now(dt.UTC)
    got = stamp(SIGNATURE, trusted)
    found = verify_timestamp(
        SIGNATURE,
        trusted,
        request=got.request,
        reply=got.reply,
        chain_file=got.chain,
        revocation_file=got.revocation,
        captured_at=before,
        now=before + dt.timedelta(minutes=1),
    )
    assert found.findings == ()
    assert found.interval == got.interval
    assert found.interval.earliest < dt.datetime.now(dt.UTC)
    assert len(found.chain) == 3


def test_parallel_requests_get_different_serials(tsa, trusted):
    """Askers at the same moment each get a token of their own."""
    with ThreadPoolExecutor(4) as pool:
        replies = {got.reply for got in pool.map(lambda n: stamp(bytes([n]), trusted), range(8))}
    assert len(replies) == 8


def test_root_survives_a_restart(tmp_path):
    """The root that a trust file pins is the same after the authority was started again."""
    with serve(tmp_path) as first, serve(tmp_path) as second:
        assert first.root == second.root
        assert stamp(b"x", TrustedAuthority("test", second.url, first.root)).interval


def test_the_authority_says_that_it_proves_nothing(tsa):
    """The certificate's name and every answer carry the warning."""
    assert WARNING in tsa.root.subject.rfc4514_string()
    with urlopen(tsa.url + "issuer.crl") as answer:
        assert answer.headers["X-Warning"] == WARNING


@pytest.mark.parametrize(
    ("body", "media_type"),
    [(b"x" * 5000, "application/timestamp-query"), (b"x", "text/plain")],
)
def test_the_authority_refuses_odd_requests(tsa, body, media_type):
    """Large requests and other media types get a 4xx answer."""
    with pytest.raises(HTTPError) as error:
        urlopen(Request(tsa.url, body, {"Content-Type": media_type}))
    assert 400 <= error.value.code < 500
    error.value.close()


def test_junk_gets_a_refusal_that_we_report(tsa, trusted, monkeypatch):
    """A request that the authority cannot read comes back as its refusal, not as a token."""
    monkeypatch.setattr(tsa_client, "build_request", lambda _: b"junk")
    with pytest.raises(TsaUnavailable, match="rejection"):
        stamp(SIGNATURE, trusted)


def test_other_root_is_refused(tsa, tmp_path):
    """A token of an authority under another root than the pinned one is not taken."""
    with serve(tmp_path) as other, pytest.raises(TsaUnavailable, match="root"):
        stamp(SIGNATURE, TrustedAuthority("test", tsa.url, other.root))


def test_other_policy_is_refused(tsa):
    """A token under a policy that is not accepted is not taken."""
    with pytest.raises(TsaUnavailable, match="policy"):
        stamp(SIGNATURE, TrustedAuthority("test", tsa.url, tsa.root, frozenset({"1.2.3"})))


@pytest.fixture
def odd_server():
    """A server whose answer each test sets: ``answer(handler)``."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            server.answer(self)

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def send(status, body, **headers):
    def answer(handler):
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (send(200, b""), "malformed|not a timestamp reply"),
        (send(200, b"<html>login</html>"), "not a timestamp reply"),
        (send(200, bytes(MAX_REPLY_BYTES + 1)), "at most 65536 bytes"),
        (send(302, b"", Location="http://127.0.0.1:9/"), "got 302"),
        (send(503, b"later"), "got 503"),
        (send(200, b"x", **{"Content-Length": "100"}), "expected 99 bytes more"),
        (lambda handler: handler.wfile.write(b"junk\r\n\r\n"), "expected one"),
        (lambda handler: None, "expected one"),
    ],
)
def test_odd_answers_are_unavailability(odd_server, tsa, answer, said):
    """Whatever a server answers instead of a token: one error, no traceback, no token."""
    odd_server.answer = answer
    url = f"http://127.0.0.1:{odd_server.server_address[1]}/"
    with pytest.raises(TsaUnavailable, match=said):
        stamp(SIGNATURE, TrustedAuthority("test", url, tsa.root))


def test_endless_answer_is_cut_off(odd_server, tsa, monkeypatch):
    """An answer that trickles for ever ends at the time limit."""
    monkeypatch.setattr(http_fetch, "TOTAL_TIMEOUT_S", -1)
    odd_server.answer = send(200, b"x")
    url = f"http://127.0.0.1:{odd_server.server_address[1]}/"
    with pytest.raises(TsaUnavailable, match="got no end"):
        stamp(SIGNATURE, TrustedAuthority("test", url, tsa.root))


def test_policy_asks_the_next_when_one_fails(tsa, trusted):
    """An authority out of reach is passed over, said, and no more are asked than are required."""
    dead = TrustedAuthority("dead", "http://127.0.0.1:9/", tsa.root)
    stamps, failures = stamp_by_policy(SIGNATURE, [dead, trusted, dead], 1)
    assert ([each.authority for each in stamps], len(failures)) == (["test"], 1)
    stamps, failures = stamp_by_policy(SIGNATURE, [dead, trusted], 2)
    assert ([each.authority for each in stamps], len(failures)) == (["test"], 1)


def test_nobody_listening_is_unavailability(tsa):
    """A dead address is an error with a hint, and the hint says that nothing is lost."""
    with pytest.raises(TsaUnavailable) as error:
        stamp(SIGNATURE, TrustedAuthority("test", "http://127.0.0.1:9/", tsa.root))
    assert "kept as signed" in error.value.hint


def test_replayed_token_is_refused(odd_server, tsa, trusted):
    """A token of yesterday's request does not answer today's: the nonce tells."""
    request = Request(tsa.url, build_request(SIGNATURE), {"Content-Type": "application/timestamp-query"})
    with urlopen(request) as answer:
        old = answer.read()
    odd_server.answer = send(200, old)
    url = f"http://127.0.0.1:{odd_server.server_address[1]}/"
    with pytest.raises(TsaUnavailable, match="nonce"):
        stamp(SIGNATURE, TrustedAuthority("test", url, tsa.root))
