"""The server's memory under a steady mixed load: `--minutes 10` prints its slope.

Rules:
- Six clients, each its own thread and connection: batches, single posts, lists, searches, streams
  and export jobs, at a rate of about half of what two cores bear.
- VmRSS is sampled each second (Linux). The first third warms caches up; the slope is the least
  squares of the rest. Flat is less than `TARGET_MB` an hour.
"""

import argparse
import json
import statistics
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from million import event
from server_exports import Memory, job, stream
from server_reads import Http, served

TARGET_MB = 60.0  # an hour: a megabyte a minute
BATCH = 200


class Load:
    """What the clients did; ids never come twice."""

    def __init__(self) -> None:
        self.done: Counter[str] = Counter()
        self.stop = threading.Event()
        self._number = 0
        self._lock = threading.Lock()

    def take(self, count: int) -> list[int]:
        """Numbers of events that nobody has sent."""
        with self._lock:
            first, self._number = self._number, self._number + count
        return list(range(first, first + count))

    def run(self, name: str, act: Callable[[], object], pause: float) -> None:
        """Act until the end, with pauses."""
        while not self.stop.wait(pause):
            act()
            self.done[name] += 1


def main() -> int:
    """Run the load; 1 if memory grows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    given = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        served(f"sqlite:///{folder}/trailseal.db", Path(folder)) as server,
    ):
        return measure(server, given.minutes * 60)


def measure(server: tuple[str, str, int], seconds: float) -> int:
    """Load a server for so long, and print how its memory went."""
    url, key, pid = server
    load, memory = Load(), Memory(pid)
    clients = [Http(*server) for _ in range(4)]
    clients[0].post("/v1/events", event(load.take(1)[0]))
    acts: dict[str, tuple[Callable[[], object], float]] = {
        "batches": (
            lambda: clients[0].post(
                "/v1/events/batch", {"events": [event(n) for n in load.take(BATCH)]}
            ),
            0.2,
        ),
        "single posts": (lambda: clients[1].post("/v1/events", event(load.take(1)[0])), 0.01),
        "lists": (
            lambda: clients[2].get("/v1/events", {"action": "user.login", "limit": 100}),
            0.05,
        ),
        "searches": (lambda: clients[3].post("/v1/searches", {"query": "payment"}), 0.1),
        "streams": (lambda: stream(url, key, {"last": "1m"}), 3.0),
        "export jobs": (lambda: job(url, key, {"filter": {"outcome": "failure"}}), 10.0),
    }
    threads = [
        threading.Thread(target=load.run, args=(name, act, pause))
        for name, (act, pause) in acts.items()
    ]
    with memory.sampled(1.0):
        for thread in threads:
            thread.start()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(min(30.0, max(0.1, end - time.monotonic())))
            print(f"  {memory.now():6.1f} MB  {json.dumps(load.done)}", flush=True)
        load.stop.set()
        for thread in threads:
            thread.join()
    steady = memory.samples[len(memory.samples) // 3 :]
    slope = statistics.linear_regression(*zip(*steady, strict=True)).slope * 3600
    print(f"  {slope:+.1f} MB an hour, at most {memory.most:.1f} MB, {len(memory.samples)} samples")
    return 0 if slope < TARGET_MB else 1


if __name__ == "__main__":
    raise SystemExit(main())
