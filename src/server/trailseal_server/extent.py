"""How many values a body and an event may hold: bounds what they cost to read and to commit to.

A list that is empty takes three bytes of a body and a hundred of memory; committing to it takes up
to 6 KB for a moment, so that a megabyte of such lists took two gigabytes.
"""

from typing import Any

from .problems import Problem

MAX_VALUES = 10_000  # 60 MB and 50 ms; a GitHub push of 20 commits has 500
MAX_BYTES = (1 << 20) + 8192  # of an event's text, which may be longer than its JCS
MAX_SIGNS = 1_000_000  # of a body: 100 MB once it is parsed, where every list is empty
SHORTEST = 2  # bytes that a value takes, with its comma
LARGE = SHORTEST * MAX_VALUES  # bytes: a shorter text cannot hold too much


def check_text(text: bytes) -> None:
    """Refuse a body that would grow too much: raises `Problem("body_too_large")`."""
    if len(text) > SHORTEST * MAX_SIGNS and _signs(text) > MAX_SIGNS:
        detail = f"The body may hold at most {MAX_SIGNS} commas and brackets; send it in parts"
        raise Problem("body_too_large", detail)


def excess(event: Any, text: bytes) -> str | None:
    """What an event holds too much of, or None; `text` is its JSON, empty where it has none."""
    if len(text) > MAX_BYTES:
        return "must be at most 1 MiB"
    # Strings may hold these signs too: only then each value is counted.
    if (not text or _signs(text) > MAX_VALUES) and _counted(event):
        return f"must hold at most {MAX_VALUES} values"
    return None


def _signs(text: bytes) -> int:
    """At least the number of values."""
    return text.count(b",") + text.count(b"[") + text.count(b"{")


def _counted(event: Any) -> bool:
    """Whether there are more values than allowed, names not counted."""
    waiting, seen = [event], 0
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict | list):
            seen += len(each)
            if seen > MAX_VALUES:
                return True
            waiting += each.values() if isinstance(each, dict) else each
    return False
