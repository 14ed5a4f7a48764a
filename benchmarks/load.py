"""A load on a server: its own process, one thread, as many connections as asked for.

Rules:
- Every event has an id of its own and 22 fields; actors, resources and sources vary as in a service
  of some thousand users.
- Bodies are made before the clock starts; every answer is read, and its status checked.
"""

import itertools
import json
import select
import socket
import statistics
import sys
import time
from collections.abc import Sequence
from typing import Any

BATCH = 1_000
BATCHES = 24
SINGLES = 6_000
PROBES = 10_000
DEADLINE = 120.0  # seconds for a load
END = 4096  # bytes of an answer that are kept: its head, and where it says what failed
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
    poll = select.epoll()
    connections: dict[int, Connection] = {}
    taken: list[float] = []
    began = time.perf_counter()
    for request in itertools.islice(waiting, clients):
        connection = Connection(socket.create_connection((host, int(port))))
        poll.register(connection.socket, select.EPOLLIN)
        connections[connection.socket.fileno()] = connection
        connection.send(request)
    while connections:
        if time.perf_counter() - began > DEADLINE:
            raise TimeoutError("the server did not answer in time")
        for number, _ in poll.poll(1.0):
            connection = connections[number]
            if connection.answered():
                taken.append(time.perf_counter() - connection.sent)
                following = next(waiting, None)
                if following is not None:
                    connection.send(following)
                else:
                    connections.pop(number).socket.close()
    return time.perf_counter() - began, taken


class Connection:
    """A connection, and the answer that arrives on it; its length is read once."""

    def __init__(self, connected: socket.socket) -> None:
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = connected

    def send(self, request: bytes) -> None:
        self.sent = time.perf_counter()
        self._end, self._left = b"", -1
        self.socket.sendall(request)

    def answered(self) -> bool:
        """Read what is there; whether it is all, asserting a success without failed events."""
        chunk = self.socket.recv(1 << 20)
        assert chunk, "the server hung up"
        self._end = self._end[-END:] + chunk
        if self._left < 0:
            head, found, body = self._end.partition(b"\r\n\r\n")
            if not found:
                return False
            assert head[9:10] == b"2", head[:500]
            length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
            self._left = int(length) - len(body)
        else:
            self._left -= len(chunk)
        if self._left:
            return False
        assert b'"failed":0' in self._end or b'"failed":' not in self._end, self._end[-500:]
        return True


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
