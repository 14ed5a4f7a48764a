"""The pending list of PostgreSQL's terms index is put in its place beside the appends."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence

import pytest
from sqlalchemy import text
from trailseal_server.commitments import prepare
from trailseal_server.store import Store
from trailseal_server.store.append_postgresql import copy_terms
from trailseal_server.store.driver import cursor
from trailseal_server.store.terms import derive
from trailseal_server.store.upkeep import FEW, MOST, PAUSE_S, Upkeep

DEADLINE_S = 10.0


@pytest.fixture
def store(postgresql: Callable[[], str]) -> Iterator[Store]:
    """An empty database of its own."""
    found = Store.open(postgresql())
    yield found
    found.close()


@pytest.fixture
def upkeep(store: Store) -> Iterator[Upkeep]:
    """Upkeep that runs until the test ends."""
    found = Upkeep(store)
    found.start()
    yield found
    found.stop()


def _append(store: Store) -> None:
    terms = [derive(prepare({"action": f"x.{n}"}), "key_1", None) for n in range(50)]
    with store.write() as connection, cursor(connection) as on:
        copy_terms(on, "main", 1, enumerate(terms))


def _pages_pending(store: Store) -> int:
    with store.write() as connection:
        clean = connection.exec_driver_sql("SELECT gin_clean_pending_list('terms_by_doc')")
        return int(clean.scalar_one())


def _until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end, "in vain"
        time.sleep(0.01)


@pytest.mark.parametrize("appended", [(MOST,), (MOST - FEW, FEW), (FEW,)], ids=str)
def test_the_pending_list_is_emptied_beside_the_appends(
    store: Store, upkeep: Upkeep, appended: Sequence[int]
) -> None:
    """Nothing is left to be put in its place once many events were appended, or some and then none
    for a while."""
    _append(store)
    for events in appended:
        upkeep.after(events)
    _until(lambda: upkeep.pending == 0)
    upkeep.stop()
    assert _pages_pending(store) == 0


def test_a_few_events_stay_pending(store: Store, upkeep: Upkeep) -> None:
    """Upkeep for each of a few posts would cost more than searches save."""
    _append(store)
    upkeep.after(FEW - 1)
    time.sleep(2.5 * PAUSE_S)
    assert _pages_pending(store) > 0


def test_appends_wait_for_upkeep_that_falls_behind(store: Store, upkeep: Upkeep) -> None:
    """It ends only when it has caught up with them."""
    appended = threading.Event()

    def append() -> None:
        upkeep.after(MOST)
        appended.set()

    with store.write() as connection:
        connection.execute(text("REINDEX INDEX terms_by_doc"))  # locks it until the end
        upkeep.after(MOST)
        _until(lambda: upkeep.pending == 0)  # has begun
        thread = threading.Thread(target=append)
        thread.start()
        assert not appended.wait(PAUSE_S)
    assert appended.wait(DEADLINE_S)
    thread.join()


def test_upkeep_that_cannot_be_done_is_told_once(
    store: Store, upkeep: Upkeep, caplog: pytest.LogCaptureFixture
) -> None:
    """Appends go on without it, and the log does not say it again every time."""
    with store.write() as connection:
        connection.execute(text("DROP INDEX terms_by_doc"))
    for _ in range(3):
        upkeep.after(MOST)
        _until(lambda: upkeep.pending == 0)
    upkeep.stop()
    assert caplog.text.count("trailseal-upkeep: a round failed") == 1
