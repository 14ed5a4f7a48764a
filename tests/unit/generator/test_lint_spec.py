"""The linter names the place of each broken authoring rule and says what to write instead."""

from __future__ import annotations

import copy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
GOOD = Path(__file__).with_name("good_spec.yaml")
LINTER = ROOT / "generator" / "lint_spec.py"

sys.path.insert(0, str(LINTER.parent))
import lint_rules  # noqa: E402  # as below
import lint_spec  # noqa: E402  # a script beside generate.py, in no package

PUT = "paths./things/{thing_id}.put"
GET = "paths./picture.get"
THING = "components.schemas.Thing"
BODY = f"{PUT}.requestBody.content.application/json"
MISSING: Any = object()  # as a new value: delete the key


def spoiled(path: tuple[str | int, ...], value: Any) -> dict[str, Any]:
    """The good spec with one value set, added or deleted."""
    document: dict[str, Any] = yaml.safe_load(GOOD.read_text(encoding="utf-8"))
    node: Any = document
    for key in path[:-1]:
        node = node[key]
    if value is MISSING:
        del node[path[-1]]
    else:
        node[path[-1]] = copy.deepcopy(value)
    return document


def put(*keys: str | int) -> tuple[str | int, ...]:
    return ("paths", "/things/{thing_id}", "put", *keys)


def get(*keys: str | int) -> tuple[str | int, ...]:
    return ("paths", "/picture", "get", *keys)


def thing(*keys: str | int) -> tuple[str | int, ...]:
    return ("components", "schemas", "Thing", *keys)


def schema(name: str) -> tuple[str | int, ...]:
    return ("components", "schemas", name)


REF_THING = {"$ref": "#/components/schemas/Thing"}
REF_COLOR = {"$ref": "#/components/schemas/Color"}
REF_PROBLEM = {"$ref": "#/components/schemas/Problem"}
JSON_THING = {"application/json": {"schema": REF_THING, "example": {"id": "a"}}}
QUERY = {"name": "q", "in": "query", "description": "Words."}
HEADER = {"name": "Sent-At", "in": "header", "description": "A time."}
TEXT = {"type": "string", "description": "Text."}

# name: (what to spoil, the bad value, the finding's path, words of its message)
BAD = {
    "no security": (put("security"), MISSING, PUT, "no security; write security: [{apiKey: []}]"),
    "global security": (("security",), [], "document", "write security on every operation"),
    "key without scope": (put("x-scope"), MISSING, PUT, "write x-scope: a value of Scope"),
    "unknown scope": (put("x-scope"), "fly", PUT, "x-scope is fly; write x-scope"),
    "scope without key": (get("x-scope"), "write", GET, "exactly where a key is needed"),
    "two tags": (put("tags"), ["things", "more"], PUT, "write exactly one of the tags"),
    "unknown tag": (put("tags"), ["more"], PUT, "write exactly one of the tags"),
    "acronym": (put("operationId"), "updateAPIThing", PUT, "write words without acronyms"),
    "digit": (put("operationId"), "updateThing2", PUT, "write words without acronyms or digits"),
    "snake case": (put("operationId"), "update_thing", PUT, "such as createApiKey"),
    "no operationId": (put("operationId"), MISSING, PUT, "such as createApiKey"),
    "no 5XX": (put("responses", "5XX"), MISSING, PUT, "responses 5XX are not the one"),
    "inline error": (put("responses", "4XX"), {"description": "No."}, PUT, "write 4XX and 5XX"),
    "single error": (put("responses", "404"), {"description": "No."}, PUT, "responses 404"),
    "default response": (
        put("responses", "default"), {"description": "No."}, PUT, "responses default are not",
    ),
    "problem as plain JSON": (
        ("components", "responses", "Problem", "content"),
        {"application/json": {"schema": REF_PROBLEM}},
        "components.responses.Problem", "write application/problem+json alone",
    ),
    "two body types": (
        put("requestBody", "content"), JSON_THING | {"text/plain": {"schema": TEXT}},
        f"{PUT}.requestBody", "write one body type, or a second operation",
    ),
    "two success types": (
        put("responses", "202"),
        {"description": "Later.", "content": {"application/json": {"schema": REF_PROBLEM}}},
        PUT, "write one schema for all 2xx answers",
    ),
    "bytes unmarked": (
        get("responses", "200", "x-stream"), MISSING,
        f"{GET}.responses.200", "write x-stream: true",
    ),
    "stream of JSON": (
        get("responses", "200", "content"),
        {"application/json": {"schema": {"type": "string", "format": "binary"}}},
        f"{GET}.responses.200", "write the type that content_type_overrides maps to bytes first",
    ),
    "remote reference": (
        thing("properties", "name"), {"$ref": "https://example.com/name.json"},
        f"{THING}.properties.name", "remote $ref https://example.com/name.json; write a component",
    ),
    "unused component": (schema("Lost"), TEXT, "components.schemas.Lost", "write a $ref to it"),
    "component called Response": (
        schema("Response"), TEXT, "components.schemas.Response", "write a more telling name",
    ),
    "title": (thing("title"), "A thing", THING, "title renames the generated class; write a desc"),
    "inline object": (
        thing("properties", "data"),
        {"type": "object", "description": "An object.", "properties": {"a": TEXT}},
        f"{THING}.properties.data", "inline object; write a named component and a $ref",
    ),
    "inline enum": (
        thing("properties", "data"), {"type": "string", "enum": ["a"], "description": "A."},
        f"{THING}.properties.data", "inline enum; write a named component",
    ),
    "inline union": (
        thing("properties", "data"), {"anyOf": [REF_THING, REF_PROBLEM], "description": "A or b."},
        f"{THING}.properties.data", "inline union; write a named component",
    ),
    "inline list item": (
        thing("properties", "data"),
        {"type": "array", "description": "A list.", "items": {"type": "string", "enum": ["a"]}},
        f"{THING}.properties.data.items", "inline enum; write a named component",
    ),
    "untagged union": (
        schema("Thing"), {"description": "A or b.", "anyOf": [REF_COLOR, REF_PROBLEM]},
        THING, "cannot be told apart; write anyOf with a required const",
    ),
    "oneOf": (
        thing("properties", "color", "oneOf"), [REF_COLOR],
        f"{THING}.properties.color", "write anyOf with a required const",
    ),
    "nullable enum": (
        schema("Color"), {"type": ["string", "null"], "enum": ["red", None], "description": "C."},
        "components.schemas.Color", "a nullable enum; write anyOf: [{$ref: …}, {type: 'null'}]",
    ),
    "nullable object": (thing("type"), ["object", "null"], THING, "a nullable object; write anyOf"),
    "nullable of OpenAPI 3.0": (
        thing("properties", "id", "nullable"), True,
        f"{THING}.properties.id", "nullable is OpenAPI 3.0; write anyOf",
    ),
    "enum of numbers": (
        schema("Color"), {"enum": [1, 2], "description": "C."},
        "components.schemas.Color", "write strings, and x-enum-varnames",
    ),
    "enum value without a name": (
        schema("Color"), {"type": "string", "enum": ["dark-red"], "description": "C."},
        "components.schemas.Color", "write strings, and x-enum-varnames where one is no identifier",
    ),
    "too few names": (
        (*schema("Color"), "x-enum-varnames"), ["RED"],
        "components.schemas.Color", "x-enum-varnames has another length",
    ),
    "free-form object": (
        schema("Labels"), {"type": "object", "description": "Anything."},
        "components.schemas.Labels", "write the empty schema with a description",
    ),
    "allOf of one": (
        thing("allOf"), [REF_PROBLEM], THING, "allOf of one for that one and drops the rest",
    ),
    "closed with allOf": (
        thing("allOf"), [REF_PROBLEM, REF_PROBLEM], THING, "members of its allOf; write all",
    ),
    "closed by additionalProperties": (
        thing("additionalProperties"), False, THING, "write unevaluatedProperties: false",
    ),
    "property named d": (
        thing("properties", "d"), TEXT, f"{THING}.properties.d", "itself; write a longer name",
    ),
    "event time with a format": (
        thing("properties", "occurred_at"), {**TEXT, "format": "date-time"},
        f"{THING}.properties.occurred_at", "changes the text that was hashed; write a plain string",
    ),
    "deepObject": (
        put("parameters", 1), {**QUERY, "style": "deepObject", "schema": {"type": "string"}},
        f"{PUT}.parameters.1", "deepObject; write a plain or repeatable parameter",
    ),
    "no explode": (
        put("parameters", 1), {**QUERY, "explode": False, "schema": {"type": "string"}},
        f"{PUT}.parameters.1", "explode: false; write a plain or repeatable parameter",
    ),
    "parameter with content": (
        put("parameters", 1), {**QUERY, "content": {"application/json": {"schema": REF_THING}}},
        f"{PUT}.parameters.1", "content; write a plain or repeatable parameter",
    ),
    "parameter with a default": (
        put("parameters", 1), {**QUERY, "schema": {"type": "integer", "default": 20}},
        f"{PUT}.parameters.1", "and a default in its description",
    ),
    "header as a list": (
        put("parameters", 1), {**HEADER, "schema": {"type": "array", "items": TEXT}},
        f"{PUT}.parameters.1", "write a plain string (with a pattern), integer or boolean",
    ),
    "header as a date": (
        put("parameters", 1), {**HEADER, "schema": {"type": "string", "format": "date-time"}},
        f"{PUT}.parameters.1", "a header that is converted; write a plain string",
    ),
    "operation not described": (put("description"), MISSING, PUT, "no description; write one"),
    "property not described": (
        thing("properties", "id", "description"), MISSING,
        f"{THING}.properties.id", "no description; write one sentence with units and limits",
    ),
    "free JSON not described": (
        thing("properties", "data"), {}, f"{THING}.properties.data", "no description",
    ),
    "parameter not described": (
        put("parameters", 0, "description"), MISSING, f"{PUT}.parameters.0", "no description",
    ),
    "component not described": (thing("description"), MISSING, THING, "no description"),
    "scalar described twice": (
        thing("properties", "name", "description"), "Its name.",
        f"{THING}.properties.name", "loses a description beside $ref; write the plain type",
    ),
    "no body example": (
        put("requestBody", "content", "application/json", "example"), MISSING,
        BODY, "no example; write an example that the tests can send",
    ),
    "no parameter example": (
        put("parameters", 0, "example"), MISSING, f"{PUT}.parameters.0", "no example; write an exa",
    ),
    "wrong body example": (
        put("requestBody", "content", "application/json", "example"), {"id": "a", "colour": "red"},
        BODY, "'colour' was unexpected",
    ),
    "wrong parameter example": (
        put("parameters", 0, "example"), "more than nine",
        f"{PUT}.parameters.0", "write an example that its schema accepts",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_bad_spec_is_refused_with_its_place_and_the_remedy(name: str) -> None:
    """Each rule, broken once in a good spec, gives a finding at that place with the way out."""
    path, value, place, words = BAD[name]
    findings = lint_spec.lint(spoiled(path, value))
    assert any(finding.path == place and words in str(finding) for finding in findings), findings


@pytest.mark.parametrize("path", [GOOD, lint_spec.SPEC], ids=["tiny", "ours"])
def test_a_good_spec_has_no_findings(path: Path) -> None:
    """The tiny spec that the others are made from, and the project's own, are clean."""
    assert lint_spec.lint(yaml.safe_load(path.read_text(encoding="utf-8"))) == []


def test_every_rule_has_a_bad_spec() -> None:
    """No rule can be added, or stop working, without a bad spec that shows it."""
    problems = [lint_spec.lint(spoiled(path, value)) for path, value, _, _ in BAD.values()]
    shown = {finding.instead for findings in problems for finding in findings}
    assert {instead for _, _, instead in lint_rules.RULES} <= shown


def run(spec: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(LINTER), str(spec)]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def test_the_command_says_clean_in_one_line() -> None:
    """Exit status 0 and one short line for a clean spec."""
    done = run(GOOD)
    assert (done.returncode, done.stdout) == (0, "good_spec.yaml: 2 operations, no findings\n")


def test_the_command_prints_all_findings(tmp_path: Path) -> None:
    """Exit status 1 and one line for each finding."""
    bad = spoiled(put("security"), MISSING)
    del bad["paths"]["/picture"]["get"]["description"]
    (tmp_path / "bad.yaml").write_text(yaml.safe_dump(bad), encoding="utf-8")
    done = run(tmp_path / "bad.yaml")
    assert done.returncode == 1
    assert f"{PUT}: no security; write" in done.stdout
    assert f"{GET}: no description; write" in done.stdout


def test_the_command_refuses_what_is_no_openapi(tmp_path: Path) -> None:
    """A document that is no OpenAPI at all is named before any rule is asked."""
    (tmp_path / "bad.yaml").write_text("openapi: 3.1.0\ninfo: {}\n", encoding="utf-8")
    done = run(tmp_path / "bad.yaml")
    assert done.returncode == 1
    assert "no valid OpenAPI 3.1" in done.stdout
