"""The registry: whose schemas, which versions, what is kept, what is said of events."""

from typing import Any

import pytest
from trailseal_server.problems import Problem
from trailseal_server.schemas import registry
from trailseal_server.schemas.registry import Registry
from trailseal_server.store import Store

Json = dict[str, Any]


@pytest.fixture
def schemas(store: Store) -> Registry:
    """An empty registry."""
    return Registry(store)


def document(version: str = "1", **members: Any) -> Json:
    """What a client sends."""
    return {"document": {"$id": "login", "version": version, **members}}


def event(data: Any, version: str = "1") -> Json:
    """An event that names the schema."""
    return {"action": "x", "schema": {"id": "login", "version": version}, "data": data}


def codes(schemas: Registry, sent: Json, tenant_id: str | None = None) -> list[str]:
    """The codes of an event's mistakes."""
    return [each.code for each in schemas.errors(tenant_id, sent)]


@pytest.mark.row("J-09", "J-18")
def test_versions_stand_side_by_side(schemas: Registry) -> None:
    """Each event is checked against the version that it names."""
    schemas.register(None, document("1", required=["a"]))
    schemas.register(None, document("2", required=["b"]))
    assert codes(schemas, event({"a": 1})) == []
    assert codes(schemas, event({"a": 1}, "2")) == ["field_required"]
    assert codes(schemas, event({"a": 1}, "3")) == ["schema_not_registered"]


def test_a_version_never_changes(schemas: Registry) -> None:
    """The same text again is the same row; another text is refused."""
    first, new = schemas.register(None, document(type="object"))
    again, known = schemas.register(None, document(type="object"))
    assert (new, known) == (True, False)
    assert again == first
    with pytest.raises(Problem) as caught:
        schemas.register(None, document(type="array"))
    assert caught.value.code == "schema_version_exists"


def test_a_tenant_sees_its_own_and_the_shared_ones(schemas: Registry) -> None:
    """Another tenant's are not there; its own come before a shared one that came later."""
    schemas.register("a", document("1", type="object"))
    assert codes(schemas, event({}), "a") == []
    assert codes(schemas, event({}), "b") == ["schema_not_registered"]
    assert codes(schemas, event({})) == ["schema_not_registered"]
    schemas.register(None, document("1", type="array"))
    assert codes(schemas, event([]), "b") == []
    assert codes(schemas, event({}), "a") == []
    with pytest.raises(Problem, match="schema_version_exists"):
        schemas.register("b", document("1", type="string"))


def test_a_name_may_stand_in_the_request_and_must_agree(schemas: Registry) -> None:
    """`$id` and `version` of the document, or of the request; an integer stands for its digits."""
    row, _ = schemas.register(None, {"document": {}, "schema_id": "x", "version": "1"})
    assert (row.schema_id, row.version) == ("x", "1")
    row, _ = schemas.register(None, {"text": "$id: y\nversion: 7"})
    assert (row.schema_id, row.version) == ("y", "7")
    for sent in (
        {"document": {}, "version": "1"},
        {"document": {"$id": "x"}},
        {"document": {"$id": "x", "version": "2"}, "version": "3"},
        {"text": "$id: x\nversion: 1.0"},
        {"document": {}, "text": "{}"},
        {},
    ):
        with pytest.raises(Problem, match="schema_invalid"):
            schemas.register(None, sent)


def test_compatibility_is_held_against_the_last_version(schemas: Registry) -> None:
    """`backward` refuses a break and says what; `none` takes it."""
    schemas.register(None, document("1", required=["a"]))
    schemas.register(None, document("2", required=[]))
    narrower = document("3", required=["a"])
    with pytest.raises(Problem) as caught:
        schemas.register(None, {**narrower, "compatibility": "backward"})
    assert caught.value.code == "schema_incompatible"
    assert caught.value.errors[0].pointer == "/document/required"
    schemas.check(None, narrower)
    schemas.register(None, narrower)


@pytest.mark.parametrize(
    ("rule", "data"),
    [
        ({"not": {}}, 1),
        ({"not": True}, 1),
        ({"multipleOf": 3}, 4),
        ({"oneOf": [{}, {}]}, 1),
        ({"oneOf": [{"type": "string"}, False]}, 1),
        ({"anyOf": [{"type": "string"}, {"properties": {"a": False}}]}, {"a": 1}),
        ({"contains": {"type": "string"}}, [1]),
        ({"const": "x" * 5000}, 1),
        ({"enum": ["x" * 5000]}, 1),
        ({"propertyNames": {"pattern": "^a"}}, {"b": 1}),
        ({"propertyNames": False}, {"b": 1}),
        ({"prefixItems": [{}], "items": False}, [1, 2]),
        ({"unevaluatedProperties": False}, {"b": 1}),
        ({"unevaluatedItems": False}, [1]),
        ({"dependentRequired": {"a": ["b"]}}, {"a": 1}),
        ({"if": {}, "then": {"format": "email"}}, "x"),
        ({"uniqueItems": True}, [1, 1]),
        ({"properties": {"a": False}}, {"a": 1}),
    ],
)
def test_every_rule_has_words_for_its_breach(rule: Json, data: Any, schemas: Registry) -> None:
    """Short, with a place in the event, and never an exception."""
    schemas.register(None, document(**rule))
    errors = schemas.errors(None, event(data))
    assert errors
    assert all(each.pointer.startswith("/data") and len(each.detail) <= 500 for each in errors)


def test_an_event_without_data_is_told_so(schemas: Registry) -> None:
    """A schema without anything to check is a mistake."""
    schemas.register(None, document())
    sent = event(None)
    assert codes(schemas, sent) == []
    del sent["data"]
    assert codes(schemas, sent) == ["field_required"]


def test_a_huge_mistake_is_answered_in_bounded_work(schemas: Registry) -> None:
    """Where naming each mistake could take minutes, there is one error."""
    schemas.register(None, document(anyOf=[{"items": {"type": "string"}}, {"items": False}]))
    errors = schemas.errors(None, event([1] * 300_000))
    assert [each.pointer for each in errors] == ["/data"]


def test_validators_are_kept_within_bounds(
    schemas: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The least used one goes first, by number and by patterns; it can be compiled again."""
    monkeypatch.setattr(registry, "MAX_COMPILED", 3)
    monkeypatch.setattr(registry, "MAX_COMPILED_PATTERNS", 2)
    for number in range(5):
        schemas.register(None, document(str(number), type="object"))
    schemas.register(None, document("p", patternProperties={"a": {}, "b": {}}))
    for number in (0, 1, 2, 0, 3):
        assert codes(schemas, event({}, str(number))) == []
    assert [name[2] for name in schemas._kept] == ["2", "0", "3"]
    assert codes(schemas, event({}, "p")) == []
    assert codes(schemas, event([], "1")) == ["field_type"]
    assert len(schemas._kept) == 3
