"""docs/error-reference.md from the code: every error with its statuses, codes, when and what to do.

python generator/error_reference.py            writes the page
python generator/error_reference.py --check    fails if the page is not what the code makes
"""

from __future__ import annotations

import sys
from pathlib import Path

from trailseal import errors
from trailseal.errors._base import BY_CODE, BY_STATUS
from trailseal_server.problems import CODES

PAGE = Path(__file__).resolve().parents[1] / "docs" / "error-reference.md"
INTRODUCTION = """\
# Error reference

Made from the code by `make docs`. All classes are in `trailseal.errors`; catching one catches those
indented below it. [Errors and retries](errors.md) says how to handle them. An error without an HTTP
status is found by the client itself, or comes of having no answer.

| error | HTTP | codes | when | what to do |
| --- | --- | --- | --- | --- |
"""
BRANCHES = (errors.ApiError, errors.IntegrityError)
HIDDEN = frozenset({errors.ApiError})  # a base that is never raised itself


def main() -> int:
    """Write the page, or with `--check` only compare; 0 if it is current now."""
    made = page()
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(made, encoding="utf-8")
    elif not PAGE.is_file() or PAGE.read_text(encoding="utf-8") != made:
        print(f"{PAGE.name} is not what the code makes: run `make docs`")
        return 1
    return 0


def page() -> str:
    """The whole page as text."""
    rows = [row for branch in BRANCHES for row in _rows(branch, 0)]
    return INTRODUCTION + "\n".join(rows) + "\n"


def _rows(error: type[errors.TrailSealError], depth: int) -> list[str]:
    """A class and those below it, in the order in which they are written."""
    shown = error not in HIDDEN
    rows = [_row(error, depth)] if shown else []
    for below in error.__subclasses__():
        if below.__module__.startswith("trailseal."):
            rows += _rows(below, depth + shown)
    return rows


def _row(error: type[errors.TrailSealError], depth: int) -> str:
    codes = [code for code, known in BY_CODE.items() if known is error] or [error.code]
    statuses = {status for status, known in BY_STATUS.items() if known is error}
    statuses |= {CODES[code].status for code in codes if code in CODES}
    cells = [
        f"{'&emsp;' * depth}`{error.__name__}`",
        ", ".join(map(str, sorted(statuses))),
        " ".join(f"`{code}`" for code in codes),
        " ".join((error.__doc__ or "").split("\n\n")[0].split()),
        _advice(error),
    ]
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _advice(error: type[errors.TrailSealError]) -> str:
    """What to do, for each code that needs something else too."""
    own: str = getattr(error, "advice", "")
    for_code: dict[str, str] = vars(error).get("advice_for", {})
    return " ".join([own, *(f"`{code}`: {advice}" for code, advice in for_code.items())])


if __name__ == "__main__":
    sys.exit(main())
