"""Rules for components, schemas, parameters, words and examples."""

from __future__ import annotations

import re
from collections.abc import Mapping

from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # it ships no types
from lint_rules import rule
from spec_places import (
    JSON_TYPE,
    Place,
    components,
    is_object,
    media,
    members,
    operations,
    parameters,
    properties,
    references,
    schemas,
    types,
    unused_components,
)

# Names that the generated code uses for itself.
TAKEN_COMPONENTS = re.compile("Response|Client|File|Any|Mapping|IntEnum|StrEnum|Unset")
TAKEN_PROPERTIES = re.compile(
    "d|cls|to_dict|from_dict|src_dict|field_dict|additional_properties|prop_name|Unset"
)
# What is hashed, compared or ordered by must pass through generated code unchanged.
UNTOUCHED = re.compile("id|event_id|entry|(leaf_|root_)?hash|(occurred|received|sent)_at")


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
