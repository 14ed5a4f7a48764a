"""The server's process is killed, or its disk is full (V1, V6 of the promises).

A real server runs in a process of its own, with real clients on real connections that remember
every receipt. `FAULT_ROUNDS` says how often it is killed; the short form runs in seconds.
"""

import http.client
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from trailseal_server.log import extend, fold
from trailseal_server.store import Store
from trailseal_server.store.schema import checkpoints, events

ROUNDS = int(os.environ.get("FAULT_ROUNDS", "4"))
CLIENTS = 8
TMPFS = "size=4m,mode=700"
HEALS_S = 5.0
SERVE = """
import sys
from trailseal_server.app import serve
from trailseal_server.settings import Settings
settings = Settings(database_url=f"sqlite:///{sys.argv[1]}", port=0)
serve(settings, lambda running: print(running.url, running.key, flush=True))
"""
DEADLINE_S = 30.0  # for one request, for a start and for an end


class Process:
    """`python -c PROGRAM DATABASE`: its port, and the key if this start made it."""

    def __init__(self, database: Path, program: str = SERVE) -> None:
        command = [sys.executable, "-c", program, str(database)]
        self.popen = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.popen.stdout is not None
        url, _, key = self.popen.stdout.readline().strip().partition(" ")
        self.port = int(url.rpartition(":")[2])
        self.key = None if key == "None" else key

    def end(self, signal: int) -> None:
        """Send a signal and wait."""
        self.popen.send_signal(signal)
        assert self.popen.stdout is not None
        self.popen.stdout.close()
        self.popen.wait(DEADLINE_S)

    def call(self, key: str, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Status and JSON of one request on a connection of its own; raises OSError."""
        with closing(self.connect()) as connection:
            return call(connection, key, method, path, body)

    def connect(self) -> http.client.HTTPConnection:
        """A connection."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE_S)


def call(
    connection: http.client.HTTPConnection, key: str, method: str, path: str, body: Any = None
) -> tuple[int, Any]:
    """Status and JSON of one request; raises OSError or http.client.HTTPException."""
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    text = None if body is None else json.dumps(body)
    connection.request(method, path, text, headers)
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


class Writer(threading.Thread):
    """Writes single events until the connection breaks; `receipts` are all that it was given."""

    def __init__(self, server: Process, key: str, name: str) -> None:
        super().__init__()
        self._server, self._key, self._name = server, key, name
        self.receipts: list[dict[str, Any]] = []
        self.refused: list[Any] = []

    def run(self) -> None:
        """Until the server is gone."""
        with closing(self._server.connect()) as connection:
            self._write(connection)

    def _write(self, connection: http.client.HTTPConnection) -> None:
        number = 0
        while True:
            number += 1
            event = {"id": f"{self._name}-{number}", "action": "a.b", "data": {"n": number}}
            try:
                status, body = call(connection, self._key, "POST", "/v1/events", event)
            except (OSError, http.client.HTTPException):
                return
            if status != 201:
                self.refused.append(body)
                return
            self.receipts.append(body)


def latest(server: Process, key: str) -> tuple[int, str] | None:
    """Size and root of the last checkpoint that the server shows."""
    status, body = server.call(key, "GET", "/v1/checkpoints/latest?log_id=main")
    return (body["tree_size"], body["root_hash"]) if status == 200 else None


def watch(server: Process, key: str, seen: list[tuple[int, str]]) -> None:
    """Note the checkpoints that a reader sees, until the server is gone."""
    while True:
        try:
            found = latest(server, key)
        except (OSError, http.client.HTTPException):
            return
        if found is not None:
            seen.append(found)
        time.sleep(0.02)  # a reader that looks now and then leaves the processor to the writers


def check_history(
    database: Path, receipts: list[dict[str, Any]], seen: list[tuple[int, str]]
) -> None:
    """Every receipt's event is there once, in its place; every checkpoint is a root of this log."""
    store = Store.open(f"sqlite:///{database}")
    with store.read() as connection:
        query = select(events.c.idx, events.c.event_id, events.c.leaf_hash).order_by(events.c.idx)
        rows = connection.execute(query).all()
        shown = select(checkpoints.c.tree_size, checkpoints.c.root_hash)
        stored = {size: root.hex() for size, root in connection.execute(shown)}
    store.close()
    assert [row.idx for row in rows] == list(range(len(rows)))
    assert len({row.event_id for row in rows}) == len(rows)
    for receipt in receipts:
        row = rows[receipt["index"]]
        assert (row.event_id, row.leaf_hash.hex()) == (receipt["event_id"], receipt["leaf_hash"])
    assert [size for size, _ in seen] == sorted(size for size, _ in seen)
    roots, edge = {}, list[bytes]()
    for index, row in enumerate(rows):
        edge = extend(edge, index, [row.leaf_hash])
        if index + 1 in stored:
            roots[index + 1] = fold(edge).hex()
    assert stored == roots
    assert dict(seen).items() <= stored.items()


def test_v1_what_was_acknowledged_survives_kills_and_checkpoints_never_go_back(
    tmp_path: Path,
) -> None:
    """Eight writers and a reader; SIGKILL at a random moment; the next start goes on."""
    database = tmp_path / "trailseal.db"
    receipts: list[dict[str, Any]] = []
    seen: list[tuple[int, str]] = []
    key = ""
    for round_ in range(ROUNDS):
        server = Process(database)
        key = key or server.key or ""
        writers = [Writer(server, key, f"{round_}-{number}") for number in range(CLIENTS)]
        reader = threading.Thread(target=watch, args=(server, key, seen))
        for thread in (*writers, reader):
            thread.start()
        # The moment of the kill is the test; the first comes after a checkpoint.
        time.sleep(random.uniform(0.1, 1.8) if round_ else 2.5)  # noqa: S311 - no secret
        server.end(signal.SIGKILL)
        for thread in (*writers, reader):
            thread.join(DEADLINE_S)
        assert [each.refused for each in writers] == [[]] * CLIENTS
        receipts += [receipt for each in writers for receipt in each.receipts]
        check_history(database, receipts, seen)
    assert len(receipts) > ROUNDS * CLIENTS
    assert seen


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of four MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", TMPFS, "tmpfs", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this user may not mount a file system")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)  # noqa: S607 - as mount above


def test_v6_a_full_disk_is_507_reads_work_and_it_heals(small_disk: Path) -> None:
    """Writes fail by name while the disk is full, and go on by themselves once it is not."""
    server = Process(small_disk / "trailseal.db")
    key = server.key or ""
    ballast = small_disk / "ballast"
    try:
        status, first = server.call(key, "POST", "/v1/events", {"id": "first", "action": "a"})
        assert status == 201
        ballast.write_bytes(bytes(64 << 10))
        answers = []
        for number in range(400):
            event = {"id": f"e{number}", "action": "a", "message": "x" * 20_000}
            answers.append(server.call(key, "POST", "/v1/events", event))
            if answers[-1][0] != 201:
                break
        assert (answers[-1][0], answers[-1][1]["code"]) == (507, "storage_full")
        status, found = server.call(key, "GET", "/v1/events/first?log_id=main")
        assert (status, found["leaf_hash"]) == (200, first["leaf_hash"])
        ballast.unlink()
        end = time.monotonic() + HEALS_S
        after = {"id": "after", "action": "a"}
        while (healed := server.call(key, "POST", "/v1/events", after))[0] != 201:
            assert time.monotonic() < end, healed
            time.sleep(0.05)
        assert healed[1]["index"] == len(answers)
    finally:
        server.end(signal.SIGTERM)
