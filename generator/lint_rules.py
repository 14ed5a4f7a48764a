"""What a rule for a spec is, and what it finds.

A rule is one small function, registered with ``@rule`` for the kind of place that it looks at. It
answers what is wrong there, or an empty string. Rules know nothing of each other; a new lesson
about the generator becomes a new rule and a bad spec in its test.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from spec_places import Document, Place, Walk


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
