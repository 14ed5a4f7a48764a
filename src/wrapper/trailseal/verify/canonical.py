"""Strict JSON in, canonical JSON out.

1. `loads` refuses what two readers could understand differently: duplicate keys, NaN and
   Infinity, lone surrogates, numbers beyond ±(2^53-1) however they are written, bytes that are
   not UTF-8, nesting deeper than 64.
2. orjson, where installed, reads what it writes in the same bytes; the standard library reads
   all else, and says what is wrong.
3. `canonical` writes JCS (RFC 8785) and refuses the same things.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from json.encoder import encode_basestring
from typing import NoReturn, TypeVar

import rfc8785

from .errors import MalformedError

try:
    import orjson
except ImportError:  # the `fast` extra is optional
    orjson = None  # type: ignore[assignment]

MAX_NUMBER = 2**53 - 1  # beyond it an IEEE double, which is what JCS writes, skips integers
MAX_DEPTH = 64  # nested objects and arrays: far above real events, far below any stack

Number = TypeVar("Number", int, float)

_TOO_LARGE = "a number is beyond ±(2^53-1); send it as a string"
_SLOW = object()
# How this orjson ends a float beyond MAX_NUMBER: `e+16`, or `e16` in older versions. Patterns that
# begin with fixed bytes are many times as fast as one that begins with a class.
_E = b"e" if orjson is None else orjson.dumps(1e16).strip(b"0123456789")
_EXPONENT = re.compile(re.escape(_E) + rb"[0-9]+(?:[,\]}]|\Z)")
_WHOLE = re.compile(rb"\.0(?:[,\]}]|\Z)")
_ESCAPED_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def loads(text: bytes | str, *, max_depth: int = MAX_DEPTH) -> object:
    """The value of one JSON text.

    `max_depth` counts objects and arrays. Raises `MalformedError`, which names the fault and
    never quotes the text.
    """
    raw = text.encode(errors="surrogatepass") if isinstance(text, str) else text
    value = _loads_fast(raw)
    if value is _SLOW:
        value = _loads_strict(raw, max_depth)
    if raw.count(b"[") + raw.count(b"{") > max_depth:  # else it cannot be too deep
        _check_depth(value, max_depth)
    return value


def _loads_fast(raw: bytes) -> object:
    """orjson's reading, where writing it again gives the same bytes: then no key came twice, and
    whatever else orjson lets pass is not there; `_SLOW` for all else, good or bad."""
    if orjson is None:
        return _SLOW
    try:
        value: object = orjson.loads(raw)
        same = orjson.dumps(value, option=orjson.OPT_STRICT_INTEGER) == raw
        if same and not _EXPONENT.search(raw) and not _WHOLE.search(raw):
            return value
    except (ValueError, TypeError):
        pass
    return _SLOW


def _loads_strict(raw: bytes, max_depth: int) -> object:
    try:
        decoded = raw.decode()
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
        raise MalformedError(_TOO_LARGE) from None
    return value


def canonical(value: object) -> bytes:
    """The JCS bytes of a JSON value (dict, list or tuple, str, int, float, bool, None).

    Raises `MalformedError` for anything else, and for what `loads` would refuse.
    """
    try:
        text = rfc8785.dumps(value)  # type: ignore[arg-type]  # it checks what it gets
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise MalformedError(
            "the value is no JSON, or holds a number or text out of range"
        ) from None
    loads(text)  # the limits that rfc8785 does not have
    return text


def scalar(value: object) -> str:
    """The JCS text of a string, number, boolean or null."""
    if isinstance(value, str):
        return encode_basestring(value)  # C code, and exactly the escapes of RFC 8785 3.2.2.2
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return int.__repr__(_checked(value))
    if isinstance(value, float):
        return rfc8785.dumps(_checked(value)).decode()
    raise MalformedError(f"{type(value).__name__} is not a JSON value")


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


def _checked(number: Number) -> Number:
    if not -MAX_NUMBER <= number <= MAX_NUMBER:  # also NaN
        raise MalformedError(_TOO_LARGE)
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
    parse_int=lambda text: _checked(int(text)),
    parse_float=lambda text: _checked(float(text)),
    parse_constant=_constant,
)
