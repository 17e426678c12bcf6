"""Log stores that die, lose answers, or ignore conditions, to order."""

from __future__ import annotations

import random

from manifests.log_reader import LogConflict


class Died(BaseException):
    """A writer's process ended; nothing in it runs any more."""


class LostReply(Exception):
    """The store did as asked, and the answer never came."""


class MemoryLogStore:
    """Keeps objects in memory, strongly consistent, with conditional writes."""

    conditional_writes = True

    def __init__(self):
        self.objects = {}

    def put_once(self, key, data):
        if key in self.objects:
            if self.objects[key] != data:
                raise LogConflict(key)
            return False
        self.objects[key] = data
        return True

    def get(self, key):
        return self.objects.get(key)

    def get_with_etag(self, key):
        data = self.objects.get(key)
        return None if data is None else (data, str(hash(data)))

    def replace(self, key, data, etag):
        found = self.get_with_etag(key)
        if (found[1] if found else None) != etag:
            raise LogConflict(key)
        self.objects[key] = data
        return str(hash(data))

    def list(self, prefix):
        return iter(sorted(key for key in self.objects if key.startswith(prefix)))


class Flaky:
    """One writer's view of a store: before each step others may run, and the writer may die."""

    conditional_writes = True

    def __init__(self, store, rng: random.Random, *, die=0.0, lose=0.0, between=lambda: None):
        self._store = store
        self._rng = rng
        self._die = die
        self._lose = lose
        self._between = between

    def __getattr__(self, name):
        method = getattr(self._store, name)

        def step(*args):
            self._between()
            if self._rng.random() < self._die:
                raise Died
            result = method(*args)
            if name in {"put_once", "replace"} and self._rng.random() < self._lose:
                raise LostReply
            return result

        return step
