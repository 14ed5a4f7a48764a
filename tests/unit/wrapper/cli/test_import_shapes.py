"""Other systems' records as events: nothing lost, nothing invented, ids that stay."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trailseal._events import prepare
from trailseal.cli import _import_shapes as shapes
from trailseal.cli._import_shapes import ShapeError, shaped
from trailseal.errors import EventValidationError

NAMES = ["event", "envelope", "hash", "actor", "action", "message", "target", "status", "id",
    "timestamp", "tenantId", "eventName", "eventTime", "resources", "context", "tags", "resource",
    "organization_id", "tenant_id", "old", "new", "source", "details"]  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5)
    | st.sampled_from(["2020-01-01", "2020-01-01T00:00:00Z", "x" * 2000]),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=5)
    ),
    max_leaves=15,
)  # fmt: skip


@pytest.mark.row("P-24")
@given(st.sampled_from(sorted(shapes.SHAPES)), VALUES)
def test_any_record_is_an_event_or_a_fault_with_a_reason(name: str, record: Any) -> None:
    """No crash; the record is whole under `data`; the same record has the same id."""
    shape = shapes.SHAPES[name][0]
    try:
        event = shaped(shape, record, 7)
        assert event == shaped(shape, record, 7)
        if name != "jsonl":
            assert event["data"] == record
        prepare(event)
    except (ShapeError, EventValidationError):
        pass


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ("2020-09-14T00:44:23.000Z", "2020-09-14T00:44:23.000Z"),
        ("2020-09-14T00:44:23+02:00", "2020-09-14T00:44:23+02:00"),
        ("2020-09-14 00:44:23+02:00", "2020-09-13T22:44:23.000000Z"),
        ("2020-09-14T00:44:23", "2020-09-14T00:44:23.000000Z"),
        ("2020-09-14", "2020-09-14T00:00:00.000000Z"),
        ("yesterday", "yesterday"),
        ("", None),
        (None, None),
    ],
)
def test_times_get_an_offset_and_nothing_else(told: Any, expected: Any) -> None:
    """What is RFC 3339 passes unchanged; without an offset it is UTC; no time is no time."""
    assert shapes.instant(told) == expected


def test_an_id_is_the_sources_own_else_of_time_and_content_else_of_the_place() -> None:
    """Two equal events without a time are two; with one they are one."""
    assert shaped(shapes.ours, {"id": "a", "action": "x"}, 1)["id"] == "a"
    timed = {"action": "x", "occurred_at": "2026-01-31T12:00:00Z"}
    assert shaped(shapes.ours, timed, 1) == shaped(shapes.ours, timed, 2)
    assert shaped(shapes.ours, {"action": "x"}, 1) != shaped(shapes.ours, {"action": "x"}, 2)
    odd = shaped(shapes.auditledge, {"id": "a/b ü", "action": "x"}, 1)["id"]
    assert odd.startswith("auditledge:")
    assert len(odd) == len("auditledge:") + 64


@pytest.mark.parametrize(
    ("record", "format_"),
    [
        ({"envelope": {"event": {}}}, "pangea"),
        ({"eventName": "x", "eventSource": "y"}, "cloudtrail"),
        ({"eventName": "x", "tenantId": "y"}, "apptrail"),
    ],
)
def test_a_foreign_record_is_not_guessed_at(record: dict[str, Any], format_: str) -> None:
    """The fault names the format to ask for."""
    with pytest.raises(ShapeError, match=f"--from {format_}"):
        shaped(shapes.ours, record, 1)
