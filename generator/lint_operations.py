"""Rules for operations, bodies and answers."""

from __future__ import annotations

import re

from lint_rules import rule
from spec_places import (
    JSON_TYPE,
    Place,
    components,
    operations,
    request_bodies,
    responses,
    whole,
)

PROBLEM = {"$ref": "#/components/responses/Problem"}
PROBLEM_TYPE = "application/problem+json"
CAMEL_CASE = re.compile(r"[a-z]+(?:[A-Z][a-z]+)*")  # two capitals in a row are an acronym


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
