"""B1, B2, B3, B12: how processes end, fork and run event loops, and that nothing is lost by it."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from trailseal import Audit
from trailseal_server.app import Running

from .children import DEADLINE_S, ROUNDS, Place, until

SIGNALS = [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL]


@pytest.fixture
def place(server: Running, log_id: str, tmp_path: Path) -> Iterator[Place]:
    return Place(server, log_id, tmp_path / "spool")


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ("", 0),
        ("raise ValueError('the application fails')", 1),
        ("os.kill(os.getpid(), signal.SIGINT); time.sleep(30)", -2),
    ],
    ids=["returns", "raises", "SIGINT"],
)
def test_b1_what_was_accepted_is_delivered_at_exit(place: Place, end: str, code: int) -> None:
    """Also what was in memory only, with no flush and no close."""
    program = f"""
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background work ignores it
for n in range(150):
    accept(n, "background"); accept(n + 1000)
{end}
"""
    assert place.finish(place.start(program, "exit", stderr=subprocess.DEVNULL)) == code
    assert len(place.accepted) == 300
    place.check(drained=False)
    assert list(place.folder.iterdir()) == []


def test_b1_what_is_left_at_exit_is_said(place: Place) -> None:
    """With the server down: lost from memory, kept in the spool."""
    program = """
client = Client("http://127.0.0.1:9", key)
audit = Audit(client, spool=folder, exit_timeout=0.3)
for n in range(3):
    accept(n, "background"); accept(n + 10)
"""
    child = place.start(program, "left", stderr=subprocess.PIPE)
    _, said = child.communicate(timeout=DEADLINE_S)
    assert "3 events in memory, not delivered" in said
    assert "3 events in the spool" in said


@pytest.mark.parametrize("how", ["exit", *SIGNALS], ids=str)
def test_b2_a_process_that_ends_at_once_leaves_its_events_to_the_next(
    place: Place, how: str | int
) -> None:
    """`os._exit` and every signal; the moment is random."""
    program = """
for n in range(1_000_000):
    accept(n)
    if len(rest) and n == int(rest[0]):
        os._exit(0)
"""
    for number in range(ROUNDS or 1):
        ends = [str(random.randint(0, 200))] if how == "exit" else []  # noqa: S311 - no secret
        child = place.start(program, f"{how}{number}", *ends)
        if isinstance(how, int):
            assert child.stdout is not None
            place.accepted.append(child.stdout.readline().strip())
            time.sleep(random.uniform(0, 0.3))  # noqa: S311 - no secret
            child.send_signal(how)
        place.finish(child)
    place.check()


FORK = """
import random
def many(who, count, said=True):
    for n in range(count):
        accept(f"{who}-{n}", random.choice(["durable", "background"]), said)
busy = threading.Thread(target=many, args=("thread", 300))
many("before", 50)
busy.start()
children = []
for number in range(3):
    time.sleep(0.02)
    pid = os.fork()
    if not pid:
        many(f"child{number}", 50)
        ok = audit.flush(60)
        stats = audit.stats()
        if not ok or (stats.delivered, stats.adopted) != (50, 0):
            os.write(2, f"child{number}: {ok} {stats}\\n".encode())
            os._exit(3)
        os._exit(0)
    children.append(pid)
many("after", 50)
busy.join()
codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
assert audit.flush(60)
assert codes == [0, 0, 0], codes
assert audit.stats().delivered == 400, audit.stats()
"""


def test_b3_a_fork_with_a_full_queue_and_held_locks_parts_the_events(place: Place) -> None:
    """Parent and children deliver their own: nothing is lost, sent twice or hung."""
    for number in range(ROUNDS // 10 or 1):
        assert place.finish(place.start(FORK, f"fork{number}")) == 0
    place.check(drained=False)
    assert len(place.accepted) == 550 * (ROUNDS // 10 or 1)


def test_b3_the_sending_thread_imports_nothing_that_a_fork_could_interrupt(place: Place) -> None:
    """A child that is forked meanwhile would wait for ever for the lock of that import."""
    program = """
found = []
def hook(event, args):
    if event == "import" and threading.current_thread().name == "trailseal-delivery":
        found.append(args[0])
sys.addaudithook(hook)
accept(1)
accept(2, "background")
assert audit.flush(60)
assert not found, found
"""
    assert place.finish(place.start(program, "imports")) == 0
    place.check()


def test_b3_children_of_multiprocessing_deliver_before_they_end(place: Place) -> None:
    """They end without `atexit`."""
    program = """
import multiprocessing
def work(who):
    for n in range(40):
        accept(f"{who}-{n}", "background")
accept("first", "background")
context = multiprocessing.get_context("fork")
workers = [context.Process(target=work, args=(n,)) for n in range(3)]
for worker in workers: worker.start()
for worker in workers: worker.join()
"""
    assert place.finish(place.start(program, "mp")) == 0
    assert len(place.accepted) == 121
    place.check(drained=False)


GUNICORN = """
import os
from trailseal import Audit, Client
audit = Audit(Client(os.environ["URL"], os.environ["KEY"]), spool=os.environ["FOLDER"])
LOG = os.environ["LOG"]
audit.log("a.started", id="master", log_id=LOG, delivery="background")
def app(environ, start_response):
    name = environ["PATH_INFO"].strip("/")
    audit.log("a.b", id=name + "-d", log_id=LOG)
    audit.log("a.b", id=name + "-m", log_id=LOG, delivery="background")
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
"""


@pytest.mark.parametrize("worker", ["sync", "gthread", "gevent"])
def test_b3_gunicorn_with_preload(place: Place, worker: str, tmp_path: Path) -> None:
    """The object is made, and used, before the workers are forked."""
    pytest.importorskip("gunicorn")
    if worker == "gevent":
        pytest.importorskip("gevent")
    (tmp_path / "served.py").write_text(GUNICORN)
    given = {"URL": place.server.url, "KEY": place.server.key or "", "LOG": place.log_id}
    port = _free_port()
    command = [sys.executable, "-m", "gunicorn", "--preload", "-w", "2", "-k", worker]
    command += ["--graceful-timeout", "5"]  # gevent's may wait so long for nothing, without us too
    child = subprocess.Popen(
        [*command, "--threads", "2", "-b", f"127.0.0.1:{port}", "served:app"],
        cwd=tmp_path,
        env={**os.environ, **given, "FOLDER": str(place.folder)},
        stderr=subprocess.DEVNULL,
    )
    try:
        until(lambda: _answers(port, "ready"))
        for number in range(30):
            assert _answers(port, f"r{number}")
            place.accepted += [f"r{number}-d", f"r{number}-m"]
    finally:
        child.send_signal(signal.SIGTERM)
        child.wait(DEADLINE_S)
    place.accepted.append("master")
    place.check(drained=False)


def _free_port() -> int:
    import socket  # noqa: PLC0415 - here only

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def _answers(port: int, name: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/{name}", timeout=10) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def test_b12_event_loops_come_and_go(place: Place) -> None:
    """Fifty of them, opened and closed; the sending thread belongs to none."""
    with place.client() as client, Audit(client, spool=place.folder) as audit:

        async def work(number: int) -> None:
            for delivery in ("durable", "background"):
                event_id = f"{number}-{delivery}"
                audit.log("a.b", id=event_id, log_id=place.log_id, delivery=delivery)
                place.accepted.append(event_id)
            await asyncio.sleep(0)

        for number in range(50):
            asyncio.run(work(number))
        assert audit.flush(DEADLINE_S)
        assert audit.stats().delivered == 100
    place.check(drained=False)
