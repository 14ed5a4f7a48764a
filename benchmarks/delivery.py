"""What delivery costs the caller, and how fast it delivers, beside its peers, in one run.

Rules:
- "The caller" is one thread that logs in a burst while the sending thread works; each call is timed
  alone. Everyone's sends go to loopback.
- Every library logs the same event. The standard library's QueueHandler and a bare queue only keep
  a reference; OpenTelemetry and Segment run in an environment of their own (`make bench` makes it,
  Segment wants an older dateutil), ours and the standard library's in this one.
- Rates are of durable events to a real server on SQLite, in a process of its own. CPU is that of
  our process for each event, which a busy machine does not change.
"""

import json
import logging
import logging.handlers
import os
import queue
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

BURST = 5_000  # calls; below every queue's limit
DURABLE = 3_000
SUSTAINED = 30_000
WRITERS = 4
BACKLOG = 30_000
WAIT_S = 120.0
PEERS = Path(
    os.environ.get("PEERS", Path(__file__).parents[1] / ".venv" / "peers" / "bin" / "python")
)

FIELDS: dict[str, Any] = {
    "actor": {"id": "user_1", "type": "user", "name": "Alice Example"},
    "resources": [{"id": "inv_1", "type": "invoice", "name": "Invoice 1"}],
    "context": {"source_ip": "2001:db8::1", "request_id": "req-1"},
    "data": {"amount": 1250, "paid": False},
}


class Sink(BaseHTTPRequestHandler):
    """Answers everything with 200."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def program(name: str, *arguments: str) -> Iterator[list[str]]:
    """A program of this file in a process of its own; the words of its first line."""
    process = subprocess.Popen(
        [sys.executable, __file__, name, *arguments], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    try:
        yield process.stdout.readline().split()
    finally:
        process.terminate()
        process.wait()


def serve(folder: str, port: str = "0") -> None:
    from trailseal_server.app import serve as run
    from trailseal_server.settings import Settings

    settings = Settings(database_url=f"sqlite:///{folder}/trailseal.db", port=int(port))
    run(settings, lambda running: print(running.url, running.key, flush=True))


def sink() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Sink)
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


def timed(call: Callable[[int], object], count: int) -> list[float]:
    """p50, p99 and the longest, in µs."""
    call(-1)
    time.sleep(0.5)
    taken = []
    for number in range(count):
        began = time.perf_counter_ns()
        call(number)
        taken.append((time.perf_counter_ns() - began) / 1e3)
    cuts = statistics.quantiles(taken, n=100)
    return [cuts[49], cuts[98], max(taken)]


# The libraries.


def bare(_url: str) -> list[float]:
    kept: queue.SimpleQueue[Any] = queue.SimpleQueue()
    return timed(lambda n: kept.put({"action": "invoice.deleted", "n": n, **FIELDS}), BURST)


def standard(_url: str) -> list[float]:
    records: queue.Queue[Any] = queue.Queue(-1)
    listener = logging.handlers.QueueListener(records, logging.NullHandler())
    listener.start()
    logger = logging.getLogger("bench")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.addHandler(logging.handlers.QueueHandler(records))
    found = timed(lambda n: logger.info("invoice.deleted", extra={"n": n, **FIELDS}), BURST)
    listener.stop()
    return found


def opentelemetry(_url: str) -> list[float]:
    from opentelemetry._logs import LogRecord
    from opentelemetry.sdk._logs import LoggerProvider
    from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, InMemoryLogRecordExporter

    provider = LoggerProvider()
    exporter = InMemoryLogRecordExporter()
    provider.add_log_record_processor(
        BatchLogRecordProcessor(exporter, max_queue_size=2 * BURST, max_export_batch_size=1000)
    )
    logger = provider.get_logger("bench")
    attributes = {"actor": "user_1", "resource": "inv_1", "ip": "2001:db8::1", "amount": 1250}
    found = timed(
        lambda n: logger.emit(
            LogRecord(
                timestamp=time.time_ns(), body="invoice.deleted", attributes={"n": n, **attributes}
            )
        ),
        BURST,
    )
    provider.shutdown()
    return found


def segment(url: str) -> list[float]:
    from segment.analytics.client import Client

    client = Client("key", host=url, max_queue_size=2 * BURST, upload_size=1000)
    found = timed(lambda n: client.track("user_1", "invoice.deleted", {"n": n, **FIELDS}), BURST)
    client.shutdown()
    return found


@contextmanager
def audit(url: str, key: str, folder: str, **options: Any) -> Iterator[Any]:
    from trailseal import Audit, Client

    with Client(url, key) as client, Audit(client, spool=folder, **options) as made:
        yield made


def synced(folder: str) -> list[float]:
    """The bare limit of durable events: write 4 KiB and fdatasync."""
    with Path(folder, "synced").open("wb", buffering=0) as file:

        def once(_number: int) -> None:
            file.write(b"x" * 4096)
            os.fdatasync(file.fileno())

        return timed(once, DURABLE)


def background(url: str, key: str, folder: str) -> list[float]:
    with audit(url, key, folder) as ours:
        return timed(lambda _: ours.log("invoice.deleted", delivery="background", **FIELDS), BURST)


def durable(url: str, key: str, folder: str) -> list[float]:
    with audit(url, key, folder) as ours:
        return timed(lambda _: ours.log("invoice.deleted", **FIELDS), DURABLE)


# Rates.


def write(ours: Any, count: int) -> None:
    """Accept events from several threads, as a busy service does."""

    def some() -> None:
        for _ in range(count // WRITERS):
            ours.log("invoice.deleted", **FIELDS)

    threads = [threading.Thread(target=some) for _ in range(WRITERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def sustained(url: str, key: str, folder: str) -> list[float]:
    """Events/s accepted, and delivered with the last one, of events accepted by four threads."""
    with audit(url, key, folder) as ours:
        began, cpu = time.perf_counter(), time.process_time()
        write(ours, SUSTAINED)
        accepted = time.perf_counter() - began
        assert ours.flush(WAIT_S)
        whole = time.perf_counter() - began
        assert ours.stats().delivered == SUSTAINED
    return [SUSTAINED / accepted, SUSTAINED / whole, (time.process_time() - cpu) / SUSTAINED * 1e6]


def outage(url: str, key: str, folder: str) -> list[float]:
    """Accept while nothing listens; MiB that memory grew in the second half. The spool stays."""
    with audit(url, key, folder, exit_timeout=0.1) as ours:
        write(ours, BACKLOG // 2)
        before = _resident()
        write(ours, BACKLOG // 2)
        return [(_resident() - before) / 2**20]


def _resident() -> int:
    fields = Path("/proc/self/statm").read_text().split()
    return int(fields[1]) * resource.getpagesize()


def drained(url: str, key: str, folder: str) -> list[float]:
    """Events/s of a backlog that another process left."""
    with audit(url, key, folder) as ours:
        began, cpu = time.perf_counter(), time.process_time()
        assert ours.drain(WAIT_S)
        taken = time.perf_counter() - began
        assert ours.stats().delivered == BACKLOG, ours.stats()
    return [BACKLOG / taken, (time.process_time() - cpu) / BACKLOG * 1e6]


def run(name: str, *arguments: str, python: str = sys.executable) -> list[float]:
    done = subprocess.run(
        [python, __file__, name, *arguments], check=True, stdout=subprocess.PIPE, text=True
    )
    found: list[float] = json.loads(done.stdout)
    return found


def show(name: str, found: list[float], note: str = "") -> None:
    p50, p99, longest = found
    print(f"  {name:34}{p50:9.1f} {p99:9.1f} {longest:11.1f}   {note}", flush=True)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, program("sink") as [away]:
        print("the caller's cost, µs                    p50       p99     longest")
        show("bare queue", run("bare", away))
        show("logging QueueHandler", run("standard", away))
        if PEERS.exists():
            show("OpenTelemetry batch processor", run("opentelemetry", away, python=str(PEERS)))
            show("segment-analytics-python", run("segment", away, python=str(PEERS)))
        else:
            print("  (OpenTelemetry and Segment: make bench)")
        with program("serve", folder) as [url, key]:
            at = url, key, f"{folder}/spool"
            show("Audit, background", run("background", *at), "promised: 10 and 50")
            show("write 4 KiB and fdatasync", run("synced", folder))
            show("Audit, durable", run("durable", *at), "promised: 500 and 5,000")
            print("rates, events/s")
            accepted, delivered, cpu = run("sustained", *at)
            print(f"  durable, {WRITERS} threads, accepted: {accepted:,.0f}")
            print(f"  … and delivered: {delivered:,.0f} (CPU {cpu:.0f} µs each)   promised: 5,000")
            port = url.rpartition(":")[2]
        [grown] = run("outage", *at)
        print(f"  server down: memory grew by {grown:.1f} MiB in {BACKLOG // 2:,} events")
        with program("serve", folder, port) as _:
            rate, cpu = run("drained", *at)
        print(f"  drain after the outage: {rate:,.0f} (CPU {cpu:.0f} µs each)    promised: 5,000")


PROGRAMS: dict[str, Callable[..., Any]] = {
    each.__name__: each
    for each in (
        *(bare, standard, opentelemetry, segment, synced, background, durable),
        *(sustained, outage, drained),
    )
}

if __name__ == "__main__":
    if len(sys.argv) == 1:
        main()
    elif sys.argv[1] in {"serve", "sink"}:
        {"serve": serve, "sink": sink}[sys.argv[1]](*sys.argv[2:])
    else:
        print(json.dumps(PROGRAMS[sys.argv[1]](*sys.argv[2:])))
        sys.stdout.flush()
        os._exit(0)
