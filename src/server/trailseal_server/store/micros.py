"""Times as the tables hold them: whole microseconds since 1970-01-01T00:00:00Z.

Rules:
- `text` is the form of `received_at`: UTC, six decimals, `Z` (RFC 3339).
- `parse` takes RFC 3339 with an offset; further decimals are cut off. Raises ValueError.
"""

import time
from datetime import UTC, datetime, timedelta
from functools import lru_cache

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def now() -> int:
    """The server's clock."""
    return time.time_ns() // 1000


@lru_cache(maxsize=256)
def text(micros: int) -> str:
    """As `received_at` is written: `2026-11-20T14:03:00.000000Z`."""
    moment = _EPOCH + timedelta(microseconds=micros)
    return moment.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def parse(rfc3339: str) -> int:
    """The instant of an RFC 3339 time with an offset."""
    moment = datetime.fromisoformat(rfc3339)
    if moment.tzinfo is None or "-" not in rfc3339[:5]:
        raise ValueError("a time needs its date and its offset from UTC")
    return (moment - _EPOCH) // _MICROSECOND
