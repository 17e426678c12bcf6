from __future__ import annotations

from collections.abc import Iterator

import pytest

from examples.sites import Sites, serve
from tests.hostile.origin import Server, serving


@pytest.fixture(scope="session")
def origin() -> Iterator[Server]:
    with serving() as server:
        yield server


@pytest.fixture(scope="session")
def sites() -> Iterator[Sites]:
    with serve() as served:
        yield served
