"""What of an event the terms index holds, and the form that PostgreSQL takes it in."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text
from trailseal_server.commitments import prepare
from trailseal_server.store import Store, tsvector
from trailseal_server.store.append import MAX_NAMES, Names
from trailseal_server.store.append_postgresql import copy_terms
from trailseal_server.store.driver import cursor
from trailseal_server.store.logs import LogRow
from trailseal_server.store.search import EVERY
from trailseal_server.store.terms import BETWEEN, BREAK, USUAL, Terms, derive, exact_token

values = st.recursive(
    st.none() | st.booleans() | st.text("ab \ue000É", max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["id", "type", "name", "x"]), inner, max_size=3)
    ),
    max_leaves=8,
)
names = st.sampled_from(["id", "action", "actor", "resources", "tags", "subjects", "data", "x"])
events = st.dictionaries(names, values, min_size=1)


def _derive(event: dict[str, Any]) -> Terms:
    return derive(prepare(event), "key_1", None)


@given(events)
def test_the_order_of_members_decides_nothing(event: dict[str, Any]) -> None:
    """What is stored, sorted, has the terms of what was sent: they can be taken out again."""
    sent, stored = _derive(event), _derive(json.loads(prepare(event).body))
    assert set(sent.exact.split()) == set(stored.exact.split())
    assert sorted(tsvector.words(sent.text)) == sorted(tsvector.words(stored.text))
    assert set(sent.names) == set(stored.names)


def test_each_field_is_found_where_it_stands() -> None:
    """Every place that a filter looks at has its token, a list's items as a single one."""
    event = {
        "id": "ev-1",
        "action": "x.done",
        "actor": {"id": "u", "type": "user", "email": "a@b.c", "more": {"id": "deep"}},
        "resources": [{"id": "r1", "type": "t"}, {"id": "r2", "type": "t"}],
        "context": {"source_ip": "::1"},
        "tags": {"team": "red"},
        "subjects": ["s1", "s2"],
        "source": {"name": "app"},
        "note": "free words",
    }
    expected = [
        *(("ingested_by", "key_1"), ("action", "x.done"), ("actor_id", "u")),
        *(("actor_type", "user"), ("actor_email", "a@b.c")),
        *(("resource_id", "r1"), ("resource_id", "r2")),
        *(("resource_type", "t"), ("source_ip", "::1"), ("tag", "team:red"), ("subject", "s1")),
        *(("subject", "s2"), ("source", "app"), ("has", "action"), ("has", "subjects")),
        *(("has", "source"), ("has", "note"), ("lacks", "occurred_at"), ("lacks", "action_type")),
        *(("lacks", "outcome"), ("lacks", "data")),
    ]
    found = _derive(event)
    assert sorted(found.exact.split()) == sorted(exact_token(*each) for each in expected)
    assert "deep" in found.text
    assert "ev-1" not in found.text
    assert {(field, value) for field, value, _ in found.names} == {
        *(("action", "x.done"), ("actor_id", "u"), ("resource_type", "t"), ("source", "app"))
    }


@given(st.lists(st.text("aZ9 _-\0\ue000Éß\u0301й漢\t\x1c\u2028", max_size=8), max_size=6))
def test_an_events_words_are_those_of_its_texts(texts: list[str]) -> None:
    """However fast they are cut: in order, with a free place between two texts."""
    plain = tsvector.words(BETWEEN.join(texts))
    assert [b"\0" if word == BREAK else word.encode() for word in plain] == tsvector._cut(texts)


def test_names_are_known_of_their_log_and_epoch_alone() -> None:
    """What a writer takes for written is written there; too much is forgotten, not kept."""
    names, terms = Names(), [_derive({"action": "x.done", "actor": {"id": "u" * 300}})]
    main = LogRow("main", 1, None, 0, b"", 0, 0, public=False, created_at=0)
    (name,) = names.unknown(main, terms)  # a long value is no name
    assert name[:2] == ("action", "x.done")
    names.learn(main, [name])
    assert not names.unknown(main, terms)
    assert names.unknown(replace(main, names_epoch=1), terms) == [name]
    assert names.unknown(replace(main, log_id="other"), terms) == [name]
    names.learn(main, [("action", str(n), str(n)) for n in range(MAX_NAMES)])
    names.learn(main, [])
    assert names.unknown(main, terms) == [name]


def test_no_usual_member_stands_for_every_event() -> None:
    """What finds every event must be a token that every event has."""
    assert EVERY.tokens == (exact_token("has", "action"),)
    assert "action" not in USUAL


@pytest.fixture(scope="module")
def postgresql_store(postgresql: Callable[[], str]) -> Iterator[Store]:
    """An empty database of its own."""
    store = Store.open(postgresql())
    yield store
    store.close()


WORDS = [
    "one two one",
    f"a b {BREAK} b",
    "É ß \uff11\uff12 x" * 3,
    " ".join(["again"] * 400),
    " ".join(f"w{n}" for n in range(17_000))[:32_000],
    "x " * 16_384 + "last",
    "l" * 600 + " end",
    "ж" * 600 + " Конец \u0439",
    "one\0two \0 three" + BREAK,
    f"É{BREAK}a\0b",
    "",
]


@pytest.mark.parametrize("words", WORDS, ids=range(len(WORDS)))
def test_postgresql_takes_a_document_for_the_same_as_its_text(
    postgresql_store: Store, words: str
) -> None:
    """The binary form is the tsvector that its text form would be."""
    terms = _derive({"action": "x.done", "message": words, "tags": {"k": "one"}})
    placed = [
        f"'7.{word}':{place}"
        for place, word in enumerate(tsvector.words(terms.text), 1)
        if word != BREAK
    ]
    exact = [f"'7={token}'" for token in terms.exact.split()]
    with postgresql_store.write() as connection:
        with cursor(connection) as on:
            copy_terms(on, "main", 7, [(3, terms)])
        statement = "SELECT idx, doc = CAST(:doc AS tsvector), doc::text FROM terms"
        rows = connection.execute(text(statement), {"doc": " ".join([*placed, *exact])}).all()
        connection.execute(text("DELETE FROM terms"))
    assert [tuple(row)[:2] for row in rows] == [(3, True)]
