"""`make rows` fails on what is not shown."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest

spec = importlib.util.spec_from_file_location("rows", Path(__file__).parents[1] / "rows.py")
assert spec is not None
assert spec.loader is not None
rows: Any = importlib.util.module_from_spec(spec)
spec.loader.exec_module(rows)

REASON = "A fact about a vendor, no behaviour."


@pytest.mark.parametrize(
    ("tests", "waivers", "faults"),
    [
        ({"A-01": ["t"]}, {"A-02": REASON}, []),
        ({"A-01": ["t"]}, {}, ["A-02: neither a test nor a waiver"]),
        ({"A-01": ["t"], "A-02": []}, {}, ["A-02: neither a test nor a waiver"]),
        ({"A-01": ["t"], "A-02": ["t"]}, {"A-02": REASON}, ["A-02: has a test; remove its waiver"]),
        ({"A-01": ["t"]}, {"A-02": "later"}, ["A-02: its waiver gives no reason"]),
        ({"A-01": ["t"]}, {"A-02": 5}, ["A-02: its waiver gives no reason"]),
        (
            {"A-01": ["t"], "X-09": ["t"]},
            {"A-02": REASON, "X-08": REASON},
            ["X-08: is no row of the feature list", "X-09: is no row of the feature list"],
        ),
    ],
)
def test_a_row_has_a_test_or_a_reason(
    tests: dict[str, list[str]], waivers: dict[str, object], faults: list[str]
) -> None:
    """Neither, both, a reason that is none, and rows that nobody asked for are faults."""
    assert rows.faults({"A-01": "one", "A-02": "two"}, tests, waivers) == faults
