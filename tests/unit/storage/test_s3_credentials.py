"""Where an S3 store finds its credentials: environment, AWS profiles, keyring; and that they stay there."""

from __future__ import annotations

import secrets
from pathlib import Path

import keyring
import pytest
from keyring.backend import KeyringBackend
from keyring.errors import KeyringLocked

from archiver.cli.main import run
from archiver.errors import ExitCode
from storage.errors import StoreRefused
from storage.open import open_store
from tests import s3server

pytestmark = pytest.mark.s3


class MemoryKeyring(KeyringBackend):
    """A keyring of this process."""

    priority = 1

    def __init__(self) -> None:
        super().__init__()
        self.entries: dict[tuple[str, str], str] = {}
        self.locked = False

    def get_password(self, service: str, username: str) -> str | None:
        if self.locked:
            raise KeyringLocked("locked")
        return self.entries.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.entries[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        del self.entries[service, username]


@pytest.fixture
def chain(monkeypatch):
    """A keyring in the place of the system's."""
    before, ours = keyring.get_keyring(), MemoryKeyring()
    keyring.set_keyring(ours)
    yield ours
    keyring.set_keyring(before)


@pytest.fixture
def without(s3_server, monkeypatch):
    """The way to the server, and no credentials in the environment."""
    s3server.set_environment(s3_server, monkeypatch)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return s3_server


def entry(secret: str = s3server.SECRET_KEY) -> str:
    return f"{s3server.ACCESS_KEY}:{secret}"


def test_credentials_come_from_the_keyring(chain, without):
    """What `keyring set archiver-s3 default` stored opens the store."""
    chain.set_password("archiver-s3", "default", entry())
    store = open_store(f"s3://{without.bucket}/{secrets.token_hex(8)}")
    assert store.put("k", b"evidence").created


@pytest.mark.parametrize("content", [None, "", "no colon", ":", "key:", ":secret"])
def test_what_is_no_entry_is_no_credentials(chain, without, content):
    """A missing or malformed entry is told like missing credentials, with what to do, and is not repeated."""
    if content is not None:
        chain.set_password("archiver-s3", "default", content)
    with pytest.raises(StoreRefused, match=r"no credentials.*E632") as caught:
        open_store(f"s3://{without.bucket}").put("k", b"x")
    assert "keyring set archiver-s3 default" in caught.value.hint


def test_a_locked_keyring_is_no_credentials(chain, without):
    """A keyring that does not open is no traceback."""
    chain.locked = True
    with pytest.raises(StoreRefused, match="E632"):
        open_store(f"s3://{without.bucket}").put("k", b"x")


def test_the_environment_comes_first(chain, s3_server, monkeypatch):
    """Who exports credentials means them, whatever the keyring holds."""
    s3server.set_environment(s3_server, monkeypatch)
    chain.set_password("archiver-s3", "default", entry("wrong"))
    assert open_store(f"s3://{s3_server.bucket}/{secrets.token_hex(8)}").put("k", b"x").created


def test_each_store_may_have_a_profile_of_its_own(chain, without, tmp_path, monkeypatch):
    """Two providers in one set: endpoint, region and credentials are of the profile that the URL names."""
    config, credentials = tmp_path / "config", tmp_path / "credentials"
    config.write_text(
        f"[profile one]\nendpoint_url = {without.endpoint}\nregion = eu-north-1\n"
        f"[profile two]\nendpoint_url = {without.endpoint}\n"
    )
    credentials.write_text(
        f"[one]\naws_access_key_id = {s3server.ACCESS_KEY}\naws_secret_access_key = {s3server.SECRET_KEY}\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(credentials))
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "another")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
    chain.set_password("archiver-s3", "two", entry())
    prefix = secrets.token_hex(8)
    one, two = (open_store(f"s3://{name}@{without.bucket}/{prefix}") for name in ("one", "two"))
    assert one.client.meta.region_name == "eu-north-1"
    assert one.put("k", b"evidence").created
    assert not two.put("k", b"evidence").created
    assert two.url == f"s3://two@{without.bucket}/{prefix}"
    with pytest.raises(StoreRefused, match="E625"):
        open_store(f"s3://three@{without.bucket}")


def test_the_keyrings_secret_is_told_to_nobody(chain, without, tmp_path, monkeypatch, capfd):
    """Neither output, nor an object, nor the environment, nor the list of processes holds it."""
    for name in ("CONFIG", "CACHE", "STATE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name.lower()))
    url = f"s3://{without.locked_bucket}/{secrets.token_hex(8)}"
    for secret, code in ((s3server.SECRET_KEY, ExitCode.DONE), ("wrong-secret-3", ExitCode.STORE_REFUSED)):
        chain.set_password("archiver-s3", "default", entry(secret))
        assert run(["store", "check", url]) == code
        told = "".join(capfd.readouterr()) + Path("/proc/self/cmdline").read_text()
        told += Path("/proc/self/environ").read_text()
        assert secret not in told
        assert s3server.ACCESS_KEY not in told
