"""YAML text as one JSON value, as the server reads it; needs PyYAML (the extra `[schemas]`)."""

from __future__ import annotations

import re
from typing import Any, cast

import yaml

from trailseal.schemas._load import MAX_DEPTH, refuse


class _Loader(yaml.SafeLoader):
    """YAML 1.2's JSON schema, with plain text allowed (section 10.2)."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  # PyYAML's way; none of YAML 1.1's

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Refuse what could make one value appear twice."""
        self._depth = getattr(self, "_depth", 0) + 1
        event = cast("Any", self).peek_event()
        if self._depth > MAX_DEPTH:
            raise self._error(event, f"must not nest deeper than {MAX_DEPTH} levels")
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            raise self._error(event, "holds an alias or an anchor; use $ref instead")
        if getattr(event, "tag", None) not in {None, "!"}:
            raise self._error(event, "holds a YAML tag")
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """Refuse a member twice, and names that are no text."""
        names = [self.construct_object(key) for key, _ in node.value]
        for (key, _), name in zip(node.value, names, strict=True):
            if not isinstance(name, str):
                raise self._error(key, "holds a member name that is no text; quote it")
            if names.count(name) > 1:
                raise self._error(key, "holds a member twice")
        return super().construct_mapping(node, deep=deep)

    def flatten_mapping(self, node: Any) -> None:
        """`<<` is a name like any other."""

    @staticmethod
    def _error(where: Any, text: str) -> yaml.MarkedYAMLError:
        return yaml.MarkedYAMLError(problem=text, problem_mark=where.start_mark)


for _tag, _pattern, _first in (
    ("null", r"~|null|", ["~", "n", ""]),
    ("bool", r"true|false", ["t", "f"]),
    ("int", r"-?(0|[1-9][0-9]{0,19})", list("-0123456789")),
    ("float", r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?", list("-0123456789")),
):
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(rf"(?:{_pattern})\Z", re.ASCII), _first
    )
_Loader.add_constructor("tag:yaml.org,2002:float", lambda _, node: float(node.value))


def read(text: str) -> Any:
    """The value of the only document; raises `SchemaInvalidError` with line and column."""
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506  # a safe loader, and narrower
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1} column {mark.column + 1}" if mark else ""
        why = getattr(error, "problem", None) or "holds characters that YAML does not allow"
        refuse("", f"is not YAML: {why}{place}")
    except RecursionError:
        refuse("", f"must not nest deeper than {MAX_DEPTH} levels")
    except ValueError as error:  # a number of thousands of digits
        refuse("", f"is not YAML: {error}")
