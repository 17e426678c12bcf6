"""The errors of stores. A lower library's exception never escapes a store."""

from __future__ import annotations


class StoreError(Exception):
    """Base of what a store raises.

    Args:
        message: What failed, expected against got; lower-case start, no final stop.
        code: ``E`` and three digits, unique to the kind of failure.
        hint: One action the reader can take, or an empty string.
    """

    def __init__(self, message: str, *, code: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} [{self.code}]"


class InvalidKey(StoreError, ValueError):
    """The caller's key is not one that every store can hold."""


class ObjectMissing(StoreError, KeyError):
    """No object has this key."""

    __str__ = StoreError.__str__


class ObjectConflict(StoreError):
    """An object of this key exists with other bytes; it was left as it is."""


class DigestMismatch(StoreError):
    """The bytes that arrived are not the bytes that were announced."""


class StoreRefused(StoreError):
    """The store is there and says no: permission, retention, hold, missing bucket."""


class StoreUnavailable(StoreError):
    """The store cannot be reached, is full, or broke off; trying again later may work."""


class SourceUnreadable(StoreError):
    """What the caller gave to be stored cannot be read."""


class InvalidStoreUrl(StoreError, ValueError):
    """The text names no store that can exist."""


class InvalidRange(StoreError, ValueError):
    """The caller asked for bytes before the start or for fewer than none."""
