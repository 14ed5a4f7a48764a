"""Opaque, signed cursors."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trailseal_server.cursors import MAX_CHARS, Cursor, decode, encode, query_hash
from trailseal_server.problems import Problem

SECRET = b"s" * 32
QUERY = query_hash({"log": "a", "order": "desc"})
_INTS = st.integers(-(2**53), 2**53)


@given(st.none() | _INTS, st.lists(_INTS, max_size=3).map(tuple), st.integers(0, 2**40))
def test_a_cursor_comes_back_as_it_was(size: int | None, key: tuple[int, ...], seen: int) -> None:
    """Encoding and decoding is the identity, within the length limit."""
    cursor = Cursor(QUERY, size, 2**52, key, seen)
    text = encode(cursor, SECRET)
    assert len(text) <= MAX_CHARS
    assert decode(text, SECRET, QUERY) == cursor


def test_a_changed_or_foreign_cursor_is_refused() -> None:
    """Every changed character, another secret and another query's cursor are cursor_invalid."""
    text = encode(Cursor(QUERY, 7, 0, (3,)), SECRET)
    changed = [text[:i] + ("A" if c != "A" else "B") + text[i + 1 :] for i, c in enumerate(text)]
    other = query_hash({"log": "b", "order": "desc"})
    tries = [(each, SECRET, QUERY) for each in [*changed, text[:-1], text + "A", text + "=", ""]]
    for bad, secret, query in [*tries, (text, b"t" * 32, QUERY), (text, SECRET, other)]:
        with pytest.raises(Problem) as caught:
            decode(bad, secret, query)
        assert caught.value.code == "cursor_invalid"


@given(st.text())
def test_any_text_that_is_no_cursor_is_refused(text: str) -> None:
    """Nothing but Problem is raised."""
    with pytest.raises(Problem):
        decode(text, SECRET, QUERY)
