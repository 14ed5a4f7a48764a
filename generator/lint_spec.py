"""Checks that a spec keeps to the authoring rules that the generator and the server rely on.

Rules of this module:
- A rule is one small function, registered with ``@rule`` for the kind of place that it looks at. It
  answers what is wrong there, or an empty string. Rules know nothing of each other; a new lesson
  about the generator becomes a new rule and a bad spec in its test.
- A finding names the place (``paths./v1/events.post``), what is wrong, and what to write instead.
- ``lint`` expects a valid OpenAPI 3.1 document; the command runs openapi-spec-validator before it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import yaml
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # it ships no types
from openapi_spec_validator import validate
from openapi_spec_validator.validation.exceptions import OpenAPIValidationError
from spec_places import (
    Document,
    Place,
    Walk,
    components,
    is_object,
    media,
    members,
    operations,
    parameters,
    properties,
    references,
    request_bodies,
    responses,
    schemas,
    types,
    unused_components,
    whole,
)

SPEC = Path(__file__).resolve().parent.parent / "spec" / "openapi.yaml"
PROBLEM = {"$ref": "#/components/responses/Problem"}
PROBLEM_TYPE = "application/problem+json"
JSON_TYPE = re.compile(r"application/(?:.+\+)?json")
CAMEL_CASE = re.compile(r"[a-z]+(?:[A-Z][a-z]+)*")  # two capitals in a row are an acronym

# Names that the generated code uses for itself.
TAKEN_COMPONENTS = re.compile("Response|Client|File|Any|Mapping|IntEnum|StrEnum|Unset")
TAKEN_PROPERTIES = re.compile(
    "d|cls|to_dict|from_dict|src_dict|field_dict|additional_properties|prop_name|Unset"
)
# What is hashed, compared or ordered by must pass through generated code unchanged.
UNTOUCHED = re.compile("id|event_id|entry|(leaf_|root_)?hash|(occurred|received|sent)_at")


class Finding(NamedTuple):
    """One breach of a rule: ``path`` (dotted), ``problem``, and what to write ``instead``."""

    path: str
    problem: str
    instead: str

    def __str__(self) -> str:
        return f"{self.path}: {self.problem}; write {self.instead} instead"


Check = Callable[[Place], str]
RULES: list[tuple[Walk, Check, str]] = []


def rule(walk: Walk, *, instead: str) -> Callable[[Check], Check]:
    """Register a check of every place that ``walk`` finds."""

    def register(check: Check) -> Check:
        RULES.append((walk, check, instead))
        return check

    return register


def lint(document: Document) -> list[Finding]:
    """Return all findings, in the order of the rules; an empty list when clean."""
    return [
        Finding(place.path, problem, instead)
        for walk, check, instead in RULES
        for place in walk(document)
        if (problem := check(place))
    ]


# --------------------------------------------------------------- one file of named components


@rule(references, instead="a component of this file and a $ref that begins with #/")
def references_are_local(place: Place) -> str:
    return "" if place.node["$ref"].startswith("#/") else f"remote $ref {place.node['$ref']}"


@rule(unused_components, instead="a $ref to it, or nothing")
def components_are_used(_: Place) -> str:
    return "nothing refers to it"


@rule(schemas, instead="a named component and a $ref to it")
def classes_are_components(place: Place) -> str:
    is_component = place.path.startswith("components.schemas.") and place.path.count(".") == 2
    if is_component or place.path.split(".")[-2] == "allOf":  # members of allOf become no class
        return ""
    kinds = {"object": is_object(place.node), "enum": "enum" in place.node}
    kinds["union"] = len(members(place.node)) > 1
    return next((f"inline {kind}" for kind, found in kinds.items() if found), "")


@rule(components("schemas"), instead="a more telling name, such as BatchResult")
def component_names_are_free(place: Place) -> str:
    return (
        "the generated code uses this name itself" if TAKEN_COMPONENTS.fullmatch(place.name) else ""
    )


@rule(schemas, instead="a description")
def schemas_have_no_title(place: Place) -> str:
    return "title renames the generated class" if "title" in place.node else ""


# -------------------------------------------------------------------------------- operations


@rule(operations, instead="words without acronyms or digits, such as createApiKey")
def operation_ids_are_camel_case(place: Place) -> str:
    name = place.node.get("operationId", "")
    return "" if CAMEL_CASE.fullmatch(name) else f"operationId {name!r} is no plain camelCase"


@rule(operations, instead="exactly one of the tags at the top of the file")
def operations_have_one_tag(place: Place) -> str:
    tags = place.node.get("tags", [])
    known = {tag["name"] for tag in place.document.get("tags", [])}
    return "" if len(tags) == 1 and tags[0] in known else f"tags {tags}"


@rule(operations, instead="security: [{apiKey: []}], or security: [] where no key is needed")
def operations_have_security(place: Place) -> str:
    return "" if "security" in place.node else "no security"


@rule(whole, instead="security on every operation")
def security_is_not_global(place: Place) -> str:
    return "the generator ignores a global security" if "security" in place.node else ""


@rule(operations, instead="x-scope: a value of Scope, or any, exactly where a key is needed")
def operations_have_a_scope(place: Place) -> str:
    known = place.resolve({"$ref": "#/components/schemas/Scope"}).get("enum", [])
    scope = place.node.get("x-scope")
    fits = scope in {"any", *known} if place.node.get("security") else scope is None
    return "" if fits else f"x-scope is {scope}"


# ------------------------------------------------------------------------ bodies and responses


@rule(operations, instead="4XX and 5XX, each as $ref: '#/components/responses/Problem'")
def errors_are_problems(place: Place) -> str:
    found = place.node.get("responses", {})
    wrong = [s for s in ("4XX", "5XX") if found.get(s) != PROBLEM]
    wrong += [s for s in found if s[0] not in "23" and s not in {"4XX", "5XX"}]
    return f"responses {', '.join(wrong)} are not the one Problem" if wrong else ""


@rule(components("responses"), instead=f"{PROBLEM_TYPE} alone, and success types in place")
def shared_responses_are_problems(place: Place) -> str:
    return "" if list(place.node.get("content", {})) == [PROBLEM_TYPE] else "another media type"


@rule(request_bodies, instead="one body type, or a second operation")
def requests_have_one_type(place: Place) -> str:
    return "" if len(place.node.get("content", {})) == 1 else "not exactly one body type"


@rule(operations, instead="one schema for all 2xx answers; a download has its own operation")
def successes_have_one_type(place: Place) -> str:
    answers = [answer for s, answer in place.node.get("responses", {}).items() if s < "3"]
    bodies = [
        # Of a stream, generated code takes the first type; the others say what other readers get.
        list(each.get("content", {}).values())[: 1 if each.get("x-stream") else None]
        for each in answers
    ]
    found = {repr(each.get("schema")) for body in bodies for each in body}
    return "several success types" if len(found) > 1 else ""


@rule(responses, instead="x-stream: true exactly where the schema is binary")
def downloads_are_streams(place: Place) -> str:
    found = [place.resolve(m.get("schema", {})) for m in place.node.get("content", {}).values()]
    binary = any(schema.get("format") == "binary" for schema in found)
    return "" if binary == place.node.get("x-stream", False) else "x-stream and the schema differ"


@rule(responses, instead="the type that content_type_overrides maps to bytes first")
def streams_begin_with_bytes(place: Place) -> str:
    first = next(iter(place.node.get("content", {})), "")
    return (
        "generated code takes the first type, JSON"
        if (place.node.get("x-stream") and JSON_TYPE.fullmatch(first))
        else ""
    )


# ----------------------------------------------------------------------------------- schemas


@rule(schemas, instead="anyOf: [{$ref: …}, {type: 'null'}], or type: [string, 'null']")
def null_is_a_type_of_its_own(place: Place) -> str:
    null = "null" in types(place.node)
    if "enum" in place.node and (null or None in place.node["enum"]):
        return "a nullable enum"
    if null and is_object(place.node):
        return "a nullable object"
    return "nullable is OpenAPI 3.0" if "nullable" in place.node else ""


@rule(schemas, instead="strings, and x-enum-varnames where one is no identifier")
def enums_are_named_strings(place: Place) -> str:
    values = [value for value in place.node.get("enum", []) if value is not None]
    names = place.node.get("x-enum-varnames") or values
    if not all(isinstance(name, str) and name.isidentifier() for name in names):
        return "an enum whose values have no names"
    return "" if len(names) == len(values) else "x-enum-varnames has another length than enum"


@rule(schemas, instead="anyOf with a required const in each member but the last, a catch-all")
def unions_are_tagged(place: Place) -> str:
    tagged = [
        any(
            "const" in node and name in member.get("required", [])
            for name, node in member.get("properties", {}).items()
        )
        for member in map(place.resolve, members(place.node)[:-1])
    ]
    return (
        "a union whose members cannot be told apart"
        if "oneOf" in place.node or not all(tagged)
        else ""
    )


@rule(schemas, instead="the empty schema with a description: {description: …}")
def free_json_has_no_type(place: Place) -> str:
    is_map = isinstance(place.node.get("additionalProperties"), Mapping)
    empty = not (place.node.get("properties") or place.node.get("allOf") or is_map)
    return (
        "an object without members becomes a useless class"
        if ("object" in types(place.node) and empty)
        else ""
    )


@rule(schemas, instead="a plain $ref, or what stands beside it as a second member")
def all_of_has_two_members(place: Place) -> str:
    single = len(place.node.get("allOf", [])) == 1
    return "the generator takes allOf of one for that one and drops the rest" if single else ""


@rule(schemas, instead="all members in one object")
def closed_objects_stand_alone(place: Place) -> str:
    both = {"allOf", "unevaluatedProperties"} <= set(place.node)
    return "one bad member makes validators blame all members of its allOf" if both else ""


@rule(schemas, instead="unevaluatedProperties: false")
def unknown_members_reach_the_server(place: Place) -> str:
    closed = place.node.get("additionalProperties") is False
    return (
        "generated code drops a misspelt member before the server can refuse it" if closed else ""
    )


@rule(properties, instead="a longer name")
def property_names_are_free(place: Place) -> str:
    return (
        "the generated code uses this name itself" if TAKEN_PROPERTIES.fullmatch(place.name) else ""
    )


@rule(properties, instead="a plain string, with a pattern if need be")
def hashed_text_passes_through(place: Place) -> str:
    touched = UNTOUCHED.fullmatch(place.name) and place.resolve(place.node).get("format")
    return "a format changes the text that was hashed" if touched else ""


# -------------------------------------------------------------------------------- parameters


@rule(parameters, instead="a plain or repeatable parameter, and a default in its description")
def parameters_are_plain(place: Place) -> str:
    schema = place.resolve(place.node.get("schema", {}))
    kinds = {
        "deepObject": place.node.get("style") == "deepObject",
        "explode: false": place.node.get("explode") is False,
        "content": "content" in place.node,
        "a default, which every client would send": "default" in schema,
    }
    return ", ".join(kind for kind, found in kinds.items() if found)


@rule(parameters, instead="a plain string (with a pattern), integer or boolean")
def headers_are_plain(place: Place) -> str:
    schema = place.resolve(place.node.get("schema", {}))
    plain = set(types(schema)) <= {"string", "integer", "boolean"} and "format" not in schema
    return "" if plain or place.node.get("in") != "header" else "a header that is converted"


# ------------------------------------------------------------------------ words and examples


def _undescribed(place: Place) -> str:
    found = place.node.get("description") or place.resolve(place.node).get("description")
    return "" if found else "no description"


for _walk in (operations, parameters, components("schemas", "responses", "headers"), properties):
    rule(_walk, instead="one sentence with units and limits")(_undescribed)


@rule(schemas, instead="the plain type with its keywords and the description")
def scalars_are_described_once(place: Place) -> str:
    target = place.resolve(place.node)
    lost = {"$ref", "description"} <= set(place.node)
    return (
        "generated code loses a description beside $ref"
        if (lost and not is_object(target) and "enum" not in target)
        else ""
    )


@rule(media, instead="an example that the tests can send")
def bodies_have_an_example(place: Place) -> str:
    is_body = ".requestBody." in place.path and JSON_TYPE.fullmatch(
        place.path.partition(".content.")[2]
    )
    return "no example" if is_body and "example" not in place.node else ""


@rule(parameters, instead="an example that the tests can send")
def required_parameters_have_an_example(place: Place) -> str:
    return "no example" if place.node.get("required") and "example" not in place.node else ""


def _invalid_example(place: Place) -> str:
    if not {"example", "schema"} <= set(place.node):
        return ""
    shared = {"components": place.document.get("components", {})}  # where local references lead
    validator = Draft202012Validator({**place.node["schema"], **shared})
    error = next(validator.iter_errors(place.node["example"]), None)
    return f"example/{'/'.join(map(str, error.path))}: {error.message}" if error else ""


for _walk in (parameters, media):
    rule(_walk, instead="an example that its schema accepts")(_invalid_example)


# ----------------------------------------------------------------------------------- command


def main(arguments: list[str]) -> int:
    """Check the file named by the only argument, else the project's spec; 0 clean, 1 not."""
    path = Path(arguments[0]) if arguments else SPEC
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's is ten times as fast
    try:
        document = yaml.load(path.read_bytes(), Loader=loader)  # noqa: S506 (both are safe loaders)
        validate(document)
    except yaml.YAMLError as error:
        print(f"{path}: no YAML: {error}")
        return 1
    except OpenAPIValidationError as error:
        print(f"{path}: no valid OpenAPI 3.1: {error.message}")
        return 1
    findings = lint(document)
    clean = f"{path.name}: {len(list(operations(document)))} operations, no findings"
    print("\n".join(map(str, findings)) or clean)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
