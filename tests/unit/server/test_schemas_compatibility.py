"""A compatible version takes every event of the one before."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from trailseal_server.schemas.compatibility import breaks
from trailseal_server.schemas.rules import DRAFT_7, DRAFT_2020

BOTH = (DRAFT_2020, DRAFT_2020)
NAMES = st.sampled_from(["a", "b", "c"])
SCALARS = st.sampled_from([None, True, 0, 1, 2, 5, 1.5, "", "a", "bb", "ccc"])
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)
TYPES = st.sampled_from(["null", "boolean", "integer", "number", "string", "array", "object"])


def _keywords(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {},
        optional={
            "type": TYPES | st.lists(TYPES, min_size=1, max_size=3, unique=True),
            "enum": st.lists(SCALARS, min_size=1, max_size=4),
            "minimum": st.integers(0, 3),
            "maximum": st.integers(0, 3),
            "maxLength": st.integers(0, 3),
            "minItems": st.integers(0, 3),
            "required": st.lists(NAMES, max_size=2, unique=True),
            "properties": st.dictionaries(NAMES, inner, max_size=2),
            "patternProperties": st.dictionaries(st.sampled_from(["^a", "b"]), inner, max_size=1),
            "additionalProperties": inner,
            "items": inner,
            "prefixItems": st.lists(inner, min_size=1, max_size=2),
            "contains": inner,
            "minContains": st.integers(0, 2),
            "not": inner,
            "anyOf": st.lists(inner, min_size=1, max_size=2),
            "$ref": st.just("#/$defs/d"),
            "unevaluatedProperties": st.just(False),
            "propertyNames": st.just({"maxLength": 0}),
        },
    )


SCHEMAS = st.recursive(st.booleans() | st.just({}), _keywords, max_leaves=5)


@st.composite
def _pairs(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, Any]]:
    """Two versions that have much in common: the second is the first, changed in a few places."""
    old = draw(_keywords(SCHEMAS)) | {"$defs": {"d": draw(SCHEMAS)}}
    new = {k: v for k, v in old.items() if k == "$defs" or draw(st.integers(0, 3))}
    new |= {k: v for k, v in draw(_keywords(SCHEMAS)).items() if not draw(st.integers(0, 3))}
    if not draw(st.integers(0, 5)):
        new["$defs"] = {"d": draw(SCHEMAS)}
    return _without_circles(old), _without_circles(new)


def _without_circles(schema: dict[str, Any]) -> dict[str, Any]:
    def strip(value: Any) -> Any:
        if isinstance(value, list):
            return [strip(each) for each in value]
        if isinstance(value, dict):
            return {k: strip(v) for k, v in value.items() if k != "$ref"}
        return value

    return schema | {"$defs": strip(schema["$defs"])}


@settings(max_examples=100, deadline=None)
@given(_pairs(), st.lists(VALUES, min_size=5, max_size=20))
def test_what_the_old_version_took_a_compatible_one_takes(
    pair: tuple[dict[str, Any], dict[str, Any]], values: list[Any]
) -> None:
    """Sound: judged by another validator than the server's."""
    old, new = pair
    if breaks(old, new, BOTH):
        return
    before, after = Draft202012Validator(old), Draft202012Validator(new)
    for value in values:
        assert after.is_valid(value) or not before.is_valid(value), (old, new, value)


CLOSED = {
    "type": "object",
    "required": ["a"],
    "additionalProperties": False,
    "properties": {"a": {"enum": ["x", "y"]}, "n": {"type": "integer", "maximum": 5}},
}


@pytest.mark.parametrize(
    "change",
    [
        {"title": "now with a title"},
        {"required": []},
        {"properties": {**CLOSED["properties"], "new": {"type": "string"}}},
        {"properties": {**CLOSED["properties"], "a": {"enum": ["x", "y", "z"]}}},
        {"properties": {**CLOSED["properties"], "n": {"type": "number", "maximum": 9}}},
        {"type": ["object", "null"]},
        {"additionalProperties": True},
    ],
)
def test_a_wider_version_is_compatible(change: dict[str, Any]) -> None:
    """New optional members of a closed object, more values, looser bounds, fewer demands."""
    assert breaks(CLOSED, {**CLOSED, **change}, BOTH) == []


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"required": ["a", "n"]}, "/document/required"),
        ({"properties": {"a": CLOSED["properties"]["a"]}}, "/document/properties/n"),
        (
            {"properties": {**CLOSED["properties"], "a": {"enum": ["x"]}}},
            "/document/properties/a/enum",
        ),
        (
            {"properties": {**CLOSED["properties"], "n": {"type": "integer", "maximum": 4}}},
            "/document/properties/n/maximum",
        ),
        ({"type": "array"}, "/document/type"),
        ({"not": {"required": ["n"]}}, "/document/not"),
    ],
)
def test_a_narrower_version_says_where_it_breaks(change: dict[str, Any], pointer: str) -> None:
    """One error with the place in the new document."""
    found = breaks(CLOSED, {**CLOSED, **change}, BOTH)
    assert [(each.code, each.pointer) for each in found] == [("schema_incompatible", pointer)]


def test_a_new_member_of_an_open_object_is_a_break_unless_it_takes_anything() -> None:
    """Any value was allowed under the name before."""
    old = {"properties": {}}
    assert breaks(old, {"properties": {"new": {"type": "string"}}}, BOTH)
    assert not breaks(old, {"properties": {"new": {"description": "anything"}}}, BOTH)


def test_recursion_and_another_dialect() -> None:
    """A recursive schema can be compared; the dialect must stay."""
    old = {"properties": {"child": {"$ref": "#"}, "n": {"type": "integer"}}}
    new = {"properties": {"child": {"$ref": "#"}, "n": {"type": "number"}}}
    assert not breaks(old, new, BOTH)
    assert breaks(new, old, BOTH)
    assert breaks(old, old, (DRAFT_7, DRAFT_2020))


def test_a_definition_behind_a_reference_counts() -> None:
    """The reference is written as before, but what it means is narrower."""
    old = {"minLength": 1, "$ref": "#/$defs/d", "$defs": {"d": {}}}
    new = {"minLength": 1, "$ref": "#/$defs/d", "$defs": {"d": False}}
    assert breaks(old, new, BOTH)
    nested = {"anyOf": [{"$ref": "#/$defs/d"}]}
    assert breaks({**nested, "$defs": {"d": {}}}, {**nested, "$defs": {"d": False}}, BOTH)
