"""The server's write path beside the bare limits of this machine, in one run.

Rules:
- The server, on SQLite with synchronous=FULL, is one process on loopback; the load comes from
  another one, over plain sockets, with bodies made before the clock starts.
- Every event has an id of its own and 22 fields; actors, resources and sources vary as in a service
  of some thousand users. Every answer is read, and its status checked.
- "Ratio" sets a figure beside the limit that bounds it from above.
"""

import hashlib
import json
import os
import selectors
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

BATCH = 1_000
BATCHES = 24
SINGLES = 6_000
PROBES = 10_000
CLIENTS = 64
BATCH_CLIENTS = 8
WORKERS = os.cpu_count() or 1
BARE_S = 1.0  # seconds for each bare limit
DEADLINE = 120.0  # seconds for a load
PREFIX = "0192f0c1-2b7e-7c3a-9a55-"


def event(number: int) -> dict[str, Any]:
    """A typical event, of 22 fields."""
    return {
        "id": f"{PREFIX}{number:012x}",
        "occurred_at": "2026-11-20T10:15:30.123456Z",
        "action": ("invoice.deleted", "invoice.read", "user.invited", "role.granted")[number % 4],
        "action_type": "delete",
        "outcome": "success",
        "actor": {
            "id": f"user_{number % 3000}",
            "type": "user",
            "name": f"Alice Example {number % 3000}",
            "email": f"alice{number % 3000}@example.com",
        },
        "resources": [
            {
                "id": f"inv_{number}",
                "type": "invoice",
                "name": f"Invoice {number % 5000}",
            },
            {"id": f"acct_{number % 100}", "type": "account"},
        ],
        "context": {
            "source_ip": f"2001:db8::{number % 1000:x}",
            "user_agent": "Mozilla/5.0 (X11; Linux x86_64)",
            "request_id": f"req-{number}",
        },
        "tags": {"team": "billing"},
        "data": {"amount": 1250, "count": 3, "paid": False, "note": None},
    }


# The load: its own process, one thread, as many connections as asked for.


def exchange(url: str, requests: Sequence[bytes], clients: int) -> tuple[float, list[float]]:
    """Send all requests, one at a time on each connection; seconds in all, and for each."""
    host, port = url.removeprefix("http://").split(":")
    waiting = iter(requests)
    poll = selectors.DefaultSelector()
    taken: list[float] = []
    began = time.perf_counter()
    for _ in range(clients):
        connection = socket.create_connection((host, int(port)))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _next(connection, waiting, poll, fresh=True)
    while poll.get_map():
        if time.perf_counter() - began > DEADLINE:
            raise TimeoutError("the server did not answer in time")
        for key, _ in poll.select(1.0):
            buffer, sent = key.data
            buffer += key.fileobj.recv(1 << 20)  # type: ignore[union-attr]
            head, found, body = buffer.partition(b"\r\n\r\n")
            length = head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]
            if found and len(body) == int(length):
                assert buffer[9:10] == b"2", bytes(buffer[:500])
                assert b'"failed":0' in body or b'"failed":' not in body, bytes(body[:500])
                taken.append(time.perf_counter() - sent)
                _next(key.fileobj, waiting, poll)
    return time.perf_counter() - began, taken


def _next(connection: Any, waiting: Iterator[bytes], poll: Any, *, fresh: bool = False) -> None:
    request = next(waiting, None)
    if request is None:
        if not fresh:
            poll.unregister(connection)
        connection.close()
        return
    change = poll.register if fresh else poll.modify
    change(connection, selectors.EVENT_READ, (bytearray(), time.perf_counter()))
    connection.sendall(request)


def post(path: str, key: str, body: bytes) -> bytes:
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def load(url: str, key: str, kind: str, clients: int, first: int) -> None:
    """Make the load `kind` and print, as JSON, events, seconds, and the latencies' p50 and p99."""
    if kind == "batches":
        bodies = (
            json.dumps(
                {"events": [event(first + n * BATCH + k) for k in range(BATCH)]},
                separators=(",", ":"),
            )
            for n in range(BATCHES)
        )
        requests = [post("/v1/events/batch", key, body.encode()) for body in bodies]
    elif kind == "singles":
        singles = (json.dumps(event(first + n), separators=(",", ":")) for n in range(SINGLES))
        requests = [post("/v1/events", key, body.encode()) for body in singles]
    else:
        requests = [b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"] * PROBES
    seconds, taken = exchange(url, requests, clients)
    events = len(requests) * (BATCH if kind == "batches" else 1)
    p50, p99 = (statistics.quantiles(taken, n=100)[at - 1] for at in (50, 99))
    print(json.dumps([events, seconds, p50, p99]))


# The servers: ours, and the contract kernel with nothing behind it.


def serve(folder: str) -> None:
    from trailseal_server.app import serve as run
    from trailseal_server.settings import Settings

    settings = Settings(database_url=f"sqlite:///{folder}/trailseal.db", port=0, workers=WORKERS)
    run(settings, lambda running: print(running.url, running.key, flush=True))


def kernel(_folder: str) -> None:
    """Routes, key, body, validation and answer of the contract; nothing is hashed or stored."""
    import uvicorn
    from starlette.applications import Starlette
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
        return app.Response(app.orjson.dumps({"results": results}))

    async def single(call: contract.Call[None]) -> Any:
        return app.Response(app.orjson.dumps({"id": call.body["id"]}))

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
        command = [sys.executable, __file__, "load", *self._server, kind, clients, self._first]
        before = self._cpu()
        out = subprocess.run(
            list(map(str, command)), capture_output=True, text=True, check=True
        ).stdout
        events, seconds, p50, p99 = json.loads(out)
        spent = (self._cpu() - before) / events
        words = f"p50 {p50 * 1e3:.1f} ms, p99 {p99 * 1e3:.1f} ms, CPU {spent * 1e6:.0f} µs each"
        return events / seconds, words

    def _cpu(self) -> float:
        """Seconds of CPU that the server has used (Linux; 0 elsewhere)."""
        try:
            fields = Path(f"/proc/{self._pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return 0.0
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


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


def in_process(folder: str) -> tuple[float, float, float]:
    """Events/s that one thread prepares; that are written without HTTP; and of a bare insert of
    the same rows, in the same transactions, into a database with the same tables."""
    from trailseal_server import contract, prepare
    from trailseal_server.auth import Caller
    from trailseal_server.bodies import EVENT, item_validator
    from trailseal_server.ingest import Ingest
    from trailseal_server.store import Store
    from trailseal_server.store.terms import derive

    validate = item_validator(EVENT, contract.load()["components"])
    caller = Caller("key_1", None, "main", frozenset())
    origin = prepare.Origin("key_1")
    texts = [
        json.dumps([event(n * BATCH + k) for k in range(BATCH)]).encode() for n in range(BATCHES)
    ]
    batches = [json.loads(text) for text in texts]
    some = iter(batches)
    prepared = rate(lambda: [prepare.draft(e, validate, origin, "") for e in batches[0]], BATCH)

    store = Store.open(f"sqlite:///{folder}/ours.db")
    ingest = Ingest(store, validate)
    ingest.start()
    began = time.perf_counter()
    last = None
    for batch in some:
        future = ingest.submit(caller, batch)
        if last is not None:
            last.result()
        last = future
    assert last is not None
    last.result()
    ours = BATCH * BATCHES / (time.perf_counter() - began)
    ingest.stop(DEADLINE)
    with store.read() as connection:
        rows = [tuple(row) for row in connection.exec_driver_sql("SELECT * FROM events")]
        names = [tuple(row) for row in connection.exec_driver_sql("SELECT * FROM names")]
        bodies = connection.exec_driver_sql("SELECT body FROM events ORDER BY idx").scalars()
        found = [derive(json.loads(body), "key_1", None) for body in bodies]
    store.close()
    Store.open(f"sqlite:///{folder}/bare.db").close()
    with sqlite3.connect(f"{folder}/bare.db", isolation_level=None) as connection_:
        bare = _insert_bare(connection_, rows, names, [(t.exact, t.text) for t in found])
    return prepared, ours, bare


def _insert_bare(
    connection: sqlite3.Connection, rows: Any, names: Any, terms: list[tuple[str, str]]
) -> float:
    connection.executescript(
        "PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=16384; PRAGMA cache_size=-32768;"
        "PRAGMA secure_delete=ON;"
    )
    indexed = [((1 << 40) + number, *each) for number, each in enumerate(terms)]
    places = ",".join("?" * len(rows[0]))
    began = time.perf_counter()
    for at in range(0, len(rows), BATCH):
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(f"INSERT INTO events VALUES ({places})", rows[at : at + BATCH])  # noqa: S608 - question marks
        connection.executemany(
            "INSERT INTO terms (rowid, exact, text) VALUES (?,?,?)", indexed[at : at + BATCH]
        )
        share = len(names) * at // len(rows), len(names) * (at + BATCH) // len(rows)
        connection.executemany("INSERT INTO names VALUES (?,?,?,?,?)", names[slice(*share)])
        connection.execute("COMMIT")
    return len(rows) / (time.perf_counter() - began)


# The report.


def show(name: str, figure: float, unit: str, note: str = "") -> None:
    print(f"  {name:44}{figure:11,.0f} {unit:9} {note}", flush=True)


def main(folder: str) -> None:
    print("bare limits")
    syncs, hashes = fsyncs(folder), hashing()
    show("write 4 KiB and fdatasync", syncs, "/s")
    show("SHA-256 of 70 bytes, one thread", hashes, "/s", f"23 an event: {hashes / 23:,.0f}/s")
    prepared, ours, bare = in_process(folder)
    show("SQLite, bare insert of the same rows", bare, "events/s")
    with program("kernel", folder) as at:
        load_ = Load(*at)
        kernel_batches = load_("batches", BATCH_CLIENTS)[0]
        kernel_singles = load_("singles", CLIENTS)[0]
    show(f"contract kernel, batches of {BATCH}", kernel_batches, "events/s")
    show(f"contract kernel, single posts, {CLIENTS} clients", kernel_singles, "/s")
    print("ours")
    show("prepare, one thread", prepared, "events/s", f"{prepared * 23 / hashes:.2f} of SHA-256")
    show(f"in process, batches of {BATCH}", ours, "events/s", f"{ours / bare:.2f} of SQLite")
    with program("serve", folder) as at:
        load_ = Load(*at)
        probes, words = load_("healthz", CLIENTS)
        show(f"/healthz, {CLIENTS} clients", probes, "/s", words)
        for clients in (1, BATCH_CLIENTS):
            found, words = load_("batches", clients)
            note = f"{found / bare:.2f} of SQLite, {words}"
            show(f"HTTP, batches of {BATCH}, {clients} client(s)", found, "events/s", note)
        for clients in (1, CLIENTS):
            found, words = load_("singles", clients)
            note = f"{found / probes:.2f} of /healthz, {words}"
            show(f"HTTP, single posts, {clients} client(s)", found, "events/s", note)


if __name__ == "__main__":
    programs: dict[str, Callable[..., None]] = {
        "serve": serve,
        "kernel": kernel,
        "load": lambda url, key, kind, *n: load(url, key, kind, *map(int, n)),
    }
    if len(sys.argv) > 1:
        programs[sys.argv[1]](*sys.argv[2:])
    else:
        with tempfile.TemporaryDirectory() as folder:
            main(folder)
