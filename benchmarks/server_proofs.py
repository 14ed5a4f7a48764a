"""Inclusion proofs of a log's events, made by the server.

Rules:
- At random: each in a transaction of its own, so that nothing is shared but the upper tiles.
- In order: as pages and exports make them, a thousand in a transaction.
- Over HTTP: `getInclusionProof` at random, one connection.
- Rates are of wall time; CPU is this process's, or the server's, and PostgreSQL's. The target is
  for proofs at random.
"""

import random
import time
from collections.abc import Callable
from typing import Any

TARGET_RATE = 1_000  # proofs/s
RANDOM, CHUNKS = 500, 10
CHUNK = 1_000


def proofs(url: str, http: Any, events: int, cpu: Callable[[], float]) -> list[str]:
    """Measure all; the names of those that missed the target. `http` is server_reads.Http, `cpu`
    the milliseconds of this process and the database."""
    from trailseal_server.store import Store, selections
    from trailseal_server.store.proofs import Prover

    print("inclusion proofs")
    store, chosen = Store.open(url), random.Random(1)  # noqa: S311 - a benchmark's choice

    def made(low: int, count: int) -> None:
        with store.read() as connection:
            prover = Prover(connection, selections.find_log(connection, "main"))
            assert prover.size == events, "no checkpoint of all events yet"
            for index in range(low, low + count):
                assert prover.hashes(index)

    def asked() -> Any:
        found = http.get("/v1/proofs/inclusion", {"index": chosen.randrange(events)})
        assert found["hashes"]

    def show(name: str, make: Callable[[], Any], times: int, each: int, used: Any) -> float:
        make()
        began, before = time.perf_counter(), used()
        for _ in range(times):
            make()
        rate = times * each / (time.perf_counter() - began)
        spent = (used() - before) / (times * each) * 1000
        print(f"  {name:52}{rate:9,.0f} proofs/s  CPU {spent:7.0f} µs each", flush=True)
        return rate

    rate = show("at random", lambda: made(chosen.randrange(events), 1), RANDOM, 1, cpu)
    chunk = min(CHUNK, events // 2)
    show("in order", lambda: made(chosen.randrange(events - chunk), chunk), CHUNKS, chunk, cpu)
    show("at random, over HTTP", asked, RANDOM, 1, http.cpu)
    store.close()
    return ["proofs at random"] if rate < TARGET_RATE else []
