"""Several processes behind one address: `trailseal-server run --workers 2`."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import httpx
import pytest
from trailseal_server.services import bootstrap
from trailseal_server.store import Store
from trailseal_server.workers import keep_to_core, schedule_as_batch

from .servers import children

WAIT_S = 60.0
WORKERS = 2
REQUESTS = 40
T = TypeVar("T")


@contextmanager
def serving(url: str, folder: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command, and its URL."""
    given = {
        "TRAILSEAL_DATABASE_URL": url,
        "TRAILSEAL_LOG_KEY_FILE": str(folder / "signing.key"),
        "TRAILSEAL_EXPORT_DIR": str(folder / "exports"),
    }
    command = [sys.executable, "-m", "trailseal_server", "run", "--port", "0", "--workers", "2"]
    with subprocess.Popen(
        command, env={**os.environ, **given}, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        try:
            line = next(line for line in process.stderr if "listens on" in line)
            yield process, line.split()[-1]
        finally:
            process.kill()


def until(there: Callable[[], bool]) -> None:
    """Wait for something to be so."""
    end = time.monotonic() + WAIT_S
    while not there():
        assert time.monotonic() < end
        time.sleep(0.05)


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and that nobody asked for does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def post(url: str, key: str, name: str) -> int:
    """Send an event on a connection of its own; the status, 0 if the connection broke."""
    event = {"id": name, "action": "a.b"}
    try:
        answer = httpx.post(
            f"{url}/v1/events",
            json=event,
            headers={"Authorization": f"Bearer {key}"},
            timeout=WAIT_S,
        )
    except httpx.TransportError:
        return 0
    return answer.status_code


@pytest.mark.skipif(sys.platform != "linux", reason="processes are looked for in /proc")
def test_workers_share_the_work_and_one_that_dies_is_replaced(
    make_database: Callable[[], str], tmp_path: Path
) -> None:
    """Two processes serve one log and count together; one is killed, another takes its place; the
    supervisor ends with both, and with 0."""
    url = make_database()
    store = Store.open(url)
    key = bootstrap(store)
    store.close()
    assert key is not None
    with serving(url, tmp_path) as (process, at):
        before = children(process)
        assert len(before) == WORKERS
        assert {post(at, key, f"e{n}") for n in range(REQUESTS)} == {201}
        counted = httpx.get(f"{at}/metrics").text
        created = re.search(
            r'^trailseal_events_total{outcome="created"} (\S+)', counted, re.MULTILINE
        )
        assert created is not None
        assert float(created[1]) == REQUESTS, "whichever process is asked knows of all"
        victim = min(before)
        os.kill(victim, signal.SIGKILL)
        until(lambda: len(children(process)) == WORKERS and victim not in children(process))
        for n in range(REQUESTS):
            until(lambda name=f"f{n}": post(at, key, name) in {200, 201})  # type: ignore[misc]
        head = {"Authorization": f"Bearer {key}"}
        listed = httpx.get(f"{at}/v1/events?include=total", headers=head, timeout=WAIT_S).json()
        assert listed["total"] == 2 * REQUESTS
        after = children(process)
        process.terminate()
        assert process.wait(WAIT_S) == 0
        until(lambda: not any(map(alive, before | after)))


@pytest.mark.skipif(sys.platform != "linux", reason="processes are looked for in /proc")
def test_workers_end_when_their_supervisor_is_killed(tmp_path: Path) -> None:
    """Nobody is left behind to hold the address and the database."""
    with serving(f"sqlite:///{tmp_path}/a.db", tmp_path) as (process, _):
        found = children(process)
        assert len(found) == WORKERS
        process.kill()
        process.wait(WAIT_S)
        until(lambda: not any(map(alive, found)))


def test_a_server_that_cannot_start_ends_with_its_reason(tmp_path: Path) -> None:
    """A wrong signing key ends the command with 1 and a line, not with a loop of dying workers."""
    (tmp_path / "signing.key").write_text("no key")
    given = {"TRAILSEAL_LOG_KEY_FILE": str(tmp_path / "signing.key")}
    command = [sys.executable, "-m", "trailseal_server", "run", "--port", "0", "--workers", "2"]
    done = subprocess.run(
        [*command, "--database-url", f"sqlite:///{tmp_path}/a.db"],
        env={**os.environ, **given},
        capture_output=True,
        check=False,
        text=True,
        timeout=WAIT_S,
    )
    assert done.returncode == 1
    assert "signing.key" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="processes are looked for in /proc")
def test_a_worker_that_is_killed_before_it_serves_ends_the_command(tmp_path: Path) -> None:
    """What kills the first ones would kill the next: the command says how they ended, where their
    own log cannot."""
    given = {"TRAILSEAL_LOG_KEY_FILE": str(tmp_path / "signing.key")}
    command = [sys.executable, "-m", "trailseal_server", "run", "--port", "0", "--workers", "2"]
    with subprocess.Popen(
        [*command, "--database-url", f"sqlite:///{tmp_path}/a.db"],
        env={**os.environ, **given},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        until(lambda: bool(children(process)))
        os.kill(min(children(process)), signal.SIGKILL)
        _, said = process.communicate(timeout=WAIT_S)
    assert process.returncode == 1
    assert f"ended with -{signal.SIGKILL.value} before it served" in said
    assert "Traceback" not in said


@pytest.mark.skipif(sys.platform != "linux", reason="connections are looked for in /proc")
def test_workers_have_as_many_connections_each(tmp_path: Path) -> None:
    """Connections that arrive all at once are shared: no process does the work of both."""
    with serving(f"sqlite:///{tmp_path}/a.db", tmp_path) as (process, at), ExitStack() as all_:
        port = int(at.rpartition(":")[2])
        clients = [
            all_.enter_context(socket.create_connection(("127.0.0.1", port), WAIT_S))
            for _ in range(REQUESTS)
        ]
        for client in clients:
            client.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        for client in clients:
            assert client.recv(1024).startswith(b"HTTP/1.1 200")
        counts = [connections(pid, port) for pid in children(process)]
        assert sum(counts) == REQUESTS
        assert max(counts) - min(counts) <= REQUESTS // 4, counts  # 2, on a machine at rest


@pytest.mark.skipif(sys.platform != "linux", reason="a process is kept to a core on Linux only")
def test_each_worker_keeps_to_a_core_of_its_own(tmp_path: Path) -> None:
    """Where there is a core for each, all threads of a worker run on its core, and so do those of
    the worker that replaces it; the supervisor is free."""
    mine = os.sched_getaffinity(0)
    if len(mine) < WORKERS:
        pytest.skip(f"the machine has fewer than {WORKERS} cores")
    cores = set(sorted(mine)[:WORKERS])
    os.sched_setaffinity(0, cores)  # the command inherits it
    try:
        with serving(f"sqlite:///{tmp_path}/a.db", tmp_path) as (process, _):
            before = children(process)
            assert {frozenset(cores_of(pid)) for pid in before} == {frozenset({c}) for c in cores}
            assert cores_of(process.pid) == cores
            victim = min(before)
            core = cores_of(victim)
            os.kill(victim, signal.SIGKILL)
            until(lambda: len(children(process) - before) == 1)
            (new,) = children(process) - before
            until(lambda: cores_of(new) == core)
    finally:
        os.sched_setaffinity(0, mine)


@pytest.mark.skipif(sys.platform != "linux", reason="a process is kept to a core on Linux only")
def test_workers_that_are_not_as_many_as_cores_run_anywhere() -> None:
    """No core is left idle, and none is shared by order, where the numbers differ."""
    cores = os.sched_getaffinity(0)
    assert kept(0, len(cores)) == {min(cores)}
    assert kept(0, len(cores) + 1) == cores
    assert kept(0, len(cores) - 1) == cores


def may_be_batch_work() -> bool:
    """Whether this system, and who started this run, leave the choice to us (Linux)."""

    def tried() -> bool:
        with suppress(OSError):
            if os.sched_getscheduler(0) == os.SCHED_OTHER:
                os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
                return True
        return False

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(tried).result()


@pytest.mark.skipif(sys.platform != "linux", reason="SCHED_BATCH is Linux's")
def test_no_waking_thread_of_a_worker_pushes_another_aside(tmp_path: Path) -> None:
    """All threads of the workers are batch work to the system; the supervisor is not."""
    if not may_be_batch_work():
        pytest.skip("the system or who started the tests has chosen another policy")
    with serving(f"sqlite:///{tmp_path}/a.db", tmp_path) as (process, _):
        workers = children(process)
        assert len(workers) == WORKERS
        for worker in workers:
            assert set(of_threads(worker, os.sched_getscheduler)) == {os.SCHED_BATCH}
        assert os.sched_getscheduler(process.pid) == os.SCHED_OTHER


@pytest.mark.skipif(sys.platform != "linux", reason="SCHED_BATCH is Linux's")
def test_an_operators_choice_of_a_scheduler_stays() -> None:
    """Idle work, say, is not made more than that."""

    def run() -> int:
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        schedule_as_batch()
        return os.sched_getscheduler(0)

    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(run).result() == os.SCHED_IDLE


def kept(number: int, of: int) -> set[int]:
    """The cores of a thread that was told to keep to one."""

    def run() -> set[int]:
        keep_to_core(number, of)
        return os.sched_getaffinity(0)

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(run).result()


def cores_of(pid: int) -> set[int]:
    """The cores that the threads of a process may run on (Linux)."""
    return set().union(*of_threads(pid, os.sched_getaffinity))


def of_threads(pid: int, ask: Callable[[int], T]) -> list[T]:
    """What the system says of each thread of a process (Linux)."""
    found = []
    for each in Path(f"/proc/{pid}/task").iterdir():
        with suppress(ProcessLookupError):  # it has ended
            found.append(ask(int(each.name)))
    return found


def connections(pid: int, port: int) -> int:
    """How many a server process has open on its port (Linux)."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    mine = {f"socket:[{line[9]}]" for line in lines if line[1].endswith(f":{port:04X}")}
    listening = {f"socket:[{line[9]}]" for line in lines if line[3] == "0A"}
    files = [str(file.readlink()) for file in Path(f"/proc/{pid}/fd").iterdir()]
    return sum(file in mine - listening for file in files)
