"""Exports of a whole log over HTTP, beside the bare limit and with the server's memory.

Rules:
- A stream is measured from the request to its last byte; a job from its creation to `succeeded`,
  its download apart. Lines are counted.
- The bare limit reads the same columns with the database's own driver, in order, and writes them
  to a file as they are.
- CPU is the server's and PostgreSQL's.
- VmRSS of the server is sampled every 0.1 s (Linux). It holds SQLite's page caches too.
"""

import json
import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

TARGET_RATE = 50_000  # events/s
TARGET_MB = 200
SAMPLE_S = 0.1
PIECE = 1 << 20
DEADLINE = 600.0
COLUMNS = "SELECT idx, body, seed, entry FROM events WHERE log_id = 'main' ORDER BY idx"


class Memory:
    """The resident memory of a process, sampled while the block runs; in MB."""

    def __init__(self, pid: int) -> None:
        self._status = Path(f"/proc/{pid}/status")
        self._stop = threading.Event()
        self.samples: list[tuple[float, float]] = []  # seconds since the start, MB

    def now(self) -> float:
        """MB at this moment; 0 where there is no /proc."""
        try:
            text = self._status.read_text()
        except OSError:
            return 0.0
        return int(text.partition("VmRSS:")[2].split()[0]) / 1024

    @contextmanager
    def sampled(self, every: float = SAMPLE_S) -> Iterator["Memory"]:
        """Sample in a thread of its own."""
        began = time.monotonic()

        def sample() -> None:
            while not self._stop.wait(every):
                self.samples.append((time.monotonic() - began, self.now()))

        thread = threading.Thread(target=sample, daemon=True)
        self._stop.clear()
        thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            thread.join()

    @property
    def most(self) -> float:
        """The highest sample."""
        return max((each for _, each in self.samples), default=self.now())


def exports(url: str, server: tuple[str, str, int], cpu: Callable[[], float]) -> list[str]:
    """Measure all; the names of those that missed a target. `cpu` is the server's and the
    database's, in ms."""
    address, key, pid = server
    slow = []
    print("exports")
    bare = _bare(url)
    print(f"  {'bare: read the rows, write them to a file':44}{bare:11,.0f} events/s", flush=True)
    kinds: dict[str, Callable[[], tuple[int, str]]] = {
        "exportEvents, jsonl": lambda: stream(address, key, {}),
        "exportEvents, one in 3": lambda: stream(address, key, {"action": "invoice.read"}),
        "exportEvents, csv": lambda: stream(address, key, {"format": "csv"}),
        "job, jsonl": lambda: job(address, key, {"include_proofs": False}),
        "job, jsonl, gzip": lambda: job(address, key, {"compression": "gzip"}),
        "job, 19 in 20, proofs": lambda: job(address, key, {"filter": {"outcome": "success"}}),
    }
    for name, measure in kinds.items():
        memory = Memory(pid)
        with memory.sampled():
            began, before = time.perf_counter(), cpu()
            count, note = measure()
            rate = count / (time.perf_counter() - began)
        spent = (cpu() - before) / count * 1000
        usual = "csv" not in name and "proofs" not in name and "gzip" not in name
        missed = usual and (rate < TARGET_RATE or memory.most > TARGET_MB)
        slow += [name] if missed else []
        text = f"CPU {spent:.0f} µs each, {rate / bare:.2f} of bare, {memory.most:.0f} MB at most"
        text += f", {count:,} events{note}"
        mark = "  > target" if missed else ""
        print(f"  {name:44}{rate:11,.0f} events/s  {text}{mark}", flush=True)
    return slow


def _bare(url: str) -> float:
    began, count = time.perf_counter(), 0
    with tempfile.TemporaryFile() as file:
        for index, body, seed, entry in _rows(url):
            file.write(b"%d %b %b %b\n" % (index, body, seed.encode(), entry))
            count += 1
    return count / (time.perf_counter() - began)


def _rows(url: str) -> Iterator[Any]:
    if url.startswith("sqlite"):
        connection = sqlite3.connect(url.removeprefix("sqlite:///"))
        yield from connection.execute(COLUMNS)
        connection.close()
        return
    import psycopg

    host = url.partition("host=")[2]
    address = f"host={host} user=trailseal dbname=reads"
    with psycopg.connect(address) as connection_, connection_.cursor("bare") as cursor:
        cursor.itersize = 1000
        yield from cursor.execute(COLUMNS)


@contextmanager
def _open(url: str, key: str, method: str, path: str, body: str | None = None) -> Iterator[Any]:
    host, port = url.removeprefix("http://").split(":")
    connection = HTTPConnection(host, int(port), timeout=DEADLINE)
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    connection.request(method, path, body, headers)
    response = connection.getresponse()
    assert response.status < 300, response.read(300)
    yield response
    connection.close()


def stream(url: str, key: str, params: Mapping[str, Any]) -> tuple[int, str]:
    lines = 0
    with _open(url, key, "GET", f"/v1/events/export?{urlencode(params)}") as response:
        while piece := response.read(PIECE):
            lines += piece.count(b"\n")
    return lines - (params.get("format") == "csv"), ""


def job(url: str, key: str, body: Mapping[str, Any]) -> tuple[int, str]:
    with _open(url, key, "POST", "/v1/exports", json.dumps(body)) as response:
        job = json.load(response)["operation_id"]
    end = time.monotonic() + DEADLINE
    found: Any = {"state": "pending"}
    while found["state"] in {"pending", "running"}:
        assert time.monotonic() < end
        with _open(url, key, "GET", f"/v1/operations/{job}?wait=10") as response:
            found = json.load(response)
    assert found["state"] == "succeeded", found
    began, size = time.perf_counter(), 0
    with _open(url, key, "GET", f"/v1/exports/{job}/content") as response:
        while piece := response.read(PIECE):
            size += len(piece)
    spent = time.perf_counter() - began
    with _open(url, key, "DELETE", f"/v1/exports/{job}"):
        pass
    assert size == found["export"]["bytes"]
    return found["export"]["events"], f", {size / 1e6:,.0f} MB, download in {spent:.1f} s"
