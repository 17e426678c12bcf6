"""An organisation's certificate signs beside the key: from the setting to ``openssl cms -verify``."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, pkcs12

from tests.unit.archiver.sealing.conftest import authority, home, lab  # noqa: F401  fixtures
from tests.unit.manifests.seal.cades import organisation

NAME = "Example Foundation"
SEAL = ("record.p7s", "certificate.revocation.json", "certificate.tsa-revocation.json")


@pytest.fixture
def certified(lab, tmp_path, monkeypatch):  # noqa: F811
    """An installation with a certificate in a PKCS#12 file, not yet trusted."""
    root, one = organisation(NAME)
    locked = BestAvailableEncryption(b"pin")
    data = pkcs12.serialize_key_and_certificates(b"x", one.key, one.certificate, [root.certificate], locked)
    (tmp_path / "organisation.p12").write_bytes(data)
    (tmp_path / "organisation.pem").write_bytes(one.certificate.public_bytes(Encoding.PEM))
    (tmp_path / "ca.pem").write_bytes(root.certificate.public_bytes(Encoding.PEM))
    monkeypatch.setenv("ARCHIVER_CERTIFICATE", str(tmp_path / "organisation.p12"))
    monkeypatch.setenv("ARCHIVER_CERTIFICATE_PASSPHRASE", "pin")
    return lab


def trust_it(certified, *words):
    certified.call(
        "trust", "add-certificate", "organisation.pem", "--root", "ca.pem", "--principal", NAME, *words
    )


@pytest.mark.parametrize("words", [(), ("--by-subject",)], ids=["pinned", "by-subject"])
def test_a_capture_is_sealed_with_both_signatures_and_openssl_confirms_them(certified, words):
    """PyHanko's signature passes our verifier, and the printed script (openssl cms, openssl ts) by hand."""
    trust_it(certified, *words)
    one = certified.put(1)
    assert certified.call("seal", one)["captures"][0]["state"] == "sealed"
    folder = certified.root / "captures" / one
    assert all((folder / "seal" / name).exists() for name in SEAL)
    told = certified.call("verify", one)
    assert told["overall"] == "passed"
    assert any(f"signed by the certificate of {NAME} too" in text for text in told["reports"][0]["proven"])
    script = certified.call("verify", one, "--explain")["script"]
    done = subprocess.run(["bash", "-c", script], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "CMS Verification successful" in done.stderr or "Verification successful" in done.stderr
    assert done.stdout.endswith("all checks passed\n")
    (folder / "seal" / "record.p7s").chmod(0o644)
    data = bytearray((folder / "seal" / "record.p7s").read_bytes())
    data[-5] ^= 1
    (folder / "seal" / "record.p7s").write_bytes(data)
    done = subprocess.run(["bash", "-c", script], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    certified.call("verify", one, code=4)


def test_a_certificate_that_the_trust_file_does_not_know_seals_nothing(certified):
    """Whoever could not verify it himself does not hand it to others."""
    one = certified.put(1)
    certified.call("seal", one, code=1)
    assert not (certified.root / "captures" / one / "seal" / "record.tlog-proof").exists()


def test_without_an_authority_the_capture_waits_and_is_completed_later(certified, monkeypatch):
    """CAdES-T needs a time: fails closed, and the next `seal --pending` does it."""
    trust_it(certified)
    one = certified.put(1)
    trust = Path(certified.call("trust", "show")["file"])
    whole = trust.read_text()
    trust.write_text(whole.replace("http://127.0.0.1:", "http://127.0.0.1:1/"))
    got = certified.call("seal", one, code=3)["captures"][0]
    assert got["state"] == "signed"
    assert any("no signature by certificate" in text for text in got["problems"])
    trust.write_text(whole)
    assert certified.call("seal", "--pending")["captures"][0]["state"] == "sealed"
    assert certified.call("verify", one)["overall"] == "passed"


def test_the_policy_can_demand_it(certified, monkeypatch):
    """Without the certificate's signature a capture is not sealed by such a trust file."""
    trust_it(certified)
    one = certified.put(1)
    trust = Path(certified.call("trust", "show")["file"])
    trust.write_text(trust.read_text().replace("certificate_required = false", "certificate_required = true"))
    monkeypatch.delenv("ARCHIVER_CERTIFICATE")
    assert certified.call("seal", one, code=3)["captures"][0]["state"] == "stamped"
    report = certified.call("verify", one, code=5)["reports"][0]
    assert "certificate-signature-missing" in {each["code"] for each in report["findings"]}


@pytest.mark.parametrize("passphrase", ["wrong", ""])
def test_another_passphrase_is_a_clear_error(certified, monkeypatch, passphrase):
    """It opens nothing, and no capture is touched."""
    monkeypatch.setenv("ARCHIVER_CERTIFICATE_PASSPHRASE", passphrase)
    one = certified.put(1)
    certified.call("seal", one, code=2)
    assert not (certified.root / "captures" / one / "seal").exists()


def test_a_key_in_a_token_signs_too(certified, tmp_path, monkeypatch):
    """PKCS#11: the key never leaves SoftHSM; the seal is the same."""
    pytest.importorskip("pkcs11", reason="the extra pkcs11 is not installed")
    tool = shutil.which("softhsm2-util")
    module = next((path for path in map(Path, MODULES) if path.exists()), None)
    if tool is None or module is None:
        pytest.skip("softhsm2 is not installed")
    (tmp_path / "tokens").mkdir()
    (tmp_path / "softhsm.conf").write_text(f"directories.tokendir = {tmp_path}/tokens\n")
    monkeypatch.setenv("SOFTHSM2_CONF", str(tmp_path / "softhsm.conf"))
    words = ["--init-token", "--free", "--label", "evidence", "--pin", "1234", "--so-pin", "1234"]
    subprocess.run([tool, "--module", module, *words], check=True, capture_output=True)
    import_into_token(module, tmp_path)
    trust_it(certified)
    monkeypatch.setenv("ARCHIVER_CERTIFICATE", f"pkcs11:token=evidence;object=seal?module-path={module}")
    monkeypatch.setenv("ARCHIVER_CERTIFICATE_PASSPHRASE", "1234")
    one = certified.put(1)
    assert certified.call("seal", one)["captures"][0]["state"] == "sealed"
    assert certified.call("verify", one)["overall"] == "passed"
    monkeypatch.setenv("ARCHIVER_CERTIFICATE_PASSPHRASE", "9999")
    certified.call("seal", certified.put(2), code=2)


MODULES = ("/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so")


def import_into_token(module: Path, folder: Path) -> None:
    import pkcs11
    from pkcs11.util.ec import decode_ec_private_key
    from pkcs11.util.x509 import decode_x509_certificate

    key, one, _ = pkcs12.load_key_and_certificates((folder / "organisation.p12").read_bytes(), b"pin")
    from cryptography.hazmat.primitives.serialization import NoEncryption, PrivateFormat

    secret = key.private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    token = pkcs11.lib(str(module)).get_token(token_label="evidence")
    with token.open(user_pin="1234", rw=True) as session:
        label = {pkcs11.Attribute.LABEL: "seal", pkcs11.Attribute.TOKEN: True}
        session.create_object(decode_ec_private_key(secret) | label)
        session.create_object(decode_x509_certificate(one.public_bytes(Encoding.DER)) | label)


def test_json_of_trust_names_the_certificate(certified):
    """`trust show` says whose certificate is trusted, and `trust remove` takes it out."""
    trust_it(certified)
    (shown,) = certified.call("trust", "show")["certificates"]
    assert shown["principal"] == NAME
    left = certified.call("trust", "remove", shown["certificate_sha256"])
    assert left["certificates"] == []


def signed_exhibit(certified, tmp_path) -> Path:
    one = certified.put(1)
    certified.call("seal", one)
    words = ("report", "exhibit", one, "--for", "counsel", "--output", "exhibit.pdf")
    certified.call(*words, "--sign")
    return tmp_path / "exhibit.pdf"


def signatures(path: Path) -> str:
    done = subprocess.run(["pdfsig", "-nocert", path], capture_output=True, text=True, check=False)
    return done.stdout


def test_an_exhibit_is_signed_by_certificate_and_another_reader_says_so(certified, tmp_path):
    """Poppler finds one valid PAdES signature over the whole document, and none after a changed byte."""
    trust_it(certified)
    path = signed_exhibit(certified, tmp_path)
    said = signatures(path)
    assert said.count("Signature is Valid") == 1
    assert "ETSI.CAdES.detached" in said
    assert "Total document signed" in said
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 1
    path.write_bytes(data)
    assert "Signature is Valid" not in signatures(path)


def test_an_exhibit_is_not_signed_without_a_certificate_or_an_authority(certified, tmp_path, monkeypatch):
    """No certificate is a usage error; no authority in reach leaves the document unsigned and says so."""
    trust_it(certified)
    one = certified.put(1)
    certified.call("seal", one)
    words = ("report", "exhibit", one, "--for", "counsel", "--output", "exhibit.pdf", "--sign")
    trust = certified.folder / "config" / "archiver" / "trust.toml"
    text = trust.read_text()
    trust.write_text(re.sub(r"http://127.0.0.1:\d+", "http://127.0.0.1:1", text))
    certified.call(*words, code=1)
    assert "Signature" not in signatures(tmp_path / "exhibit.pdf")
    trust.write_text(text)
    monkeypatch.delenv("ARCHIVER_CERTIFICATE")
    certified.call(*words, code=2)
