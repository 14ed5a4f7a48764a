"""Servers in processes of their own, clients that remember all that they were told, and a check of
the whole history against it.

`FAULT_ROUNDS` is what the long form of `make faults-full` sets to 300: the numbers of
docs/PROMISES.md; 30 is a tenth of them. Without it every test takes its short form.
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
from contextlib import closing
from pathlib import Path
from typing import Any, Self

from sqlalchemy import select
from trailseal.verify import Checkpoint, VerifierKey, open_checkpoint
from trailseal.verify.merkle import verify_consistency
from trailseal_server.log import extend, fold
from trailseal_server.store import Store
from trailseal_server.store.schema import checkpoints, events

FULL_ROUNDS = 300
ROUNDS = int(os.environ.get("FAULT_ROUNDS", "0"))
DEADLINE_S = 30.0  # for one request, for a start and for an end
AGAIN_S = 0.02  # a client that was refused a connection, and a reader, look this often
GONE = (OSError, http.client.HTTPException)  # the connection broke, or there was none
SERVE = ("-m", "trailseal", "serve", "--port", "0", "--json", "--database-url")


def rounds(short: int, full: int = FULL_ROUNDS) -> int:
    """How often: `short`, or the part of `full` that `FAULT_ROUNDS` asks for."""
    return max(short, full * ROUNDS // FULL_ROUNDS)


def children(process: "subprocess.Popen[str]") -> set[int]:
    """The server processes of a supervisor (Linux)."""
    found = set()
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                command = (folder / "cmdline").read_text()
            except OSError:  # it has ended
                continue
            if parent == process.pid and "spawn_main" in command:
                found.add(int(folder.name))
    return found


class Process:
    """A server on a database: `trailseal serve`, or `python -c program URL arguments…`; with
    several `workers` a supervisor of so many processes."""

    def __init__(self, url: str, folder: Path, *program: str, workers: int = 1) -> None:
        files = {"LOG_KEY_FILE": folder / "signing.key", "EXPORT_DIR": folder / "exports"}
        given = {f"TRAILSEAL_{name}": str(path) for name, path in files.items()}
        # A killed supervisor leaves a temporary folder behind.
        given |= {"TRAILSEAL_WORKERS": str(workers), "TMPDIR": str(folder)}
        what = ("-c", program[0], url, *program[1:]) if program else (*SERVE, url)
        self.popen = subprocess.Popen(
            [sys.executable, *what],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **given},
        )
        self.port = 0
        self.key: str | None = None
        self.errors = ""

    def started(self) -> Self:
        """Wait until it answers."""
        if not self.answers():
            self.end(signal.SIGKILL)
            raise AssertionError(self.errors)
        return self

    def answers(self) -> bool:
        """Wait until it answers, or has ended before."""
        assert self.popen.stdout is not None
        line = self.popen.stdout.readline()
        if line:
            said = json.loads(line)
            self.port, self.key = int(said["url"].rpartition(":")[2]), said["api_key"]
        return bool(line)

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal unless it has ended, wait, and answer the exit code."""
        if self.popen.poll() is None:
            self.popen.send_signal(number)
        if self.popen.stdout is not None and not self.popen.stdout.closed:
            self.errors += self.popen.communicate(timeout=DEADLINE_S)[1]
        return self.popen.wait(DEADLINE_S)

    def connect(self) -> http.client.HTTPConnection:
        """A connection."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE_S)

    def call(self, key: str, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Status and JSON of one request on a connection of its own; raises one of `GONE`."""
        with closing(self.connect()) as connection:
            return call(connection, key, method, path, body)

    def __enter__(self) -> Self:
        """Started, unless that is waited for already."""
        return self if self.port else self.started()

    def __exit__(self, *_: object) -> None:
        """Killed, if the test did not end it."""
        self.end(signal.SIGKILL)


def call(
    connection: http.client.HTTPConnection, key: str, method: str, path: str, body: Any = None
) -> tuple[int, Any]:
    """Status and JSON of one request; raises one of `GONE`."""
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    text = None if body is None else json.dumps(body).encode()
    connection.request(method, path, text, headers)
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


class Fleet:
    """The servers of one database as clients see them: an address may be dead for a while."""

    def __init__(self, url: str, folder: Path, size: int, *, workers: int = 1) -> None:
        self._place = url, folder
        self._workers = workers
        starting = [self._start() for _ in range(size)]
        self.members = [each.started() for each in starting]
        self.keys = [each.key for each in self.members if each.key]
        self.stopping = threading.Event()

    def any(self) -> Process:
        """One of them, dead or alive."""
        return random.choice(self.members)  # noqa: S311 - no secret

    def replace(self, number: int) -> None:
        """Kill one with SIGKILL and start another in its place."""
        assert self.members[number].end(signal.SIGKILL) == -signal.SIGKILL
        self.members[number] = self._start().started()

    def _start(self) -> Process:
        return Process(*self._place, workers=self._workers)

    def stop(self) -> None:
        """End all in order."""
        codes = [each.end() for each in self.members]
        assert codes == [0] * len(codes)


class Client(threading.Thread):
    """Asks one server of a fleet, and another when the connection breaks, until the fleet stops."""

    def __init__(self, fleet: Fleet) -> None:
        super().__init__(daemon=True)
        self.fleet = fleet
        self._connection: http.client.HTTPConnection | None = None

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any] | None:
        """The answer to a request, sent as often as it takes; None once the fleet stops."""
        while not self.fleet.stopping.is_set():
            if self._connection is None:
                self._connection = self.fleet.any().connect()
            try:
                return call(self._connection, self.fleet.keys[0], method, path, body)
            except GONE:
                self._connection.close()
                self._connection = None
                self.fleet.stopping.wait(AGAIN_S)
        return None

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()


class Writer(Client):
    """Sends single events, each until it is acknowledged; `receipts` are all that it was given."""

    def __init__(self, fleet: Fleet, name: str) -> None:
        super().__init__(fleet)
        self._name = name
        self.receipts: list[tuple[str, int, str]] = []  # id, index, leaf hash
        self.refused: list[Any] = []
        self.sent = 0

    def run(self) -> None:
        """Until the fleet stops."""
        while True:
            self.sent += 1
            event = {"id": f"{self._name}-{self.sent}", "action": "a.b", "data": {"n": self.sent}}
            answer = self.ask("POST", "/v1/events", event)
            if answer is None:
                break
            status, body = answer
            if status == 201 or (status == 200 and body["replayed"]):
                self.receipts.append((body["event_id"], body["index"], body["leaf_hash"]))
            else:
                self.refused.append(answer)
        self.close()


class Watcher(Client):
    """A reader of checkpoints: each must be signed, and shown to continue the one before."""

    def __init__(self, fleet: Fleet) -> None:
        super().__init__(fleet)
        self.seen: list[Checkpoint] = []  # one of each size and root, as they were served
        self.wrong: list[str] = []
        self._keys: list[VerifierKey] = []

    def run(self) -> None:
        """Until the fleet stops."""
        while not self.fleet.stopping.wait(AGAIN_S):
            answer = self.ask("GET", "/v1/checkpoints/latest?log_id=main")
            if answer is not None and answer[0] == 200:
                try:
                    self._look(answer[1]["signed_note"])
                except Exception as error:  # noqa: BLE001 - whatever it is, the test must learn of it
                    self.wrong.append(repr(error))
        self.close()

    def _look(self, note: str) -> None:
        if not self._keys:  # the first ones hold for good
            answer = self.ask("GET", "/v1/keys?log_id=main")
            if answer is None:
                return
            texts = [each.get("verifier_key") for each in answer[1]["items"]]
            self._keys = [VerifierKey.parse(text) for text in texts if text]
        found = open_checkpoint(note, self._keys)
        last = self.seen[-1] if self.seen else None
        if last is not None and found.tree_size < last.tree_size:
            self.wrong.append(f"back from {last.tree_size} to {found.tree_size}")
        elif last is None or last != found:
            if last is not None and last.tree_size:
                self._continues(last, found)
            self.seen.append(found)

    def _continues(self, old: Checkpoint, new: Checkpoint) -> None:
        sizes = f"first={old.tree_size}&second={new.tree_size}"
        answer = self.ask("GET", f"/v1/proofs/consistency?log_id=main&{sizes}")
        if answer is not None:
            proof = [bytes.fromhex(each) for each in answer[1]["hashes"]]
            sizes_and_roots = (old.tree_size, new.tree_size, old.root_hash, new.root_hash)
            verify_consistency(*sizes_and_roots, proof)


def check_history(
    url: str, receipts: list[tuple[str, int, str]], seen: list[Checkpoint]
) -> set[str]:
    """Every receipt's event is there once, in its place; every checkpoint, stored or seen, is a
    root of this one log. Answers the ids of all events."""
    store = Store.open(url)
    with store.read() as connection:
        columns = (events.c.idx, events.c.event_id, events.c.leaf_hash)
        query = select(*columns).where(events.c.log_id == "main").order_by(events.c.idx)
        rows = connection.execute(query).all()
        shown = select(checkpoints.c.tree_size, checkpoints.c.root_hash)
        found = connection.execute(shown.where(checkpoints.c.log_id == "main"))
        stored = {row.tree_size: row.root_hash for row in found}
    store.close()
    assert [row.idx for row in rows] == list(range(len(rows))), "a gap"
    ids = {row.event_id for row in rows}
    assert len(ids) == len(rows), "an event is there twice"
    for event_id, index, leaf in receipts:
        assert (rows[index].event_id, rows[index].leaf_hash.hex()) == (event_id, leaf)
    roots, edge = {}, list[bytes]()
    for index, row in enumerate(rows):
        edge = extend(edge, index, [row.leaf_hash])
        if index + 1 in stored:
            roots[index + 1] = fold(edge)
    assert {size: root for size, root in stored.items() if size} == roots
    assert all(stored[each.tree_size] == each.root_hash for each in seen)
    return ids


def join(threads: list[threading.Thread]) -> None:
    """Wait for all."""
    end = time.monotonic() + DEADLINE_S
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
        assert not thread.is_alive()
