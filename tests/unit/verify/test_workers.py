"""Several processes check lines: the same results, in order, whatever happens to a worker."""

from __future__ import annotations

import io
import os
import pickle
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
from trailseal.verify import _workers
from trailseal.verify._workers import check_lines, sensible_processes
from trailseal.verify.line import Checked, Expected

WHOLE = Expected("org_789", 10, None, in_tree=True, start=None, end=None, signing_keys={})
DIES = "import sys; sys.stdin.buffer.read(1); sys.exit(1)"
TALKS_NONSENSE = "import sys; sys.stdout.buffer.write(b'nonsense' * 9); sys.stdout.flush()"
TALKS_NONSENSE += "; sys.stdin.buffer.read()"
SLEEPS = "import time; time.sleep(60)"


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[bytes]]:
    """The workers that were started; each chunk holds two lines."""
    found: list[subprocess.Popen[bytes]] = []

    class Popen(subprocess.Popen):  # type: ignore[type-arg]
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            found.append(self)

    monkeypatch.setattr(subprocess, "Popen", Popen)
    monkeypatch.setattr(_workers, "CHUNK_LINES", 2)
    return found


def lines(log: Any) -> list[bytes | None]:
    found = [*log.lines(0, 9), None, b"{"]
    found[4] = found[4].replace(b"user_4", b"user_5")
    return found


def told(results: list[Checked]) -> list[tuple[Any, ...]]:
    return [(*(f.args[0] for f in one.faults), *one[1:]) for one in results]


def test_workers_answer_as_this_process_does_and_in_order(log: Any, started: Any) -> None:
    """Each was started once, told to end, and ended well."""
    alone = told(list(check_lines(lines(log), WHOLE, 1)))
    assert [one[0] for one in alone if one[0] is not None and isinstance(one[0], str)] == [
        "its content is not what was logged (fields_hash differs)",
        "the line is longer than 33554432 bytes",
        "not JSON: Expecting property name enclosed in double quotes at character 1",
    ]
    assert started == []
    assert told(list(check_lines(lines(log), WHOLE, 2))) == alone
    assert [process.returncode for process in started] == [0, 0]


@pytest.mark.parametrize("program", [DIES, TALKS_NONSENSE], ids=["dies", "talks nonsense"])
def test_what_a_broken_worker_was_asked_is_checked_here(
    log: Any, started: Any, program: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dead worker costs time, never a verdict, and is not asked again."""
    alone = told(list(check_lines(lines(log), WHOLE, 1)))
    monkeypatch.setattr(_workers, "_MAIN", program)
    assert told(list(check_lines(lines(log), WHOLE, 2))) == alone
    assert len(started) == 2
    assert 0 not in [process.returncode for process in started]


def test_without_an_interpreter_this_process_checks(
    log: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As an embedded Python may be."""
    alone = told(list(check_lines(lines(log), WHOLE, 1)))
    monkeypatch.setattr(_workers.sys, "executable", "/nowhere")
    assert told(list(check_lines(lines(log), WHOLE, 2))) == alone


def test_a_worker_that_does_not_end_is_killed(
    started: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a while."""
    monkeypatch.setattr(_workers, "_MAIN", SLEEPS)
    monkeypatch.setattr(_workers, "STOP_S", 0.1)
    assert list(check_lines([], WHOLE, 2)) == []
    assert [process.returncode for process in started] == [-9, -9]


def test_lines_travel_in_chunks_of_so_many_lines_or_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is bounded by both; no line is lost."""
    monkeypatch.setattr(_workers, "CHUNK_LINES", 3)
    monkeypatch.setattr(_workers, "CHUNK_BYTES", 10)
    given: list[bytes | None] = [b"a", None, b"b", b"1234567890", b"c", b"123456789", b"d"]
    assert list(_workers._chunks(given)) == [given[:3], given[3:4], given[4:6], given[6:]]
    assert list(_workers._chunks(given[:3])) == [given[:3]]
    given = [b"123456789", b"1", b"123456789", b"1"]
    assert list(_workers._chunks(given)) == [given[:2], given[2:]]
    assert list(_workers._chunks([])) == []


def test_reading_waits_for_workers(log: Any, started: Any) -> None:
    """No more than two chunks for each worker, and one, are on their way."""
    taken = 0

    def source() -> Any:
        nonlocal taken
        for line in log.lines(0, 9) * 4:
            taken += 1
            yield line

    results = check_lines(source(), WHOLE, 2)
    next(results)
    assert taken == 2 * (2 * 2 + 1)
    assert len(list(results)) == 39


class End:
    """One end of a worker, in this process."""

    def __init__(self, *written: object) -> None:
        self.buffer = io.BytesIO(b"".join(map(pickle.dumps, written)))

    def read(self) -> list[Any]:
        self.buffer.seek(0)
        found = []
        while self.buffer.tell() < len(self.buffer.getvalue()):
            found.append(pickle.load(self.buffer))  # noqa: S301  # our own
        return found


def test_a_worker_answers_each_chunk_until_its_input_ends(
    log: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What to expect comes first. It also ends where nobody reads."""
    given = lines(log)
    told_one, told_all = End(), End()
    for source, sink in ((End(WHOLE), told_one), (End(WHOLE, given[:3], given[3:]), told_all)):
        monkeypatch.setattr(_workers.sys, "stdin", source)
        monkeypatch.setattr(_workers.sys, "stdout", sink)
        _workers.main()
    assert told_one.read() == []
    alone = told(list(check_lines(given, WHOLE, 1)))
    assert [told(chunk) for chunk in told_all.read()] == [alone[:3], alone[3:]]
    for error in (BrokenPipeError, KeyboardInterrupt):
        monkeypatch.setattr(_workers.sys, "stdin", End(WHOLE, given))
        monkeypatch.setattr(_workers.pickle, "dump", failing(error))
        _workers.main()


def failing(error: type[BaseException]) -> Callable[..., None]:
    def fail(*_: object) -> None:
        raise error

    return fail


def test_large_contents_are_checked_by_all_cores_up_to_a_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Those that this process may use."""
    large = _workers.WORTHWHILE_BYTES
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(5 - pid)), raising=False)
    assert (sensible_processes(large - 1), sensible_processes(large)) == (1, 5)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(99)), raising=False)
    assert sensible_processes(large) == _workers.MAX_PROCESSES
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    assert sensible_processes(large) == 3
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert sensible_processes(large) == 1
