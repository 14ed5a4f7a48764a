"""Other vendors' payloads as events, in general."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trailseal_server import contract, vendors
from trailseal_server.bodies import EVENT, item_validator
from trailseal_server.problems import Problem
from trailseal_server.vendors import shapes

VALIDATE = item_validator(EVENT, contract.load()["components"])
NAMES = [
    "id", "log_id", "data", "type", "date", "ip", "user_id", "client_id", "action", "actor",
    "event",
    "@timestamp", "created_at", "sender", "repository", "pull_request", "organization", "user",
    "eventID", "eventName", "eventSource", "eventTime", "userIdentity", "resources", "detail",
    "errorCode", "sourceIPAddress", "readOnly", "addendum", "originalEventID", "arn", "message",
    "outcome", "resource", "source", "user_agent", "details", "request", "location_info", "org",
]  # fmt: skip
SCALARS = (
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(max_size=400)
    | st.sampled_from(["", "1.2.3.4", "2020-09-14T00:44:23.000Z", "2020-13-99T00:00:00Z"])
    | st.just("a" * 2000)
    | st.floats(allow_nan=False, allow_infinity=False, width=16)
)  # fmt: skip
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=6)
    ),
    max_leaves=20,
)


@pytest.mark.row("P-31")
@given(source=st.sampled_from(sorted(vendors.MODULES)), payload=VALUES)
def test_any_payload_becomes_events_that_hold_it(source: str, payload: Any) -> None:
    """Whatever a vendor sends: no crash, each record whole under `data`, and an event lacks an
    action or is valid. The same payload gives the same ids."""
    records = vendors.MODULES[source].records(payload)
    found = vendors.events(source, payload, {})
    assert len(found) == len(records)
    for record, event in zip(records, found, strict=True):
        assert not isinstance(event, Problem)
        assert event["data"] == record
        wrong = VALIDATE(event)
        assert {each.pointer for each in wrong} <= {"/action"}, wrong
        assert source != "generic" or not wrong
    assert found == vendors.events(source, payload, {})


def test_ids_come_from_the_vendor_or_from_the_content() -> None:
    """A name that is no event id is hashed; without a name and a time there is none."""
    assert shapes.event_id("v", "a-1", {}, None) == "v:a-1"
    odd = shapes.event_id("v", "a/1", {}, None)
    assert odd is not None
    assert odd.startswith("v:")
    assert len(odd) == 66
    assert shapes.event_id("v", None, {"b": 1, "a": 2}, "t") == shapes.event_id(
        "v", None, {"a": 2, "b": 1}, "t"
    )
    assert shapes.event_id("v", None, {"a": 1}, None) is None


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (1600044263000, "2020-09-14T00:44:23.000Z"),
        (1600044263, "2020-09-14T00:44:23.000Z"),
        ("2020-09-14 00:44:23", "2020-09-14T00:44:23Z"),
        ("2020-09-14T00:44:23.123456789+02:00", "2020-09-14T00:44:23.123456789+02:00"),
        ("2020-02-30T00:00:00Z", None),
        ("yesterday", None),
        (True, None),
        (-1, None),
    ],
)
def test_times_are_rfc_3339_or_left_out(told: Any, expected: str | None) -> None:
    """Epoch seconds and milliseconds, ISO 8601 with and without an offset."""
    assert shapes.instant(told) == expected
