"""Strict JSON in, canonical JSON out.

1. `loads` refuses what two readers could understand differently: duplicate keys, NaN and
   Infinity, lone surrogates, numbers beyond ±(2^53-1) however they are written, bytes that are
   not UTF-8, nesting deeper than 64.
2. `canonical` writes JCS (RFC 8785) and refuses the same things.
3. `rfc8785` is the reference. orjson, where installed, writes what it writes in the same bytes:
   no floats (another spelling), no keys beyond ASCII (JCS sorts by UTF-16 units).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from json.encoder import encode_basestring
from typing import NoReturn

import rfc8785

from .errors import MalformedError

try:
    import orjson
except ImportError:  # the `fast` extra is optional
    orjson = None  # type: ignore[assignment]

MAX_NUMBER = 2**53 - 1  # beyond it an IEEE double, which is what JCS writes, skips integers
MAX_DEPTH = 64  # nested objects and arrays: far above real events, far below any stack

_ESCAPED_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def loads(text: bytes | str, *, max_depth: int = MAX_DEPTH) -> object:
    """The value of one JSON text.

    `max_depth` counts objects and arrays. Raises `MalformedError`, which names the fault and
    never quotes the text.
    """
    try:
        decoded = (text.encode() if isinstance(text, str) else text).decode()
        value: object = _DECODER.decode(decoded)
        if _ESCAPED_SURROGATE.search(decoded):
            json.dumps(value, ensure_ascii=False).encode()  # fails on a lone surrogate
    except UnicodeError:
        raise MalformedError("JSON text is not valid Unicode") from None
    except RecursionError:
        raise MalformedError(f"JSON is nested deeper than {max_depth}") from None
    except json.JSONDecodeError as error:
        what = error.msg.removesuffix(" at")
        raise MalformedError(f"not JSON: {what} at character {error.pos}") from None
    except ValueError:  # the interpreter's own limit on the digits of one integer
        raise _number_error() from None
    if decoded.count("[") + decoded.count("{") > max_depth:  # else it cannot be too deep
        _check_depth(value, max_depth)
    return value


def canonical(value: object) -> bytes:
    """The JCS bytes of a JSON value (dict, list or tuple, str, int, float, bool, None).

    Raises `MalformedError` for anything else, and for what `loads` would refuse.
    """
    plain = _survey(value, MAX_DEPTH)
    try:
        if plain and orjson is not None:
            return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
        return rfc8785.dumps(value)  # type: ignore[arg-type]  # _survey has checked the types
    except (ValueError, TypeError):  # a lone surrogate is all that is left
        raise MalformedError("a string is not valid Unicode") from None


def scalar(value: object) -> str:
    """The JCS text of a string, number, boolean or null."""
    if isinstance(value, str):
        return encode_basestring(value)  # C code, and exactly the escapes of RFC 8785 3.2.2.2
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        _check_number(value)
        return int.__repr__(value)
    if isinstance(value, float):
        _check_number(value)
        return rfc8785.dumps(value).decode()
    raise MalformedError(f"{type(value).__name__} is not a JSON value")


def _survey(value: object, depth: int) -> bool:
    """Whether orjson writes `value` as JCS does; raises where either may not write it at all."""
    if type(value) is str or value is None or type(value) is bool:
        return True
    if isinstance(value, dict | list | tuple):
        if depth == 0:
            raise MalformedError(f"JSON is nested deeper than {MAX_DEPTH}")
        if not isinstance(value, dict):
            return _all_plain(value, depth)
        if not all(isinstance(key, str) for key in value):
            raise MalformedError("a key of a JSON object must be a string")
        plain_keys = all(type(key) is str and key.isascii() for key in value)
        return _all_plain(value.values(), depth) and plain_keys
    scalar(value)  # refuses what is no JSON
    return type(value) is int


def _all_plain(items: Iterable[object], depth: int) -> bool:
    found = [_survey(item, depth - 1) for item in items]  # all() alone would stop at a float
    return all(found)


def _check_depth(value: object, depth: int) -> None:
    level = [value]
    for _ in range(depth):
        level = [item for container in level for item in _items(container)]
    if any(isinstance(item, dict | list) for item in level):
        raise MalformedError(f"JSON is nested deeper than {depth}")


def _items(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _check_number(number: float) -> None:
    if not -MAX_NUMBER <= number <= MAX_NUMBER:  # also NaN
        raise _number_error()


def _number_error() -> MalformedError:
    return MalformedError("a number is beyond ±(2^53-1); send it as a string")


def _integer(text: str) -> int:
    number = int(text)
    _check_number(number)
    return number


def _fraction(text: str) -> float:
    number = float(text)
    _check_number(number)
    return number


def _constant(name: str) -> NoReturn:
    raise MalformedError(f"{name} is not JSON")


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise MalformedError("a JSON object has a duplicate key")
    return result


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object,
    parse_int=_integer,
    parse_float=_fraction,
    parse_constant=_constant,
)
