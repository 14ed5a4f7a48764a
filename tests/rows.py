"""Lists the rows of the feature list, each with the tests that show it (`make rows`)."""

import contextlib
import io
import re
import sys
from collections import defaultdict
from pathlib import Path

import pytest

FEATURES = Path(__file__).resolve().parents[2] / "shared" / "features.md"
ROW = re.compile(r"^\| ([ALJPC]-\d+) \| ([^|]+)\|", re.MULTILINE)


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


def main() -> int:
    collector = Collector()
    with contextlib.redirect_stdout(io.StringIO()) as said:
        code = pytest.main(["--collect-only", "-qq", "tests"], plugins=[collector])
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        print(said.getvalue())
        return int(code)
    rows = (
        dict(ROW.findall(FEATURES.read_text()))
        if FEATURES.exists()
        else dict.fromkeys(collector.tests, "")
    )
    for row, capability in rows.items():
        print(f"{row:6} {capability.strip()}")
        for test in collector.tests.get(row, []):
            print(f"       {test}")
    if unknown := sorted(collector.tests.keys() - rows.keys()):
        print(f"rows that the feature list does not have: {', '.join(unknown)}")
    shown = sum(row in collector.tests for row in rows)
    print(f"{shown} of {len(rows)} rows have a test")
    return 1 if unknown else 0


if __name__ == "__main__":
    sys.exit(main())
