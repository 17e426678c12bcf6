from __future__ import annotations

import pytest

from archiver.capture import canary
from archiver.capture.browser import find_browser
from archiver.capture.limits import Limits, View
from archiver.capture.rig import Rigs, describe, self_test
from archiver.checks import check_machine
from archiver.config import load_settings
from archiver.errors import EnvironmentUnfit

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("self-test")]


@pytest.fixture
def browser(tmp_path):
    executable = find_browser(None)
    return executable, describe(executable, tmp_path, View(), "")


async def test_a_build_is_tested_once_for_each_version_of_the_code(browser, tmp_path, monkeypatch):
    """The browser of this machine passes; it is asked again only when build or code are others."""
    executable, facts = browser
    assert canary.passed_at(facts.sha256, tmp_path) == ""
    await self_test(executable, facts, tmp_path)
    passed = canary.passed_at(facts.sha256, tmp_path)
    assert passed
    monkeypatch.setattr(canary, "find_fault", None)
    await self_test(executable, facts, tmp_path)
    assert canary.passed_at(facts.sha256, tmp_path) == passed
    assert canary.passed_at("0" * 64, tmp_path) == ""
    monkeypatch.setattr(canary, "_code_sha256", lambda: "other")
    assert canary.passed_at(facts.sha256, tmp_path) == ""


async def test_what_would_falsify_captures_is_found(browser, tmp_path, monkeypatch):
    """Secrets that are not logged, bodies that are others and requests that never came are faults."""
    executable, facts = browser
    await self_test(executable, facts, tmp_path)
    monkeypatch.setattr(canary, "KEYS_S", 0)
    async with (
        Rigs(executable, facts, View(), (), limits=Limits(), cache=tmp_path) as rigs,
        rigs.one() as rig,
    ):
        parts = (rig.browser, rig.home, rig.relay)
        with monkeypatch.context() as patch:
            patch.setattr(rig.home, "keys", tmp_path / "nothing.log")
            assert "no keys for" in await canary.find_fault(*parts)
        with monkeypatch.context() as patch:
            patch.setattr(canary, "_read", lambda body: b"other")
            assert "another" in await canary.find_fault(*parts)
        with monkeypatch.context() as patch:
            patch.setitem(canary._BODIES, "/never", (b"text/plain", b""))
            assert await canary.find_fault(*parts) == "no request for /never"
        with monkeypatch.context() as patch:
            patch.setattr(canary, "LOAD_S", 1)
            patch.setitem(canary._BODIES, "/worker", (b"text/javascript", b""))
            assert "does not load" in await canary.find_fault(*parts)


async def test_a_build_that_fails_is_refused_and_not_remembered(browser, tmp_path, monkeypatch):
    """No capture begins with such a browser: the error names the build, the fault and what to do."""
    executable, facts = browser

    async def fault(*_):
        return "something else"

    monkeypatch.setattr(canary, "find_fault", fault)
    with pytest.raises(EnvironmentUnfit, match=r"refused.*got something else \[E113\]") as caught:
        await self_test(executable, facts, tmp_path)
    assert facts.version in str(caught.value)
    assert "another build" in caught.value.hint
    assert canary.passed_at(facts.sha256, tmp_path) == ""


def test_doctor_puts_the_browser_to_the_test(tmp_path, monkeypatch):
    """The self-test is one of the checks, and a browser that cannot be started fails it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    settings = load_settings(None, {}, {"store": str(tmp_path / "store")})
    (found,) = [one for one in check_machine(settings) if one.name == "self-test"]
    assert (found.state, "recorded with this build" in found.found) == ("works", True)
    settings = load_settings(None, {}, {"store": str(tmp_path / "store"), "browser": "/bin/true"})
    (found,) = [one for one in check_machine(settings) if one.name == "self-test"]
    assert found.state == "fails"
    assert found.todo
