"""Schemas by id and version, side by side, in this process."""

from __future__ import annotations

import copy
import hashlib
import json
import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trailseal._events import encode
from trailseal.errors import (
    ConfigurationError,
    ErrorDetail,
    EventValidationError,
    SchemaConflictError,
    SchemaNotRegisteredError,
)
from trailseal.schemas import _bundle, _load, _rules, policy, typed
from trailseal.schemas._load import SchemaSource
from trailseal.schemas._walk import subschemas

SUFFIXES = frozenset({".json", ".yaml", ".yml"})


@dataclass(frozen=True, slots=True)
class LocalSchema:
    """One version of a schema. `digest` is the SHA-256 (hex) of its document as sorted JSON."""

    id: str
    version: str
    digest: str
    _document: dict[str, Any] = field(repr=False, compare=False)
    _validator: Any = field(repr=False, compare=False)

    @property
    def document(self) -> dict[str, Any]:
        """A copy of the document."""
        return copy.deepcopy(self._document)

    @property
    def action(self) -> str:
        """What its events are called: the document's `x-action`, else its id."""
        return str(self._document.get("x-action") or self.id)

    def faults(self, data: Any) -> tuple[ErrorDetail, ...]:
        """What is wrong with an event's `data`; empty if nothing is. No value is repeated."""
        return _rules.faults(self._validator, data)

    def redacted(self, data: Any, rules: policy.Policy) -> Any:
        """A copy of `data` without what `rules` hold back."""
        return rules.apply(self._document, data)


class Registry:
    """Event schemas by id and version. Safe to share between threads.

    Args:
        allowed_urls: Below which URLs schemas may be fetched from, such as
            `https://example.com/schemas/`; none, if left out.
        require_classes: Refuse schemas with a property that names no data class.
    """

    def __init__(self, *, allowed_urls: Iterable[str] = (), require_classes: bool = False) -> None:
        if isinstance(allowed_urls, str):
            raise ConfigurationError("allowed_urls must be a list.")
        self._urls, self._require = tuple(allowed_urls), require_classes
        self._schemas: dict[str, dict[str, LocalSchema]] = {}
        self._lock = threading.Lock()

    def register(
        self,
        schema: SchemaSource,
        *,
        resources: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> LocalSchema:
        """Add a version of a schema; the same one again is fine.

        `schema` is a mapping, JSON or YAML text, a `Path`, an open file, an allowed URL, or a class
        made with `@schema`. `resources` (URI to document) are schemas that its `$ref`s may name:
        they are copied into it.

        Raises:
            SchemaInvalidError: It is no valid schema; `.errors` name a fault.
            SchemaConflictError: This version has other content already.
            ConfigurationError: It cannot be read, or the URL is not allowed.
        """
        document = (
            typed.document_of(schema)
            if isinstance(schema, type)
            else _load.load(schema, self._urls)
        )
        name, version = _rules.named(document)
        document = _bundle.bundle(document, resources or {})
        made = LocalSchema(name, version, digest(document), document, _rules.compiled(document))
        if self._require:
            _check_classes(document)
        with self._lock:
            versions = self._schemas.setdefault(name, {})
            if versions.setdefault(version, made).digest != made.digest:
                raise SchemaConflictError(
                    f"{name} {version} is registered with other content: give it a new version."
                )
            return versions[version]

    def register_folder(self, folder: str | Path) -> tuple[LocalSchema, ...]:
        """Register every `.json .yaml .yml` file of a folder and those below, in order of name."""
        files = sorted(path for path in Path(folder).rglob("*") if path.suffix in SUFFIXES)
        return tuple(self.register(path) for path in files)

    def get(self, schema: str, version: str | int | None = None) -> LocalSchema:
        """A version, or the latest (`10` is after `9`); raises `SchemaNotRegisteredError`."""
        versions = self._schemas.get(schema, {})
        if version is None and versions:
            return versions[max(versions, key=_order)]
        found = versions.get(str(version))
        if found is None:
            known = ", ".join(sorted(versions, key=_order))
            beside = f" (registered: {known})" if known else ""
            what = schema if version is None else f"{schema} {version}"
            raise SchemaNotRegisteredError(f"{what} is not registered here{beside}.")
        return found

    def remove(self, schema: str, version: str | int | None = None) -> None:
        """Remove a version, or all; raises `SchemaNotRegisteredError`."""
        self.get(schema, version)
        with self._lock:
            versions = self._schemas[schema]
            if version is not None:
                del versions[str(version)]
            if version is None or not versions:
                del self._schemas[schema]

    def validate(self, schema: str, data: Any, version: str | int | None = None) -> None:
        """Check an event's `data`.

        Raises:
            EventValidationError: `errors` name each fault with its JSON Pointer.
            SchemaNotRegisteredError: There is no such schema.
        """
        if faults := self.get(schema, version).faults(data):
            raise EventValidationError(
                "The data does not follow its schema.", errors=faults, code=faults[0].code
            )

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids, sorted."""
        return tuple(sorted(self._schemas))

    def __contains__(self, schema: object) -> bool:
        name, version = schema if isinstance(schema, tuple) else (schema, None)
        versions = self._schemas.get(str(name), {})
        return bool(versions) if version is None else str(version) in versions

    def __iter__(self) -> Iterator[LocalSchema]:
        for name in self.ids:
            versions = self._schemas.get(name, {})
            yield from (versions[each] for each in sorted(versions, key=_order))

    def __len__(self) -> int:
        return sum(map(len, self._schemas.values()))

    def __repr__(self) -> str:
        listed = [{"id": each.id, "version": each.version} for each in self]
        return f"Registry({json.dumps(listed)})"


def digest(document: Mapping[str, Any]) -> str:
    """SHA-256 in hex of a document, whatever the order of its members."""
    return hashlib.sha256(encode(_sorted(document))).hexdigest()


def _sorted(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _sorted(value[name]) for name in sorted(value)}
    return [_sorted(each) for each in value] if isinstance(value, list) else value


def _order(version: str) -> list[tuple[int, int, str]]:
    """Versions as people count them: numbers by value, `1.10` after `1.9`, `2-rc` before `2`."""
    main, _, early = version.partition("-")
    parts = [(1, int(p), "") if p.isdecimal() else (0, 0, p) for p in re.split(r"[.+_]", main)]
    return [*parts, (-1, 0, early) if early else (0, 0, "")]


def _check_classes(document: dict[str, Any]) -> None:
    for schema, at in subschemas(document, ""):
        for name, each in schema.get("properties", {}).items():
            if not (isinstance(each, dict) and policy.classes_of(each)):
                _load.refuse(
                    f"{at}/properties/{_load.token(name)}", f"must name its {policy.KEYWORDS[0]}"
                )
