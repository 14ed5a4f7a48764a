"""V2: the process dies between commit, sign and publish, at those very points.

A driver imports the server and wraps `Store.write`, through which every transaction goes; at the
chosen one of the chosen thread the process kills itself with SIGKILL. Nothing in the server knows.
"""

import random
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import make_url

from .servers import Fleet, Process, Watcher, Writer, check_history, join, rounds

ROUNDS = rounds(1, 25)  # times five points, on each engine
WRITERS = 4
CRASH_S = 30.0

# thread, where in its transaction: before it begins, before its commit, after its commit
POINTS = (
    ("trailseal-writer", "after"),  # committed, not acknowledged
    ("trailseal-signer", "after"),  # committed, not announced, nor remembered beside the key
    ("trailseal-writer", "before"),  # inserted, not committed
    ("trailseal-signer", "begin"),  # signed, not stored
    ("trailseal-signer", "before"),  # stored, not committed
)
SHORT = {"sqlite": 5, "postgresql": 2}  # of the points, in the short form
DRIVER = """
import json, os, signal, sys, threading
from contextlib import contextmanager
from pathlib import Path
from trailseal_server.app import serve
from trailseal_server.settings import Settings
from trailseal_server.store import Store

url, thread, point, count = sys.argv[1:]
left = int(count)
original = Store.write

@contextmanager
def write(store):
    global left
    mine = threading.current_thread().name == thread
    left -= mine
    def at(here):
        if mine and left == 0 and here == point:
            os.kill(os.getpid(), signal.SIGKILL)
    at("begin")
    with original(store) as connection:
        yield connection
        at("before")
    at("after")

Store.write = write
serve(
    Settings.load(database_url=url, port=0),
    lambda told: print(json.dumps({"url": told.url, "api_key": told.key}), flush=True),
)
"""


def test_v2_a_crash_between_commit_sign_and_publish_leaves_one_history(
    make_database: Callable[[], str], tmp_path: Path
) -> None:
    """After each crash the next start goes on from it; clients send again what was not answered."""
    url = make_database()
    fleet = Fleet(url, tmp_path, 1)
    writers = [Writer(fleet, f"w{number}") for number in range(WRITERS)]
    watcher = Watcher(fleet)
    threads: list[threading.Thread] = [*writers, watcher]
    for thread in threads:
        thread.start()
    try:
        points = (
            POINTS * ROUNDS if ROUNDS > 1 else POINTS[: SHORT[make_url(url).get_backend_name()]]
        )
        for thread_name, point in points:
            fleet.members[0].end()
            # The signer works once a second, the writer once for each group of events.
            most = min(2, ROUNDS) if "signer" in thread_name else 40
            number = random.randint(1, most)  # noqa: S311 - no secret
            program = (DRIVER, thread_name, point, str(number))
            fleet.members[0] = Process(url, tmp_path, *program)
            # The signer may come to its point before the server can say that it answers.
            fleet.members[0].answers()
            code = fleet.members[0].popen.wait(CRASH_S)
            assert code == -signal.SIGKILL, (thread_name, point)
        fleet.members[0].end()
        fleet.members[0] = Process(url, tmp_path).started()
        sizes, end = len(watcher.seen), time.monotonic() + CRASH_S
        while len(watcher.seen) <= sizes and not watcher.wrong:
            assert time.monotonic() < end, "no checkpoint after the last crash"
            time.sleep(0.1)
    finally:
        fleet.stopping.set()
        join(threads)
        fleet.stop()
    assert watcher.wrong == []
    assert [each.refused for each in writers] == [[]] * WRITERS
    check_history(url, [each for writer in writers for each in writer.receipts], watcher.seen)
