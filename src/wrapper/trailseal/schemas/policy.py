"""Which classes of personal data may leave, and what becomes of the others.

1. A schema names the classes of a property: `"x-data-classes": ["contact"]`. (`categories` and
   `redactionPolicies`, as in Jupyter Events, are read too.) A property without classes has those of
   what it lies in.
2. A value stays if all its classes are allowed. `unrestricted` always is; a value without any class
   is unrestricted. What the schema does not describe has the class `undeclared`.
3. Every subschema that may speak about a value counts: references, and all branches of `allOf anyOf
   oneOf if then else not`, whether or not they match.
4. What may not leave is dropped, masked (`***`), or replaced by a keyed hash, which is the same for
   the same value and says nothing without the key. Of several methods for one value, the one that
   tells less is taken: `drop`, then `mask`, then `hash`.
5. The caller's data is never changed: `apply` returns a copy.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from trailseal._events import encode
from trailseal.errors import ConfigurationError
from trailseal.schemas._walk import applying

KEYWORDS = ("x-data-classes", "categories", "redactionPolicies")
UNRESTRICTED, UNDECLARED = "unrestricted", "undeclared"
MASK = "***"
METHODS = ("drop", "mask", "hash")  # what tells less comes first
MIN_KEY = 16  # bytes: a shorter key can be guessed, and with it what was hashed

Method = Literal["drop", "mask", "hash"]
_GONE: Any = object()


@dataclass(frozen=True, slots=True)
class Policy:
    """What may leave.

    Args:
        allow: The classes that stay, or `"all"`.
        properties: Top-level properties of `data` that stay whatever their classes.
        method: What becomes of all others.
        methods: Other methods for some classes.
        key: For `hash`, at least 16 random bytes. Keep it: with another key, hashes differ.

    Raises:
        ConfigurationError: A method is unknown, or `hash` has no key.
    """

    allow: Collection[str] | Literal["all"] = ()
    properties: Collection[str] = ()
    method: Method = "drop"
    methods: Mapping[str, Method] = field(default_factory=dict)
    key: bytes = field(default=b"", repr=False)

    def __post_init__(self) -> None:
        wanted = {self.method, *self.methods.values()}
        if unknown := sorted(wanted - set(METHODS)):
            raise ConfigurationError(f"{unknown[0]!r} is no method: {', '.join(METHODS)} are.")
        if "hash" in wanted and len(self.key) < MIN_KEY:
            raise ConfigurationError(f"The method hash needs key=, at least {MIN_KEY} bytes.")
        if isinstance(self.properties, str) or (
            isinstance(self.allow, str) and self.allow != "all"
        ):
            raise ConfigurationError("A policy's classes and properties are lists.")

    @classmethod
    def of(cls, given: Policy | Mapping[str, Any]) -> Policy:
        """A policy, or its settings as a mapping (Jupyter's option names are understood)."""
        if isinstance(given, Policy):
            return given
        names = {
            "allowed_classes": "allow",
            "allowed_categories": "allow",
            "allowed_policies": "allow",
            "allowed_properties": "properties",
        }
        options = {names.get(name, name): value for name, value in given.items()}
        if unknown := sorted(options.keys() - cls.__dataclass_fields__.keys()):
            raise ConfigurationError(f"Unknown option of a policy: {unknown[0]!r}.")
        return cls(**options)

    def apply(self, document: dict[str, Any], data: Any) -> Any:
        """A copy of `data` without what may not leave; None where nothing may."""
        if self.allow == "all":
            return data
        kept = _Redaction(self, document).value(data, [document], (), top=True)
        return None if kept is _GONE else kept


class _Redaction:
    def __init__(self, policy: Policy, document: dict[str, Any]) -> None:
        self._policy, self._document = policy, document
        self._allowed = {UNRESTRICTED, *policy.allow}

    def value(
        self, value: Any, schemas: list[Any], inherited: Iterable[str], *, top: bool = False
    ) -> Any:
        """The value as it may leave, or `_GONE`; `schemas` speak about it."""
        every = applying(self._document, schemas)
        classes = {name for schema in every for name in classes_of(schema)} or set(inherited)
        if isinstance(value, dict):
            kept = {}
            for name, each in value.items():
                if top and name in self._policy.properties:
                    kept[name] = each
                    continue
                found = members(every, name)
                below = self.value(each, found or [_UNKNOWN], classes)
                if below is not _GONE:
                    kept[name] = below
            return (
                kept if kept or not value or self._stays(classes) else self._instead(value, classes)
            )
        if isinstance(value, list | tuple):
            items = [
                self.value(each, elements(every, number) or [_UNKNOWN], classes)
                for number, each in enumerate(value)
            ]
            kept_items = [each for each in items if each is not _GONE]
            if kept_items or not items or self._stays(classes):
                return kept_items
            return self._instead(value, classes)
        return value if self._stays(classes) else self._instead(value, classes)

    def _stays(self, classes: set[str]) -> bool:
        return classes <= self._allowed

    def _instead(self, value: Any, classes: set[str]) -> Any:
        policy = self._policy
        methods = {policy.methods.get(name, policy.method) for name in classes - self._allowed}
        method = min(methods, key=METHODS.index)
        if method == "drop":
            return _GONE
        return MASK if method == "mask" else _hashed(value, policy.key)


_UNKNOWN = {KEYWORDS[0]: [UNDECLARED]}


def classes_of(schema: dict[str, Any]) -> set[str]:
    """The data classes that a subschema names itself."""
    found: set[str] = set()
    for keyword in KEYWORDS:
        value = schema.get(keyword)
        found |= {str(each) for each in ([value] if isinstance(value, str) else value or ())}
    return found


def members(schemas: list[dict[str, Any]], name: str) -> list[Any]:
    """The subschemas for a member of an object."""
    found: list[Any] = []
    for schema in schemas:
        own = [schema["properties"][name]] if name in schema.get("properties", {}) else []
        patterns = schema.get("patternProperties", {})
        own += [each for pattern, each in patterns.items() if _matches(pattern, name)]
        if not own:
            rest = (schema.get("additionalProperties"), schema.get("unevaluatedProperties"))
            own = [each for each in rest if isinstance(each, dict)]
        found += own
    return found


def elements(schemas: list[dict[str, Any]], number: int) -> list[Any]:
    """The subschemas for an element of an array."""
    found: list[Any] = []
    for schema in schemas:
        items = schema.get("items")
        tuple_ = items if isinstance(items, list) else schema.get("prefixItems", [])
        if number < len(tuple_):
            found.append(tuple_[number])
        else:
            rest = (items, schema.get("additionalItems"), schema.get("unevaluatedItems"))
            found += [each for each in rest if isinstance(each, dict)]
        if isinstance(schema.get("contains"), dict):
            found.append(schema["contains"])
    return found


def _matches(pattern: str, name: str) -> bool:
    try:
        return re.search(pattern, name) is not None
    except re.error:
        return True  # not in Python's dialect: count its classes rather than miss them


def _hashed(value: Any, key: bytes) -> str:
    return "hmac-sha256:" + hmac.digest(key, encode(value), "sha256").hex()
