"""What may be registered: texts, bounds, references, patterns, reserved names."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trailseal_server.problems import Problem
from trailseal_server.schemas import documents, rules
from trailseal_server.schemas.rules import DRAFT_7, DRAFT_2020

Json = dict[str, Any]


def refused(document: Any) -> str:
    """The pointer of the first mistake."""
    with pytest.raises(Problem) as caught:
        rules.check(document)
    assert caught.value.code == "schema_invalid"
    return caught.value.errors[0].pointer


@pytest.mark.row("J-07", "J-17")
def test_yaml_and_json_are_the_same_document() -> None:
    """YAML is read as its 1.2 JSON schema: `no` and dates stay text."""
    text = "$id: x\nversion: 1\nproperties:\n  answer: {enum: [no, 2026-01-01, '1', 1.5, ~]}\n"
    expected = {
        "$id": "x",
        "version": 1,
        "properties": {"answer": {"enum": ["no", "2026-01-01", "1", 1.5, None]}},
    }
    assert documents.read(text) == expected
    assert (
        documents.read('{"a": [1, true]}') == documents.read("{a: [1, true]}") == {"a": [1, True]}
    )


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        "- " * 100_000,
        "{a: " * 50_000,
        "a: &x [1]\nb: *x",
        "a: !!python/name:os.system x",
        "a: !!binary aGk=",
        "a: 1\na: 2",
        '{"a": 1, "a": 2}',
        "1: 2",
        "--- a\n--- b",
        "",
        "a: [",
        "\0",
        '{"a": "\\ud800"}',
        'a: "\\ud800"',
    ],
)
def test_a_text_that_is_no_plain_document_is_refused(text: str) -> None:
    """Depth, aliases, tags, duplicates: an answer in bounded time, and never a crash."""
    with pytest.raises(Problem) as caught:
        documents.read(text)
    assert caught.value.code == "schema_invalid"
    assert caught.value.errors[0].pointer == "/text"


@given(st.text(alphabet="ab{}[]:,-'\"&*!|># \n1", max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    """No text raises anything but a Problem."""
    with suppress(Problem):
        documents.check_size(documents.read(text), "/text")


@pytest.mark.row("J-06", "J-16")
@pytest.mark.parametrize(
    ("document", "pointer"),
    [
        ([], "/document"),
        (True, "/document"),
        ({"type": "strin"}, "/document/type"),
        ({"properties": {"a": {"type": 1}}}, "/document/properties/a/type"),
        ({"required": "a"}, "/document/required"),
        ({"$schema": "http://example.com/own"}, "/document/$schema"),
        ({"$schema": DRAFT_7, "items": [3]}, "/document/items/0"),
    ],
)
def test_what_is_no_schema_is_named_with_its_place(document: Any, pointer: str) -> None:
    """The meta-schema of the document's own dialect decides."""
    assert refused(document) == pointer


def test_both_dialects_are_taken() -> None:
    """`items` as a list is draft 7, `prefixItems` 2020-12, which is meant without `$schema`."""
    assert rules.check({"$schema": DRAFT_7, "items": [{"type": "string"}]}).dialect == DRAFT_7
    assert rules.check({"prefixItems": [{"type": "string"}]}).dialect == DRAFT_2020


@pytest.mark.row("J-14")
@pytest.mark.parametrize(
    "document",
    [
        {"properties": {"__x": {}}},
        {"properties": {"a": {"items": {"properties": {"__x": {}}}}}},
        {"$defs": {"a": {"properties": {"__x": {}}}}},
        {"required": ["__x"]},
        {"if": {"properties": {"__x": {}}}},
    ],
)
def test_reserved_names_are_refused_anywhere(document: Json) -> None:
    """A name that begins with `__` could never come in with an event."""
    assert refused(document).endswith("/__x")


@pytest.mark.row("J-19")
@pytest.mark.parametrize(
    "reference",
    ["http://127.0.0.1:9/x", "https://example.com/x", "file:///etc/passwd", "other.json", "#name"],
)
def test_a_reference_never_leaves_the_document(reference: str) -> None:
    """No schema makes the server open a connection or a file."""
    assert refused({"properties": {"a": {"$ref": reference}}}) == "/document/properties/a/$ref"
    assert refused({"$defs": {"unused": {"$ref": reference}}}) == "/document/$defs/unused/$ref"


@pytest.mark.parametrize(
    "document",
    [
        {"properties": {"a": {"$id": "http://x/", "$ref": "#/b"}}},
        {"$dynamicRef": "#x"},
        {"$defs": {"a": {"$anchor": "x"}}},
        {"$ref": "#/examples/0", "examples": [{"$ref": "http://127.0.0.1/"}]},
        {"$ref": "#/$defs/none"},
    ],
)
def test_what_could_lead_elsewhere_is_refused(document: Json) -> None:
    """Embedded ids, anchors, dynamic references, targets that are no schema of the document."""
    refused(document)


def test_a_schema_may_come_back_to_itself_in_one_way() -> None:
    """A tree and a list are fine: each value meets the schema once."""
    tree = {"properties": {"left": {"$ref": "#"}, "right": {"$ref": "#"}}}
    chain = {"$ref": "#/$defs/a", "$defs": {"a": {"items": {"$ref": "#/$defs/a"}}}}
    assert rules.check(tree).work == 3
    rules.check(chain)


def _doubling(levels: int) -> Json:
    each = {
        f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}, {"$ref": f"#/$defs/d{n + 1}"}]}
        for n in range(levels)
    }
    return {"$ref": "#/$defs/d0", "$defs": {**each, f"d{levels}": {"type": "string"}}}


@pytest.mark.parametrize(
    "document",
    [
        {"$ref": "#"},
        {"anyOf": [{"$ref": "#"}]},
        {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}},
        {"anyOf": [{"properties": {"a": {"$ref": "#"}}}, {"properties": {"a": {"$ref": "#"}}}]},
        _doubling(40),
        {"allOf": [{}] * 2000},
    ],
)
def test_a_bomb_is_refused_before_anything_is_compiled(document: Json) -> None:
    """Endless and exponential schemas, told from their structure."""
    refused(document)


def test_a_small_doubling_is_counted() -> None:
    """The work is what the references unroll to."""
    assert rules.check(_doubling(3)).work == 1 + 3 * (1 + 2 + 4) + 8


@pytest.mark.parametrize("pattern", ["(?=a)b", "(a)\\1", "(a", "(a{1000}){1000}", "\\p{L}{500}"])
def test_patterns_that_are_not_linear_or_not_small_are_refused(pattern: str) -> None:
    """Look-around, back-references and large repetitions are no patterns here."""
    assert refused({"properties": {"a": {"pattern": pattern}}}) == "/document/properties/a/pattern"
    refused({"patternProperties": {pattern: {}}})


def test_a_catastrophic_pattern_is_harmless() -> None:
    """What hangs a backtracking engine takes microseconds in a linear one."""
    document = {"pattern": "^(a+)+$"}
    validator = rules.compile_document(document, rules.check(document).dialect)
    assert not validator.is_valid("a" * 50_000 + "b")


def test_bounds_of_size_depth_and_patterns() -> None:
    """Each bound refuses just above it."""
    deep: Any = {}
    for _ in range(documents.MAX_DEPTH - 1):
        deep = {"not": deep}
    rules.check(deep)
    refused({"not": deep})
    patterns = {f"p{n}": {} for n in range(rules.MAX_PATTERNS)}
    rules.check({"patternProperties": patterns})
    refused({"patternProperties": patterns, "pattern": "x"})
    refused({"enum": list(range(documents.MAX_VALUES))})
    refused({"const": 2**53})
    refused({"maximum": float("inf")})
