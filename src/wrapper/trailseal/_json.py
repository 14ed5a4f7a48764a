"""JSON in and out; with orjson (extra `fast`) where it is installed.

Both sides mean the same: UTF-8, compact, no NaN. orjson writes NaN as null and knows types that
JSON does not, so what it writes counts only if a check says so (`_event_rules.free_json`).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

_write = json.JSONEncoder(  # made once: `json.dumps` makes one for each call
    ensure_ascii=False, allow_nan=False, separators=(",", ":"), check_circular=False
).encode


def plain(value: object) -> bytes:
    """Write any value; raises `TypeError`, `ValueError`, for a circle `RecursionError`."""
    return _write(value).encode()


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON")


def _loads(content: bytes) -> Any:
    return json.loads(content, parse_constant=_no_constant)


fast: Callable[[Any], bytes] = plain
loads: Callable[[bytes], Any] = _loads
try:
    import orjson
except ImportError:
    pass
else:
    fast, loads = orjson.dumps, orjson.loads
