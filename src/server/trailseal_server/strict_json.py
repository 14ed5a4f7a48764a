"""JSON as an audit log must read it: one text, one meaning (RFC 8259, I-JSON RFC 7493).

Rules:
- UTF-8 without a byte order mark, no NaN or infinity, no lone surrogate: orjson refuses them.
- No duplicate member, no number beyond ±(2^53-1) however it is written, no more than 64 levels.
- The refusal says where (line and column, or a JSON Pointer) and never repeats what was sent.

The duplicate check is nearly free for compact bodies: a body that is written again byte for byte
has lost no member. Every other body is read a second time, by a parser that sees each member.
"""

import json
from collections.abc import Iterable
from typing import Any, NoReturn

import orjson

from .problems import FieldError, Problem

MAX_DEPTH = 64  # deeper than any event in practice; far below every recursion limit
MAX_NUMBER = 2**53 - 1  # RFC 7493, section 2.2: beyond it, readers disagree about the value
MAX_NAME_SHOWN = 64  # characters of a member's name in an error


def parse(text: bytes, *, check: bool = True) -> Any:
    """The value of `text`; raises `Problem` `json_invalid` (400).

    Without `check`, depth and numbers are the caller's to `check`, part by part.
    """
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        place = f"line {error.lineno} column {error.colno}"
        raise Problem(
            "json_invalid", f"The body is not JSON in UTF-8: {error.msg}, {place}"
        ) from None
    if check and not _fits((value,), MAX_DEPTH + 1):
        _check(value, [])
    if orjson.dumps(value) != text:
        json.loads(text, object_pairs_hook=_object)
    return value


def check(value: Any) -> None:
    """Refuse what is nested too deep or a number too large; raises `Problem` `json_invalid`."""
    _check(value, [])


def token(name: str | int) -> str:
    """A reference token of a JSON Pointer, escaped (RFC 6901, section 3)."""
    return str(name)[:MAX_NAME_SHOWN].replace("~", "~0").replace("/", "~1")


def _fits(values: Iterable[Any], levels: int) -> bool:
    """Whether `_check` has nothing to say; without paths, it takes half the time."""
    if not levels:
        return False
    for value in values:
        kind = type(value)
        if kind is dict:
            if not _fits(value.values(), levels - 1):
                return False
        elif kind is list:
            if not _fits(value, levels - 1):
                return False
        elif (kind is int or kind is float) and not -MAX_NUMBER <= value <= MAX_NUMBER:
            return False
    return True


def _check(container: Any, path: list[str | int]) -> None:
    """Refuses what is too deep or too large below `container`; `path` is where it lies."""
    if type(container) is dict:
        members: Any = container.items()
    elif type(container) is list:
        members = enumerate(container)
    else:
        return _check_number(container, path)
    if len(path) >= MAX_DEPTH:
        _refuse(path, f"nested deeper than {MAX_DEPTH} levels")
    for name, value in members:
        kind = type(value)
        if kind is dict or kind is list:
            _check(value, [*path, name])
        elif kind is int or kind is float:
            _check_number(value, [*path, name])
    return None


def _check_number(value: Any, path: list[str | int]) -> None:
    if type(value) in (int, float) and not -MAX_NUMBER <= value <= MAX_NUMBER:
        _refuse(path, "a number beyond ±(2^53-1); send it as a string")


def _refuse(path: list[str | int], why: str) -> NoReturn:
    pointer = "".join(f"/{token(name)}" for name in path)
    raise Problem(
        "json_invalid", f"The body holds {why}", errors=[FieldError("json_invalid", pointer, why)]
    )


def _object(members: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of the second reading, which refuses a name that occurs twice."""
    names = dict(members)
    if len(names) == len(members):
        return names
    seen: set[str] = set()
    twice = next(name for name, _ in members if name in seen or seen.add(name))  # type: ignore[func-returns-value]
    raise Problem(
        "json_invalid", f"The body holds an object with two members {twice[:MAX_NAME_SHOWN]!r}"
    )
