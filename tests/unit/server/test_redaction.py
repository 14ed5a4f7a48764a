"""Taking fields out: for any event and any choice, what is left is what the entry commits to."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trailseal.verify.commitments import fields_hash, redacted_fields_hash
from trailseal_server import commitments, policies
from trailseal_server.redaction import Content, Reason, at_or_below, redact
from trailseal_server.store.records import packed, unpacked

Event = dict[str, Any]
SEED = "AG2aM1fHCNEs7gqzHtbE_LIKglDsKHIz0sFfCjBCDbw"
REASON = Reason("redact", "a test")
NAMES = st.text("aé~/0", max_size=3)
SCALARS = st.none() | st.booleans() | st.integers(-9, 99) | st.floats(-9, 9) | NAMES
VALUES = st.recursive(
    SCALARS,
    lambda below: st.lists(below, max_size=4) | st.dictionaries(NAMES, below, max_size=4),
    max_leaves=20,
)
EVENTS = st.dictionaries(NAMES, VALUES, max_size=4).map(
    lambda found: {"id": "e", "action": "a", **found}
)


def content(event: Event) -> Content:
    return Content(commitments.jcs(event), SEED)


def told(left: Content) -> tuple[Event, list[Any], list[Any]]:
    return json.loads(left.body), json.loads(left.salts or b""), json.loads(left.redactions or b"")


def pointer(path: list[Any]) -> str:
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in path)


@given(EVENTS, st.data())
def test_any_redactions_of_any_event_keep_its_commitment(event: Event, data: st.DataObject) -> None:
    """One after the other, with paths to fields and to containers: the verifier, which shares no
    code with the server, finds the same hash; what was named is gone, all else is as it was."""
    total = fields_hash(event, SEED)
    paths = [json.loads(path) for path in commitments.prepare(event).paths]
    here = content(event)
    gone: set[str] = set()
    for _ in range(3):
        path = data.draw(st.sampled_from(paths))
        at = path[: data.draw(st.integers(1, len(path)))]
        left = redact(here, at_or_below([pointer(at)]), REASON)
        under = {json.dumps(each) for each in paths if each[: len(at)] == at}
        under -= {json.dumps(["id"]), json.dumps(["action"])}
        assert (left is None) == (under <= gone)
        gone |= under
        if left is None:
            continue
        here = left
        body, salts, redactions = told(left)
        assert redacted_fields_hash(body, salts, redactions) == total
        assert {json.dumps(each["path"]) for each in redactions} == gone
        assert {json.dumps(path) for path, _ in salts} == {json.dumps(p) for p in paths} - gone
        assert left.seed is None


@given(EVENTS)
def test_of_all_taken_out_id_and_action_stay(event: Event) -> None:
    """Nothing else is left, not even empty containers; and nothing more can be taken."""
    left = redact(content(event), lambda _path, _value: True, REASON)
    if event.keys() == {"id", "action"}:
        assert left is None
        return
    assert left is not None
    body, salts, redactions = told(left)
    assert body == {"id": "e", "action": "a"}
    assert redacted_fields_hash(body, salts, redactions) == fields_hash(event, SEED)
    assert redact(left, lambda _path, _value: True, REASON) is None


def test_a_list_keeps_its_places() -> None:
    """An element that is taken out becomes null; a list of which nothing is left goes."""
    event = {"id": "e", "action": "a", "subjects": ["u1", "u2"], "data": [{"a": 1}, 2]}
    left = redact(content(event), at_or_below(["/subjects/0", "/data/0"]), REASON)
    assert left is not None
    assert told(left)[0] == {**event, "subjects": [None, "u2"], "data": [None, 2]}
    less = redact(left, at_or_below(["/subjects/1"]), REASON)
    assert less is not None
    assert told(less)[0] == {"id": "e", "action": "a", "data": [None, 2]}


def test_what_a_policy_put_in_place_goes_with_a_later_redaction() -> None:
    """A hash or a mask may tell too: the field's own redaction stays, its replacement does not."""
    masked = Reason("policy:s", "policy", lambda _value: "***")
    first = redact(content({"id": "e", "action": "a", "data": "x"}), at_or_below(["/data"]), masked)
    assert first is not None
    assert told(first)[2][0]["replacement"] == "***"
    second = redact(first, at_or_below(["/data"]), REASON)
    assert second is not None
    assert told(second)[2] == [{k: v for k, v in told(first)[2][0].items() if k != "replacement"}]


@given(st.binary(max_size=400))
def test_redactions_are_stored_in_any_form_and_damage_is_a_value_error(raw: bytes) -> None:
    """Deflated where it is shorter, and read back; other bytes never raise anything else."""
    text = json.dumps([raw.hex()] * 3).encode()
    assert unpacked(packed(text)) == text
    with suppress(ValueError):
        unpacked(raw)


CLASSES = {
    "$defs": {"mail": {"type": "string", "x-data-classes": ["contact"]}},
    "properties": {
        "plain": {},
        "free": {"categories": ["unrestricted"]},
        "mail": {"$ref": "#/$defs/mail"},
        "who": {
            "x-data-classes": ["personal"],
            "properties": {"mail": {"$ref": "#/$defs/mail"}, "name": {}},
        },
        "list": {"items": {"properties": {"x": {"x-data-classes": ["secret"]}}}},
        "either": {
            "anyOf": [{"x-data-classes": ["a"]}, {"properties": {"k": {"categories": ["b"]}}}]
        },
    },
    "additionalProperties": {"x-data-classes": ["other"]},
}  # fmt: skip


@pytest.mark.row("J-04", "J-05")
@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (["plain"], set()),
        (["free"], {"unrestricted"}),
        (["mail"], {"contact"}),
        (["who", "name"], {"personal"}),
        (["who", "mail"], {"personal", "contact"}),
        (["list", 3, "x"], {"secret"}),
        (["list", 3, "y"], set()),
        (["either", "k"], {"a", "b"}),
        (["unknown", "z"], {"other"}),
    ],
)
def test_a_value_has_the_classes_of_all_schemas_above_it(
    path: list[Any], expected: set[str]
) -> None:
    """References, items and combinations are followed; a class holds for all below it."""
    assert policies.classes(CLASSES, path) == expected
