"""A log of a million typical events, built once through the server's own ingest.

Rules:
- The events vary as a service's do: 3,000 actors, resources of their own, nine usual actions and
  rare ones, two months of `occurred_at`, a short message. Their number decides all of it, so that
  a database can be kept and used again.
- Values are common (most events), usual (one in 5 to 20), rare (one in 1,000 and one in 100,000)
  and absent.
- PostgreSQL is a cluster of its own in the folder, on a socket; without fsync unless `durable`.
"""

import os
import pwd
import shutil
import signal
import subprocess
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from load import event as base_event

BATCH = 1_000
AHEAD = 3  # batches prepared while one is written
DEADLINE = 60.0  # seconds for PostgreSQL to start, and for one batch
FIRST = datetime(2026, 9, 1, tzinfo=UTC)
SPACING = timedelta(seconds=5)

ACTIONS = (
    *("invoice.read", "invoice.read", "invoice.read", "invoice.updated", "invoice.deleted"),
    *("user.login", "user.invited", "role.granted", "report.exported"),
)
SOURCES = ("billing", "billing", "web", "mobile", "admin")
TEAMS = ("billing", "sales", "support", "platform", "legal")
WORDS = (
    *("payment", "accepted", "refused", "after", "second", "review", "customer", "asked"),
    *("limit", "raised", "card", "expired", "address", "changed", "order", "shipped"),
    *("contract", "signed", "quarter", "closed"),
)


def event(number: int) -> dict[str, Any]:
    """The event of this number; about 900 bytes of JSON."""
    found = base_event(number)
    spread = number * 2_654_435_761 % (1 << 32)  # Knuth's multiplicative hash: no pattern in order
    action = ACTIONS[spread % len(ACTIONS)]
    if number % 1_000 == 7:
        action = "backup.restored"
    if number % 100_000 == 11:
        action = "vault.opened"
    words = [WORDS[(spread >> shift) % len(WORDS)] for shift in (3, 7, 11, 15, 19, 23)]
    return found | {
        "occurred_at": (FIRST + SPACING * (number + spread % 100)).isoformat(),
        "action": action,
        "action_type": "read" if action.endswith(".read") else "update",
        "outcome": "failure" if spread % 20 == 0 else "success",
        "severity": ("info", "info", "low", "medium", "high")[spread % 5],
        "source": {"name": SOURCES[spread % 5], "version": "4.2.0"},
        "message": " ".join(words),
        "tags": {"team": TEAMS[spread % 7 % 5], "batch": f"b{number // 10_000}"},
        "data": {"amount": spread % 100_000, "count": number % 7, "paid": spread % 2 == 0},
    }


def build(url: str, events: int) -> float:
    """Fill the log `main` up to this size; events/s."""
    from trailseal_server import contract
    from trailseal_server.auth import Caller
    from trailseal_server.bodies import EVENT, item_validator
    from trailseal_server.ingest import Ingest
    from trailseal_server.store import Store, logs

    store = Store.open(url)
    ingest = Ingest(store, item_validator(EVENT, contract.load()["components"]))
    caller = Caller("key_1", None, "main", frozenset())
    with store.read() as connection:
        log = logs.find(connection, "main")
    done = 0 if log is None else log.size
    began, first = time.perf_counter(), done
    ingest.start()
    waiting: deque[Future[Any]] = deque()
    while done < events:
        count = min(BATCH, events - done)
        waiting.append(ingest.submit(caller, [event(n) for n in range(done, done + count)]))
        done += count
        if len(waiting) > AHEAD:
            _written(waiting.popleft())
        if done % 100_000 == 0:
            print(f"  built {done:,}", flush=True)
    for future in waiting:
        _written(future)
    ingest.stop(DEADLINE)
    if store.engine.dialect.name == "postgresql":
        with store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("VACUUM ANALYZE")  # as autovacuum does by and by
    store.close()
    return (done - first) / (time.perf_counter() - began)


def _written(future: "Future[Any]") -> None:
    assert all(item.status == "created" for item in future.result(DEADLINE))


@contextmanager
def postgresql(folder: Path, *, durable: bool = False) -> Iterator[str]:
    """The URL of a database in a cluster that lies in the folder, and runs until the end.

    `durable`: as docs/production.md sets it up. A commit is on the disk before it answers.
    """
    found = shutil.which("initdb") or max(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    binaries = Path(found).resolve().parent
    owner: dict[str, Any] = {}
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        known = {user.pw_name for user in pwd.getpwall()}
        owner = {
            "user": next(u for u in ("postgres", "nobody") if u in known),
            "extra_groups": [],
        }
        shutil.chown(folder, owner["user"])
    data = folder / "data"
    if not data.exists():
        made = [binaries / "initdb", "-D", data, "-U", "trailseal", "-A", "trust", "-E", "UTF8"]
        subprocess.run([*made, "--no-sync"], cwd=folder, check=True, capture_output=True, **owner)
    options = ["-clisten_addresses=", "-cmax_wal_size=4GB"]
    options += ["-cshared_buffers=1GB"] if durable else ["-cfsync=off"]
    with (folder / "postgresql.log").open("ab") as log:
        process = subprocess.Popen(
            [binaries / "postgres", "-D", data, "-k", folder, *options],
            cwd=folder, stderr=log, **owner,
        )  # fmt: skip
    try:
        _create_database(f"host={folder} user=trailseal")
        yield f"postgresql+psycopg://trailseal@/reads?host={folder}"
    finally:
        process.send_signal(signal.SIGINT)  # do not wait for clients
        process.wait(DEADLINE)


def _create_database(address: str) -> None:
    import psycopg

    deadline = time.monotonic() + DEADLINE
    while True:
        try:
            with psycopg.connect(f"{address} dbname=postgres", autocommit=True) as connection:
                known = "SELECT 1 FROM pg_database WHERE datname = 'reads'"
                if connection.execute(known).fetchone() is None:
                    connection.execute("CREATE DATABASE reads")
                return
        except psycopg.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
