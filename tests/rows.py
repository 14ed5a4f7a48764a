"""Lists the rows of the feature list, each with what shows it (`make rows`).

1. A row is shown by a test marked `@pytest.mark.row("P-26")`, or waived in `waivers.toml`, with the
   reason why no test of ours can show it.
2. It fails on a row that has neither, on one that has both, on a waiver without a reason, and on
   rows that the feature list does not have.
"""

import contextlib
import io
import re
import sys
import tomllib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

FEATURES = Path(__file__).resolve().parents[2] / "shared" / "features.md"
WAIVERS = Path(__file__).with_name("waivers.toml")
ROW = re.compile(r"^\| ([ALJPC]-\d+) \| ([^|]+)\|", re.MULTILINE)
MIN_REASON = 20  # characters: fewer are no reason


class Collector:
    """A pytest plugin that notes which test carries which row."""

    def __init__(self) -> None:
        self.tests: dict[str, list[str]] = defaultdict(list)

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            name = item.nodeid.partition("[")[0]
            for mark in item.iter_markers("row"):
                for row in mark.args:
                    if name not in self.tests[row]:
                        self.tests[row].append(name)


def faults(
    rows: Mapping[str, str], tests: Mapping[str, Sequence[str]], waivers: Mapping[str, object]
) -> list[str]:
    """What is wrong: a line each, in the order of the feature list."""
    found = [
        f"{row}: neither a test nor a waiver"
        for row in rows
        if not tests.get(row) and row not in waivers
    ]
    found += [
        f"{row}: has a test; remove its waiver" for row in rows if tests.get(row) and row in waivers
    ]
    found += [
        f"{row}: its waiver gives no reason"
        for row, reason in waivers.items()
        if not isinstance(reason, str) or len(reason.strip()) < MIN_REASON
    ]
    unknown = {**dict.fromkeys(tests, "test"), **dict.fromkeys(waivers, "waiver")}
    found += [
        f"{row}: is no row of the feature list" for row in sorted(unknown.keys() - rows.keys())
    ]
    return found


def main() -> int:
    collector = Collector()
    with contextlib.redirect_stdout(io.StringIO()) as said:
        code = pytest.main(["--collect-only", "-qq", "tests"], plugins=[collector])
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        print(said.getvalue())
        return int(code)
    waivers = tomllib.loads(WAIVERS.read_text(encoding="utf-8"))
    if FEATURES.exists():
        rows = dict(ROW.findall(FEATURES.read_text(encoding="utf-8")))
    else:  # a copy of the repository alone
        rows = dict.fromkeys([*collector.tests, *waivers], "")
    for row, capability in rows.items():
        print(f"{row:6} {capability.strip()}")
        for test in collector.tests.get(row, []):
            print(f"       {test}")
        if row in waivers:
            print(f"       waived: {waivers[row]}")
    wrong = faults(rows, collector.tests, waivers)
    for line in wrong:
        print(f"FAILED {line}")
    shown = sum(row in collector.tests for row in rows)
    print(f"{len(rows)} rows: {shown} have a test, {len(waivers)} a waiver; {len(wrong)} faults")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
