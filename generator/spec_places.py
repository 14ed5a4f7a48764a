"""The places of a spec that rules look at: walks over operations, schemas, examples and the rest.

A walk yields each place of one kind, with its dotted path (``paths./v1/events.post``). Walks know
nothing of rules.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

SHARED = ("schemas", "parameters", "responses", "headers")  # kinds of components
METHODS = ("get", "put", "post", "delete", "patch", "head", "options", "trace")
JSON_TYPE = re.compile(r"application/(?:.+\+)?json")
MAX_REFERENCES = 8  # a longer chain of $ref is a mistake, and stays unresolved

Document = Mapping[str, Any]


class Place(NamedTuple):
    """A node of the document and where it stands."""

    document: Document
    path: str
    node: Any

    @property
    def name(self) -> str:
        return self.path.rpartition(".")[2]

    def child(self, key: str, node: Any) -> Place:
        return Place(self.document, f"{self.path}.{key}", node)

    def resolve(self, node: Any) -> Any:
        """Follow local references; anything else is given back as it is."""
        for _ in range(MAX_REFERENCES):
            if not str(node.get("$ref", "")).startswith("#/"):
                break
            target: Any = self.document
            for part in node["$ref"][2:].split("/"):
                target = target.get(part, {})
            node = target
        return node


Walk = Callable[[Document], Iterator[Place]]


def whole(document: Document) -> Iterator[Place]:
    yield Place(document, "document", document)


def operations(document: Document) -> Iterator[Place]:
    for path, item in document.get("paths", {}).items():
        for method in METHODS:
            if method in item:
                yield Place(document, f"paths.{path}.{method}", item[method])


def components(*kinds: str) -> Walk:
    def walk(document: Document) -> Iterator[Place]:
        for kind in kinds:
            for name, node in document.get("components", {}).get(kind, {}).items():
                yield Place(document, f"components.{kind}.{name}", node)

    return walk


def parameters(document: Document) -> Iterator[Place]:
    """Every parameter where it is written: at its operation, or shared."""
    yield from components("parameters")(document)
    for operation in operations(document):
        for index, node in enumerate(operation.node.get("parameters", [])):
            if "$ref" not in node:
                yield operation.child(f"parameters.{index}", node)


def responses(document: Document) -> Iterator[Place]:
    yield from components("responses")(document)
    for operation in operations(document):
        for status, node in operation.node.get("responses", {}).items():
            if "$ref" not in node:
                yield operation.child(f"responses.{status}", node)


def request_bodies(document: Document) -> Iterator[Place]:
    for operation in operations(document):
        if "requestBody" in operation.node:
            yield operation.child("requestBody", operation.node["requestBody"])


def media(document: Document) -> Iterator[Place]:
    for holder in [*request_bodies(document), *responses(document)]:
        for media_type, node in holder.node.get("content", {}).items():
            yield holder.child(f"content.{media_type}", node)


def schemas(document: Document) -> Iterator[Place]:
    """Every schema, parents first."""
    pending = list(components("schemas")(document))
    holders = [*parameters(document), *media(document)]
    pending += [holder.child("schema", holder.node.get("schema", {})) for holder in holders]
    pending.reverse()
    while pending:
        yield (schema := pending.pop())
        pending += reversed(list(_subschemas(schema)))


def _subschemas(schema: Place) -> Iterator[Place]:
    for name, node in schema.node.get("properties", {}).items():
        yield schema.child(f"properties.{name}", node)
    for key in ("items", "additionalProperties"):
        if isinstance(schema.node.get(key), Mapping):
            yield schema.child(key, schema.node[key])
    for key in ("allOf", "anyOf", "oneOf"):
        for index, node in enumerate(schema.node.get(key, [])):
            yield schema.child(f"{key}.{index}", node)


def properties(document: Document) -> Iterator[Place]:
    return (place for place in schemas(document) if place.path.split(".")[-2] == "properties")


def references(document: Document) -> Iterator[Place]:
    pending = [Place(document, key, node) for key, node in document.items()]
    while pending:
        place = pending.pop()
        if isinstance(place.node, Mapping):
            if isinstance(place.node.get("$ref"), str):
                yield place
            pending += [place.child(k, v) for k, v in place.node.items() if k != "example"]
        elif isinstance(place.node, list):
            pending += [place.child(str(i), v) for i, v in enumerate(place.node)]


def unused_components(document: Document) -> Iterator[Place]:
    used = {place.node["$ref"][2:].replace("/", ".") for place in references(document)}
    return (place for place in components(*SHARED)(document) if place.path not in used)


def types(schema: Mapping[str, Any]) -> list[str]:
    kinds = schema.get("type", [])
    return [kinds] if isinstance(kinds, str) else list(kinds)


def is_object(schema: Mapping[str, Any]) -> bool:
    return "object" in types(schema) or "properties" in schema


def members(schema: Mapping[str, Any]) -> list[Any]:
    """The members of a union, null not counted."""
    members = [*schema.get("anyOf", []), *schema.get("oneOf", [])]
    return [member for member in members if member.get("type") != "null"]
