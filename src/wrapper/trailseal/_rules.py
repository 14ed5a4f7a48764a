"""Rules for JSON values, fast where a value is right and exact where it is not.

A rule knows three things. `accepts(value)` answers fast whether a value is right for sure,
`column(values)` whether all of many are (`_columns`). Where they are not sure, or raise
`TypeError`, `check(value, at, faults)` finds every fault, with its JSON Pointer. What was let
through has no fault for `check`, but for what is looked for in the encoded event: NUL, lone
surrogates, size. Tests hold the three together.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from trailseal._columns import Accepts, Column, arrays, each, records, texts
from trailseal.errors import ErrorDetail

Faults = list[ErrorDetail]
Check = Callable[[Any, str, Faults], None]


class Rule(NamedTuple):
    """What one kind of value must be."""

    accepts: Accepts
    check: Check
    column: Column
    longest: int = 0  # of a text: any other text up to there, but the empty one, is right


def report(faults: Faults, code: str, at: str, detail: str) -> None:
    """Note a fault: what is wrong where, without the value."""
    faults.append(ErrorDetail(code, at, detail))


def token(name: object) -> str:
    """Escape a member's name for a JSON Pointer (RFC 6901, 3)."""
    return str(name).replace("~", "~0").replace("/", "~1")


LIKE = 0.7  # of 1: below, a name is no slip of the pen
LONGEST_SLIP = 64  # characters: comparing a megabyte with each name would take seconds
_OTHERS = {  # what other audit logs call it
    "data": ("details", "event_data", "event_details", "extra", "metadata"),
    "attributes": ("details", "metadata"),
    "occurred_at": ("event_time", "time", "timestamp"),
    "action": ("event", "event_name", "event_type"),
    "actor": ("user", "user_identity", "principal"),
    "resources": ("target",),
    "tenant_id": ("organization_id", "org_id", "account_id", "tenant"),
    "before": ("old",),
    "after": ("new",),
    "outcome": ("status", "result"),
    "source_ip": ("ip", "ip_address", "source_ip_address"),
    "checksum": ("event_data_checksum",),
    "failure": ("error", "failed"),
    "success": ("ok", "succeeded"),
    "medium": ("warn", "warning"),
}


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return ` Did you mean 'actor'?`, or nothing."""
    if len(name) > LONGEST_SLIP:
        return ""
    from difflib import SequenceMatcher  # noqa: PLC0415  # for mistakes only

    plain = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()  # eventName, Low

    def likeness(other: str) -> tuple[float, bool, int]:
        if plain in _OTHERS.get(other, ()):
            return 1.0, True, 0
        ratio = SequenceMatcher(None, plain, other).ratio()
        return ratio, len(plain) == len(other), sum(map(str.__eq__, plain, other))

    near = max(known, key=likeness)
    return f" Did you mean {near!r}?" if likeness(near)[0] >= LIKE else ""


def text(longest: int, shortest: int = 0, *, nul: bool = False) -> Rule:
    """A text of so many characters; NUL only where no database looks for it."""

    def accepts(value: Any) -> bool:
        return type(value) is str and shortest <= len(value) <= longest

    def check(value: Any, at: str, faults: Faults) -> None:
        if not isinstance(value, str):
            report(faults, "field_type", at, "must be a string")
        elif len(value) > longest:
            wrong = f"has {len(value)} characters, at most {longest} are allowed"
            report(faults, "field_too_long", at, wrong)
        elif len(value) < shortest:
            report(faults, "field_required", at, "must not be empty")
        elif "\0" in value and not nul:
            report(faults, "event_invalid", at, "must not hold NUL (U+0000)")

    return Rule(accepts, check, texts(shortest, longest), longest if shortest <= 1 else 0)


def pattern(form: re.Pattern[str], wrong: str) -> Rule:
    """A text of this form; `wrong` says what it must be."""

    def check(value: Any, at: str, faults: Faults) -> None:
        if not isinstance(value, str):
            report(faults, "field_type", at, "must be a string")
        elif not form.fullmatch(value):
            report(faults, "event_invalid", at, wrong)

    return Rule(form.fullmatch, check, each(form.fullmatch))


def choice(*values: str) -> Rule:
    """One of these texts."""

    def check(value: Any, at: str, faults: Faults) -> None:
        if value not in values:
            hint = suggestion(value, values) if isinstance(value, str) else ""
            report(faults, "event_invalid", at, f"must be one of {', '.join(values)}.{hint}")

    known = frozenset(values)
    return Rule(known.__contains__, check, known.issuperset)


def check_name(name: str, at: str, faults: Faults) -> bool:
    """Report a reserved name; True if it is one."""
    if name.startswith("__"):
        wrong = "names that begin with __ are reserved"
        report(faults, "field_reserved", f"{at}/{token(name)}", wrong)
    return name.startswith("__")


def _all_accepted(fields: Mapping[str, Rule], *required: str) -> Accepts:
    sure = {name: rule.accepts for name, rule in fields.items()}
    texts = {name: rule.longest for name, rule in fields.items()}

    def accepts(value: Any) -> bool:
        if type(value) is not dict:
            return False
        for name in required:
            if name not in value:
                return False
        try:
            for name, item in value.items():
                if type(item) is str and 0 < len(item) <= texts[name]:
                    continue  # most members are texts: a call less for each
                if not sure[name](item):
                    return False
        except KeyError:  # no known name
            return False
        return True

    return accepts


def record(fields: Mapping[str, Rule], *required: str, form: str = "a mapping") -> Rule:
    """An object with these members and no others; `form` says what else may be written."""
    accepts = _all_accepted(fields, *required)

    def check(value: Any, at: str, faults: Faults) -> None:
        if not isinstance(value, dict):
            report(faults, "field_type", at, f"must be {form}")
            return
        for name, item in value.items():  # first: what is missing is often what is misspelt
            if name in fields:
                fields[name].check(item, f"{at}/{name}", faults)
            elif not check_name(name, at, faults):
                wrong = f"is no known field.{suggestion(name, fields)}"
                report(faults, "event_invalid", f"{at}/{token(name)}", wrong)
        for name in required:
            if name not in value:
                report(faults, "field_required", f"{at}/{name}", "is required")

    columns = {name: rule.column for name, rule in fields.items()}
    return Rule(accepts, check, records(columns, required))


def array(item: Rule, longest: int) -> Rule:
    """A list of at most so many."""
    sure = item.accepts

    def accepts(value: Any) -> bool:
        if type(value) is not list or len(value) > longest:
            return False
        for one in value:  # noqa: SIM110  # all() costs as much as the check itself
            if not sure(one):
                return False
        return True

    def check(value: Any, at: str, faults: Faults) -> None:
        if not isinstance(value, list):
            report(faults, "field_type", at, "must be a list")
        elif len(value) > longest:
            wrong = f"has {len(value)} items, at most {longest} are allowed"
            report(faults, "field_too_long", at, wrong)
        else:
            for i, element in enumerate(value):
                item.check(element, f"{at}/{i}", faults)

    return Rule(accepts, check, arrays(item.column, longest))


def late(of: Callable[[], Rule], free: Accepts) -> Rule:
    """A rule that holds itself; `free` lets no value through that is too deep."""

    def accepts(value: Any) -> object:
        return free(value) and of().accepts(value)  # which ends at some depth

    return Rule(accepts, lambda value, at, faults: of().check(value, at, faults), each(accepts))
