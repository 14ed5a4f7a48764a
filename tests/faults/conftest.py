"""Counts the trials of each promise; the long form ends with their table."""

import os
import re
from collections import Counter
from collections.abc import Callable

import pytest

Count = Callable[[int], None]


@pytest.fixture
def trials(request: pytest.FixtureRequest) -> Count:
    """Say how many trials a test made: `trials(200)`, at its end."""
    return lambda count: request.node.user_properties.append(("trials", count))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Promise, trials, tests that failed; only where `FAULT_ROUNDS` is set, and not for tests that
    count no trials and passed."""
    if "FAULT_ROUNDS" not in os.environ:
        return
    made, failed = Counter[str](), Counter[str]()
    for outcome in ("passed", "failed", "error"):
        for report in terminalreporter.getreports(outcome):
            name = re.search(r"::test_([a-z]\d+)_", report.nodeid)
            if name is None or (outcome == "passed" and report.when != "call"):
                continue
            made[name[1]] += sum(n for key, n in report.user_properties if key == "trials")
            failed[name[1]] += outcome != "passed"
    shown = sorted(+(made + failed), key=lambda each: (each[0], int(each[1:])))
    if shown:
        terminalreporter.section("trials")
    for promise in shown:
        line = f"{promise.upper():<4} {made[promise]:>7} trials, {failed[promise]} failed tests"
        terminalreporter.write_line(line)
