"""Field commitments against the shared vectors, and the fast path against rfc8785."""

import json
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st
from trailseal_server import commitments as c
from trailseal_server import extent

VECTORS = Path(__file__).parents[4] / "shared/vectors/trailseal/entries.json"
CASES = json.loads(VECTORS.read_text())["cases"] if VECTORS.exists() else []

numbers = st.integers(-c.MAX_NUMBER, c.MAX_NUMBER) | st.floats(
    -c.MAX_NUMBER, c.MAX_NUMBER, allow_nan=False
)
texts = st.text(st.characters(exclude_categories=("Cs",)))
keys = texts
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=20,
)
events = st.dictionaries(keys, values, max_size=6)


@pytest.mark.skipif(not CASES, reason="the shared vectors are not beside the project")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case["desc"])
def test_an_event_becomes_the_leaf_that_the_vectors_say(case: dict[str, Any]) -> None:
    """Fields, fields_hash, entry and leaf hash are those of an independent program."""
    event = {k: v for k, v in case["event"].items() if k not in {"seed", "signature", "checksum"}}
    prepared, seed = c.prepare(event), c.decode_seed(case["seed"])
    hashes = c.field_hashes(prepared, seed)
    assert [each.hex() for each in hashes] == [field["hash"] for field in case["fields"]]
    committed = c.fields_hash(prepared, seed)
    assert committed == case["fields_hash"]
    entry = c.entry(
        log_id=case["log_id"],
        event_id=event["id"],
        received_at=case["received_at"],
        ingested_by=case["ingested_by"],
        committed=committed,
        signature=case.get("signature"),
    )
    assert entry.decode() == case["entry"]
    assert c.leaf_hash(entry).hex() == case["leaf_hash"]
    if "signing_input" in case:
        assert c.signing_input(event["id"], committed).decode() == case["signing_input"]


@given(events)
def test_the_fast_path_writes_the_bytes_of_rfc8785(event: dict[str, Any]) -> None:
    """The stored body is JCS whatever the event holds."""
    assert c.prepare(event).body == rfc8785.dumps(event)


def _flat(value: Any, path: list[Any]) -> list[tuple[bytes, bytes]]:
    if isinstance(value, dict) and value:
        return [each for k, v in value.items() for each in _flat(v, [*path, k])]
    if isinstance(value, list) and value:
        return [each for i, v in enumerate(value) for each in _flat(v, [*path, i])]
    return [(rfc8785.dumps(path), rfc8785.dumps(value))]


@given(events.filter(bool))
def test_fields_are_those_of_the_plain_definition(event: dict[str, Any]) -> None:
    """Every scalar and empty container is a field, ordered by the bytes of JCS(path)."""
    prepared = c.prepare(event)
    fields = list(zip(prepared.paths, prepared.values, strict=True))
    assert fields == sorted(_flat(event, []))


def _nest(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("event", "code", "pointer"),
    [
        ({"data": {"n": 2**53}}, "event_invalid", "/data/n"),
        ({"data": [1.0, -1e300]}, "event_invalid", "/data/1"),
        ({"data": float("nan")}, "event_invalid", "/data"),
        ({"data": {"a/b": {"~": "\ud800"}}}, "event_invalid", "/data/a~1b/~0"),
        ({"data": {"\ud800": 1}}, "event_invalid", "/data"),
        ({"data": {1, 2}}, "field_type", "/data"),
        ({"data": _nest(c.MAX_DEPTH)}, "event_invalid", "/data" + "/0" * (c.MAX_DEPTH - 1)),
    ],
)
def test_what_cannot_be_committed_to_is_refused_by_name(
    event: dict[str, Any], code: str, pointer: str
) -> None:
    """The refusal names the place and the code."""
    with pytest.raises(c.EventError) as caught:
        c.prepare(event)
    assert (caught.value.code, caught.value.pointer) == (code, pointer)


def test_64_levels_are_accepted() -> None:
    """The event itself is the first level."""
    assert len(c.prepare({"data": _nest(c.MAX_DEPTH - 1)}).paths) == 1


@pytest.mark.parametrize("seed", ["", "AA", "*" * 43, "A" * 42 + "=", "A" * 42 + "B", "A" * 44])
def test_a_seed_that_is_not_32_bytes_in_one_spelling_is_refused(seed: str) -> None:
    """Two spellings of one seed would be two events."""
    with pytest.raises(c.EventError):
        c.decode_seed(seed)


def test_new_seeds_are_well_formed_and_different() -> None:
    """A server's seed passes the rule for a client's."""
    assert len(c.decode_seed(c.encode_seed(c.new_seed()))) == c.SEED_BYTES
    assert c.new_seed() != c.new_seed()


@pytest.mark.parametrize("other", [{}, {"text": "\ud800"}], ids=["json", "no-json"])
def test_too_many_values_are_refused_before_any_is_looked_at(other: dict[str, Any]) -> None:
    """10,000 at any depth, whoever asks: the price of a commitment is by the value."""
    c.prepare({"list": [[]] * (extent.MAX_VALUES - 1)})
    with pytest.raises(c.EventError) as caught:
        c.prepare({**other, "list": [[]] * (extent.MAX_VALUES + 1), "number": 2**60})
    assert (caught.value.code, caught.value.pointer) == ("event_too_large", "")
