"""A load on a server: its own process, one thread, as many connections as asked for.

Rules:
- Every event has an id of its own and 22 fields; actors, resources and sources vary as in a service
  of some thousand users.
- Bodies are made before the clock starts; every answer is read, and its status checked.
"""

import json
import selectors
import socket
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

BATCH = 1_000
BATCHES = 24
SINGLES = 6_000
PROBES = 10_000
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
            answer, sent = key.data
            answer.chunks.append(key.fileobj.recv(1 << 20))  # type: ignore[union-attr]
            if answer.whole():
                taken.append(time.perf_counter() - sent)
                _next(key.fileobj, waiting, poll)
    return time.perf_counter() - began, taken


class Answer:
    """One answer as it arrives; its length is read once."""

    def __init__(self) -> None:
        self.chunks: list[bytes] = []
        self._length = -1

    def whole(self) -> bool:
        """Whether all of it is there; asserts that it is a success without failed events."""
        first = self.chunks[0]
        if self._length < 0:
            head, found, _ = first.partition(b"\r\n\r\n")
            if not found:
                return False
            assert head[9:10] == b"2", first[:500]
            length = head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]
            self._length = len(head) + 4 + int(length)
        if sum(map(len, self.chunks)) < self._length:
            return False
        body = b"".join(self.chunks[-2:])
        assert b'"failed":0' in body or b'"failed":' not in body, body[-500:]
        return True


def _next(connection: Any, waiting: Iterator[bytes], poll: Any, *, fresh: bool = False) -> None:
    request = next(waiting, None)
    if request is None:
        if not fresh:
            poll.unregister(connection)
        connection.close()
        return
    change = poll.register if fresh else poll.modify
    change(connection, selectors.EVENT_READ, (Answer(), time.perf_counter()))
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


if __name__ == "__main__":
    load(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))
