"""Reading records: any bytes in, records and faults out, in bounded memory."""

import io
import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trailseal.cli import _import_records as reading
from trailseal.cli._exits import Mistake
from trailseal.cli._import_records import Record

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-1000, 1000) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)
OBJECTS = st.lists(st.dictionaries(st.text(max_size=4), VALUES, max_size=3), max_size=5)


def read(data: bytes, *lists: str) -> list[Record]:
    stream = reading.unzipped(io.BufferedReader(io.BytesIO(data)))  # type: ignore[arg-type]
    return list(reading.json_records(stream, lists or ("Records",)))


def values(records: list[Record]) -> list[Any]:
    assert [each.fault for each in records if each.fault] == []
    return [each.value for each in records]


@given(OBJECTS, st.integers(0, 2))
def test_a_list_is_the_same_in_every_form(objects: list[dict[str, Any]], indent: int) -> None:
    """JSON Lines, an array, and a named list, on one line or on many."""
    unnamed = [each for each in objects if not {"Records", "result"} & each.keys()]
    lines = b"".join(json.dumps(each).encode() + b"\n" for each in unnamed)
    assert values(read(lines)) == unnamed
    for document in (unnamed, {"count": 1, "Records": unnamed}):
        assert values(read(json.dumps(document).encode())) == unnamed
        pretty = json.dumps(document, indent=indent, ensure_ascii=False)
        assert values(read(b"\xef\xbb\xbf" + pretty.encode())) == unnamed


@given(st.binary(max_size=300))
def test_any_bytes_are_records_faults_or_one_mistake(data: bytes) -> None:
    """Nothing else is raised, and a place is a number from 1 that never goes back."""
    for reader in (reading.json_records, lambda stream, _: reading.csv_records(stream)):
        try:
            found = list(reader(io.BytesIO(data), ("Records",)))
        except Mistake:
            continue
        places = [each.place for each in found]
        assert places == sorted(places)
        assert all(place >= 1 for place in places)


def test_a_named_list_is_not_taken_out_of_a_text() -> None:
    """The name inside a string, or below a record, is no list of records."""
    tricky = {"note": '"Records": [', "Records": [{"a": {"Records": [1]}}]}
    assert values(read(json.dumps(tricky, indent=1).encode())) == [{"a": {"Records": [1]}}]


def test_a_record_too_long_is_one_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading goes on with the next line."""
    monkeypatch.setattr(reading, "MAX_RECORD", 100)
    found = read(b'{"a":"' + b"x" * 200_000 + b'"}\n{"b":1}\n')
    assert [(each.place, bool(each.fault)) for each in found] == [(1, True), (2, False)]


def test_a_document_larger_than_a_record_is_read_bit_by_bit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One line of 20 MB takes a few MB of memory."""
    monkeypatch.setattr(reading, "MAX_RECORD", 1 << 16)
    element = json.dumps({"k": "v" * 500}).encode()
    count = 20_000
    data = io.BytesIO(b'{"Records":[' + b",".join([element] * count) + b"]}")
    tracemalloc.start()
    try:
        found = sum(1 for each in reading.json_records(data, ("Records",)) if each.value)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found == count
    assert peak < 4 << 20


def test_the_rest_behind_a_broken_element_is_one_fault() -> None:
    """What follows cannot be told apart any more; what came before stands."""
    found = read(b'[\n{"a": 1},\n{"a": }, {"a": 2}]')
    assert [(each.place, each.value, bool(each.fault)) for each in found] == [
        (1, {"a": 1}, False),
        (2, None, True),
    ]
