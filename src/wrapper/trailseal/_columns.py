"""Whether many values of one kind are right for sure, for half of what asking one by one costs.

A column of values is right only if the rule's `accepts` (`_rules`) takes each of them. The loops
are those of `set`, `map` and `itemgetter`, which are in C. It may raise `TypeError`, as `accepts`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from operator import itemgetter
from typing import Any

Accepts = Callable[[Any], object]  # what counts is whether it is true
Column = Callable[[list[Any]], bool]


def are(kind: type, values: list[Any]) -> bool:
    """Whether all are exactly of a type."""
    return [*map(type, values)].count(kind) == len(values)


def each(accepts: Accepts) -> Column:
    """The values one by one."""
    return lambda values: all(map(accepts, values))


def is_texts(values: list[Any], shortest: int, longest: int) -> bool:
    """Whether all are exactly `str`, and of so many characters."""
    if not are(str, values):
        return False
    lengths = {*map(len, values)} or {shortest}
    return min(lengths) >= shortest and max(lengths) <= longest


def texts(shortest: int, longest: int) -> Column:
    """Texts of so many characters."""
    return lambda values: is_texts(values, shortest, longest)


def arrays(items: Column, longest: int) -> Column:
    """Lists of at most so many items."""

    def column(values: list[Any]) -> bool:
        if not are(list, values) or max(map(len, values), default=0) > longest:
            return False
        return items([*chain.from_iterable(values)])

    return column


def records(fields: Mapping[str, Column], required: Iterable[str]) -> Column:
    """Mappings with these members and no others."""
    known = frozenset(fields)

    def column(values: list[Any]) -> bool:
        if not are(dict, values):
            return False
        sizes = {*map(len, values)}
        for size in sizes:
            rows = values if len(sizes) == 1 else [row for row in values if len(row) == size]
            table = _table(rows, known)
            if table is None:
                return False
            for name in required:
                if len(table.get(name, ())) < len(rows):
                    return False
            for name, items in table.items():
                if not fields[name](items):
                    return False
        return True

    return column


def _table(rows: list[dict[str, Any]], known: frozenset[str]) -> dict[str, list[Any]] | None:
    """The values by name, of mappings of one size; None for a name that is not known."""
    if not known.issuperset(rows[0]):
        return None
    if table := same_names(rows):  # most often
        return table
    names = {*chain.from_iterable(rows)}
    if not known.issuperset(names):
        return None
    return {name: [row[name] for row in rows if name in row] for name in names}


def same_names(rows: list[dict[Any, Any]]) -> dict[Any, list[Any]] | None:
    """The values by name, of mappings of one size; None where their names differ."""
    try:
        return {name: [*map(itemgetter(name), rows)] for name in rows[0]}
    except KeyError:
        return None
