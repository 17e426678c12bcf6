"""The TLS follower against programs that we did not write: OpenSSL's and GnuTLS's own clients and servers."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace

import pytest
from tls_tools import HOST, GnutlsServer, OpensslServer, follow, make_certificate, talk

from archiver.capture.recorder.tls import TlsError, tie_resumed
from archiver.capture.recorder.tls_ciphers import SUITES, suite_by_number

SUITES_13 = [name for number, name in SUITES.items() if suite_by_number(number).is_tls13]
SUITES_12 = [name for number, name in SUITES.items() if not suite_by_number(number).is_tls13]
LOW = ["-cipher", "ALL:@SECLEVEL=0"]
EVERY_13 = ["-ciphersuites", ":".join(SUITES_13)]
ONLY_12 = "-VERS-ALL:+VERS-TLS1.2"
NEEDS_GNUTLS = pytest.mark.skipif(shutil.which("gnutls-serv") is None, reason="needs gnutls-bin")


@pytest.fixture(scope="module")
def pems(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pems")
    return {
        "rsa": make_certificate(folder, "rsa", "-newkey", "rsa:2048"),
        "ec": make_certificate(folder, "ec", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
        "ec384": make_certificate(folder, "ec384", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384"),
        "ed25519": make_certificate(folder, "ed25519", "-newkey", "ed25519"),
        "pss": make_certificate(folder, "pss", "-newkey", "rsa-pss"),
    }


@pytest.fixture(scope="module")
def openssl_names():
    """What openssl calls each suite, by its IANA name."""
    command = ["openssl", "ciphers", "-stdname", "ALL:@SECLEVEL=0"]
    listing = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return {line.split()[0]: line.split()[2] for line in listing.splitlines()}


@pytest.fixture
def keys(tmp_path):
    return tmp_path / "keys.log"


@pytest.fixture(scope="module")
def reverser(pems):
    """A server of every suite that answers each line reversed."""
    both = ["-cert", str(pems["rsa"]), "-dcert", str(pems["ec"])]
    server = OpensslServer(*both, "-rev", *LOW, *EVERY_13)
    yield server
    server.close()


@pytest.fixture
def serve():
    """Start servers that end with the test."""
    running = []

    def start(kind, *options):
        running.append(kind(*options))
        return running[-1]

    yield start
    for server in running:
        server.close()


def check_talk(server, keys, *options):
    """Talk, follow, compare with what the programs said; return the facts."""
    said = talk(server.client(keys, *options), b"what was here", b"is kept")
    stream, plain = follow(server.pipe.wires(1)[0], keys)
    assert plain == (said, b"ereh saw tahw\ntpek si\n")
    facts = stream.facts()
    assert (facts.server_finished, facts.client_finished, facts.not_followed) == (True, True, "")
    assert (stream.pending_bytes, facts.undecrypted_records, facts.trailing_bytes) == (0, 0, (0, 0))
    closes = {(alert.direction, alert.description, alert.encrypted) for alert in facts.alerts}
    assert (0, "close_notify", True) in closes
    return facts


@pytest.mark.parametrize("suite", SUITES_13)
def test_suite_of_tls13(suite, reverser, keys):
    """Every TLS 1.3 suite is followed to the last byte and both sides' MACs and the signature are right."""
    facts = check_talk(reverser, keys, "-tls1_3", "-ciphersuites", suite)
    assert (facts.version, facts.cipher_suite, facts.sni) == ("TLS 1.3", suite, HOST)
    assert (facts.certificate_verify.valid, len(facts.chain), facts.resumed) == (True, 1, False)


@pytest.mark.parametrize("suite", SUITES_12)
def test_suite_of_tls12(suite, reverser, keys, openssl_names):
    """Every TLS 1.2 suite is followed; an ephemeral one has its signature checked, another says why not."""
    facts = check_talk(reverser, keys, "-tls1_2", "-cipher", f"{openssl_names[suite]}:@SECLEVEL=0")
    assert (facts.version, facts.cipher_suite) == ("TLS 1.2", suite)
    ephemeral = suite_by_number(facts.cipher_suite_number).exchange != "RSA"
    assert facts.certificate_verify.valid is (True if ephemeral else None)
    assert ephemeral or "static RSA" in facts.certificate_verify.reason


@pytest.mark.parametrize("suite", ["AES128-SHA", "ECDHE-RSA-AES128-SHA256", "ECDHE-ECDSA-AES256-SHA384"])
def test_mac_inside(suite, reverser, keys):
    """CBC with the MAC inside is followed as well as the encrypt-then-MAC that is the default."""
    check_talk(reverser, keys, "-tls1_2", "-no_etm", "-cipher", f"{suite}:@SECLEVEL=0")


@pytest.mark.parametrize(
    ("version", "kind", "algorithm"),
    [
        ("-tls1_3", "ec384", "ecdsa_secp384r1_sha384"),
        ("-tls1_3", "ed25519", "ed25519"),
        ("-tls1_3", "pss", "rsa_pss_pss_sha256"),
        ("-tls1_2", "ed25519", "ed25519"),
        ("-tls1_2", "pss", "rsa_pss_pss_sha256"),
        # in TLS 1.2 the scheme's curve says nothing about the key's
        ("-tls1_2", "ec384", "ecdsa_secp256r1_sha256"),
    ],
)
def test_kinds_of_key(version, kind, algorithm, pems, serve, keys):  # noqa: PLR0917 - three are a case
    """The server's signature is checked with each kind of key, under the name of its scheme."""
    server = serve(OpensslServer, "-cert", str(pems[kind]), "-rev")
    check = check_talk(server, keys, version).certificate_verify
    assert (check.valid, check.algorithm) == (True, algorithm)


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_client_certificate(version, pems, serve, keys):
    """A client certificate is noticed and leaves the transcript of both MACs right."""
    server = serve(OpensslServer, "-cert", str(pems["rsa"]), "-rev", "-Verify", "1", "-verify_quiet")
    assert check_talk(server, keys, version, "-cert", str(pems["ec"])).client_certificate


def test_no_client_certificate(pems, serve, keys):
    """An empty certificate message of the client does not count as a certificate."""
    server = serve(OpensslServer, "-cert", str(pems["rsa"]), "-rev", "-verify", "1", "-verify_quiet")
    assert not check_talk(server, keys, "-tls1_3").client_certificate


def test_hello_retry(pems, serve, keys):
    """A HelloRetryRequest is followed with its folded transcript, and the group is the last one."""
    server = serve(OpensslServer, "-cert", str(pems["rsa"]), "-rev", "-groups", "P-384")
    facts = check_talk(server, keys, "-tls1_3", "-groups", "X25519:P-384")
    assert (facts.hello_retry, facts.group) == (True, "secp384r1")


def test_key_updates(pems, serve, keys):
    """Key updates of either side, asked for and not, change the keys of that side only."""
    server = serve(OpensslServer, "-cert", str(pems["rsa"]), "-rev")
    client = server.client(keys, "-tls1_3")
    client.until(b"Verify return code")
    for command in (b"K", b"k", b"K"):
        client.type(command + b"\n")
        client.until(b"KEYUPDATE")
        client.type(b"abc\n")
        client.until(b"cba")
    client.end()
    stream, plain = follow(server.pipe.wires(1)[0], keys)
    assert plain == (b"abc\n" * 3, b"cba\n" * 3)
    assert stream.facts().key_updates >= 3


def test_external_key(pems, serve, keys):
    """A pre-shared key from outside counts as resumed, has no certificate and is tied to nobody."""
    psk = ["-psk", "00112233445566778899aabbccddeeff", "-psk_identity", "agreed"]
    server = serve(OpensslServer, "-nocert", "-rev", *psk)
    facts = check_talk(server, keys, "-tls1_3", *psk)
    assert facts.resumed
    assert (facts.chain, facts.certificate_verify.valid) == ((), None)
    assert tie_resumed({1: facts}) == {}


@pytest.mark.parametrize(
    ("version", "server_options"),
    [("-tls1_3", []), ("-tls1_2", []), ("-tls1_2", ["-no_ticket"]), ("-tls1_3", ["-no_ticket"])],
    ids=["1.3", "1.2 ticket", "1.2 session id", "1.3 stateful"],
)
def test_resumption(version, server_options, pems, serve, keys):
    """A resumed connection is tied to the full handshake, also over a second resumption."""
    server = serve(OpensslServer, "-cert", str(pems["rsa"]), "-rev", *server_options)
    session = str(keys.with_name("session.pem"))
    full = check_talk(server, keys, version, "-sess_out", session)
    second = check_talk(server, keys, version, "-sess_in", session, "-sess_out", session)
    third = check_talk(server, keys, version, "-sess_in", session)
    assert [fact.resumed for fact in (full, second, third)] == [False, True, True]
    assert (len(full.chain), second.chain, third.chain) == (1, (), ())
    assert tie_resumed({7: full, 8: second, 9: third}) == {8: 7, 9: 7}
    assert tie_resumed({8: second}) == {}
    assert tie_resumed({7: replace(full, sni="other.example"), 8: second}) == {}


def early_session(server, keys, session):
    """Get a ticket that allows early data."""
    client = server.client(keys, "-tls1_3", "-sess_out", str(session))
    client.until(b"Verify return code")
    server.program.until(b"CIPHER is")
    server.program.type(b"tickets are before this\n")
    client.until(b"tickets are before this\n")
    client.type(b"Q\n")
    client.end()
    server.pipe.wires(1)


@pytest.mark.parametrize("case", ["accepted", "rejected", "rejected by retry"])
def test_early_data(case, pems, serve, keys, tmp_path):
    """Early data comes out when the server takes it and is counted, not shown, when it does not."""
    accepted, retry = case == "accepted", case == "rejected by retry"
    session, early = tmp_path / "session.pem", tmp_path / "early.txt"
    early.write_bytes(b"before the answer\n" * 100)
    server = serve(OpensslServer, "-cert", str(pems["rsa"]), "-early_data", "-max_early_data", "16384")
    early_session(server, keys, session)
    if not accepted:
        # another process cannot open the first one's tickets
        groups = ["-groups", "P-384"] if retry else []
        server = serve(OpensslServer, "-cert", str(pems["rsa"]), "-early_data", *groups)
    options = ["-sess_in", str(session), "-early_data", str(early), "-groups", "X25519:P-384"]
    client = server.client(keys, "-tls1_3", *options)
    client.until(b"Early data was accepted" if accepted else b"Early data was rejected")
    client.until(b"---\n")
    client.type(b"after\n")
    server.program.until(b"after\n")
    client.type(b"Q\n")
    client.end()
    stream, plain = follow(server.pipe.wires(1)[0], keys)
    facts = stream.facts()
    assert plain[0] == (early.read_bytes() if accepted else b"") + b"after\n"
    assert (facts.early_data_accepted, facts.hello_retry) == (accepted, retry)
    assert (facts.undecrypted_records > 0) is not accepted
    assert (facts.server_finished, facts.client_finished) == (True, True)


def test_post_handshake_authentication(pems, serve, keys):
    """A certificate that the server asks for later is noticed and the data after it still comes out."""
    server = serve(OpensslServer, "-cert", str(pems["rsa"]), "-verify", "1", "-verify_quiet")
    client = server.client(keys, "-tls1_3", "-enable_pha", "-cert", str(pems["ec"]))
    client.until(b"Verify return code")
    client.type(b"first\n")
    server.program.until(b"first\n")
    server.program.type(b"c\n")
    server.program.until(b"SSL_do_handshake -> 1")
    server.program.type(b"secret page\n")
    client.until(b"secret page\n")
    client.type(b"thanks\n")
    server.program.until(b"thanks\n")
    client.type(b"Q\n")
    client.end()
    stream, plain = follow(server.pipe.wires(1)[0], keys)
    assert plain == (b"first\nthanks\n", b"secret page\n")
    assert stream.facts().client_certificate


def test_renegotiation_is_refused(pems, serve, keys):
    """A renegotiation of TLS 1.2 ends the following with an error that says so; what came before is kept."""
    server = serve(OpensslServer, "-cert", str(pems["rsa"]), "-rev", "-client_renegotiation")
    client = server.client(keys, "-tls1_2")
    client.until(b"Verify return code")
    client.type(b"saved\n")
    client.until(b"devas\n")
    client.type(b"R\n")
    client.until(b"RENEGOTIATING")
    client.type(b"lost\n")
    client.until(b"tsol\n")
    client.end()
    wire = server.pipe.wires(1)[0]
    with pytest.raises(TlsError, match=r"expected no renegotiation, got message type 1 \[E529\]"):
        follow(wire, keys)


@pytest.mark.parametrize("version", ["-tls1", "-tls1_1"])
def test_old_versions_are_refused(version, pems, serve, keys):
    """TLS 1.0 and 1.1 are not followed, and the error and the facts name the version."""
    low = ["-cipher", "DEFAULT:@SECLEVEL=0"]
    server = serve(OpensslServer, "-cert", str(pems["rsa"]), "-rev", *low)
    talk(server.client(keys, version, *low), b"saved")
    name = "TLS 1.0" if version == "-tls1" else "TLS 1.1"
    with pytest.raises(TlsError, match=rf"expected TLS 1.2 or 1.3 without compression, got {name}"):
        follow(server.pipe.wires(1)[0], keys)


@pytest.mark.parametrize(
    "suite", ["ECDHE-RSA-CAMELLIA128-SHA256", "ECDHE-ARIA128-GCM-SHA256", "ADH-AES128-SHA"]
)
def test_unknown_suites_are_refused(suite, reverser, keys):
    """A suite that no browser offers is refused by its number, not guessed at."""
    talk(reverser.client(keys, "-tls1_2", "-cipher", f"{suite}:@SECLEVEL=0"), b"saved")
    with pytest.raises(TlsError, match=r"cipher suite: expected one of .*, got 0x[0-9a-f]{4} \[E524\]"):
        follow(reverser.pipe.wires(1)[0], keys)


def test_refused_connection(pems, serve, keys):
    """A server that shares no suite says so in an alert, and the facts give its name."""
    server = serve(OpensslServer, "-cert", str(pems["rsa"]), "-rev", "-tls1_3")
    client = server.client(keys, "-tls1_2")
    client.until(b"alert")
    client.end()
    stream, plain = follow(server.pipe.wires(1)[0], keys)
    assert plain == (b"", b"")
    alerts = [(a.direction, a.level, a.description, a.encrypted) for a in stream.facts().alerts]
    assert alerts == [(1, "fatal", "protocol_version", False)]


def echo(server, keys, *options):
    """Talk to an echo of GnuTLS; return the facts of the connection that talked."""
    client = server.client(keys, *options)
    client.until(b"Simple Client Mode:")
    client.type(b"what was here\n")
    client.until(b"what was here\n")
    client.end()
    stream, plain = follow(server.pipe.wires(1)[0], keys)
    assert plain[1] == b"what was here\n"
    assert plain[0].endswith(b"what was here\n")
    facts = stream.facts()
    assert (facts.server_finished, facts.client_finished, facts.not_followed) == (True, True, "")
    return facts, plain


GNUTLS_PRIORITIES = {
    "TLS_AES_128_CCM_8_SHA256": "NORMAL:-CIPHER-ALL:+AES-128-CCM-8:-VERS-ALL:+VERS-TLS1.3",
    "TLS_CHACHA20_POLY1305_SHA256": "NORMAL:-CIPHER-ALL:+CHACHA20-POLY1305:-VERS-ALL:+VERS-TLS1.3",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA": "NORMAL:-CIPHER-ALL:+AES-256-CBC:" + ONLY_12,
    "TLS_RSA_WITH_AES_128_CBC_SHA": "NORMAL:-CIPHER-ALL:+AES-128-CBC:-KX-ALL:+RSA:%NO_ETM:" + ONLY_12,
    "TLS_RSA_WITH_AES_256_CCM_8": "NORMAL:-CIPHER-ALL:+AES-256-CCM-8:-KX-ALL:+RSA:" + ONLY_12,
    "TLS_DHE_RSA_WITH_AES_128_GCM_SHA256": "NORMAL:-CIPHER-ALL:+AES-128-GCM:-KX-ALL:+DHE-RSA:" + ONLY_12,
}


@pytest.fixture(scope="module")
def gnutls(pems):
    every = "NORMAL:+AES-128-CCM-8:+AES-256-CCM-8:+DHE-RSA:+RSA"
    early = ["--earlydata", "--maxearlydata=4096"]
    server = GnutlsServer(pems["rsa"], "--priority", every, "--disable-client-cert", *early)
    yield server
    server.close()


@NEEDS_GNUTLS
@pytest.mark.parametrize("suite", GNUTLS_PRIORITIES)
def test_suite_of_gnutls(suite, gnutls, keys):
    """A second TLS stack is followed just as well, with and without encrypt-then-MAC."""
    facts, _ = echo(gnutls, keys, "--priority", GNUTLS_PRIORITIES[suite])
    assert facts.cipher_suite == suite
    assert facts.certificate_verify.valid is (None if "TLS_RSA" in suite else True)


@NEEDS_GNUTLS
def test_resumption_of_gnutls(gnutls, keys, tmp_path):
    """Early data to GnuTLS comes out, and its resumed connection goes back to the full one."""
    early = tmp_path / "early.txt"
    early.write_bytes(b"GET / HTTP/1.1\r\n\r\n")
    resumed, plain = echo(gnutls, keys, "--resume", "--waitresumption", "--earlydata", str(early))
    full = follow(gnutls.pipe.wires(2)[0], keys)[0].facts()
    assert (resumed.early_data_accepted, plain[0]) == (True, early.read_bytes() + b"what was here\n")
    assert tie_resumed({0: full, 1: resumed}) == {1: 0}


def test_keys_of_one_connection(reverser, keys):
    """The key log lines of one connection alone are enough to follow it, and no other's are among them."""
    check_talk(reverser, keys, "-tls1_3")
    facts = check_talk(reverser, keys, "-tls1_3")
    stream, plain = follow(reverser.pipe.wires(1)[0], keys)
    alone = keys.with_name("alone.log")
    alone.write_bytes(stream._keylog.lines_for({facts.client_random}))
    assert follow(reverser.pipe.wires(1)[0], alone)[1] == plain
    assert set(re.findall(r"^\w+ (\w+)", alone.read_text(), re.MULTILINE)) == {facts.client_random.hex()}


def test_suite_numbers(openssl_names):
    """Our table of suites is right by openssl's own list of numbers and names."""
    command = ["openssl", "ciphers", "-V", "-stdname", "ALL:@SECLEVEL=0"]
    listing = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = re.findall(r"0x(..),0x(..) - (\S+)", listing)
    theirs = {int(high + low, 16): name for high, low, name in found}
    ours = {number: name for number, name in SUITES.items() if not suite_by_number(number).is_tls13}
    assert ours.items() <= theirs.items()
