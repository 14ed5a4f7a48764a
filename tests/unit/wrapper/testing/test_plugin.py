"""The pytest plugin as its users meet it: tests of theirs, in a pytest of their own."""

from __future__ import annotations

from importlib.metadata import entry_points

import pytest

pytest_plugins = ["pytester"]

TESTS = """
import asyncio
import pytest
import trailseal

def test_passes(audit_log):
    trailseal.Client().log("invoice.deleted", actor="user_1")
    audit_log.assert_logged(action="invoice.deleted", actor="user_1")
    audit_log.assert_nothing_else()

def test_async(audit_log):
    async def app():
        async with trailseal.AsyncClient() as client:
            await client.log("a")
    asyncio.run(app())
    audit_log.assert_logged("a")

def test_each_test_has_its_own(audit_log):
    assert audit_log.events == []

def test_fails(audit_log):
    trailseal.Client().log("invoice.deleted", actor="user_1")
    audit_log.assert_logged("invoice.deleted", actor="user_2")
"""


@pytest.mark.row("J-26")
def test_the_fixture_is_there_by_itself_and_a_failure_is_readable(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No conftest, no import: four tests of a user, one of which must fail, with the reason."""
    monkeypatch.setenv("TRAILSEAL_DISABLED", "1")  # as many set for their tests
    pytester.makepyfile(TESTS)
    done = pytester.runpytest_inprocess(
        "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:asyncio"
    )
    done.assert_outcomes(passed=3, failed=1)
    shown = done.stdout.str()
    assert "actor.id: wanted 'user_2', found 'user_1'" in shown
    assert "_match.nothing_matches" not in shown, "our own frames are hidden"


def test_the_plugin_is_registered_under_its_name() -> None:
    """`-p no:trailseal` switches it off."""
    (found,) = [each for each in entry_points(group="pytest11") if each.name == "trailseal"]
    assert found.value == "trailseal.testing.plugin"
