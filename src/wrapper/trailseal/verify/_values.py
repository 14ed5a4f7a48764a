"""Reading single values strictly: exact types, one spelling for each value, or `MalformedError`."""

from __future__ import annotations

import re
from binascii import a2b_base64, b2a_base64
from collections.abc import Mapping
from typing import TypeVar

from .errors import MalformedError

T = TypeVar("T")

_SHA256_HEX = re.compile(r"[0-9a-f]{64}")
_TYPE_NAMES = {str: "a string", int: "an integer", dict: "an object", list: "an array"}


def member(source: Mapping[str, object], name: str, expected: type[T]) -> T:
    """`source[name]`, which must be exactly an `expected` (a boolean is no integer)."""
    value = source.get(name)
    if type(value) is not expected:
        raise MalformedError(f"{name!r} must be {_TYPE_NAMES.get(expected, expected.__name__)}")
    return value


def optional(source: Mapping[str, object], name: str, expected: type[T]) -> T | None:
    """`source[name]` likewise, or None where it is missing or null."""
    return None if source.get(name) is None else member(source, name, expected)


def sha256_hex(value: object, name: str) -> bytes:
    """The 32 bytes of a lower-case hexadecimal SHA-256."""
    if not isinstance(value, str) or not _SHA256_HEX.fullmatch(value):
        raise MalformedError(f"{name} must be a SHA-256 in lower-case hexadecimal")
    return bytes.fromhex(value)


def sha256_list(value: object, name: str) -> list[bytes]:
    """The hashes of a proof."""
    if not isinstance(value, list):
        raise MalformedError(f"{name} must be an array of hashes")
    return [sha256_hex(item, f"a hash of {name}") for item in value]


def base64_bytes(value: object, size: int | None, name: str) -> bytes:
    """Standard base64 with padding (RFC 4648, canonical), of exactly `size` bytes if given."""
    if isinstance(value, str) and value.isascii():
        try:
            data = a2b_base64(value)
        except ValueError:
            data = b""
        if size in (None, len(data)) and b2a_base64(data, newline=False) == value.encode():
            return data
    raise MalformedError(f"{name} must be base64" + (f" of {size} bytes" if size else ""))
