import hashlib
import io
import json
import subprocess
from pathlib import Path

import blake3
import jsonschema
import msgspec
import pytest

from manifests.canonical import canonical_bytes
from manifests.codec import decode, encode
from manifests.commitments import Opening, commit, open_commitment
from manifests.digests import PIECE_BYTES, digest_bytes, digest_stream
from manifests.errors import MalformedRecord, VerificationError
from manifests.record import EvidenceRecord
from manifests.record_process import Commitment
from manifests.record_rules import parse_time, timestamp
from manifests.record_types import MAX_LINE_CHARS, as_line, as_text
from manifests.schema import json_schema, schema_text
from tests.unit.manifests.records import record

PUBLISHED = Path(__file__).parents[3] / "docs" / "evidence-record.schema.json"


def test_a_record_is_read_back_as_it_was_written():
    """Nothing is lost or changed between two readers, non-ASCII text included."""
    assert decode(encode(record())) == record()


def test_writing_is_the_same_every_time():
    """The same facts give the same bytes, which is what a signature needs."""
    assert encode(record()) == encode(record())
    assert encode(record()) == canonical_bytes(json.loads(encode(record())))


def test_the_published_schema_is_that_of_the_types():
    """docs/evidence-record.schema.json is what `manifests.schema.schema_text()` gives."""
    assert PUBLISHED.read_text() == schema_text(), "write schema_text() to docs/evidence-record.schema.json"


def test_the_schema_agrees_with_a_validator_that_we_did_not_write():
    """A good record is valid by jsonschema, and the schema by its own dialect."""
    jsonschema.Draft202012Validator.check_schema(json_schema())
    jsonschema.validate(json.loads(encode(record())), json_schema(), jsonschema.Draft202012Validator)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("capture_id",), "x"),
        (("incident_ids",), []),
        (("incident_ids", 0), "A\n"),
        (("seed", "url"), ""),
        (("seed", "extra"), 1),
        (("outcome", "kind"), "Captured"),
        (("outcome", "confidence_percent"), 101),
        (("completeness", "state"), "nearly"),
        (("clock", "checked"), 1),
        (("clock", "offset_ms"), "3"),
        (("network",), None),
        (("artifacts",), []),
        (("artifacts", 0, "path"), "a/b"),
        (("artifacts", 0, "path"), "x\n"),
        (("artifacts", 0, "sha256"), "0" * 63),
        (("artifacts", 0, "bytes"), -1),
        (("collector", "witness"), None),
        (("started_at",), "2026-11-24T08:12:03Z"),
        (("local_utc_offset_min",), 2000),
    ],
)
def test_the_schema_and_the_reader_refuse_the_same(path, value):
    """What our reader refuses for its form, a validator with our schema refuses too."""
    document = json.loads(encode(record()))
    *parents, last = path
    place = document
    for step in parents:
        place = place[step]
    place[last] = value
    with pytest.raises(MalformedRecord):
        decode(canonical_bytes(document))
    assert not jsonschema.Draft202012Validator(json_schema()).is_valid(document)


def test_every_field_of_the_schema_is_described_and_required():
    """Nobody has to guess what a field means, and none may be left out."""
    for name, part in json_schema()["$defs"].items():
        assert part["description"], name
        assert part["required"] == list(part["properties"]), name
        assert part["additionalProperties"] is False, name
        for field, facts in part["properties"].items():
            assert facts["description"].endswith("."), f"{name}.{field}"


def test_no_field_is_a_float():
    """No type of the record lets a number with a fraction in."""
    assert '"type": "number"' not in schema_text()


def test_a_record_cannot_be_changed():
    """A record in memory stays what it was."""
    with pytest.raises(AttributeError):
        record().capture_id = "x"


@pytest.mark.parametrize(
    ("opening", "why"),
    [
        (lambda o: Opening(o.name, o.salt, "Petrov"), "value"),
        (lambda o: Opening("collector.organisation", o.salt, o.value), "name"),
        (lambda o: Opening(o.name, "0" * 64, o.value), "salt"),
        (lambda o: Opening(o.name, o.salt.upper(), o.value), "case of the salt"),
        (lambda o: Opening(o.name, o.salt[:-2], o.value), "shorter salt"),
        (lambda o: Opening(o.name, "", o.value), "no salt"),
        (lambda o: Opening(o.name, o.salt + "\n", o.value), "newline"),
    ],
)
def test_a_commitment_opens_to_nothing_else(opening, why):
    """Another value, name or salt does not open it."""
    commitment, good = commit("collector.operator", "Иванова А.")
    with pytest.raises(VerificationError, match="E390"):
        open_commitment(commitment, opening(good))


@pytest.mark.parametrize("salt", ["", "ab" * 32 + "\n", "AB" * 32, "ab" * 31])
def test_a_salt_that_hides_nothing_opens_nothing(salt):
    """A commitment made with a salt of another form is not one of ours, whatever its digest."""
    digest = hashlib.sha256(canonical_bytes([salt, "collector.operator", "x"])).hexdigest()
    with pytest.raises(VerificationError):
        open_commitment(
            Commitment(name="collector.operator", digest=digest), Opening("collector.operator", salt, "x")
        )


def test_a_commitment_under_a_false_name_does_not_open():
    """The digest of one fact under the name of another opens under neither."""
    good, opening = commit("collector.operator", "x")
    with pytest.raises(VerificationError):
        open_commitment(Commitment(name="collector.organisation", digest=good.digest), opening)


def test_a_commitment_opens_to_its_value_and_hides_it():
    """The right opening gives the value; the same value twice gives two digests."""
    one, opening = commit("collector.operator", "Иванова А.")
    two, _ = commit("collector.operator", "Иванова А.")
    assert open_commitment(one, opening) == "Иванова А."
    assert one.digest != two.digest


def test_a_commitment_can_be_recomputed_by_hand():
    """SHA-256 over the JSON list of salt, name and value, as documented."""
    salt = "ab" * 32
    text = f'["{salt}","collector.operator","Ә"]'.encode()
    commitment = Commitment(name="collector.operator", digest=hashlib.sha256(text).hexdigest())
    assert open_commitment(commitment, Opening("collector.operator", salt, "Ә")) == "Ә"


@pytest.mark.parametrize("size", [0, 1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES + 7])
def test_digests_agree_with_other_tools(size, tmp_path):
    """sha256sum and b3sum give what we give, at and around the size of a piece."""
    data = bytes(range(251)) * (size // 251 + 1)
    path = tmp_path / "data"
    path.write_bytes(data[:size])
    with path.open("rb") as stream:
        digests = digest_stream(stream)
    assert digests == digest_bytes(data[:size])
    assert digests.bytes == size
    for tool, value in (("sha256sum", digests.sha256), ("b3sum", digests.blake3)):
        output = subprocess.run([tool, path], capture_output=True, text=True, check=True).stdout
        assert output.split()[0] == value


def test_a_stream_that_gives_less_than_asked_is_digested_whole():
    """Short reads, as sockets and stores give, are no end."""

    class Short(io.BytesIO):
        def read(self, size=-1):
            return super().read(min(size, 1000))

    data = bytes(5000)
    assert digest_stream(Short(data)).blake3 == blake3.blake3(data).hexdigest()


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1_795_507_923_123_999_999, "2026-11-24T08:12:03.123Z"),
        (1_795_507_923_000_000_001, "2026-11-24T08:12:03.000Z"),
    ],
)
def test_times_are_cut_to_the_millisecond(ns, text):
    """No time is moved into the future by rounding."""
    assert timestamp(ns) == text
    assert int(parse_time(text).timestamp()) == ns // 10**9


@pytest.mark.parametrize("fit", [as_line, as_text])
def test_foreign_text_always_fits(fit):
    """Half characters, length and emptiness of a page's words cannot keep a record from being written."""
    assert fit("") is None
    assert fit("\ud800") == "\ufffd"
    assert fit("\ud83d\ude42") == "🙂"
    long = fit("Ә" * 1_000_000)
    assert long.endswith("[cut: 1000000 characters]")
    assert decode(encode(record(alterations=(fit("a\x00\u2028\n" * 100_000),))))


def test_a_line_is_as_long_as_a_line_may_be():
    """The limit is the one of the field."""
    assert len(as_line("x" * 5000)) == MAX_LINE_CHARS
    assert msgspec.json.schema(EvidenceRecord)
