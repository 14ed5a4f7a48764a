"""The check of many lines, by this process or by several, with the same result in the same order.

1. Workers are programs of their own (`python -c …` with this process's `sys.path`): no fork of a
   threaded program, no import of the user's `__main__`, no code from the working directory.
2. A thread for each worker writes lines and reads results in turn, so that no pipe can block both.
3. Memory is bounded: so many chunks on their way, each of so many lines or bytes.
4. What a worker that died was asked is checked here: a dead worker costs time, never a verdict.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from queue import SimpleQueue
from typing import Self

from .line import Checked, Expected, check_line

CHUNK_LINES = 256  # some 10 ms of work: far above the cost of sending them
CHUNK_BYTES = 1 << 20
WORTHWHILE_BYTES = 4 << 20  # below it, checking takes no longer than starting workers
MAX_PROCESSES = 8  # from there on, the one process that reads and hashes is what limits
STOP_S = 5.0  # for a worker that was told to stop, before it is killed

_MAIN = (
    "import sys; sys.path[:] = sys.argv[1:]; from trailseal.verify import _workers; _workers.main()"
)

Line = bytes | None


def sensible_processes(size: int) -> int:
    """How many processes should check a content of `size` bytes."""
    if size < WORTHWHILE_BYTES:
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(cores or 1, MAX_PROCESSES)


def check_lines(lines: Iterable[Line], expected: Expected, processes: int) -> Iterator[Checked]:
    """The result for each line, in order."""
    if processes < 2:
        for line in lines:
            yield check_line(line, expected)
        return
    with ExitStack() as stack:
        idle: SimpleQueue[_Worker] = SimpleQueue()
        for _ in range(processes):
            idle.put(stack.enter_context(_Worker(expected)))
        pool = stack.enter_context(ThreadPoolExecutor(processes))
        pending: deque[Future[list[Checked]]] = deque()
        for chunk in _chunks(lines):
            pending.append(pool.submit(_check_chunk, chunk, idle))
            if len(pending) > 2 * processes:
                yield from pending.popleft().result()
        while pending:
            yield from pending.popleft().result()


def main() -> None:
    """A worker: what to expect, then chunks of lines; results for each, until its input ends."""
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    with suppress(EOFError, BrokenPipeError, KeyboardInterrupt):
        expected = pickle.load(source)  # noqa: S301  # from the process that started this one
        while True:
            lines = pickle.load(source)  # noqa: S301
            pickle.dump([check_line(line, expected) for line in lines], sink)
            sink.flush()


class _Worker:
    """A program that checks chunks; without it, this process does."""

    def __init__(self, expected: Expected) -> None:
        self._expected = expected
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        path = filter(None, sys.path)  # "" is the working directory, which may hold anything
        command = [sys.executable, "-P", "-c", _MAIN, *path]
        with suppress(OSError):
            self._process = subprocess.Popen(  # noqa: S603  # this interpreter and our own code
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
            _send(self._expected, self._process)
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            try:
                self._process.communicate(timeout=STOP_S)  # ends its input, and waits
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.communicate()

    def check(self, lines: list[Line]) -> list[Checked]:
        process = self._process
        if process is not None and process.poll() is None:
            with suppress(OSError, EOFError, pickle.UnpicklingError):
                _send(lines, process)
                found: list[Checked] = pickle.load(process.stdout)  # type: ignore[arg-type]  # noqa: S301  # our own worker
                return found
            process.kill()  # half an answer may be on its way
        return [check_line(line, self._expected) for line in lines]


def _send(value: object, process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        pickle.dump(value, process.stdin)
        process.stdin.flush()


def _check_chunk(lines: list[Line], idle: SimpleQueue[_Worker]) -> list[Checked]:
    worker = idle.get()
    try:
        return worker.check(lines)
    finally:
        idle.put(worker)


def _chunks(lines: Iterable[Line]) -> Iterator[list[Line]]:
    chunk: list[Line] = []
    size = 0
    for line in lines:
        chunk.append(line)
        size += len(line or b"")
        if len(chunk) == CHUNK_LINES or size >= CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk
