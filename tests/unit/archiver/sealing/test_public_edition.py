from __future__ import annotations

import base64
import datetime as dt
import gzip
import hashlib
import io
import json
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from urllib.parse import quote

import brotli
import pytest

from archiver.bundle.editing import salt_of
from archiver.capture.recorder.exchange import Body, Exchange
from archiver.formats.wacz import Page, write_wacz
from archiver.formats.warc import WarcWriter
from archiver.redaction import Removal
from archiver.storing import begin_store, store_capture
from manifests.codec import decode, encode
from manifests.commitments import Opening, commit, commitment_of
from manifests.digests import digest_bytes
from manifests.edition import parse_edition
from tests.planted import opened, written
from tests.unit.archiver.sealing.lab import Lab, capture_id
from tests.unit.manifests.records import artifact
from tests.unit.manifests.records import record as good_record
from tests.vectors.make import PNG

AT = dt.datetime(2026, 11, 24, 8, 12, 3, tzinfo=dt.UTC)
PAGE = "https://news.example/a"
PLANTED = {
    "cookie sent": "c00kie-9f3a/Qx+77ZZ=pLm",
    "cookie set": "s3t-c00kie%20Zz81~x",
    "bearer": "eyJhbGciOiJub25lIn0.b3ar3r-Qq11",
    "proxy credential": "cHJveHk6cDRzc3dvcmQh",
    "own header": "h3ader-5512ffa0-77aa",
    "local storage": "st0rage.Xy77-made-up",
    "hidden field": "f0rm-csrf-81bb20cc",
    "parameter": "p4ram-0a1b2c3d4e",
    "form": "hunter2-and-more",
    "socket": "w3bsocket-t0ken-77",
    "own address": "198.51.100.77",
    "address of the settings": "203.0.113.199",
    "operator": "Әйгерім Нұрлан",
    "proxy name": "exit7.collector.example",
    "proxy password": "pr0xy-pass-word",
    "name of a session": "aigerim-insta",
    "host name": "aigerim-laptop",
}


def body(data: bytes) -> Body:
    made = digest_bytes(data).sha256
    return Body(io.BytesIO(data), len(data), made, made)


def exchange(url: str, *, head: str = "", answer: str = "", data: bytes = b"", **facts) -> Exchange:
    ns = int(AT.timestamp()) * 10**9
    path = url.split("/", 3)[3]
    values = {
        "connection": 1,
        "stream": None,
        "url": url,
        "method": "GET",
        "protocol": "http/1.1",
        "request_head": f"GET /{path} HTTP/1.1\r\nHost: news.example\r\n{head}\r\n".encode(),
        "request_body": None,
        "response_head": f"HTTP/1.1 200 OK\r\n{answer}Content-Length: {len(data)}\r\n\r\n".encode(),
        "response_body": body(data),
        "started_at_ns": ns,
        "response_at_ns": ns,
        "finished_at_ns": ns,
        "ip": "192.0.2.7",
        "port": 443,
        "tls": True,
    }
    return Exchange(**values | facts)


def telling() -> list[Exchange]:
    """Exchanges that tell every planted value, in heads, bodies and addresses, plain and coded."""
    p = PLANTED
    everything = " ".join(p.values())
    page = (
        f'<h1>News</h1><input type="hidden" name="csrf" value="{p["hidden field"]}">'
        f"<script>localStorage.setItem('auth', {json.dumps(json.dumps({'t': p['local storage']}))})</script>"
        f"<p>{everything}</p>"
    ).encode()
    coded = b"".join(
        base64.b64encode(b"x" * n + value.encode()) + b" " + value.encode().hex().encode() + b" "
        for value in p.values()
        for n in range(3)
    )
    percent = " ".join(quote(value, safe="") for value in p.values()).encode()
    html, plain = "Content-Type: text/html; charset=utf-8\r\n", "Content-Type: text/plain\r\n"
    cookies = f"Cookie: sid={p['cookie sent']}; lang=ru\r\nAuthorization: Bearer {p['bearer']}\r\n"
    secret = f"Proxy-Authorization: Basic {p['proxy credential']}\r\nX-Session-Echo: {p['own header']}\r\n"
    own = f"X-Client-IP: {p['own address']}\r\nSet-Cookie: id={p['cookie set']}; Path=/\r\n"
    return [
        exchange(PAGE, head=cookies + secret, answer=html + own, data=page),
        exchange(
            f"{PAGE}/gzip?session_token={p['parameter']}",
            answer=html + "Content-Encoding: gzip\r\n",
            data=gzip.compress(page),
        ),
        exchange(f"{PAGE}/br", answer=html + "Content-Encoding: br\r\n", data=brotli.compress(page)),
        exchange(f"{PAGE}/coded", answer=plain, data=coded),
        exchange(f"{PAGE}/percent", answer=plain, data=percent),
        exchange(f"{PAGE}/broken", answer=plain + "Content-Encoding: gzip\r\n", data=everything.encode()),
        exchange(f"{PAGE}/picture", answer="Content-Type: image/png\r\n", data=PNG),
        exchange(
            f"{PAGE}/post",
            method="POST",
            request_head=b"POST /a/post HTTP/1.1\r\nHost: news.example\r\n\r\n",
            request_body=body(f"user=a&password={p['form']}&token={p['socket']}".encode()),
        ),
        exchange(
            "wss://news.example/socket",
            protocol="websocket",
            data=everything.encode(),
            notes=[f"asked with {p['cookie sent']}"],
        ),
        exchange(
            f"{PAGE}/early",
            interim_heads=[f"HTTP/1.1 103 Early\r\nLink: </?auth={p['bearer']}>\r\n\r\n".encode()],
        ),
        exchange(
            f"{PAGE}/lost", head=cookies, response_head=None, response_body=None, truncated="disconnect"
        ),
    ]


def package(folder: Path, exchanges: list[Exchange], shown: dict[str, bytes]) -> bytes:
    warc, out = folder / "data.warc.gz", folder / "capture.wacz"
    with WarcWriter(warc, filename=warc.name, info={"software": "test"}, created_at=AT) as writer:
        entries = [entry for one in exchanges for entry in writer.write_exchange(one)]
        entries.append(writer.write_resource(f"urn:view:{PAGE}", "image/png", PNG, AT))
        entries.append(writer.write_resource(f"urn:dom:{PAGE}", "text/html", shown["dom.html"], AT))
        entries.append(writer.write_resource(f"urn:text:{PAGE}", "text/plain", shown["text.txt"], AT))
        info = json.dumps({"urls": {one.url: {"status": 200} for one in exchanges}}).encode()
        entries.append(writer.write_resource(f"urn:pageinfo:{PAGE}", "application/json", info, AT))
    page = Page(url=PAGE, at=AT, title="News", text="News")
    write_wacz(out, warc, entries, [page], title="t", created_at=AT, software="test")
    return out.read_bytes()


ROLES = {
    "capture.wacz": ("package", "application/wacz+zip", True, None),
    "transcript.pcapng": ("transcript", "application/x-pcapng", True, None),
    "screenshot-viewport.png": ("screenshot-viewport", "image/png", False, f"urn:view:{PAGE}"),
    "dom.html": ("dom", "text/html", False, f"urn:dom:{PAGE}"),
    "text.txt": ("text", "text/plain", False, f"urn:text:{PAGE}"),
}


def put(lab: Lab, number: int, *, text: bytes = b"News", **facts) -> str:
    """Store a capture whose package and transcript tell what was planted."""
    one = capture_id(number)
    folder = lab.folder / f"made-{number}"
    folder.mkdir()
    dom = f"<h1>News</h1><p>{PLANTED['cookie sent']}</p>".encode()
    files = {"screenshot-viewport.png": PNG, "dom.html": dom, "text.txt": text}
    files["capture.wacz"] = package(folder, telling(), files)
    (folder / "data.warc.gz").unlink()
    files["transcript.pcapng"] = b"\x0a\x0d\x0d\x0a" + " ".join(PLANTED.values()).encode()
    listed = []
    for name, data in sorted(files.items()):
        role, kind, secret, uri = ROLES[name]
        made = digest_bytes(data)
        listed.append(
            artifact(
                path=name,
                role=role,
                media_type=kind,
                holds_secrets=secret,
                warc_target_uri=uri,
                bytes=made.bytes,
                sha256=made.sha256,
                blake3=made.blake3,
            )
        )
        (folder / name).write_bytes(data)
    commitments = tuple(
        commit(name, value)[0]
        for name, value in (("collector.operator", PLANTED["operator"]), ("vantage.access_ip", "x"))
    )
    made = good_record(artifacts=tuple(listed), capture_id=one, **{"commitments": commitments} | facts)
    data = encode(made)
    begin_store(lab.store)
    store_capture(lab.store, folder, decode(data), data)
    return one


@pytest.fixture
def lab_of_planted(lab, monkeypatch) -> Lab:
    for name, value in (
        ("OPERATOR", "operator"),
        ("ACCESS_IP", "address of the settings"),
        ("SESSION", "name of a session"),
    ):
        monkeypatch.setenv(f"ARCHIVER_{name}", PLANTED[value])
    monkeypatch.setattr("socket.gethostname", lambda: PLANTED["host name"])
    proxy = f"socks5://px-user-7:{PLANTED['proxy password']}@{PLANTED['proxy name']}:1080"
    monkeypatch.setenv("ARCHIVER_UPSTREAM", proxy)
    return lab


@pytest.fixture
def published(lab_of_planted, tmp_path):
    """The public edition of one capture, as a folder."""
    put(lab_of_planted, 0)
    lab_of_planted.call("seal", "--pending")
    lab_of_planted.call("export", capture_id(0), "--for", "public", "--output", "out")
    return tmp_path / "out"


def test_no_planted_value_is_in_any_byte_of_the_public_edition(published):
    """Whichever way it is written or packed, in package, index, list, pages and manifests."""
    found = [
        (name, path.name)
        for path in published.rglob("*")
        if path.is_file()
        for data in opened(path.read_bytes())
        for name, value in PLANTED.items()
        if any(form in data for form in written(value) | {quote(value, safe="").encode()})
    ]
    assert set(found) == set()


def test_the_search_finds_every_planted_value_in_what_was_published_from(published, lab_of_planted):
    """The original holds them all, so that the search above looks for the right thing."""
    whole = b"".join(
        data
        for name in ("capture.wacz", "transcript.pcapng")
        for data in opened((lab_of_planted.root / "captures" / capture_id(0) / name).read_bytes())
    )
    missing = [name for name, value in PLANTED.items() if not any(form in whole for form in written(value))]
    assert missing == []


def test_the_public_edition_verifies_and_tells_what_it_leaves_out(published, lab_of_planted):
    """Nothing fails; each file that is not there is a finding with its digest; the facts are named."""
    told = lab_of_planted.call("verify", "out", code=5)
    (report,) = told["reports"]
    assert report["verdicts"]["identity"] == "passed"
    assert {one["severity"] for one in report["findings"]} <= {"indeterminate", "note"}
    withheld = {one["subject"]: one for one in report["findings"] if one["code"] == "artifact-withheld"}
    assert set(withheld) == {"file capture.wacz", "file transcript.pcapng", "file dom.html"}
    record = json.loads((published / "data" / "captures" / capture_id(0) / "record.json").read_bytes())
    digests = {f"file {one['path']}": one["sha256"] for one in record["artifacts"]}
    assert all(digests[name] in one["expected"] for name, one in withheld.items())
    fixed = {one["name"]: one["digest"] for one in record["commitments"]}
    for name, digest in fixed.items():
        assert any(name in line and digest in line for line in report["unchecked"])


def test_the_same_bundle_without_its_list_fails(published, lab_of_planted):
    """A file that nobody says was left out was taken away."""
    (published / "data" / "captures" / capture_id(0) / "edition.json").unlink()
    told = lab_of_planted.call("verify", "out", code=4)
    assert "artifact-missing" in {one["code"] for one in told["reports"][0]["findings"]}


def test_an_original_that_is_handed_in_later_makes_it_whole(published, lab_of_planted):
    """A court that is given the files of the list finds them to be those that were sealed."""
    folder = published / "data" / "captures" / capture_id(0)
    for name in ("capture.wacz", "transcript.pcapng", "dom.html"):
        shutil.copy(lab_of_planted.root / "captures" / capture_id(0) / name, folder)
    assert lab_of_planted.call("verify", "out")["overall"] == "passed"


def test_the_commands_of_verify_md_confirm_the_public_edition(published):
    """A stranger checks with tools of the operating system what is there."""
    blocks = re.findall(r"```sh\n(.*?)```", (published / "VERIFY.md").read_text(), re.DOTALL)
    for block in [block for block in blocks if "archiver verify" not in block]:
        done = subprocess.run(["bash", "-euc", block], cwd=published, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr


def test_the_redacted_package_is_one_that_others_read(published):
    """The format's own validator takes it; it says of itself that it is a copy, and of what."""
    folder = published / "data" / "captures" / capture_id(0)
    path = folder / "public-capture.wacz"
    done = subprocess.run(
        [sys.executable, "-m", "wacz.main", "validate", "-f", str(path)], capture_output=True, check=False
    )
    assert done.returncode == 0, done.stdout
    edition = parse_edition((folder / "edition.json").read_bytes())
    copy = next(one for one in edition.derivatives if one.path == path.name)
    assert copy.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert copy.id == f"{capture_id(0)}.{copy.sha256[:12]}"
    with zipfile.ZipFile(path) as wacz:
        warc = gzip.decompress(wacz.read("archive/data.warc.gz"))
    assert f"made from the package with SHA-256 {copy.source_sha256}".encode() in warc
    assert b"<h1>News</h1>" in warc
    assert PNG in warc


def test_any_entry_of_the_list_can_be_opened_from_the_original(published, lab_of_planted):
    """Whoever holds the sealed package proves what stood in one place, and another value does not fit."""
    folder = published / "data" / "captures" / capture_id(0)
    edition = parse_edition((folder / "edition.json").read_bytes())
    original = (lab_of_planted.root / "captures" / capture_id(0) / "capture.wacz").read_bytes()
    key = hashlib.sha512(original).digest()
    listed = [one for one in edition.removals if one.path == "public-capture.wacz"]
    number = next(n for n, one in enumerate(listed) if one.where.startswith("cookie in the request head"))
    entry = listed[number]
    opening = Removal(entry.where, f"sid={PLANTED['cookie sent']}; lang=ru")
    salt = salt_of(key, number, entry.where)
    assert commitment_of(Opening(opening.where, salt, opening.value)).digest == entry.digest
    assert commitment_of(Opening(opening.where, salt, "sid=other")).digest != entry.digest


def test_pictures_of_a_page_that_shows_a_value_are_left_out(lab_of_planted, tmp_path):
    """A page that tells the visitor his address shows it in every picture."""
    put(lab_of_planted, 0, text=f"You are {PLANTED['own address']}".encode())
    lab_of_planted.call("export", capture_id(0), "--for", "public", "--output", "out")
    folder = tmp_path / "out" / "data" / "captures" / capture_id(0)
    assert not (folder / "screenshot-viewport.png").exists()
    assert b"*" * len(PLANTED["own address"]) in (folder / "public-text.txt").read_bytes()


@pytest.mark.parametrize(
    ("where", "value"),
    [
        ("statement.by_whom", "operator"),
        ("statement.conditions", "address of the settings"),
        ("statement.circumstances", "cookie sent"),
        ("statement.purpose", "proxy name"),
    ],
)
def test_a_record_that_tells_a_value_is_not_published(lab_of_planted, tmp_path, where, value):
    """What is signed cannot be changed: the command names the place, never the value, and leaves nothing."""
    part, name = where.split(".")
    statement = type(good_record().statement)(**{name: f"by {PLANTED[value]} himself"})
    put(lab_of_planted, 0, **{part: statement})
    lab_of_planted.call("export", capture_id(0), "--for", "public", "--output", "out.zip", code=2)
    assert not list(tmp_path.glob("out*"))


def test_a_bundle_for_a_court_holds_everything(lab_of_planted, tmp_path):
    """What is left out of one edition is in the other."""
    put(lab_of_planted, 0)
    lab_of_planted.call("export", capture_id(0), "--for", "counsel", "--output", "out")
    folder = tmp_path / "out" / "data" / "captures" / capture_id(0)
    assert (folder / "capture.wacz").is_file()
    assert not (folder / "edition.json").exists()


def test_the_edition_for_counsel_is_redacted_where_it_is_set(lab_of_planted, tmp_path, monkeypatch):
    """An organisation decides whether its lawyers need the credentials."""
    monkeypatch.setenv("ARCHIVER_COUNSEL_REDACTED", "true")
    put(lab_of_planted, 0)
    lab_of_planted.call("export", capture_id(0), "--for", "counsel", "--output", "out")
    folder = tmp_path / "out" / "data" / "captures" / capture_id(0)
    assert parse_edition((folder / "edition.json").read_bytes()).audience == "counsel"
    assert not (folder / "capture.wacz").exists()


@pytest.mark.parametrize("audience", ["court", "public", "any"])
def test_nothing_is_added_to_an_edition(published, lab_of_planted, audience):
    """A capture put in later could tell what was left out."""
    put(lab_of_planted, 1)
    lab_of_planted.call("export", capture_id(1), "--for", audience, "--output", "out", code=2)
    assert not (published / "data" / "captures" / capture_id(1)).exists()


def test_the_custody_log_tells_of_the_redacted_copies(published, lab_of_planted):
    """Who made a redacted copy, when and for whom is in the log."""
    events = lab_of_planted.events("--capture", capture_id(0))
    (made,) = [one for one in events if one["type"] == "redacted"]
    assert made["purpose"] == "for public"
    assert "public-capture.wacz" in made["details"]
