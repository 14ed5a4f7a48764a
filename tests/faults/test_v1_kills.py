"""V1: server processes are killed at random while clients write, and started again."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import make_url

from .servers import DEADLINE_S, Fleet, Watcher, Writer, check_history, children, join, rounds

KILLS = rounds(2)
FLEETS = {"sqlite": (1, 8), "postgresql": (2, 32)}  # processes, writers
WORKERS, WORKERS_WRITERS = 2, 8
CHECK_S = 600.0


def test_v1_what_was_acknowledged_survives_kills_and_checkpoints_never_go_back(
    make_database: Callable[[], str], tmp_path: Path, record_property: Callable[[str, int], None]
) -> None:
    """Each acknowledged event is there once, as its receipt says; each checkpoint that a reader
    saw continues the one before. One process on SQLite, two on PostgreSQL killed in turn."""
    url = make_database()
    processes, count = FLEETS[make_url(url).get_backend_name()]
    fleet = Fleet(url, tmp_path, processes)

    def kill() -> None:
        fleet.replace(random.randrange(processes))  # noqa: S311 - no secret

    said = survive(fleet, url, tmp_path, count, kill)
    for name, number in said.items():
        record_property(name, number)


@pytest.mark.skipif(sys.platform != "linux", reason="processes are looked for in /proc")
def test_v1_so_it_does_where_workers_and_their_supervisor_are_killed(
    make_database: Callable[[], str], tmp_path: Path, record_property: Callable[[str, int], None]
) -> None:
    """The same for one server of several processes: a worker is killed, which its supervisor
    replaces, perhaps before it serves; or the supervisor, whose workers end by themselves."""
    url = make_database()
    fleet = Fleet(url, tmp_path, 1, workers=WORKERS)
    supervisors = 0

    def kill() -> None:
        nonlocal supervisors
        found = sorted(children(fleet.members[0].popen))
        chosen = random.randrange(WORKERS + 1)  # noqa: S311 - no secret
        if chosen < len(found):
            os.kill(found[chosen], signal.SIGKILL)
            return
        supervisors += 1
        fleet.replace(0)

    said = survive(fleet, url, tmp_path, WORKERS_WRITERS, kill)
    for name, number in {**said, "supervisors": supervisors}.items():
        record_property(name, number)


def survive(
    fleet: Fleet, url: str, folder: Path, count: int, kill: Callable[[], None]
) -> dict[str, int]:
    """Let clients write while `kill` is called at random; then check all that they were told."""
    assert len(fleet.keys) == 1
    writers = [Writer(fleet, f"w{number}") for number in range(count)]
    watcher = Watcher(fleet)
    for thread in (*writers, watcher):
        thread.start()
    try:
        for number in range(KILLS):
            # The moment of the kill is the test; the first comes after a checkpoint.
            time.sleep(random.uniform(0.0, 1.5) if number else 1.5)  # noqa: S311 - no secret
            kill()
        end = time.monotonic() + DEADLINE_S
        while len(watcher.seen) < 2 and not watcher.wrong:
            assert time.monotonic() < end, "no checkpoint"
            time.sleep(0.1)
    finally:
        fleet.stopping.set()
        join([*writers, watcher])
        fleet.stop()
    assert [each.refused for each in writers] == [[]] * count
    assert watcher.wrong == []
    receipts = [receipt for each in writers for receipt in each.receipts]
    assert len(receipts) > KILLS * count
    ids = check_history(url, receipts, watcher.seen)
    # What nobody acknowledged are at most the last events, sent while the fleet stopped.
    assert len(ids - {event_id for event_id, _, _ in receipts}) <= count
    assert checked(url, folder) == {"logs": 1, "events": len(ids), "damages": 0}
    return {"kills": KILLS, "events": len(receipts), "checkpoints": len(watcher.seen)}


def checked(url: str, folder: Path) -> dict[str, int]:
    """What `trailseal-server check` counts."""
    command = [sys.executable, "-m", "trailseal_server", "check", "--json", "--database-url", url]
    done = subprocess.run(
        command,
        capture_output=True,
        check=False,
        text=True,
        timeout=CHECK_S,
        env={**os.environ, "TRAILSEAL_LOG_KEY_FILE": str(folder / "signing.key"),
             "TRAILSEAL_EXPORT_DIR": str(folder)},
    )  # fmt: skip
    assert done.stdout, done.stderr
    counts: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    del counts["checkpoints"]
    return counts
