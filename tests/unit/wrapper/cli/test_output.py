"""Tables fit the terminal, and JSON is what was sent."""

import json
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trailseal.cli import _output


@given(st.lists(st.tuples(st.integers(0, 200), st.booleans()), min_size=1, max_size=8))
def test_the_widest_columns_give_way_and_whole_ones_never(columns: list[tuple[int, bool]]) -> None:
    """A line fits into 80 columns unless nothing more can give way; no column grows."""
    before = [width for width, _ in columns]
    whole = [keep for _, keep in columns]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_output, "_width", lambda: 80)
        after = _output._fitting(list(before), whole)
    for old, new, keep in zip(before, after, whole, strict=True):
        assert new == old if keep else min(old, _output.NARROWEST) <= new <= old
    total = sum(after) + len(_output.GAP) * (len(after) - 1)
    assert total <= 80 or all(
        keep or new <= _output.NARROWEST for new, keep in zip(after, whole, strict=True)
    )


@given(st.text())
def test_json_on_a_terminal_is_the_same_value_and_moves_no_cursor(text: str) -> None:
    """Control characters are escaped; what is read back is what was sent."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
        line = _output.dumps({"a": text})
    assert line.isprintable()
    assert json.loads(line) == {"a": text}


def test_lists_are_json_whatever_their_length(capsys: pytest.CaptureFixture[str]) -> None:
    """None, one, many; one document, or one line each."""
    items: list[dict[str, Any]] = [{"n": number} for number in range(3)]
    for some in (items[:0], items[:1], items):
        assert _output.records(_output.JSON, some, {}) == len(some)
        assert json.loads(capsys.readouterr().out) == some
        _output.records(_output.JSONL, some, {})
        assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == some
