"""What only S3 can suffer: lost answers, cut reads, refusals, damaged bytes, servers that promise less."""

from __future__ import annotations

import hashlib
import io
import secrets
import socket
import subprocess
import sys
import traceback
from datetime import timedelta
from pathlib import Path

import botocore.retries.standard
import pytest

from storage.errors import (
    DigestMismatch,
    InvalidKey,
    ObjectConflict,
    ObjectMissing,
    StoreError,
    StoreRefused,
    StoreUnavailable,
)
from storage.open import open_store
from storage.s3 import S3Store, connect
from storage.s3 import store as s3_store_module
from storage.s3.listing import Listing
from storage.streams import MIB
from tests import s3server
from tests.unit.storage import faults
from tests.unit.storage.faults import Fault

pytestmark = pytest.mark.s3
PART_BYTES = 5 * MIB  # the least that S3 takes, so that tests move fewer bytes
LARGE = hashlib.shake_256(b"large").digest(2 * PART_BYTES + 5)


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr("storage.s3.upload.PART_BYTES", PART_BYTES)


@pytest.fixture(scope="module")
def proxied(s3_server):
    """A proxy before the server, and a client of our own settings that goes through it, without pauses."""
    with faults.proxy_to(s3_server.endpoint) as proxy, pytest.MonkeyPatch.context() as patch:
        s3server.set_environment(s3_server, patch)
        patch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        patch.setattr(botocore.retries.standard.ExponentialBackoff, "delay_amount", lambda *_: 0)
        yield proxy, connect()


@pytest.fixture
def proxy(proxied):
    proxy, _ = proxied
    proxy.faults.clear()
    proxy.seen.clear()
    return proxy


@pytest.fixture
def store(proxied, proxy, s3_server) -> S3Store:
    store = S3Store(s3_server.bucket, secrets.token_hex(8), proxied[1])
    store.put("first", b"so that the probes are done")
    return store


def read(store, key: str, **window) -> bytes:
    with store.open(key, **window) as stream:
        return stream.read()


def uploads(store: S3Store) -> list:
    answer = store.client.list_multipart_uploads(Bucket=store.bucket, Prefix=store.prefix)
    return [upload["Key"] for upload in answer.get("Uploads", ())]


# --- answers that are lost ---


def test_a_put_whose_answer_was_lost_is_found(store, proxy):
    """The retry of a put that had succeeded gets 412, and the put reports success."""
    proxy.faults.append(Fault("PUT", "/k", after=faults.lost))
    receipt = store.put("k", b"data")
    assert receipt.sha256 == hashlib.sha256(b"data").hexdigest()
    assert read(store, "k") == b"data"
    assert sum(path.endswith("/k") for method, path in proxy.seen if method == "PUT") == 2


def test_a_large_put_whose_answer_was_lost_is_found(store, proxy):
    """The same for an upload in parts whose completion was answered into the void."""
    proxy.faults.append(Fault("POST", "uploadId", after=faults.lost))
    assert store.put("k", LARGE).sha256 == hashlib.sha256(LARGE).hexdigest()
    assert read(store, "k") == LARGE
    assert uploads(store) == []


def test_a_completion_that_the_server_has_forgotten_is_found(store, proxy):
    """Some servers answer the retry of a completion that had succeeded with NoSuchUpload: it is there."""
    proxy.faults.append(Fault("POST", "uploadId", after=faults.lost))
    proxy.faults.append(Fault("POST", "uploadId", before=faults.error(404, "NoSuchUpload")))
    assert store.put("k", LARGE).sha256 == hashlib.sha256(LARGE).hexdigest()
    assert read(store, "k") == LARGE


def test_an_upload_that_was_ended_by_others_is_no_success(store, proxy):
    """NoSuchUpload without a retry means that somebody ended the upload: nothing is there, as is said."""
    proxy.faults.append(Fault("POST", "uploadId", before=faults.error(404, "NoSuchUpload")))
    with pytest.raises(StoreUnavailable, match="E635"):
        store.put("k", LARGE)
    with pytest.raises(ObjectMissing):
        store.stat("k")


def test_a_lost_part_is_sent_again(store, proxy):
    """A part whose answer was lost is sent again and the object is whole."""
    proxy.faults.append(Fault("PUT", "partNumber=2", after=faults.lost))
    store.put("k", LARGE)
    assert read(store, "k") == LARGE


def test_a_replacement_whose_answer_was_lost_is_found(store, proxy):
    """The retry of a replacement that had succeeded gets 412, and the replacement reports success."""
    etag = store.replace("pointer", b"1", etag=None)
    proxy.faults.append(Fault("PUT", "/pointer", after=faults.lost))
    second = store.replace("pointer", b"2", etag=etag)
    assert store.stat("pointer").etag == second
    assert read(store, "pointer") == b"2"


def test_a_refused_replacement_that_was_not_retried_is_a_conflict(store):
    """Somebody else's equal bytes are not our own replacement: without a retry it is a conflict."""
    store.replace("pointer", b"1", etag=None)
    with pytest.raises(ObjectConflict, match="E622"):
        store.replace("pointer", b"1", etag=None)


def test_a_lost_answer_does_not_hide_a_conflict(store, proxy):
    """A retry that gets 412 because of other bytes is a conflict."""
    store.put("k", b"theirs")
    proxy.faults.append(Fault("PUT", "/k", after=faults.lost))
    with pytest.raises(ObjectConflict, match="E603"):
        store.put("k", b"ours")
    assert read(store, "k") == b"theirs"


# --- servers that fail or refuse ---


@pytest.mark.parametrize("fault", [(500, "InternalError"), (503, "SlowDown"), (503, "ServiceUnavailable")])
@pytest.mark.parametrize("data", [b"small", LARGE], ids=["small", "large"])
def test_two_failures_are_lived_through(store, proxy, fault, data):
    """A server that fails twice and then answers gets the object."""
    proxy.faults.append(Fault("PUT", "/k", before=faults.error(*fault), times=2))
    assert store.put("k", data).created
    assert read(store, "k") == data


REFUSALS = [
    (500, "InternalError", StoreUnavailable, "E633"),
    (503, "SlowDown", StoreUnavailable, "E633"),
    (507, "InsufficientStorage", StoreUnavailable, "E633"),
    (403, "AccessDenied", StoreRefused, "E640"),
    (403, "QuotaExceeded", StoreRefused, "E640"),
    (403, "SignatureDoesNotMatch", StoreRefused, "E632"),
    (403, "InvalidAccessKeyId", StoreRefused, "E632"),
    (400, "ExpiredToken", StoreRefused, "E632"),
    (403, "RequestTimeTooSkewed", StoreRefused, "E634"),
    (404, "NoSuchBucket", StoreRefused, "E630"),
    (400, "BadDigest", DigestMismatch, "E631"),
    (400, "XAmzContentChecksumMismatch", DigestMismatch, "E631"),
    (400, "EntityTooLarge", StoreRefused, "E636"),
    (411, "MissingContentLength", StoreRefused, "E641"),
    (418, "&lt;script&gt;&#x202e;", StoreRefused, "E641"),
]


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: refusal[1])
@pytest.mark.parametrize("data", [b"small", LARGE], ids=["small", "large"])
def test_a_refusal_is_a_store_error(store, proxy, refusal, data):
    """Whatever the server says for ever becomes one of our errors, quotes nothing, and leaves nothing."""
    status, code, kind, expected = refusal
    proxy.faults.append(Fault("PUT", "/k", before=faults.error(status, code), times=99))
    with pytest.raises(kind, match=expected) as caught:
        store.put("k", data)
    assert caught.value.hint
    assert str(caught.value).isprintable()
    assert "secret" not in str(caught.value)
    proxy.faults.clear()
    assert [info.key for info in store.list()] == ["first"]
    assert uploads(store) == []


@pytest.mark.parametrize("data", [b"small", LARGE], ids=["small", "large"])
def test_racing_requests_are_repeated(store, proxy, monkeypatch, data):
    """S3's 409 for a request that meets another one is repeated until it is decided."""
    monkeypatch.setattr("storage.s3.upload._FIRST_PAUSE_S", 0)
    for method in ("PUT", "POST"):
        part = "/k" if data == b"small" else "uploadId"
        if (method == "PUT") == (data == b"small"):
            fault = faults.error(409, "ConditionalRequestConflict")
            proxy.faults.append(Fault(method, part, before=fault, times=3))
    assert store.put("k", data).created
    assert read(store, "k") == data


def test_racing_requests_are_not_repeated_for_ever(store, proxy, monkeypatch):
    """After six conflicts in a row the put gives up with a hint."""
    monkeypatch.setattr("storage.s3.upload._FIRST_PAUSE_S", 0)
    fault = faults.error(409, "ConditionalRequestConflict")
    proxy.faults.append(Fault("PUT", "/k", before=fault, times=99))
    with pytest.raises(StoreUnavailable, match="E642"):
        store.put("k", b"data")


def test_a_failing_abort_hides_nothing(store, proxy):
    """When an upload fails and ending it fails too, the first failure is reported; cleanup ends it later."""
    proxy.faults.append(Fault("PUT", "partNumber=2", before=faults.error(403, "AccessDenied"), times=99))
    proxy.faults.append(Fault("DELETE", "uploadId", before=faults.error(500, "InternalError"), times=99))
    with pytest.raises(StoreRefused, match="E640"):
        store.put("k", LARGE)
    proxy.faults.clear()
    assert len(uploads(store)) == 1
    assert store.cleanup() == 0
    assert len(uploads(store)) == 1


def test_cleanup_ends_abandoned_uploads(store, proxy, monkeypatch):
    """An upload in parts that nobody ended for a week is ended."""
    store.client.create_multipart_upload(Bucket=store.bucket, Key=f"{store.prefix}k")
    monkeypatch.setattr(s3_store_module, "_ABANDONED_AFTER", timedelta(days=-1))
    assert store.cleanup() == 1
    assert uploads(store) == []


# --- bytes that are damaged ---


def test_a_wrong_checksum_in_the_answer_is_looked_into(store, proxy):
    """A server that confirms another checksum is asked again, and trusted when it holds the bytes."""
    other = faults.with_header("x-amz-checksum-sha256", "AAAA")
    proxy.faults.append(Fault("PUT", "/k", after=other))
    assert store.put("k", b"data").created


def test_a_server_that_stores_other_bytes_is_caught(store, proxy):
    """Where no checksum tells, the object is read back, and damage is reported."""
    no_checksum = faults.without_header("x-amz-checksum-sha256")
    proxy.faults += [
        Fault("PUT", "/k", after=no_checksum),
        Fault("HEAD", "/k", after=no_checksum),
        Fault("GET", "/k", after=lambda answer: no_checksum(faults.damaged(answer))),
    ]
    with pytest.raises(DigestMismatch, match="E631"):
        store.put("k", b"data")


def test_a_server_without_checksums_is_read_back(store, proxy):
    """An old server that confirms no checksum is believed after the bytes were read back."""
    for method in ("PUT", "HEAD", "GET"):
        proxy.faults.append(
            Fault(method, "/k", after=faults.without_header("x-amz-checksum-sha256"), times=9)
        )
    assert store.put("k", b"data").server_checksum == ""
    assert ("GET", f"/{store.bucket}/{store.prefix}k") in proxy.seen
    assert not store.put("k", b"data").created
    with pytest.raises(ObjectConflict):
        store.put("k", b"atad")


def test_the_server_itself_refuses_damaged_bytes(store):
    """The real server compares the SHA-256 with what arrived and keeps nothing that differs."""
    with pytest.raises(Exception, match="BadDigest"):
        store.client.put_object(
            Bucket=store.bucket, Key=f"{store.prefix}k", Body=b"damaged", ChecksumSHA256="A" * 43 + "="
        )
    with pytest.raises(ObjectMissing):
        store.stat("k")


def test_damage_on_the_way_back_is_noticed(store, proxy):
    """A whole read is compared with the checksum that S3 keeps."""
    store.put("k", b"data" * 1000)
    proxy.faults.append(Fault("GET", "/k", after=faults.damaged, times=9))
    with store.open("k") as stream, pytest.raises(DigestMismatch, match="E637"):
        stream.read()


def test_servers_checksum_is_in_the_receipt(store):
    """The receipt has what the server computed: of the whole, or of the parts' digests."""
    whole = store.put("k", b"data").server_checksum
    assert whole == s3server.base64_sha256(b"data")
    parts = store.put("l", LARGE).server_checksum
    digests = [hashlib.sha256(LARGE[i : i + PART_BYTES]).digest() for i in range(0, len(LARGE), PART_BYTES)]
    assert parts == s3server.base64_sha256(b"".join(digests)) + "-3"


# --- reads that are cut ---


@pytest.mark.parametrize("cuts", [[0], [1], [100_000], [700_000, 5], [0, 1, 2, 3]], ids=str)
def test_a_cut_read_goes_on(store, proxy, cuts):
    """A read whose connection ends goes on from where it stopped, as long as each new one brings bytes."""
    data = LARGE[: 2 * MIB]
    store.put("k", data)
    for cut in cuts:
        proxy.faults.append(Fault("GET", "/k", after=faults.cut_at(cut + 1)))
    assert read(store, "k") == data


def test_a_read_that_is_cut_at_once_again_ends(store, proxy):
    """A new connection that brings nothing is the end of it."""
    store.put("k", LARGE[:MIB])
    proxy.faults.append(Fault("GET", "/k", after=faults.cut_at(0), times=2))
    with store.open("k") as stream, pytest.raises(StoreUnavailable):
        stream.read()


def test_a_cut_read_does_not_go_on_in_another_object(store, proxy):
    """When the object changed in between, the two are not spliced together."""
    etag = store.replace("k", LARGE[:MIB], etag=None)
    proxy.faults.append(Fault("GET", "/k", after=faults.cut_at(300_000)))
    with store.open("k") as stream:
        stream.read(100_000)
        store.replace("k", bytes(MIB), etag=etag)
        with pytest.raises(ObjectConflict, match="E622"):
            stream.read()


def test_an_ignored_range_is_refused(store, proxy):
    """A proxy that answers a range with the whole object is not taken at its word."""
    store.put("k", b"0123456789")
    proxy.faults.append(Fault("GET", "/k", after=faults.without_header("content-range")))
    with pytest.raises(StoreRefused, match="E644"):
        store.open("k", offset=3, length=2)


# --- a store that is not there, or not for us ---


def _calls(store):
    return [
        lambda: store.put("k", b"x"),
        lambda: store.open("k"),
        lambda: store.stat("k"),
        lambda: list(store.list()),
        lambda: list(store.list_folders("")),
        lambda: store.replace("k", b"x", etag=None),
        lambda: store.delete("k"),
        store.cleanup,
        lambda: store.capabilities,
    ]


def _failures(store) -> set[tuple[str, str]]:
    """Class and code of each call's error; none may tell a secret, not even in its traceback."""
    found = set()
    for call in _calls(store):
        with pytest.raises(StoreError) as caught:
            call()
        text = "".join(traceback.format_exception(caught.value))
        assert s3server.SECRET_KEY not in text
        assert "wrong-secret" not in text
        assert s3server.ACCESS_KEY not in str(caught.value)
        assert caught.value.hint
        found.add((type(caught.value).__name__, caught.value.code))
    return found


def test_a_missing_bucket_is_said(s3_url):
    """Each call on a bucket that is not there says so."""
    assert _failures(open_store("s3://no-such-bucket-here/p")) == {("StoreRefused", "E630")}


def test_wrong_credentials_are_said(s3_url, monkeypatch):
    """A wrong secret is refused, whether the request's answer has a body or not."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-secret")
    assert _failures(open_store(s3_url)) <= {("StoreRefused", "E632"), ("StoreRefused", "E640")}


def test_missing_credentials_are_said(s3_url, monkeypatch):
    """No credentials at all is an error of its own, without a request."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    assert _failures(open_store(s3_url)) == {("StoreRefused", "E632")}


def test_a_missing_profile_is_said(s3_url, monkeypatch):
    """A profile that is in no file is refused when the store is opened."""
    monkeypatch.setenv("AWS_PROFILE", "no-such-profile")
    with pytest.raises(StoreRefused, match="E625"):
        open_store(s3_url)


def test_an_endpoint_that_is_no_url_is_said(s3_url, monkeypatch):
    """An endpoint that is no URL is refused, and a password in it is not repeated."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "user:wrong-secret@nowhere")
    with pytest.raises(StoreRefused, match="E625") as caught:
        open_store(s3_url)
    assert "wrong-secret" not in "".join(traceback.format_exception(caught.value))


def test_an_unreachable_server_is_said(s3_url, monkeypatch):
    """A server that does not answer is unavailable, with a hint at the endpoint."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{unused.getsockname()[1]}")
        monkeypatch.setattr(botocore.retries.standard.ExponentialBackoff, "delay_amount", lambda *_: 0)
        assert _failures(open_store(s3_url)) == {("StoreUnavailable", "E639")}


def test_a_clock_that_is_wrong_is_said(s3_url, monkeypatch):
    """The real server refuses a client whose clock is 20 minutes off; the message says what to set."""
    import botocore.auth

    now = botocore.auth.get_current_datetime
    monkeypatch.setattr(
        botocore.auth, "get_current_datetime", lambda *a, **k: now(*a, **k) - timedelta(minutes=20)
    )
    with pytest.raises(StoreRefused, match="E634"):
        open_store(s3_url).put("k", b"x")


def test_https_needs_a_trusted_certificate(s3_server, s3_url, monkeypatch):
    """Over https an unknown certificate is refused; with its CA given, objects go up and come back."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server.tls_endpoint)
    monkeypatch.setattr(botocore.retries.standard.ExponentialBackoff, "delay_amount", lambda *_: 0)
    with pytest.raises(StoreUnavailable, match="E638"):
        open_store(s3_url).put("k", b"x")
    monkeypatch.setenv("AWS_CA_BUNDLE", s3_server.certificate)
    store = open_store(s3_url)
    for key, data in (("small", b"x"), ("large", LARGE)):
        assert store.put(key, data, sha256=hashlib.sha256(data).hexdigest()).server_checksum
        assert read(store, key) == data


def test_a_prefix_leaves_less_room_for_keys(s3_client, s3_server):
    """The key and the store's prefix together stay within S3's 1024 bytes."""
    store = S3Store(s3_server.bucket, "/".join(["p" * 90] * 10), s3_client)
    with pytest.raises(InvalidKey, match="too long with the store's prefix"):
        store.put("/".join(["k" * 90] * 2), b"")


# --- servers that promise less ---


class _Forgetful:
    """A client of a server that ignores some arguments, as old ones do."""

    def __init__(self, client, *ignored: str) -> None:
        self._client = client
        self._ignored = ignored

    def __getattr__(self, name: str):
        def call(**arguments):
            return method(**{key: value for key, value in arguments.items() if key not in self._ignored})

        method = getattr(self._client, name)
        return call if name.startswith(("put_object", "complete")) else method


def test_without_conditional_writes_nothing_is_overwritten_in_turn(s3_client, s3_server):
    """A server that ignores If-None-Match promises nothing to racing writers, and keeps what it has."""
    store = S3Store(s3_server.bucket, secrets.token_hex(8), _Forgetful(s3_client, "IfNoneMatch", "IfMatch"))
    assert not store.capabilities.conditional_writes
    assert store.put("k", b"first").created
    assert not store.put("k", b"first").created
    with pytest.raises(ObjectConflict, match="E603"):
        store.put("k", b"second")
    assert read(store, "k") == b"first"
    with pytest.raises(StoreRefused, match="E626"):
        store.replace("pointer", b"1", etag=None)


def test_without_if_match_nothing_is_replaced(s3_client, s3_server):
    """A server that only ignores If-Match may create, but pointers on it are refused."""
    store = S3Store(s3_server.bucket, secrets.token_hex(8), _Forgetful(s3_client, "IfMatch"))
    assert store.capabilities.conditional_writes
    with pytest.raises(StoreRefused, match="E626"):
        store.replace("pointer", b"1", etag=None)


def test_probes_are_no_objects(s3_store):
    """What the probes leave is never listed and no key."""
    s3_store.put("k", b"x")
    assert [info.key for info in s3_store.list()] == ["k"]
    assert list(s3_store.list_folders("")) == []
    with pytest.raises(InvalidKey):
        s3_store.open(".probe/a/b")


class _Pages:
    """A server that lists these keys in this order, *size* on a page."""

    def __init__(self, keys: list[str], size: int) -> None:
        self.keys = keys
        self.size = size

    def list_objects_v2(self, *, Prefix: str, ContinuationToken: str = "0", **_: str) -> dict:  # noqa: N803
        start = int(ContinuationToken)
        contents = [{"Key": key, "Size": 1, "ETag": ""} for key in self.keys if key.startswith(Prefix)]
        end = start + self.size
        page = {"Contents": contents[start:end], "IsTruncated": end < len(contents)}
        return page | ({"NextContinuationToken": str(end)} if page["IsTruncated"] else {})


@pytest.mark.parametrize("size", [1, 2, 100])
def test_a_server_in_bytewise_order_is_streamed(size):
    """All pages of an ordered listing are passed on; names that are no keys are left out."""
    client = _Pages([".probe/a.b", "a-", "a.b", "a/", "a/b", "b//c", "c"], size)
    assert [info.key for info in Listing(client, "b", "").in_server_order("")] == ["a-", "a.b", "a/b", "c"]


@pytest.mark.parametrize("keys", [["a/b", "a.b"], ["a", "a"], ["b", "a"]])
def test_a_server_that_leaves_the_order_is_caught(keys):
    """A key that comes late or twice ends the listing with an error instead of being believed."""
    with pytest.raises(StoreUnavailable, match="E645"):
        list(Listing(_Pages(keys, 1), "b", "").in_server_order(""))


# --- large objects ---


def test_a_killed_upload_leaves_no_object(s3_server, s3_store):
    """Kill -9 in the middle of an upload in parts leaves nothing that is listed or read."""
    script = (
        "import sys\n"
        "from storage.open import open_store\n"
        "class Source:\n"
        "    count = 0\n"
        "    def read(self, size):\n"
        "        self.count += 1\n"
        "        if self.count == 4: sys.stdout.write('.'); sys.stdout.flush()\n"
        "        if self.count == 5: sys.stdin.read()\n"
        "        return bytes(size)\n"
        "open_store(sys.argv[1]).put('k', Source())\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", script, s3_store.url],
        env=s3_server.environment() | {"PYTHONPATH": str(Path(__file__).parents[3])},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert child.stdout.read(1) == b"."
    child.kill()
    child.communicate()
    assert list(s3_store.list()) == []
    assert len(uploads(s3_store)) == 1
    with pytest.raises(ObjectMissing):
        s3_store.open("k")
    assert s3_store.put("k", LARGE).created


def test_too_many_parts_are_refused(s3_store, monkeypatch):
    """An object larger than S3 can hold is refused and its upload ended."""
    monkeypatch.setattr("storage.s3.upload.MAX_PARTS", 1)
    with pytest.raises(StoreRefused, match="E636"):
        s3_store.put("k", io.BytesIO(LARGE))
    assert uploads(s3_store) == []
