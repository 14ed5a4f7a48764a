"""Making one self-contained document of a schema and those it refers to.

References by URI are looked up among documents that were given, never fetched: each is put under
`$defs`, its own references rewritten with it, so that the server can take the result as it is.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any
from urllib.parse import urldefrag, urljoin

from trailseal.schemas._load import refuse, token
from trailseal.schemas._walk import subschemas

MAX_BUNDLED = 100  # documents in one schema: more is a mistake, and the server bounds the work


def bundle(document: dict[str, Any], resources: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The document with all that it refers to inside; itself if it refers to nothing outside."""
    return _Bundle(document, resources).made()


class _Bundle:
    def __init__(
        self, document: dict[str, Any], resources: Mapping[str, Mapping[str, Any]]
    ) -> None:
        self._document, self._resources = document, resources
        self._base = str(document.get("$id", ""))
        self._taken: dict[str, str] = {}  # URI to its name in $defs
        self._parts: dict[str, Any] = {}
        self._used = set(document.get("$defs", {}))

    def made(self) -> dict[str, Any]:
        """Rewrite, and put the parts in."""
        self._rewrite(self._document, self._base, "")
        if self._parts:
            self._document["$defs"] = {**self._document.get("$defs", {}), **self._parts}
        return self._document

    def _rewrite(self, document: dict[str, Any], base: str, prefix: str) -> None:
        """Point the references of a document that lies at `#<prefix>` to where things are now."""
        for schema, at in subschemas(document, ""):
            reference = schema.get("$ref")
            if not isinstance(reference, str):
                continue
            uri, fragment = urldefrag(urljoin(base, reference) if base else reference)
            if reference.startswith("#") or uri == urldefrag(self._base).url:
                local = fragment if not reference.startswith("#") else reference[1:]
                home = "" if uri == urldefrag(self._base).url and uri else prefix
                schema["$ref"] = f"#{(prefix if reference.startswith('#') else home)}{local}"
            elif reference in self._resources or uri in self._resources:
                schema["$ref"] = f"#/$defs/{token(self._place(uri, reference))}{fragment}"
            else:
                refuse(f"{prefix}{at}/$ref", "names a schema that was not given in resources=")

    def _place(self, uri: str, reference: str) -> str:
        if uri in self._taken:
            return self._taken[uri]
        if len(self._taken) >= MAX_BUNDLED:
            refuse("", f"must refer to at most {MAX_BUNDLED} other schemas")
        stem = uri.rstrip("/").rpartition("/")[2] or "schema"
        name, number = stem, 2
        while name in self._used:
            name, number = f"{stem}-{number}", number + 1
        self._used.add(name)
        self._taken[uri] = name
        part = copy.deepcopy(dict(self._resources.get(uri) or self._resources[reference]))
        for only_at_root in ("$id", "$schema", "version"):
            part.pop(only_at_root, None)
        self._parts[name] = part
        self._rewrite(part, uri, f"/$defs/{token(name)}")
        return name
