"""The TLS follower against the browser that captures are made with: BoringSSL as Chromium sets it up."""

from __future__ import annotations

import os
import shutil

import pytest
from tls_tools import HOST, OpensslServer, Program, follow, make_certificate

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(shutil.which("chromium") is None, reason="needs Chromium"),
]


SPARE_RECORDS = 8
"""Encrypted handshake messages, tickets and a goodbye; a request with its page is more."""


@pytest.mark.parametrize("version", ["-tls1_3", "-tls1_2"])
def test_chromium(version, tmp_path):
    """Every connection that carried something is followed; Chromium's GREASE of ECH is no obstacle.

    Chromium opens a spare connection, and when it exits it may still owe that one's secrets: nobody used it.
    """
    pem = make_certificate(tmp_path, "ec", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256")
    keys = tmp_path / "keys.log"
    server = OpensslServer("-cert", str(pem), "-www", version)
    flags = [
        f"--host-resolver-rules=MAP {HOST} 127.0.0.1, MAP * ~NOTFOUND",
        "--ignore-certificate-errors",
        "--disable-gpu",
        f"--user-data-dir={tmp_path / 'profile'}",
        *(["--no-sandbox"] if os.geteuid() == 0 else []),
    ]
    url = f"https://{HOST}:{server.pipe.port}/"
    browser = Program("chromium", "--headless", "--dump-dom", *flags, url, env={"SSLKEYLOGFILE": str(keys)})
    browser.until(b"</html>")
    browser.end()
    followed = [follow(wire, keys) for wire in server.pipe.wires(0)]
    server.close()
    facts = [stream.facts() for stream, _ in followed]
    assert any(
        plain[0].startswith(b"GET / HTTP/1.1\r\n") and b"</html>" in plain[1].lower() for _, plain in followed
    )
    assert {fact.sni for fact in facts} == {HOST}
    unused = [fact for fact in facts if fact.not_followed]
    assert [fact.undecrypted_records for fact in unused if fact.undecrypted_records > SPARE_RECORDS] == []
    assert len(unused) < len(facts)
    assert [
        fact.undecrypted_records for fact in facts if not fact.not_followed and fact.undecrypted_records
    ] == []
    assert any(fact.certificate_verify.valid and fact.client_finished for fact in facts)
    if version == "-tls1_3":
        assert {(fact.ech_offered, fact.ech_accepted) for fact in facts} == {(True, False)}
