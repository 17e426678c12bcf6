"""An audit finds whatever is wrong with a store, and repair puts it right from a good copy."""

from __future__ import annotations

import hashlib
import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import blake3
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage import audit as audit_module
from storage.audit import Audited, Condition, Expected, audit, both_digests, in_sample
from storage.errors import DigestMismatch, ObjectMissing, StoreRefused, StoreUnavailable
from storage.folder import FolderStore
from storage.memory import MemoryStore
from storage.repair import repair
from storage.streams import MIB

OBJECTS = {
    f"captures/{number:02}/data": hashlib.shake_256(bytes([number])).digest(number * 997)
    for number in range(12)
}
OBJECTS["captures/large"] = hashlib.shake_256(b"large").digest(3 * MIB + 17)


def expected_of(objects: dict[str, bytes]) -> list[Expected]:
    return [
        Expected(key, len(data), hashlib.sha256(data).hexdigest(), blake3.blake3(data).hexdigest())
        for key, data in sorted(objects.items())
    ]


EXPECTED = expected_of(OBJECTS)


@pytest.fixture(params=["memory", "folder", pytest.param("s3", marks=pytest.mark.s3)])
def store(request: pytest.FixtureRequest, tmp_path: Path):
    stores = {"memory": MemoryStore, "folder": lambda: FolderStore(tmp_path / "store")}
    store = stores[request.param]() if request.param in stores else request.getfixturevalue("s3_store")
    for key, data in OBJECTS.items():
        store.put(key, data)
    return store


def overwrite(store, key: str, data: bytes) -> None:
    """Change an object behind the store's back."""
    if isinstance(store, MemoryStore):
        store._objects[key] = data
    elif isinstance(store, FolderStore):
        (store.root / key).chmod(0o644)
        (store.root / key).write_bytes(data)
    else:
        store.client.put_object(Bucket=store.bucket, Key=store.prefix + key, Body=data)


def wrong(found) -> dict[str, Condition]:
    return {one.key: one.condition for one in found if one.condition is not Condition.SOUND}


def test_a_sound_store_is_sound(store):
    """Every object that is as expected is read once and called sound, in order."""
    found = list(audit(store, EXPECTED))
    assert [one.key for one in found] == sorted(OBJECTS)
    assert {one.condition for one in found} == {Condition.SOUND}
    assert sum(one.read_bytes for one in found) == sum(map(len, OBJECTS.values()))


def test_whatever_is_wrong_is_found(store):
    """Damage, loss, a changed size and what nobody put there are told apart."""
    large = bytearray(OBJECTS["captures/large"])
    large[2 * MIB] ^= 1
    overwrite(store, "captures/large", bytes(large))
    overwrite(store, "captures/05/data", OBJECTS["captures/05/data"][:-1])
    store.delete("captures/07/data")
    store.put("captures/07/extra", b"nobody asked for me")
    assert wrong(audit(store, EXPECTED)) == {
        "captures/large": Condition.DAMAGED,
        "captures/05/data": Condition.DAMAGED,
        "captures/07/data": Condition.MISSING,
        "captures/07/extra": Condition.UNLISTED,
    }


@pytest.mark.parametrize("field", ["size_bytes", "sha256", "blake3"])
def test_each_digest_is_compared(store, field):
    """One fact that differs is enough, and the detail names it."""
    changed = {"size_bytes": 1, "sha256": "0" * 64, "blake3": "0" * 64}[field]
    facts = {"size_bytes": 3988, "sha256": None, "blake3": None, field: changed}
    wanted = Expected("captures/04/data", **facts)
    (found,) = audit(store, [wanted], prefix="captures/04/")
    assert found.condition is Condition.DAMAGED
    assert field.removesuffix("_bytes") in found.detail


def test_unknown_digests_are_not_compared(store):
    """Where nothing but the key is known, an object that can be read is sound."""
    (found,) = audit(store, [Expected("captures/04/data")], prefix="captures/04/")
    assert found == Audited("captures/04/data", Condition.SOUND, read_bytes=3988)


@pytest.mark.parametrize("stop", [0, 1, 5, 12])
def test_an_audit_goes_on_where_it_stopped(store, stop):
    """The two halves of an interrupted audit are the whole one."""
    overwrite(store, "captures/03/data", b"x")
    store.delete("captures/09/data")
    whole = list(audit(store, EXPECTED))
    first = whole[: stop + 1]
    assert first + list(audit(store, EXPECTED, after=first[-1].key)) == whole


def test_a_sample_reads_a_part_and_lists_all(store):
    """Objects outside the sample are compared by presence and size only."""
    overwrite(store, "captures/04/data", bytes(3988))
    store.delete("captures/05/data")
    found = list(audit(store, EXPECTED, takes=lambda key: key == "captures/06/data"))
    conditions = {one.key: one.condition for one in found}
    assert conditions["captures/06/data"] is Condition.SOUND
    assert conditions["captures/04/data"] is Condition.LISTED
    assert conditions["captures/05/data"] is Condition.MISSING


@given(st.floats(0, 1), st.text(max_size=5))
def test_samples_are_of_their_size_and_repeatable(fraction, seed):
    """A sample of a fraction takes about that share of many keys, the same ones each time."""
    keys = [f"k{number}" for number in range(2000)]
    taken = [key for key in keys if in_sample(key, fraction, seed)]
    assert abs(len(taken) / 2000 - fraction) < 0.08
    assert taken == [key for key in keys if in_sample(key, fraction, seed)]


@pytest.mark.parametrize("keys", [["b", "a"], ["a", "a"], [""]])
def test_expectations_out_of_order_are_refused(keys):
    """A caller that does not sort would get false findings, and gets an error instead."""
    with pytest.raises(ValueError, match="ascending"):
        list(audit(MemoryStore(), [Expected(key) for key in keys]))


class _Failing(MemoryStore):
    """Lists everything and reads nothing."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def open(self, key, **_):
        raise self.error

    def stat(self, key):
        raise self.error


def failing(error: Exception) -> _Failing:
    store = _Failing(error)
    store._objects = dict(OBJECTS)
    return store


@pytest.mark.parametrize(
    ("error", "expected", "stray"),
    [
        (StoreUnavailable("down", code="E639"), Condition.UNREADABLE, Condition.UNREADABLE),
        (StoreRefused("no", code="E640"), Condition.UNREADABLE, Condition.UNREADABLE),
        (DigestMismatch("bad", code="E637"), Condition.DAMAGED, Condition.UNREADABLE),
        (ObjectMissing("gone", code="E602"), Condition.MISSING, Condition.UNACKNOWLEDGED),
    ],
)
def test_what_cannot_be_read_is_not_called_sound(error, expected, stray):
    """A failure to read is a finding of its own; what is listed and not there was never acknowledged."""
    known, unknown = EXPECTED[:6], EXPECTED[6:]
    conditions = {one.key: one.condition for one in audit(failing(error), known)}
    assert {conditions[one.key] for one in known} == {expected}
    assert {conditions[one.key] for one in unknown} == {stray}


def test_a_store_out_of_reach_ends_the_audit(monkeypatch):
    """After some unreadable objects in a row the audit stops with what is wrong, not after all of them."""
    monkeypatch.setattr(audit_module, "MAX_UNREADABLE_IN_A_ROW", 3)
    found = []
    with pytest.raises(StoreUnavailable, match="E639"):
        found.extend(audit(failing(StoreUnavailable("down", code="E639")), EXPECTED))
    seen = audit(failing(StoreUnavailable("down", code="E639")), EXPECTED)
    assert [next(seen).condition for _ in range(3)] == [Condition.UNREADABLE] * 3


@given(st.binary(max_size=5000), st.integers(1, 700))
def test_both_digests_are_those_of_the_libraries(data, buffer_bytes):
    """However the bytes fall into buffers, both digests are what each library computes of the whole."""
    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(1) as pool:
        patch.setattr(audit_module, "_BUFFER_BYTES", buffer_bytes)
        size_bytes, sha256, other = both_digests(io.BytesIO(data), pool)
    assert size_bytes == len(data)
    assert sha256 == hashlib.sha256(data).hexdigest()
    assert other == blake3.blake3(data).hexdigest()


# --- repair ---


@pytest.fixture
def two_folders(tmp_path):
    stores = FolderStore(tmp_path / "store"), FolderStore(tmp_path / "good")
    for key, content in OBJECTS.items():
        for store in stores:
            store.put(key, content)
    return stores


@settings(max_examples=25)
@given(st.data())
def test_a_damaged_byte_anywhere_is_found_and_repaired(two_folders, data):
    """Whichever bit of whichever object is flipped, the audit names the object and a good copy mends it."""
    store, good = two_folders
    key = data.draw(st.sampled_from([key for key, content in OBJECTS.items() if content]))
    changed = bytearray(OBJECTS[key])
    changed[data.draw(st.integers(0, len(changed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    overwrite(store, key, bytes(changed))
    assert wrong(audit(store, EXPECTED)) == {key: Condition.DAMAGED}
    wanted = next(one for one in EXPECTED if one.key == key)
    assert repair(wanted, store, [good]) == good.url
    assert wrong(audit(store, EXPECTED)) == {}
    assert (store.root / key).stat().st_mode & 0o777 == 0o444


def test_a_missing_object_is_put_back(store):
    """What is gone comes back from the first store that has it right."""
    good = MemoryStore()
    good.put("captures/05/data", OBJECTS["captures/05/data"])
    store.delete("captures/05/data")
    repair(EXPECTED[5], store, [MemoryStore(), good])
    assert wrong(audit(store, EXPECTED)) == {}


def test_damage_is_mended_and_kept_aside(store):
    """The right bytes take the place of the damaged ones in any store, and listings show nothing else."""
    overwrite(store, "captures/05/data", b"damaged")
    good = MemoryStore()
    good.put("captures/05/data", OBJECTS["captures/05/data"])
    repair(EXPECTED[5], store, [good])
    assert wrong(audit(store, EXPECTED)) == {}
    if isinstance(store, FolderStore):
        assert [path.read_bytes() for path in (store.root / ".damaged/captures/05/data").iterdir()] == [
            b"damaged"
        ]


@pytest.mark.s3
@pytest.mark.parametrize("fixture", ["s3_store", "s3_locked_store"])
def test_s3_keeps_the_damaged_bytes(request, fixture):
    """The damaged bytes stay as an older version, or as a copy where there are no versions."""
    store = request.getfixturevalue(fixture)
    store.put("a/b", b"right")
    overwrite(store, "a/b", b"wrong!")
    store.restore("a/b", b"right", sha256=hashlib.sha256(b"right").hexdigest())
    assert store.open("a/b").read() == b"right"
    found = store.client.list_object_versions(Bucket=store.bucket, Prefix=store.prefix)["Versions"]
    assert 6 in {item["Size"] for item in found if item["Key"].endswith("a/b")}
    assert [info.key for info in store.list()] == ["a/b"]


@pytest.mark.parametrize("copies", [[], [b"damaged too"], [None, b""]])
def test_damage_is_never_copied(store, copies):
    """Without a good copy nothing is changed and the error tells why each other store was of no use."""
    others = []
    for copy in copies:
        others.append(MemoryStore())
        if copy is not None:
            others[-1].put("captures/05/data", copy)
    overwrite(store, "captures/05/data", b"damaged")
    with pytest.raises(StoreUnavailable, match="E660") as caught:
        repair(EXPECTED[5], store, others)
    assert str(caught.value).count("memory:") == len(copies)
    assert store.open("captures/05/data").read() == b"damaged"


def test_nothing_is_repaired_by_guess(store):
    """Without a known digest nobody can say which copy is right."""
    with pytest.raises(ValueError, match="known sha256"):
        repair(Expected("captures/05/data"), store, [MemoryStore()])
    with pytest.raises(ObjectMissing):
        store.restore("captures/none", b"", sha256=hashlib.sha256(b"").hexdigest())
