"""What of this installation and its people must not be told by what is published."""

from __future__ import annotations

import getpass
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from archiver.config import Settings
from archiver.custodian import given_passphrase
from archiver.errors import ArchiverError
from archiver.identity import MAX_ANNEX_BYTES, open_annex, own_identities
from archiver.preservation.receipts import ANNEX_NAME, keys_prefix
from manifests.record import EvidenceRecord
from storage.errors import StoreError
from storage.interface import Store

MIN_NAME_CHARS = 8
"""A user or host name shorter than that, of letters alone, is a word like others."""
_EVERYWHERE = frozenset({"localhost", "127.0.0.1", "::1", "/root", "/"})


@dataclass
class Identities:
    """Knows, capture by capture, what must not be told.

    Args:
        settings: Of this installation.
        store: Holds the annexes.
        unopened: Captures whose record fixes facts that could not be opened here, and so not be looked for.
    """

    settings: Settings
    store: Store
    unopened: list[str] = field(default_factory=list)

    def of(self, record: EvidenceRecord) -> list[str]:
        """Return names, addresses, paths and proxies, those of the capture's annex among them."""
        found = {value for value in (*_of_settings(self.settings), *self._annex(record)) if value}
        found -= _EVERYWHERE
        return sorted(found | {value.lower() for value in found if not value.islower()})

    def _annex(self, record: EvidenceRecord) -> Iterator[str]:
        if not record.commitments:
            return
        try:
            keys = own_identities(self.settings, given_passphrase(self.settings))
            with self.store.open(
                f"{keys_prefix(record.capture_id)}{ANNEX_NAME}", length=MAX_ANNEX_BYTES
            ) as file:
                yield from (
                    one.value for one in open_annex(record, file.read(), keys) if _is_telling(one.value)
                )
        except (ArchiverError, StoreError):
            self.unopened.append(record.capture_id)


def _of_settings(settings: Settings) -> Iterator[str]:
    yield settings.operator
    yield settings.access_ip
    yield settings.session
    for proxy in (settings.upstream, *(one.upstream for one in settings.vantages.values())):
        parts = urlsplit(proxy)
        yield from (parts.hostname or "", parts.username or "", parts.password or "", parts.netloc)
    home = str(Path.home())
    if home not in _EVERYWHERE:
        yield home
    for name in (socket.gethostname(), _user()):
        if _is_telling(name):
            yield name


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""


def _is_telling(name: str) -> bool:
    return len(name) >= MIN_NAME_CHARS or not name.isalpha()
