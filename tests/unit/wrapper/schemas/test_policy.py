"""What may leave: data classes, and what becomes of the rest."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trailseal.errors import ConfigurationError
from trailseal.schemas import Policy, Registry

KEY = bytes(range(32))
CONTACT = {"x-data-classes": ["contact"]}


def redacted(body: dict[str, Any], data: Any, **options: Any) -> Any:
    before = copy.deepcopy(data)
    made = Registry().register({"$id": "urn:x", "version": "1", **body})
    found = made.redacted(data, Policy.of(options))
    assert data == before, "the caller's data is not changed"
    return found


@pytest.mark.row("J-04", "J-05")
@pytest.mark.parametrize("keyword", ["x-data-classes", "categories", "redactionPolicies"])
def test_a_property_stays_only_if_all_its_classes_are_allowed(keyword: str) -> None:
    """One class that is not allowed is enough; `unrestricted` always is; a name may be excepted."""
    body = {
        "properties": {
            "id": {keyword: ["unrestricted"]},
            "email": {keyword: ["contact"]},
            "salary": {keyword: ["contact", "finance"]},
            "plain": {},
            "phone": {keyword: ["contact", "device"]},
        }
    }
    data = {"id": 1, "email": "a@b", "salary": 5, "plain": 2, "phone": 3}
    assert redacted(body, data, allow=["contact"]) == {"id": 1, "email": "a@b", "plain": 2}
    assert redacted(body, data, allowed_categories=["contact"], allowed_properties=["phone"]) == {
        "id": 1,
        "email": "a@b",
        "plain": 2,
        "phone": 3,
    }
    assert redacted(body, data, allowed_policies="all") == data


@pytest.mark.row("J-04", "J-05")
def test_nested_objects_arrays_and_references_are_looked_into() -> None:
    """Classes hold at any depth; what lies in a classified value has its classes."""
    body = {
        "properties": {
            "people": {"type": "array", "items": {"$ref": "#/$defs/person"}},
            "home": {**CONTACT, "properties": {"city": {}, "zone": {"x-data-classes": ["public"]}}},
        },
        "$defs": {"person": {"properties": {"name": CONTACT, "role": {}}}},
    }
    data = {"people": [{"name": "Ann", "role": "r"}], "home": {"city": "B", "zone": "CET"}}
    assert redacted(body, data, allow=["public"]) == {
        "people": [{"role": "r"}],
        "home": {"zone": "CET"},
    }


@pytest.mark.row("J-04")
@pytest.mark.parametrize("keyword", ["allOf", "anyOf", "oneOf", "if", "then", "else", "not"])
def test_classes_count_in_branches_too(keyword: str) -> None:
    """Jupyter ignores them there; a leak would depend on how a schema is written."""
    branch: Any = {"properties": {"email": CONTACT}}
    body = {"properties": {"email": {}}, keyword: [branch] if "Of" in keyword else branch}
    assert redacted(body, {"email": "a@b"}) == {}


@pytest.mark.row("J-04")
def test_what_the_schema_does_not_describe_does_not_leave() -> None:
    """A member that nobody declared has the class `undeclared`, at any depth."""
    body = {"properties": {"a": {"type": "object"}}, "patternProperties": {"^x": CONTACT}}
    data = {"a": {"b": 1}, "secret": 2, "x1": 3}
    assert redacted(body, data, allow=["contact"]) == {"a": {}, "x1": 3}
    assert redacted(body, data, allow=["contact", "undeclared"]) == data


@pytest.mark.row("J-04", "J-05")
def test_what_may_not_leave_is_dropped_masked_or_hashed() -> None:
    """By class; of two methods for one value the one that tells less wins; hashes need the key."""
    body = {
        "properties": {
            "a": {"x-data-classes": ["one"]},
            "b": {"x-data-classes": ["two"]},
            "c": {"x-data-classes": ["one", "two"]},
            "d": {"x-data-classes": ["three"]},
        }
    }
    options = {"method": "mask", "methods": {"two": "hash", "three": "drop"}, "key": KEY}
    found = redacted(body, {"a": 1, "b": "x", "c": "x", "d": 4}, **options)
    assert (found["a"], found["c"], "d" in found) == ("***", "***", False)
    assert found["b"].startswith("hmac-sha256:")
    assert found["b"] == redacted(body, {"b": "x"}, **options)["b"]
    assert found["b"] != redacted(body, {"b": "x"}, **{**options, "key": KEY[::-1]})["b"]
    assert KEY.hex() not in repr(Policy(method="hash", key=KEY))


@pytest.mark.row("J-03")
@pytest.mark.parametrize(
    "options",
    [
        {"alow": ["a"]},
        {"method": "encrypt"},
        {"method": "hash"},
        {"methods": {"a": "hash"}},
        {"allow": "contact"},
    ],
    ids=str,
)
def test_a_policy_that_cannot_work_is_refused(options: dict[str, Any]) -> None:
    """An unknown option, an unknown method, a hash without its key, a text for a list."""
    with pytest.raises(ConfigurationError):
        Policy.of(options)


SECRET = "s3cr3t-"  # in every text that may not leave
values = st.recursive(
    st.integers(0, 9) | st.just(SECRET),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abcde"), inner),
    max_leaves=12,
)
schemas = st.recursive(
    st.sampled_from([{}, CONTACT, {"type": "string"}]),
    lambda inner: st.one_of(
        st.dictionaries(st.sampled_from("abc"), inner).map(lambda p: {"properties": p}),
        inner.map(lambda s: {"items": s}),
        st.lists(inner, min_size=1, max_size=2).map(lambda s: {"anyOf": s}),
    ),
    max_leaves=8,
)


@settings(max_examples=100, deadline=None)
@given(schemas, values)
def test_nothing_of_a_class_that_is_not_allowed_ever_leaves(
    schema: dict[str, Any], data: Any
) -> None:
    """Whatever schema and data: below a classified root, no text and no number is left."""
    kept = redacted({**schema, "x-data-classes": ["contact"]}, data, method="drop")
    assert _leaves(kept) == []
    masked = redacted({**schema, "x-data-classes": ["contact"]}, data, method="mask")
    assert set(_leaves(masked)) <= {"***"}


def _leaves(value: Any) -> list[Any]:
    if isinstance(value, dict | list):
        inner = value.values() if isinstance(value, dict) else value
        return [leaf for each in inner for leaf in _leaves(each)]
    return [] if value is None else [value]
