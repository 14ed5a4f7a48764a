"""The store: its migrations, its transactions, and the answers about trees."""

from collections.abc import Callable, Iterator
from hashlib import sha256

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select
from trailseal_server.auth import Caller
from trailseal_server.ingest import Ingest
from trailseal_server.log import inclusion_ranges, node_hash, proof
from trailseal_server.store import Store, micros
from trailseal_server.store.pages import Reader
from trailseal_server.store.schema import events, meta, metadata
from trailseal_server.store.search import Filters
from trailseal_server.store.tiles import Kept, NodeReader

SIZE = 600  # two complete tiles and a part of one
WAIT_S = 20.0


@pytest.fixture(scope="module")
def filled(make_database: Callable[[], str]) -> Iterator[Store]:
    """A log `main` of SIZE events."""
    store = Store.open(make_database())
    ingest = Ingest(store, lambda event: ())
    ingest.start()
    sent = [{"id": f"e{n}", "action": "a", "actor": {"id": f"u{n % 7}"}} for n in range(SIZE)]
    ingest.submit(Caller("k", None, "main", frozenset()), sent).result(WAIT_S)
    assert ingest.stop(WAIT_S)
    yield store
    store.close()


def test_the_migrations_make_the_schema(filled: Store) -> None:
    """What schema.py says is what the database has."""
    with filled.read() as connection:
        context = MigrationContext.configure(connection)
        found = compare_metadata(context, metadata)
    ours = [each for each in found if not str(getattr(each[1], "name", "")).startswith("terms")]
    assert ours == []


def test_a_failed_write_leaves_nothing(filled: Store) -> None:
    """A block that raises is undone."""

    def fail() -> None:
        with filled.write() as connection:
            connection.execute(meta.insert().values(name="x", value="y"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with filled.read() as connection:
        assert connection.execute(select(meta.c.value).where(meta.c.name == "x")).all() == []


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "mysql+pymysql://h/d"])
def test_a_database_that_cannot_keep_promises_is_refused(url: str) -> None:
    """In memory nothing is durable; other engines have no append yet."""
    with pytest.raises(ValueError, match="database"):
        Store.open(url)


@pytest.mark.parametrize("words", ["Straße", "e\u0301tude", "x" * 300, "a_b", "it's 7"])
def test_both_engines_cut_words_alike(make_database: Callable[[], str], words: str) -> None:
    """A message is found by itself, without case and diacritics."""
    store = Store.open(make_database())
    ingest = Ingest(store, lambda event: ())
    ingest.start()
    caller = Caller("k", None, "main", frozenset())
    ingest.submit(caller, [{"action": "a", "message": words}, {"action": "b"}]).result(WAIT_S)
    assert ingest.stop(WAIT_S)
    for query in (words, words.upper() if words.isascii() else words, f'"{words}"'):
        page = Reader(store).list_events("main", Filters(q=query))
        assert len(page.items) == 1, query
    store.close()


def root(leaves: list[bytes]) -> bytes:
    """RFC 6962, 2.1, for at least one leaf."""
    if len(leaves) == 1:
        return leaves[0]
    k = 1 << ((len(leaves) - 1).bit_length() - 1)
    return sha256(b"\x01" + root(leaves[:k]) + root(leaves[k:])).digest()


def leaves_of(store: Store) -> list[bytes]:
    """All leaf hashes of `main`."""
    with store.read() as connection:
        query = select(events.c.leaf_hash).where(events.c.log_id == "main").order_by(events.c.idx)
        return list(connection.execute(query).scalars())


@given(st.data())
def test_inclusion_proofs_from_tiles_lead_to_the_root(filled: Store, data: st.DataObject) -> None:
    """Proofs for any size, one after the other, lead from leaf to root (RFC 9162, 2.1.3.2)."""
    size = data.draw(st.integers(1, SIZE))
    index = data.draw(st.integers(0, size - 1))
    leaves = leaves_of(filled)[:size]
    top, low, high = leaves[index], index, size - 1
    with filled.read() as connection:
        read = NodeReader(connection, "main", size, Kept.of(connection))
        hashes = proof(inclusion_ranges(index, size), read)
    for each in hashes:
        if low & 1 or low == high:
            top = node_hash(each, top)
            while not low & 1 and low:
                low, high = low >> 1, high >> 1
        else:
            top = node_hash(top, each)
        low, high = low >> 1, high >> 1
    assert high == 0
    assert top == root(leaves)


@given(st.integers(-(10**15), 10**17))
def test_times_come_back_as_they_were_written(moment: int) -> None:
    """`parse` undoes `text`."""
    assert micros.parse(micros.text(moment)) == moment


@pytest.mark.parametrize("bad", ["", "2026-01-01", "2026-01-01T00:00:00", "now", "x"])
def test_a_time_without_an_offset_is_refused(bad: str) -> None:
    """It would be another instant elsewhere."""
    with pytest.raises(ValueError):  # noqa: PT011  # from two parsers, in their own words
        micros.parse(bad)
