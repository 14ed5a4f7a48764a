"""Every error of ours ends in one line and a documented code."""

import re
from pathlib import Path

import pytest
from trailseal import errors
from trailseal.cli import _exits

PAGE = Path(__file__).resolve().parents[4] / "docs" / "cli.md"
CLASSES = sorted(
    (
        found
        for found in vars(errors).values()
        if isinstance(found, type) and issubclass(found, errors.TrailSealError)
    ),
    key=lambda found: found.__name__,
)


@pytest.mark.parametrize("kind", CLASSES)
def test_an_error_is_a_line_for_a_user_of_the_command(kind: type[errors.TrailSealError]) -> None:
    """A code of the table; no call of Python in the advice."""
    line, code = _exits.describe(kind("Something is wrong"))
    assert code in _exits.TABLE
    assert code != 0
    assert line.startswith("Something is wrong")
    assert not re.search(r"client\.|\w\(\)|\w=|=True", line), line


def test_the_page_shows_the_same_exit_codes() -> None:
    """One table, in the help and in the documentation."""
    rows = re.findall(r"^\| (\d+) \| (.+?) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert {int(code): what for code, what in rows} == _exits.TABLE
