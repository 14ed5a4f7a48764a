"""Terms of a query held against one event's body: what the terms index cannot answer.

Rules:
- A path leads through objects by their members and through arrays by each of their elements; a
  member's name may hold dots (`data.http.status`). Tags are texts, `key:value`. Whole parts of an
  event stand for some of their members: PARTS.
- `field="text"`: a value, or an element of an array, is the text; a number is equal to it; true,
  false and null are their names. Case counts.
- `field:text`, `field:stem*`: a string at or below the field contains, begins with the text in any
  case; numbers, true, false and null have no parts and match whole.
- A bound is a number, a time (a date in UTC, or RFC 3339 with an offset; of TIMES also relative to
  now), else a text, in the order of code points. Values of another kind lie nowhere: they match no
  comparison. A date is the whole day: `>` begins after it, `<=` and the end of a range include it.
- `has:field`: there is something at the path, be it null or empty.
- Linear in the event's size. A bad bound is refused when the test is made, not when it is run.
"""

import operator
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, TypeAlias

import orjson

from .problems import Problem
from .query import invalid
from .query_nodes import Compare, Has, Match, Range
from .store import micros
from .store.terms import folded
from .times import TimeRange, parse_time

Json: TypeAlias = Any  # a parsed JSON value
Event: TypeAlias = Mapping[str, Json]
Test: TypeAlias = Callable[[Event], bool]
BodyLeaf: TypeAlias = Match | Compare | Range | Has
Operator: TypeAlias = Callable[[Any, Any], bool]

DAY = 86_400_000_000  # microseconds
TIMES = frozenset({"received_at", "occurred_at"})


class Part(NamedTuple):
    """What a whole part stands for: members matched in part, and members matched whole only."""

    partly: tuple[str, ...]
    wholly: tuple[str, ...] = ()


PARTS = {
    "actor": Part(("actor.id", "actor.name"), ("actor.email",)),
    "resource": Part(("resource.name", "resource.type"), ("resource.id",)),
    "source": Part(("source.name",)),
    "schema": Part(("schema.id",)),
    "amends": Part(("amends.event_id",)),
}

_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d{1,4})?", re.ASCII)
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_NAMES = {True: "true", False: "false", None: "null"}
_OPERATORS: dict[str, Operator] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}


def document(
    body: bytes, received_at: int, ingested_by: str, channel_id: str | None = None
) -> Event:
    """An event for queries: its stored body and the server's fields (`received_at` in µs)."""
    event: dict[str, Json] = orjson.loads(body)
    event["received_at"] = received_at
    event["ingested_by"] = ingested_by
    if channel_id is not None:
        event["channel_id"] = channel_id
    if "resources" in event:
        event["resource"] = event.pop("resources")
    return event


def body_test(term: BodyLeaf, clock: int) -> Test:
    """The test of one term; raises `Problem("query_invalid")`. Relative times are relative to
    `clock`, in microseconds."""
    match term:
        case Match():
            return _match(term)
        case Has(field) | Range(field, None, None):
            return lambda event: any(True for _ in _nodes(event, field))
        case Compare() | Range() if term.field in TIMES:
            return _during(term.field, times_of(term, clock))
        case Compare(field, sign, text, at):
            return _within(field, [(sign, text)], at)
        case Range(field, low, high, at):
            ends = [(s, t) for s, t in ((">=", low), ("<=", high)) if t is not None]
            return _within(field, ends, at)


def _match(term: Match) -> Test:
    part = PARTS.get(term.field, Part((term.field,)))
    whole = _equal_to(term.text)
    if term.mode == "equals":
        fields = part.partly + part.wholly
        return lambda event: any(whole(v) for f in fields for v in scalars(event, f))
    partly = _partly(term)
    wholly = part.wholly if term.mode == "contains" else ()

    def passes(event: Event) -> bool:
        if any(partly(v) for f in part.partly for n in _nodes(event, f) for v in _below(n)):
            return True
        return any(whole(value) for field in wholly for value in scalars(event, field))

    return passes


def _equal_to(text: str) -> Callable[[Json], bool]:
    number = number_of(text)

    def passes(value: Json) -> bool:
        if isinstance(value, str):
            return value == text
        if value is None or isinstance(value, bool):
            return _NAMES[value] == text
        return number is not None and bool(value == number)

    return passes


def _partly(term: Match) -> Callable[[Json], bool]:
    part, whole = folded(term.text), _equal_to(term.text)
    if term.mode == "prefix":
        return lambda v: folded(v).startswith(part) if isinstance(v, str) else whole(v)
    return lambda v: part in folded(v) if isinstance(v, str) else whole(v)


def _within(field: str, bounds: list[tuple[str, str]], at: int) -> Test:
    found = [_bound(sign, text) for sign, text in bounds]
    key = found[0][0]
    if any(other is not key for other, _ in found):
        raise invalid(at, "give both ends as numbers, as times, or as texts")
    checks = [(_OPERATORS[sign], end) for (sign, _), (_, end) in zip(bounds, found, strict=True)]
    part = PARTS.get(field, Part((field,)))
    fields = part.partly + part.wholly

    def passes(event: Event) -> bool:
        for value in (v for f in fields for v in scalars(event, f)):
            place = key(value)
            if place is not None and all(check(place, end) for check, end in checks):
                return True
        return False

    return passes


def times_of(term: Compare | Range, clock: int) -> TimeRange:
    """What a comparison of one of TIMES admits; raises `Problem("query_invalid")`."""
    if isinstance(term, Range):
        low = None if term.low is None else _instant(">=", term.low, term.at, clock)
        high = None if term.high is None else _instant("<=", term.high, term.at, clock)
        return TimeRange(low, high)
    end = _instant(term.operator, term.text, term.at, clock)
    if term.operator in {">", ">="}:
        return TimeRange(end + (term.operator == ">"), None)
    return TimeRange(None, end - (term.operator == "<"))


def _instant(sign: str, text: str, at: int, clock: int) -> int:
    try:
        if not _DATE.fullmatch(text):
            return parse_time(text, "query", clock=clock)
        return parse_time(f"{text}T00:00:00Z", "query", clock=clock) + _rest_of_day(sign)
    except Problem:
        advice = "compare with a date, RFC 3339 with an offset, or a time relative to now (-7d)"
        raise invalid(at, advice) from None


def _during(field: str, times: TimeRange) -> Test:
    def passes(event: Event) -> bool:
        return times.holds(event[field] if field == "received_at" else _time(event.get(field)))

    return passes


def _bound(sign: str, text: str) -> tuple[Callable[[Json], Any], Any]:
    """How values are placed beside a bound, and the bound's own place."""
    number, time = number_of(text), _time(text)
    if number is not None:
        return _finite, number
    if time is not None:
        return _time, time + (_rest_of_day(sign) if _DATE.fullmatch(text) else 0)
    return _string, text


def _rest_of_day(sign: str) -> int:
    return DAY - 1 if sign in {">", "<="} else 0


def number_of(text: str) -> int | float | None:
    """The number that a term's text is; None where it is none."""
    if not _NUMBER.fullmatch(text):
        return None
    return int(text) if text.lstrip("-").isdigit() else float(text)


def _finite(value: Json) -> int | float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _time(value: Json) -> int | None:
    if not isinstance(value, str) or not _DATE.match(value):
        return None
    try:
        return micros.parse(f"{value}T00:00:00Z" if len(value) == 10 else value)
    except (ValueError, OverflowError):
        return None


def _string(value: Json) -> str | None:
    return value if isinstance(value, str) else None


def scalars(event: Event, field: str) -> Iterator[Json]:
    """The values at a field, those of arrays one by one."""
    for node in _nodes(event, field):
        yield from _elements(node)


def _elements(value: Json) -> Iterator[Json]:
    if isinstance(value, list):
        for each in value:
            yield from _elements(each)
    elif not isinstance(value, dict):
        yield value


def _below(value: Json) -> Iterator[Json]:
    """All scalars at and below a value."""
    if isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _below(each)
    else:
        yield value


def _nodes(event: Event, field: str) -> Iterator[Json]:
    """What lies at a field, arrays and objects as they are."""
    root, _, path = field.partition(".")
    if root not in event:
        return
    if root == "received_at" and not path:
        yield micros.text(event[root])
    elif root == "tags":
        tags = [f"{key}:{value}" for key, value in event[root].items()]
        key = f"{path}:"
        yield from (tag[len(key) :] for tag in tags if tag.startswith(key)) if path else [tags]
    else:
        yield from _walk(event[root], path)


def _walk(value: Json, path: str) -> Iterator[Json]:
    """Each node is reached by one way only, so this is linear, dots in names or not."""
    if not path:
        yield value
    elif isinstance(value, list):
        for each in value:
            yield from _walk(each, path)
    elif isinstance(value, dict):
        for name, member in value.items():
            if name == path:
                yield member
            elif path.startswith(name) and path[len(name) : len(name) + 1] == ".":
                yield from _walk(member, path[len(name) + 1 :])
