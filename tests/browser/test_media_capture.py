"""Video and sound by yt-dlp: over the recorded wire, bound to the capture, and no reason for it to fail."""

from __future__ import annotations

import hashlib
import zipfile

import pytest
from warcio.archiveiterator import ArchiveIterator

from examples.sites import hosts
from examples.sites.platforms import MEDIA
from tests.browser.conftest import Bench

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("media")]

WATCH = f"https://{hosts.VIDEOS}/watch"
STREAM = f"https://{hosts.NEWS}/stream"
PLAIN = f"https://{hosts.WALLS}/wall-1_2"


@pytest.fixture(scope="module")
def taken(tmp_path_factory, sites):
    bench = Bench(tmp_path_factory.mktemp("media"), sites)
    options = ("--media", "always", "--no-behaviours")
    captures = bench.capture(WATCH, STREAM, PLAIN, options=options)
    return bench, {one["url"]: one for one in captures}


def responses(bench: Bench, capture) -> dict[str, bytes]:
    package = zipfile.ZipFile(bench.file(capture, "capture.wacz"))
    with package, package.open("archive/data.warc.gz") as file:
        return {
            record.rec_headers.get_header("WARC-Target-URI"): record.raw_stream.read()
            for record in ArchiveIterator(file)
            if record.rec_type == "response"
        }


def test_a_film_is_an_artefact_with_its_metadata_and_its_bytes_are_on_the_wire(taken):
    """The file is the server's to the byte, and the WARC, which is made from the wire alone, holds it too."""
    bench, captures = taken
    film = (MEDIA / "clip.webm").read_bytes()
    artifacts = {one["path"]: one for one in bench.record(captures[WATCH])["artifacts"]}
    (path,) = [name for name, one in artifacts.items() if one["role"] == "media"]
    assert artifacts[path]["sha256"] == hashlib.sha256(film).hexdigest()
    assert artifacts[path]["media_type"] == "video/webm"
    assert [one["path"] for one in artifacts.values() if one["role"] == "media-info"]
    assert responses(bench, captures[WATCH])[f"https://{hosts.VIDEOS}/media/clip.webm"] == film


def test_a_stream_in_parts_is_put_together_and_each_part_is_on_the_wire(taken):
    """The playlist and both parts are exchanges of the capture."""
    bench, captures = taken
    held = responses(bench, captures[STREAM])
    for name in ("stream.m3u8", "part-0.ts", "part-1.ts"):
        assert held[f"https://{hosts.NEWS}/media/{name}"] == (MEDIA / name).read_bytes()
    assert [one for one in bench.record(captures[STREAM])["artifacts"] if one["role"] == "media"]


def test_a_page_without_a_film_is_captured_and_says_that_none_came(taken):
    """What yt-dlp could not do is a missing part of the capture, which is there with all else."""
    bench, captures = taken
    record = bench.record(captures[PLAIN])
    assert captures[PLAIN]["outcome"] == "captured"
    assert [part["part"] for part in record["completeness"]["missing"]] == ["media"]
    assert {"screenshot-full", "text", "package"} <= {one["role"] for one in record["artifacts"]}


def test_every_byte_of_it_was_decrypted_from_the_recording(taken):
    """yt-dlp's connections are in the record with their TLS secrets: none is left undecrypted."""
    bench, captures = taken
    connections = bench.record(captures[WATCH])["network"]["connections"]
    assert len(connections) >= 2
    assert [one["number"] for one in connections if not (one["tls"] and one["tls"]["decrypted"])] == []


def test_the_size_limit_is_kept(tmp_path, sites):
    """A film above the limit is no artefact, and the capture says so."""
    bench = Bench(tmp_path, sites, {"ARCHIVER_LIMITS_MEDIA_BYTES": "20000"})
    (one,) = bench.capture(WATCH, options=("--media", "always", "--no-behaviours"))
    record = bench.record(one)
    assert [a for a in record["artifacts"] if a["role"] == "media"] == []
    assert [part["part"] for part in record["completeness"]["missing"]] == ["media"]


def test_the_guard_holds_for_it_too(tmp_path, sites):
    """Without leave to reach loopback nothing is fetched; the refusal is the relay's, and recorded."""
    bench = Bench(tmp_path, sites)
    options = [word for word in sites.options() if word != "--allow-private-network"]
    told = bench.run("capture", WATCH, "--incident", "T-1", *options, "--media", "always", code=None)
    record = bench.record(told["captures"][0])
    assert record["network"]["refusals"]
    assert [a for a in record["artifacts"] if a["role"] == "media"] == []


def test_by_default_nothing_is_fetched(tmp_path, sites):
    """The setting is off, and a platform is told by yt-dlp's own extractors."""
    from archiver.capture.media import is_platform

    bench = Bench(tmp_path, sites)
    (one,) = bench.capture(WATCH, options=("--no-behaviours",))
    assert "media" not in {step["kind"] for step in bench.record(one)["actions"]}
    assert is_platform("https://www.youtube.com/watch?v=abcdefghijk")
    assert not is_platform(WATCH)
