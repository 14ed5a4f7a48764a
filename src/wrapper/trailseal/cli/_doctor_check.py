"""One line of the doctor's report."""

from dataclasses import dataclass, field

from ._exits import FAILED

OK, WARN, FAIL = "ok", "warn", "fail"


@dataclass(frozen=True, slots=True)
class Check:
    """What was looked at, how it is, what to do, and the command's exit code if it failed."""

    check: str
    status: str
    detail: str
    fix: str = ""
    code: int = field(default=FAILED, repr=False)
