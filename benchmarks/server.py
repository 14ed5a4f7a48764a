"""The server's write path beside the bare limits of this machine, in one run.

Rules:
- The server, on SQLite with synchronous=FULL or on PostgreSQL with fsync, is WORKERS processes on
  loopback; the load (load.py) comes from another one.
- "Ratio" sets a figure beside the limit that bounds it from above: bare inserts of the same rows,
  in transactions of as many, into the same tables.
- Before anything is counted, a server takes WARM loads and PostgreSQL makes a checkpoint: like one
  that has run for a while, it then has its log's files, whose making costs 15 µs an event.
- `--engine sqlite` or `--engine postgresql` measures one of the two.
"""

import argparse
import hashlib
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import load
from load import BATCH, BATCHES, DEADLINE, event

CLIENTS = 64
BATCH_CLIENTS = 8
WARM = 4  # as many log files as PostgreSQL then fills again
BARE_S = 1.0  # seconds for each bare limit
WORKERS = os.cpu_count() or 1


# The servers: ours, and the contract kernel with nothing behind it.


def serve(url: str, folder: str) -> None:
    from trailseal_server.app import serve as run
    from trailseal_server.settings import Settings

    files = {"log_key_file": Path(folder, "key"), "export_dir": Path(folder, "exports")}
    settings = Settings(database_url=url, port=0, workers=WORKERS, **files)
    run(settings, lambda running: print(running.url, running.key, flush=True))


def kernel() -> None:
    """Routes, key, body, validation and answer of the contract; nothing is hashed or stored."""
    import orjson
    import uvicorn
    from starlette.applications import Starlette
    from starlette.responses import Response
    from starlette.routing import Route
    from trailseal_server import app, contract
    from trailseal_server.auth import Caller
    from trailseal_server.bodies import EVENT, item_validator
    from trailseal_server.settings import Settings

    document = contract.load()
    validate = item_validator(EVENT, document["components"])

    async def authenticate(_request: Any) -> Caller:
        return Caller("key_1", None, "main", frozenset({"admin"}))

    async def batch(call: contract.Call[None]) -> Any:
        results = [
            {"position": n, "errors": validate(e)} for n, e in enumerate(call.body["events"])
        ]
        return Response(orjson.dumps({"results": results}))

    async def single(call: contract.Call[None]) -> Any:
        return Response(orjson.dumps({"id": call.body["id"]}))

    served = {"createEvent": single, "createEvents": batch}
    routes = contract.routes(document, served, authenticate)
    application = Starlette(routes=[Route(path, each) for path, each in routes.fixed.items()])
    application.state.services = None
    with app.listening(Settings(port=0)) as (listener, url):
        print(url, "key", flush=True)
        uvicorn.Server(uvicorn.Config(application, log_config=None, access_log=False)).run(
            [listener]
        )


@contextmanager
def program(name: str, *arguments: str) -> Iterator[tuple[str, str, int]]:
    """A server: its URL, its key and its process id."""
    process = subprocess.Popen(
        [sys.executable, __file__, name, *arguments], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    try:
        url, key = process.stdout.readline().split()
        yield url, key, process.pid
    finally:
        process.terminate()
        process.wait()


class Load:
    """Loads on one server; ids never come twice."""

    def __init__(self, url: str, key: str, pid: int) -> None:
        self._server = (url, key)
        self._pid = pid
        self._first = 0

    def __call__(self, kind: str, clients: int) -> tuple[float, str]:
        """Events/s; and in words the latencies, and the server's CPU time for each event."""
        self._first += 1_000_000
        command = [sys.executable, load.__file__, *self._server, kind, clients, self._first]
        before = self._cpu()
        out = subprocess.run(
            list(map(str, command)), capture_output=True, text=True, check=True
        ).stdout
        events, seconds, p50, p99 = json.loads(out)
        spent = (self._cpu() - before) / events
        words = f"p50 {p50 * 1e3:.1f} ms, p99 {p99 * 1e3:.1f} ms, CPU {spent * 1e6:.0f} µs each"
        return events / seconds, words

    def _cpu(self) -> float:
        """Seconds of CPU that the server's processes have used (Linux; 0 elsewhere)."""
        spent = 0
        for file in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = file.read_text().rpartition(")")[2].split()
            except OSError:  # it has ended
                continue
            if self._pid in {int(file.parent.name), int(fields[1])}:
                spent += int(fields[11]) + int(fields[12])
        return spent / os.sysconf("SC_CLK_TCK")


# The bare limits.


def rate(function: Callable[[], object], units: int = 1) -> float:
    """How often a second `function` can be called, times `units`."""
    calls, began = 0, time.perf_counter()
    while (spent := time.perf_counter() - began) < BARE_S:
        function()
        calls += 1
    return calls * units / spent


def fsyncs(folder: str) -> float:
    with Path(folder, "fsync").open("wb", buffering=0) as file:

        def once() -> None:
            file.write(b"x" * 4096)
            os.fdatasync(file.fileno())

        return rate(once)


def hashing() -> float:
    data, sha256 = b"x" * 70, hashlib.sha256

    def some() -> None:
        for _ in range(1000):
            sha256(data).digest()

    return rate(some, 1000)


class Rows(NamedTuple):
    """What the server stored for the batches, as its tables hold it."""

    events: list[tuple[Any, ...]]
    names: list[tuple[Any, ...]]
    terms: list[Any]


def in_process(folder: str) -> tuple[float, float, Rows]:
    """Events/s that one thread prepares, and that are written without HTTP; and the rows."""
    from trailseal_server import commitments, contract, prepare
    from trailseal_server.auth import Caller
    from trailseal_server.bodies import EVENT, item_validator
    from trailseal_server.ingest import Ingest
    from trailseal_server.store import Store
    from trailseal_server.store.append_sqlite import _EVENTS
    from trailseal_server.store.terms import derive

    validate = item_validator(EVENT, contract.load()["components"])
    caller = Caller("key_1", None, "main", frozenset())
    origin = prepare.Origin("key_1")
    texts = [
        json.dumps([event(n * BATCH + k) for k in range(BATCH)]).encode() for n in range(BATCHES)
    ]
    batches = [json.loads(text) for text in texts]
    prepared = rate(lambda: [prepare.draft(e, validate, origin, "") for e in batches[0]], BATCH)

    store = Store.open(f"sqlite:///{folder}/ours.db")
    ingest = Ingest(store, validate)
    ingest.start()
    began = time.perf_counter()
    futures = [ingest.submit(caller, batch) for batch in batches]
    for future in futures:
        future.result(DEADLINE)
    ours = BATCH * BATCHES / (time.perf_counter() - began)
    ingest.stop(DEADLINE)
    with store.read() as connection:
        columns = _EVENTS[_EVENTS.index("(") + 1 : _EVENTS.index(")")]
        rows = connection.exec_driver_sql(f"SELECT {columns} FROM events ORDER BY idx").all()  # noqa: S608 - ours
        names = connection.exec_driver_sql("SELECT * FROM names").all()
    store.close()
    terms = [derive(commitments.prepare(json.loads(row.body)), "key_1", None) for row in rows]
    return prepared, ours, Rows([tuple(row) for row in rows], [tuple(row) for row in names], terms)


def bare_sqlite(path: str, rows: Rows) -> float:
    """Events/s of a bare insert of the same rows, into a database with the same tables."""
    from trailseal_server.store import Store
    from trailseal_server.store.append_sqlite import _EVENTS, _NAMES, _TERMS

    Store.open(f"sqlite:///{path}").close()
    terms = [((1 << 40) + n, each.exact, each.text) for n, each in enumerate(rows.terms)]
    connection = sqlite3.connect(path, isolation_level=None)
    connection.executescript(
        "PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=16384; PRAGMA cache_size=-32768;"
        "PRAGMA secure_delete=ON;"
    )
    places = ",".join("?" * len(rows.events[0]))
    began = time.perf_counter()
    for at in range(0, len(rows.events), BATCH):
        part = slice(at, at + BATCH)
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(f"{_EVENTS} ({places})", rows.events[part])
        connection.executemany(f"{_TERMS} (?,?,?)", terms[part])
        connection.executemany(f"{_NAMES} (?,?,?,?,?)", rows.names[_share(rows, at)])
        connection.execute("COMMIT")
    took = time.perf_counter() - began
    connection.close()
    return len(rows.events) / took


def bare_postgresql(url: str, rows: Rows) -> float:
    """The same by COPY."""
    import psycopg
    from trailseal_server.store import Store
    from trailseal_server.store.append_postgresql import _EVENTS, _NAMES, _TYPES, copy_terms
    from trailseal_server.store.tsvector import document

    Store.open(url).close()
    docs = list(enumerate(each._replace(document=document(1, each)) for each in rows.terms))
    typed = [(*row[:-1], bool(row[-1])) for row in rows.events]
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        began = time.perf_counter()
        for at in range(0, len(typed), BATCH):
            with connection.cursor() as cursor:
                with cursor.copy(_EVENTS) as copy:
                    copy.set_types(_TYPES)
                    for row in typed[at : at + BATCH]:
                        copy.write_row(row)
                copy_terms(cursor, "main", 1, docs[at : at + BATCH])
                if names := rows.names[_share(rows, at)]:
                    cursor.execute(_NAMES, [list(column) for column in zip(*names, strict=True)])
            connection.commit()
        took = time.perf_counter() - began
        connection.execute("TRUNCATE events, terms, names")
    return len(typed) / took


def checkpoint(url: str) -> None:
    """What PostgreSQL does every few minutes."""
    if url.startswith("postgresql"):
        import psycopg

        with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
            connection.execute("CHECKPOINT")


def _share(rows: Rows, at: int) -> slice:
    """The names that come with a batch."""
    return slice(*(len(rows.names) * each // len(rows.events) for each in (at, at + BATCH)))


# The report.


def show(name: str, figure: float, unit: str, note: str = "") -> None:
    print(f"  {name:44}{figure:11,.0f} {unit:9} {note}", flush=True)


def main(folder: str, engine: str | None) -> None:
    print("bare limits")
    syncs, hashes = fsyncs(folder), hashing()
    show("write 4 KiB and fdatasync", syncs, "/s")
    show("SHA-256 of 70 bytes, one thread", hashes, "/s", f"23 an event: {hashes / 23:,.0f}/s")
    with program("kernel") as at:
        load_ = Load(*at)
        show("contract kernel, batches", load_("batches", BATCH_CLIENTS)[0], "events/s")
        show("contract kernel, single posts", load_("singles", CLIENTS)[0], "/s")
    prepared, ours, rows = in_process(folder)
    show("prepare, one thread", prepared, "events/s", f"{prepared * 23 / hashes:.2f} of SHA-256")
    show("in process, SQLite, batches", ours, "events/s")
    if engine != "postgresql":
        through_http("SQLite", f"sqlite:///{folder}/a.db", bare_sqlite(f"{folder}/b.db", rows))
    if engine != "sqlite":
        from million import postgresql

        with tempfile.TemporaryDirectory() as place:
            Path(place).chmod(0o755)
            with postgresql(Path(place), durable=True) as url:
                through_http("PostgreSQL", url, bare_postgresql(url, rows))


def through_http(name: str, url: str, bare: float) -> None:
    print(f"{name}, {WORKERS} process(es)")
    show("bare insert of the same rows", bare, "events/s")
    with tempfile.TemporaryDirectory() as folder, program("serve", url, folder) as at:
        load_ = Load(*at)
        for _ in range(WARM):
            load_("batches", BATCH_CLIENTS)
        checkpoint(url)
        probes, words = load_("healthz", CLIENTS)
        show(f"/healthz, {CLIENTS} clients", probes, "/s", words)
        for clients in (1, BATCH_CLIENTS):
            found, words = load_("batches", clients)
            note = f"{found / bare:.2f} of bare, {words}"
            show(f"HTTP, batches of {BATCH}, {clients} client(s)", found, "events/s", note)
        for clients in (1, CLIENTS):
            found, words = load_("singles", clients)
            note = f"{found / probes:.2f} of /healthz, {words}"
            show(f"HTTP, single posts, {clients} client(s)", found, "events/s", note)


if __name__ == "__main__":
    programs: dict[str, Callable[..., None]] = {"serve": serve, "kernel": kernel}
    if sys.argv[1:] and sys.argv[1] in programs:
        programs[sys.argv[1]](*sys.argv[2:])
    else:
        parser = argparse.ArgumentParser(description=__doc__)
        parser.add_argument("--engine", choices=["sqlite", "postgresql"])
        with tempfile.TemporaryDirectory() as folder:
            main(folder, parser.parse_args().engine)
