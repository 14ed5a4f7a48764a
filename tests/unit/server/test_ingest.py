"""Ingest on real SQLite files: against a model, in threads and processes, and after a SIGKILL."""

import json
import secrets
import signal
import subprocess
import sys
import textwrap
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from hashlib import sha256
from itertools import count
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select
from trailseal_server.auth import Caller
from trailseal_server.ingest import COMPANY, STEPS, Ingest
from trailseal_server.log import extend, fold, split
from trailseal_server.problems import FieldError, Problem
from trailseal_server.results import ItemResult
from trailseal_server.store import Store, logs, micros
from trailseal_server.store.fts5 import fts5
from trailseal_server.store.schema import events
from trailseal_server.store.search import EVERY
from trailseal_server.store.tiles import NodeReader
from trailseal_server.targets import Target, target_of

CALLER = Caller("key_1", None, "main", frozenset())
WAIT_S = 20.0


def valid(event: dict[str, Any]) -> list[FieldError]:
    """The one rule these tests need."""
    return [] if "action" in event else [FieldError("field_required", "/action", "is required")]


@pytest.fixture
def ingest(store: Store) -> Iterator[Ingest]:
    """A started write side."""
    ingest = Ingest(store, valid)
    ingest.start()
    yield ingest
    assert ingest.stop(WAIT_S)


def event(number: int, **members: Any) -> dict[str, Any]:
    """An event with an id."""
    return {"id": f"e{number}", "action": "a.b", **members}


def write(ingest: Ingest, *sent: dict[str, Any], **how: Any) -> list[ItemResult]:
    """Submit and wait."""
    return ingest.submit(how.pop("caller", CALLER), sent, **how).result(WAIT_S)


def check_log(store: Store, log_id: str) -> list[str]:
    """A log's ids in order, after its indexes, leaves and edge were found to agree."""
    with store.read() as connection:
        row = logs.find(connection, log_id)
        assert row is not None
        query = select(events).where(events.c.log_id == log_id).order_by(events.c.idx)
        rows = connection.execute(query).all()
        read = NodeReader(connection, log_id, row.size)
        assert [read(0, index) for index in range(row.size)] == [each.leaf_hash for each in rows]
        every = f"WHERE terms MATCH '{fts5(EVERY)}'" if connection.dialect.name == "sqlite" else ""
        terms = connection.exec_driver_sql(f"SELECT count(*) FROM terms {every}").scalar()  # noqa: S608 - ours
        assert terms == connection.execute(select(func.count()).select_from(events)).scalar()
    assert [each.idx for each in rows] == list(range(row.size))
    assert fold(split(row.edge)) == fold(extend([], 0, [each.leaf_hash for each in rows]))
    times = [each.received_at for each in rows]
    assert times == sorted(times)
    return [each.event_id for each in rows]


def test_where_many_write_at_once_a_transaction_waits_for_those_that_come(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a transaction of several requests the next one begins when no more come, and soon in
    any case; a writer that is alone never waits."""
    numbers, during, coming, naps = count(), 0, 0, 0
    answers: list[Future[list[ItemResult]]] = []

    def submit() -> None:
        answers.append(ingest.submit(CALLER, [event(next(numbers))]))

    def clock() -> int:
        nonlocal during
        for _ in range(during):  # they come while a transaction runs, and make up the next one
            submit()
        during = 0
        return micros.now()

    def nap(_seconds: float) -> None:
        nonlocal coming, naps
        naps += 1
        if coming:
            coming -= 1
            submit()

    def transactions() -> int:
        """Of what was submitted since this was asked last."""
        answers[0].result(WAIT_S)  # what came while it waited was submitted before
        receipts = [answer.result(WAIT_S)[0].receipt for answer in answers]
        answers.clear()
        return len({receipt.received_at for receipt in receipts if receipt})

    fake = SimpleNamespace(sleep=nap, monotonic=time.monotonic)
    monkeypatch.setattr("trailseal_server.ingest.time", fake)
    ingest = Ingest(store, valid, clock=clock)
    ingest.start()
    try:
        during = COMPANY
        submit()
        assert (transactions(), naps) == (2, 0), "the first is alone, and the second comes after it"
        coming = 2 * STEPS
        submit()
        assert (transactions(), naps) == (1, STEPS), "it does not wait for ever"
        coming, naps = 3, 0
        submit()
        assert (transactions(), naps) == (1, 3 + 1), "no more came"
        naps = 0
        submit()
        assert (transactions(), naps) == (1, 0), "those were few"
    finally:
        assert ingest.stop(WAIT_S)


batches = st.lists(
    st.tuples(
        st.lists(st.tuples(st.integers(0, 12), st.integers(0, 1)), min_size=1, max_size=8),
        st.booleans(),
    ),
    max_size=10,
)


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(batches)
def test_append_behaves_as_a_dict_and_a_list(
    store: Store, ingest: Ingest, requests: list[tuple[list[tuple[int, int]], bool]]
) -> None:
    """Random batches with replays, conflicts and repeated ids, atomic or not, against a model."""
    log_id = f"log-{secrets.token_hex(8)}"
    caller = Caller("key_1", None, log_id, frozenset())
    model: dict[str, int] = {}  # id to content, in the log's order
    for batch, atomic in requests:
        sent = [event(number, data=content) for number, content in batch]
        expected, after = [], dict(model)
        seen: set[str] = set()
        for item in sent:
            if item["id"] in seen:
                expected.append("duplicate_event_id")
            elif item["id"] not in model:
                expected.append("created")
                after[item["id"]] = item["data"]
            else:
                same = model[item["id"]] == item["data"]
                expected.append("duplicate" if same else "event_id_conflict")
            seen.add(item["id"])
        if atomic and not set(expected) <= {"created", "duplicate"}:
            with pytest.raises(Problem):
                write(ingest, *sent, atomic=True, caller=caller)
            continue
        results = write(ingest, *sent, atomic=atomic, caller=caller)
        assert [r.error.code if r.error else r.status for r in results] == expected
        for item, result in zip(sent, results, strict=True):
            if result.receipt is not None:
                assert list(after).index(item["id"]) == result.receipt.index
        model = after
    if model:
        assert check_log(store, log_id) == list(model)


def test_a_replay_gets_the_first_receipt_and_other_content_conflicts(ingest: Ingest) -> None:
    """The id is the event's identity, and equality is that of JCS."""
    first = write(ingest, event(1, data={"a": 1, "b": 2.0}))[0]
    again = write(ingest, event(1, data={"b": 2, "a": 1}))[0]
    assert first.receipt is not None
    assert again.receipt is not None
    assert (again.status, again.receipt.replayed) == ("duplicate", True)
    assert again.receipt.leaf_hash == first.receipt.leaf_hash
    other = write(ingest, event(1, data={"a": 2}))[0]
    assert other.error is not None
    assert other.error.code == "event_id_conflict"


def test_a_bad_event_is_one_failed_item_that_says_where(ingest: Ingest) -> None:
    """The others are written, and results stay in input order."""
    bad = {"id": "bad", "data": 1}
    huge = event(3, data={"n": 2**60})
    results = write(ingest, event(1), bad, event(2), huge)
    assert [item.status for item in results] == ["created", "failed", "created", "failed"]
    pointers = [item.error.errors[0].pointer for item in results if item.error]
    assert pointers == ["/events/1/action", "/events/3/data/n"]


def test_what_is_no_object_is_a_failed_item(ingest: Ingest) -> None:
    """It spoils no other event."""
    results = write(ingest, event(1), 7, [])  # type: ignore[arg-type]
    assert [item.status for item in results] == ["created", "failed", "failed"]
    assert [item.error.errors[0].pointer for item in results if item.error] == [
        "/events/1",
        "/events/2",
    ]


def test_an_id_that_was_filled_in_is_no_part_of_the_checksum(ingest: Ingest) -> None:
    """A checksum is over what was sent; reserved names are free in free JSON."""
    sent = {"action": "a", "data": {"__typename": "x"}}
    digest = sha256(b'{"action":"a","data":{"__typename":"x"}}').digest()
    results = write(ingest, {**sent, "checksum": b64encode(digest).decode()})
    assert results[0].status == "created"


def test_tenants_logs_are_made_at_their_first_event_and_found_again(
    ingest: Ingest, store: Store
) -> None:
    """A batch may mix tenants; a tenant id that is no log id gets a generated log."""
    sent = [event(1, tenant_id="acme"), event(2, tenant_id="Ä B"), event(3, tenant_id="acme")]
    receipts = [item.receipt for item in write(ingest, *sent)]
    found = [receipt.log_id for receipt in receipts if receipt is not None]
    assert found[0] == found[2] == "acme"
    assert logs.LOG_ID.fullmatch(found[1])
    again = write(ingest, event(4, tenant_id="Ä B"))[0].receipt
    assert again is not None
    assert again.log_id == found[1]
    with pytest.raises(Problem, match="atomic"):
        write(ingest, *(event(n, tenant_id=f"t{n}") for n in (5, 6)), atomic=True)


def test_a_bound_key_reaches_its_own_tenant_only(ingest: Ingest) -> None:
    """Another tenant's log is not there; a wrong tenant_id is named."""
    bound = Caller("key_2", "acme", None, frozenset())
    assert write(ingest, event(1, tenant_id="other"))[0].status == "created"
    codes = [
        write(ingest, event(2), caller=bound, log_id="other")[0].error,
        write(ingest, event(2, tenant_id="other"), caller=bound)[0].error,
    ]
    assert [each and each.code for each in codes] == ["log_not_found", "tenant_mismatch"]
    assert write(ingest, event(2), caller=bound)[0].status == "created"


def test_which_log_follows_the_contract() -> None:
    """log_id, then tenant_id, then the key's tenant, then its default log."""
    bound = Caller("k", "acme", "own", frozenset())
    assert target_of(bound, "x", None) == Target(log_id="x")
    assert target_of(CALLER, None, "t") == Target(tenant_id="t")
    assert target_of(bound, None, None) == Target(tenant_id="acme")
    assert target_of(CALLER, None, None) == Target(log_id="main")
    with pytest.raises(Problem) as caught:
        target_of(Caller("k", None, None, frozenset()), None, None)
    assert caught.value.code == "log_required"


def test_threads_of_two_writers_leave_no_gap(store: Store) -> None:
    """Two write sides on one database, as two processes would be, eight threads each."""
    sides = [Ingest(store, valid), Ingest(store, valid)]
    for side in sides:
        side.start()

    def work(worker: int) -> None:
        for number in range(20):
            assert write(sides[worker % 2], event(worker * 100 + number))[0].status == "created"

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
    assert all(side.stop(WAIT_S) for side in sides)
    assert len(set(check_log(store, "main"))) == 160


def test_many_events_fill_tiles(ingest: Ingest, store: Store) -> None:
    """Tiles are complete wherever batches end."""
    number = 0
    for size in (1, 255, 256, 300, 700):
        write(ingest, *(event(number + n) for n in range(size)))
        number += size
    assert len(check_log(store, "main")) == number


def test_a_stopped_ingest_refuses(store: Store) -> None:
    """Nothing is accepted that nobody will write."""
    ingest = Ingest(store, valid)
    with pytest.raises(Problem) as caught:
        ingest.submit(CALLER, [event(1)])
    assert caught.value.code == "unavailable"


CHILD = textwrap.dedent("""
    import sys
    from trailseal_server.auth import Caller
    from trailseal_server.ingest import Ingest
    from trailseal_server.store import Store
    ingest = Ingest(Store.open(sys.argv[1]), lambda event: ())
    ingest.start()
    caller = Caller("key_1", None, "main", frozenset())
    for number in range(1_000_000):
        item = ingest.submit(caller, [{"id": f"e{number}", "action": "a"}]).result(20)[0]
        print(item.receipt.index, item.receipt.leaf_hash, flush=True)
""")


def test_killed_process_keeps_every_acknowledged_event(make_database: Callable[[], str]) -> None:
    """SIGKILL while it writes: what was acknowledged is there, once, in its place."""
    for round_ in range(3):
        target = make_database()
        child = subprocess.Popen(  # our own interpreter and program
            [sys.executable, "-c", CHILD, target], stdout=subprocess.PIPE, text=True
        )
        assert child.stdout is not None
        lines = [child.stdout.readline() for _ in range(30 + 17 * round_)]
        child.send_signal(signal.SIGKILL)
        lines += child.stdout.read().splitlines(keepends=True)
        child.stdout.close()
        child.wait(WAIT_S)
        store = Store.open(target)
        acknowledged = [line.split() for line in lines if line.endswith("\n")]
        ids = check_log(store, "main")
        assert ids[: len(acknowledged)] == [f"e{number}" for number in range(len(acknowledged))]
        with store.read() as connection:
            rows = connection.execute(select(events.c.leaf_hash).order_by(events.c.idx)).scalars()
            hashes = [each.hex() for each in rows]
        assert all(hashes[int(index)] == leaf for index, leaf in acknowledged)
        store.close()


def test_a_signature_and_a_checksum_are_checked(ingest: Ingest) -> None:
    """A wrong one fails its event, by name."""
    signed = event(1, seed="A" * 43, signature={"algorithm": "ed25519", "key_id": "k"})
    signed["signature"] |= {"value": "AA==", "public_key": "AA=="}
    results = write(ingest, signed, event(2, checksum="AA=="))
    assert [item.error and item.error.code for item in results] == [
        "signature_invalid",
        "checksum_mismatch",
    ]
    assert json.dumps([str(item.error) for item in results]).count("AA==") == 0


def test_a_caller_that_goes_away_does_not_stop_the_writer(ingest: Ingest) -> None:
    """What was accepted is written, cancelled or not, and the next request too."""
    future = ingest.submit(CALLER, [event(1)])
    assert not future.cancel()
    assert future.result(WAIT_S)[0].status == "created"
    assert write(ingest, event(1))[0].status == "duplicate"
