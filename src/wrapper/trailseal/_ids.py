"""Ids and times as the contract writes them."""

from __future__ import annotations

import os
import time
from collections import deque
from contextlib import suppress
from datetime import UTC, datetime

NOISE = 10  # bytes of one id
DRAWN = 64  # ids at once: a call of the system lets other threads run, and waits for them

_noise: deque[bytes] = deque()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_noise.clear)


def uuid7(now_ms: int | None = None, random: bytes | None = None) -> str:
    """Make a UUID version 7 (RFC 9562, 5.7): 48 bits of Unix milliseconds, 74 random bits.

    Ids made later sort later, by the millisecond, which keeps the server's index dense.
    """
    ns = time.time_ns()
    ms = ns // 1_000_000 if now_ms is None else now_ms
    # A machine that was copied while it ran draws the same bytes twice, but at another nanosecond.
    noise = int.from_bytes(_draw()) ^ ns % 1_000_000 if random is None else int.from_bytes(random)
    head, tail = f"{ms & (1 << 48) - 1:012x}", f"{2 << 62 | noise & (1 << 62) - 1:016x}"
    return f"{head[:8]}-{head[8:]}-7{noise >> 62 & 0xFFF:03x}-{tail[:4]}-{tail[4:]}"


def _draw() -> bytes:
    with suppress(IndexError):  # nothing left, or taken by another thread
        return _noise.pop()
    drawn = os.urandom(NOISE * (DRAWN + 1))
    _noise.extend(drawn[i : i + NOISE] for i in range(NOISE, len(drawn), NOISE))
    return drawn[:NOISE]


def timestamp(moment: datetime) -> str:
    """Write an aware datetime in UTC with six decimals and `Z` (RFC 3339); refuse a naive one."""
    if moment.tzinfo is None or moment.utcoffset() is None:
        raise ValueError("has no time zone: use datetime.now(timezone.utc)")
    return moment.astimezone(UTC).isoformat(timespec="microseconds")[:26] + "Z"


def now() -> str:
    """The present moment, as `timestamp` writes it."""
    return datetime.now(UTC).isoformat(timespec="microseconds")[:26] + "Z"
