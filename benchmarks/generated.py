"""The generated layer beside the bare limit, in one run: `make bench`.

Imports run in fresh interpreters, interleaved, and the median counts. Calls go over loopback to a
server in another process that answers the same bytes to everything, so that the client is what is
measured; its CPU time is printed beside the wall time.
"""

import json
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx

IMPORT_ROUNDS = 15
CALLS = 2_000
MODEL_ROUNDS = 5_000
REPEATS = 5

EVENT = {
    "id": "0192f0c1-2b7e-7c3a-9a55-0f8d6b7c1e21",
    "occurred_at": "2026-11-20T10:15:30.123456Z",
    "action": "invoice.deleted",
    "action_type": "delete",
    "outcome": "success",
    "tenant_id": "org_789",
    "actor": {"id": "user_123", "type": "user", "name": "Alice", "email": "alice@example.com"},
    "resources": [
        {"id": "inv_456", "type": "invoice", "name": "Invoice #1042"},
        {"id": "acct_9", "type": "account"},
    ],
    "context": {"source_ip": "2001:db8::1", "user_agent": "Mozilla/5.0"},
    "tags": {"severity": "LOW"},
    "data": {"amount": 12.5, "count": 3, "paid": False, "note": None},
}
RECEIPT = {
    "event_id": EVENT["id"],
    "log_id": "org_789",
    "index": 7,
    "received_at": "2026-11-20T10:15:30.200000Z",
    "leaf_hash": "0" * 64,
    "state": "pending",
    "replayed": False,
}

SERVER = """
import socket, sys, threading
body = sys.argv[1].encode()
head = b"HTTP/1.1 201 Created\\r\\ncontent-length: %d\\r\\n\\r\\n"
answer = head % len(body) + body
def serve(connection):
    buffer = b""
    while True:
        while b"\\r\\n\\r\\n" not in buffer:
            piece = connection.recv(65536)
            if not piece:
                return
            buffer += piece
        head, _, rest = buffer.partition(b"\\r\\n\\r\\n")
        length = int(head.lower().partition(b"content-length:")[2].split(b"\\r\\n")[0])
        while len(rest) < length:
            rest += connection.recv(65536)
        buffer = rest[length:]
        connection.sendall(answer)
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
"""


@contextmanager
def null_server() -> Iterator[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER, json.dumps(RECEIPT)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.kill()
        process.wait()


def imports() -> None:
    statements = {
        "httpx": "import httpx",
        "trailseal": "import trailseal",
        "trailseal.Client": "import trailseal; trailseal.Client",
        "trailseal_api, one endpoint": "from trailseal_api.api.events import create_event",
        "trailseal_api, all models": "from trailseal_api.models import *",
    }
    times: dict[str, list[float]] = {name: [] for name in statements}
    for _ in range(IMPORT_ROUNDS):
        for name, statement in statements.items():
            code = (
                f"import time; t = time.perf_counter(); {statement}; print(time.perf_counter() - t)"
            )
            out = subprocess.run(
                [sys.executable, "-c", code], capture_output=True, text=True, check=True
            )
            times[name].append(float(out.stdout))
    bare = statistics.median(times["httpx"])
    print(f"import, ms (median of {IMPORT_ROUNDS} fresh interpreters)")
    for name, taken in times.items():
        median = statistics.median(taken)
        print(f"  {name:32}{median * 1e3:8.1f}   {(median - bare) * 1e3:+7.1f} against httpx")


def best(function: Callable[[], object], rounds: int) -> tuple[float, float]:
    """Seconds of wall and of CPU for one round: the best of some repeats."""
    results = []
    for _ in range(REPEATS):
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(rounds):
            function()
        results.append(
            ((time.perf_counter() - wall) / rounds, (time.process_time() - cpu) / rounds)
        )
    return min(results)


def models() -> None:
    from trailseal_api.models import EventInput

    text = json.dumps(EVENT)
    event = EventInput.from_dict(EVENT)
    rows = {
        "json.loads": lambda: json.loads(text),
        "json.loads + from_dict": lambda: EventInput.from_dict(json.loads(text)),
        "from_dict": lambda: EventInput.from_dict(EVENT),
        "json.dumps": lambda: json.dumps(EVENT),
        "to_dict": event.to_dict,
    }
    print("\nmodels, events/s (a typical event of 22 fields)")
    for name, function in rows.items():
        print(f"  {name:32}{1 / best(function, MODEL_ROUNDS)[0]:10,.0f}")


def calls() -> None:
    from trailseal_api import AuthenticatedClient
    from trailseal_api.api.events import create_event
    from trailseal_api.models import EventInput

    event = EventInput.from_dict(EVENT)
    with (
        null_server() as url,
        httpx.Client(timeout=5) as bare,
        AuthenticatedClient(url, token="t") as client,
    ):
        headers = {"Authorization": "Bearer t"}
        rows = {
            "socket": raw_call(url),
            "httpx.Client.post": lambda: bare.post(
                f"{url}/v1/events", json=EVENT, headers=headers
            ).json(),
            "create_event.sync_detailed": lambda: create_event.sync_detailed(
                client=client, body=event
            ),
        }
        results = {name: best(function, CALLS) for name, function in rows.items()}
    reference = results["httpx.Client.post"][1]
    heading = f"one createEvent call, µs (best of {REPEATS} × {CALLS})"
    print(f"\n{heading:44}    wall     CPU   CPU against httpx")
    for name, (wall, cpu) in results.items():
        print(f"  {name:42}{wall * 1e6:10.0f}{cpu * 1e6:8.0f}{cpu / reference:10.2f} ×")


def raw_call(url: str) -> Callable[[], bytes]:
    """The bare limit: the same bytes through a socket."""
    host, port = url.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)))
    body = json.dumps(EVENT).encode()
    request = (
        b"POST /v1/events HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body) + body
    )

    def call() -> bytes:
        connection.sendall(request)
        return connection.recv(65536)

    return call


if __name__ == "__main__":
    imports()
    models()
    calls()
