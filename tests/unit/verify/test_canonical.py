"""Strict parsing, and canonical bytes with and without the fast path."""

import json
import sys
from contextlib import suppress

import orjson
import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st
from trailseal.verify import canonical
from trailseal.verify.errors import MalformedError

LIMIT = canonical.MAX_NUMBER
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-LIMIT, LIMIT)
    | st.floats(-LIMIT, LIMIT, allow_nan=False)
    | TEXT
)
VALUES = st.recursive(SCALARS, lambda v: st.lists(v) | st.dictionaries(TEXT, v), max_leaves=20)


@pytest.fixture(params=["orjson", "no orjson"])
def _paths(request, monkeypatch) -> None:
    """Both ways through `canonical`."""
    if request.param == "no orjson":
        monkeypatch.setattr(canonical, "orjson", None)


@pytest.mark.row("P-64")
@pytest.mark.usefixtures("_paths")
def test_canonical_bytes_are_those_of_rfc_8785() -> None:
    """Any JSON value, by the reference implementation."""

    @given(VALUES)
    def check(value: object) -> None:
        assert canonical.canonical(value) == rfc8785.dumps(value)

    check()


@given(SCALARS)
def test_a_scalars_text_is_that_of_rfc_8785(value) -> None:
    """Without orjson, and without rfc8785 except for floats."""
    assert canonical.scalar(value).encode() == rfc8785.dumps(value)


@given(VALUES)
def test_what_is_written_is_read_back(value) -> None:
    """`loads` and `canonical` are inverse, from bytes and from text."""
    text = canonical.canonical(value)
    assert canonical.canonical(canonical.loads(text)) == text
    assert canonical.loads(text) == canonical.loads(text.decode()) == json.loads(text)


@given(st.binary() | st.text())
def test_any_input_gives_a_value_or_our_error(text) -> None:
    """Parsers let nothing else out."""
    with suppress(MalformedError):
        canonical.loads(text)


REFUSED = {
    "duplicate key": '{"a":1,"a":1}',
    "duplicate key, escaped": '{"a":1,"\\u0061":2}',
    "duplicate key, deep": '[{"b":{"a":1,"a":2}}]',
    "NaN": "NaN",
    "Infinity": "[-Infinity]",
    "2^53": "9007199254740992",
    "-2^53": "-9007199254740992",
    "2^53 as a fraction": "9007199254740992.0",
    "2^53 with an exponent": "9007199254740992e0",
    "a huge exponent": "1e400",
    "a number of many digits": "1" * 5000,
    "lone high surrogate": '"\\ud800"',
    "lone low surrogate": '{"\\uDFFF":1}',
    "surrogates the wrong way round": '"\\udc00\\ud800"',
    "a raw surrogate": '"\ud800"',
    "not UTF-8": b'"\xff"',
    "a surrogate in UTF-8": b'"\xed\xa0\x80"',
    "UTF-16": '"a"'.encode("utf-16"),
    "a byte order mark": b"\xef\xbb\xbf{}",
    "a control character": '"\n"',
    "too deep": "[" * 65 + "]" * 65,
    "far too deep": "[" * 100_000,
    "too deep in objects": '{"a":' * 65 + "1" + "}" * 65,
    "two values": "1 2",
    "nothing": "",
}


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED)
def test_what_readers_could_understand_differently_is_refused(text) -> None:
    """Each fault is our own error, and the text is not quoted."""
    with pytest.raises(MalformedError):
        canonical.loads(text)


@given(st.floats(2**53, allow_nan=False, allow_infinity=False), st.booleans())
def test_a_float_beyond_the_limit_is_refused_however_it_is_spelled(number, negative) -> None:
    """As Python, JCS and orjson write it, alone and inside."""
    number = -number if negative else number
    for text in (json.dumps(number).encode(), rfc8785.dumps(number), orjson.dumps(number)):
        for around in (b"%b", b"[%b]", b'{"a":%b}', b"[%b,1]"):
            with pytest.raises(MalformedError):
                canonical.loads(around % text)


def test_limits_are_allowed_themselves() -> None:
    """64 levels, ±(2^53-1), pairs of surrogates, escaped backslashes."""
    assert canonical.loads("[" * 64 + "]" * 64)
    assert canonical.loads(f"[{LIMIT},-{LIMIT},{LIMIT}.0]") == [LIMIT, -LIMIT, LIMIT]
    assert canonical.loads('["\\ud83d\\ude00","\\\\ud800"]') == ["😀", "\\ud800"]
    assert canonical.loads("[" + "[]," * 100 + "[]]")


BAD_VALUES = [
    {1: 2},
    LIMIT + 1,
    float(LIMIT + 1),
    [0.5, LIMIT + 1],
    float("nan"),
    "\ud800",
    {"\ud800": 1},
    b"bytes",
    {"a": {1}},
    sys,
]


@pytest.mark.usefixtures("_paths")
def test_what_is_no_json_is_not_written() -> None:
    """The same refusals with and without the fast path."""
    deep: object = []
    for _ in range(64):
        deep = [deep]
    for value in [*BAD_VALUES, deep]:
        with pytest.raises(MalformedError):
            canonical.canonical(value)
