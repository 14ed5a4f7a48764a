"""Times in requests: RFC 3339, or relative to now.

Rules:
- Absolute: RFC 3339 with an offset, `2026-11-20T14:03:00Z`, `2026-11-20T15:03:00.5+01:00`. A time
  without an offset is refused: it would mean another instant on another machine.
- A date alone, `2026-11-20`, is in UTC: the start of that day as a range's start, its last
  microsecond as its end.
- Relative: `now`, `now-1h`, `now+5m`, `-7d`, `-1mo2d`; `last=24h` is a duration back from now.
  Units: `s m h d w mo y`, each number at most `MAX_DIGITS` digits. Months and years go by the
  calendar in UTC (31 March less one month is the last day of February, as in python-dateutil).
- The result is whole microseconds since 1970, the precision of `received_at` and of the tables;
  `micros.text` writes it as `2026-11-20T14:03:00.000000Z`. Finer decimals are cut off at a range's
  end and rounded up at its start: an inclusive range never takes in an instant outside it.
- Errors are `Problem("request_invalid")`: they name the parameter and say what to write.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from dateutil.relativedelta import relativedelta

from .problems import FieldError, Problem
from .store import micros

MAX_CHARS = 64  # the longest RFC 3339 time with nine decimals has 35
MAX_DIGITS = 6  # of a relative number: 999999 days are beyond every log
MAX_PARTS = 7  # one of each unit
UNITS = {
    "s": "seconds",
    "m": "minutes",
    "h": "hours",
    "d": "days",
    "w": "weeks",
    "mo": "months",
    "y": "years",
}

_RFC3339 = re.compile(
    r"(\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d)(?:\.(\d{1,18}))?([Zz]|[+-]\d\d:\d\d)", re.ASCII
)
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_PART = re.compile(rf"(\d{{1,{MAX_DIGITS}}})(mo|[smhdwy])", re.ASCII)
_SPAN = re.compile(rf"(?:\d{{1,{MAX_DIGITS}}}(?:mo|[smhdwy])){{1,{MAX_PARTS}}}", re.ASCII)
_ABSOLUTE_HELP = "a date (2026-11-20), RFC 3339 with an offset (2026-11-20T14:03:00Z)"


@dataclass(frozen=True, slots=True)
class TimeRange:
    """Bounds in microseconds since 1970, both inclusive; None is open."""

    start: int | None = None
    end: int | None = None

    def holds(self, instant: int | None) -> bool:
        """Whether an instant is in it; None, which is no time, never."""
        if instant is None:
            return False
        after = self.start is None or instant >= self.start
        return after and (self.end is None or instant <= self.end)


def time_range(
    start: str | None, end: str | None, last: str | None, *, clock: int | None = None
) -> TimeRange:
    """The range of the parameters `start`, `end`, `last`; raises `Problem("request_invalid")`."""
    clock = micros.now() if clock is None else clock
    if last is not None and start is not None:
        raise _bad("last", "use either last or start")
    if last is not None:
        start = f"-{last}"
        if not _SPAN.fullmatch(last):
            raise _bad("last", "write a duration such as 24h, 7d or 1mo")
    low = None if start is None else parse_time(start, "start", clock=clock, round_up=True)
    high = None if end is None else parse_time(end, "end", clock=clock)
    if low is not None and high is not None and low > high:
        raise _bad("end", "must not be before start")
    return TimeRange(low, high)


def parse_time(text: str, name: str, *, clock: int, round_up: bool = False) -> int:
    """A request's time in microseconds since 1970; `name` is the parameter that errors name.
    A date alone is the end of its day, with `round_up` the start."""
    if len(text) > MAX_CHARS:
        raise _bad(name, f"write at most {MAX_CHARS} characters")
    if _DATE.fullmatch(text):
        text += "T00:00:00Z" if round_up else "T23:59:59.999999Z"
    try:
        if found := _RFC3339.fullmatch(text):
            return _absolute(*found.groups(), round_up=round_up)
        return _relative(text, clock)
    except (ValueError, OverflowError):
        advice = f"write {_ABSOLUTE_HELP}, or a time relative to now (-7d, now-1h, -1mo)"
        raise _bad(name, advice) from None


def _absolute(seconds: str, decimals: str | None, offset: str, *, round_up: bool) -> int:
    decimals = decimals or ""
    leap = seconds.endswith(":60")  # RFC 3339 allows a leap second: the same instant as the next
    whole = seconds[:-2] + "59" if leap else seconds
    base = micros.parse(whole + ("+00:00" if offset in "Zz" else offset))
    extra = round_up and decimals[6:].strip("0") != ""
    return base + leap * 1_000_000 + int(decimals[:6].ljust(6, "0")) + extra


def _relative(text: str, clock: int) -> int:
    if text == "now":
        return clock
    span = text.removeprefix("now")
    if span[:1] not in {"-", "+"} or not _SPAN.fullmatch(span, 1):
        raise ValueError
    sign = -1 if span[0] == "-" else 1
    moment = datetime.fromtimestamp(0, UTC) + timedelta(microseconds=clock)
    for number, unit in _PART.findall(span):
        moment += relativedelta(**{UNITS[unit]: sign * int(number)})  # type: ignore[arg-type]  # keys are the units above
    return micros.parse(moment.isoformat())


def _bad(name: str, advice: str) -> Problem:
    detail = f"{name}: {advice}"
    errors = [FieldError("request_invalid", f"/query/{name}", advice)]
    return Problem("request_invalid", detail, errors=errors)
