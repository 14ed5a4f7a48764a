"""Mutation testing of `trailseal.verify`: `make mutants`.

mutmut changes the verifier's code in one small way after the other; a change that no test notices
is a gap. Its own runner starts pytest anew for each mutant and has limits by the clock, and it
leaves alone whatever is decorated (class methods, properties, all of a dataclass). So here

1. a copy of the verifier is made in which decorated functions and methods are plain functions that
   the class names, and mutmut makes the mutants of that;
2. the tests run once, each noting which functions it calls and how long it takes;
3. for each mutant a fork of this process runs the tests that call its function, the fastest first
   (before them what killed the function's last mutants), until one fails. Its limits are CPU time
   and memory; a mutant that runs into one is killed.

The tests are the verifier's unit tests and vectors, with few examples of each property, and without
those that try every byte: seconds for all.

    run.py [--jobs N] [--list] [NAME…]      NAME: 'trailseal.verify.merkle.*' and the like

Prints each survivor with what was changed, and for each module how many were killed. Exits 1 where
fewer than `LEAST` of 100 are.
"""

import argparse
import ast
import difflib
import fnmatch
import gc
import mmap
import os
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter, defaultdict
from concurrent.futures import ProcessPoolExecutor
from importlib import import_module
from itertools import repeat
from operator import itemgetter
from pathlib import Path
from typing import Any

import pytest
from _pytest.runner import runtestprotocol

ROOT = Path(__file__).resolve().parents[2]
LEAST = 90.0  # per cent
NICE = 10
SLACK = 5  # times as much CPU as the tests take without a mutant,
LEAST_CPU_S = 2.0  # and this is always allowed;
MOST_WALL_S = 60.0  # likewise by the clock, for those that wait forever
MOST_MEMORY = 4 << 30  # bytes
SURVIVED, KILLED, UNTESTED = range(3)
TESTS = ("tests/unit/verify", "tests/vectors/test_trailseal.py", "spec/vectors")
LEFT_OUT = ("no_changed_byte", "imports_nothing", "cost_no", "the_command", "the_page")


def prepare(folder: Path, patterns: list[str]) -> dict[str, str]:
    """Copy tests, vectors, and the verifier with its mutants; the diff of each by its name."""
    for name in TESTS:
        copy = folder / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copier = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copier(ROOT / name, copy)
    package, target = ROOT / "src/wrapper/trailseal", folder / "src/trailseal"
    (target / "verify").mkdir(parents=True)
    shutil.copy(package / "__init__.py", target)
    (folder / "src/mutmut").mkdir(parents=True)  # in place of mutmut's own, which loads a lot
    (folder / "src/mutmut/__init__.py").touch()
    (folder / "src/mutmut/__main__.py").write_text("def record_trampoline_hit(_name): ...")
    mutants: dict[str, str] = {}
    paths = sorted((package / "verify").glob("*.py"))
    with ProcessPoolExecutor() as pool:  # what mutmut loads would be copied by each fork
        made = pool.map(mutated, paths, repeat(patterns))
        for path, (text, found) in zip(paths, made, strict=True):
            (target / "verify" / path.name).write_text(text)
            mutants |= found
    return mutants


def mutated(path: Path, patterns: list[str]) -> tuple[str, dict[str, str]]:
    """A module that holds all its mutants; the name of each with what it changes."""
    source, module = path.read_text(), f"trailseal.verify.{path.stem}."
    if path.name == "__init__.py" or not any(p.startswith((module, "*")) for p in patterns):
        return source, {}
    from mutmut.file_mutation import mutate_file_contents  # noqa: PLC0415

    text, names = mutate_file_contents("", undecorated(source))
    body = [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.FunctionDef)]
    code = {node.name: ast.unparse(node.body).split("\n") for node in body}

    def diff(name: str) -> str:
        lines = difflib.unified_diff(code[re.sub(r"\d+$", "orig", name)], code[name], n=0)
        return "\n".join(f"    {line}" for line in list(lines)[3:])

    found = {module + name: diff(name) for name in names}
    return text, {name: diff for name, diff in found.items() if diff}  # b"\0" in capitals has none


def undecorated(source: str) -> str:
    """The same module; methods and decorated functions are plain functions of other names."""
    module = ast.parse(source)
    body: list[ast.stmt] = []
    for node in module.body:
        if isinstance(node, ast.FunctionDef) and node.decorator_list:
            body += [_plain(node, f"_{node.name}_"), _named(node, f"_{node.name}_")]
            continue
        if isinstance(node, ast.ClassDef):
            for at, inner in enumerate(node.body):
                if isinstance(inner, ast.FunctionDef) and "super()" not in ast.unparse(inner):
                    name = f"{node.name}_{inner.name}"  # no two underscores: mangled
                    body.append(_plain(inner, name))
                    node.body[at] = _named(inner, name)
        body.append(node)
    module.body = body
    return ast.unparse(ast.fix_missing_locations(module))


def _plain(function: ast.FunctionDef, name: str) -> ast.stmt:
    return ast.FunctionDef(**{**vars(function), "name": name, "decorator_list": []})


def _named(function: ast.FunctionDef, name: str) -> ast.stmt:
    value: ast.expr = ast.Name(name)
    for decorator in reversed(function.decorator_list):
        value = ast.Call(decorator, [value], [])
    return ast.Assign([ast.Name(function.name)], value)


class Runner:
    """A pytest plugin that takes the place of its loop."""

    def __init__(self, mutants: dict[str, str], jobs: int) -> None:
        self.mutants = mutants
        self.jobs = jobs
        self.results: dict[str, int] = {}  # SURVIVED, KILLED, UNTESTED; negative: by this signal
        self.items: defaultdict[str, list[tuple[float, pytest.Item]]] = defaultdict(list)
        self.killer = mmap.mmap(-1, 2 * jobs)  # the place of the test that failed, for each fork

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Run all tests once, then those that matter to each mutant."""
        if session.testsfailed:
            pytest.exit("not all tests could be read", 1)
        self._watch(session.items)
        running: dict[int, tuple[str, int]] = {}
        free = list(range(self.jobs))
        for items in self.items.values():
            items.sort(key=itemgetter(0))
        gc.freeze()  # or each fork would copy what it looks at
        self._run_without(session.items)
        for name in self.mutants:
            if not (items := self.items[name.rpartition("__mutmut_")[0]]):
                self._note(name, UNTESTED)
                continue
            slot = free.pop()
            if (pid := os.fork()) == 0:
                self._run_mutant(name, items, slot)
            running[pid] = name, slot
            if not free:
                free.append(self._reap(running))
        while running:
            self._reap(running)
        self._run_without(session.items)  # or a mutant broke more than itself
        return True

    def _run_without(self, items: list[pytest.Item]) -> None:
        if (pid := os.fork()) == 0:
            self._run_mutant("none", [(1.0, item) for item in items], 0)
        if os.waitpid(pid, 0)[1]:
            pytest.exit("the tests fail in a fork, without a mutant", 1)

    def _watch(self, items: list[pytest.Item]) -> None:
        called: set[str] = set()
        stub: Any = import_module("mutmut.__main__")  # it is what mutants call
        stub.record_trampoline_hit = called.add
        os.environ["MUTANT_UNDER_TEST"] = "stats"
        for item in items:
            called.clear()
            before = time.process_time()
            if not _passes(item):
                pytest.exit(f"fails without a mutant: {item.nodeid}", 1)
            for name in called:
                self.items[name].append((time.process_time() - before, item))

    def _run_mutant(self, name: str, items: list[tuple[float, pytest.Item]], slot: int) -> None:
        """Run in a process of its own, and end it."""
        taken = sum(seconds for seconds, _ in items)
        signal.setitimer(signal.ITIMER_PROF, LEAST_CPU_S + SLACK * taken)
        signal.setitimer(signal.ITIMER_REAL, MOST_WALL_S + SLACK * taken)
        resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
        os.dup2(os.open(os.devnull, os.O_RDWR), 1)
        os.dup2(1, 2)
        os.environ["MUTANT_UNDER_TEST"] = name
        try:
            for place, (_, item) in enumerate(items):
                if not _passes(item):
                    self.killer[2 * slot : 2 * slot + 2] = place.to_bytes(2)
                    os._exit(KILLED)
        except BaseException:  # noqa: BLE001  # KeyboardInterrupt, as pytest hands on
            os._exit(KILLED)
        os._exit(SURVIVED)

    def _reap(self, running: dict[int, tuple[str, int]]) -> int:
        pid, status = os.wait()
        name, slot = running.pop(pid)
        self._note(name, os.waitstatus_to_exitcode(status))
        if self.results[name] == KILLED:
            items = self.items[name.rpartition("__mutmut_")[0]]
            items.insert(0, items.pop(int.from_bytes(self.killer[2 * slot : 2 * slot + 2])))
        return slot

    def _note(self, name: str, result: int) -> None:
        self.results[name] = result
        if result in {SURVIVED, UNTESTED}:
            why = " (no test reaches it)" if result else ""
            print(
                f"{name}{why}, {len(self.results)} of {len(self.mutants)}",
                self.mutants[name],
                sep="\n",
                flush=True,
            )


def _passes(item: pytest.Item) -> bool:
    return not any(report.failed for report in runtestprotocol(item, log=False, nextitem=None))


def tell(results: dict[str, int]) -> int:
    """Print what was killed of each module, and the rate."""
    total, killed, limited = Counter[str](), Counter[str](), Counter[str]()
    for name, result in results.items():
        module = name.split(".")[2]
        total[module] += 1
        killed[module] += result not in {SURVIVED, UNTESTED}
        limited[module] += result < 0
    for module in total:
        print(f"{module:12}{killed[module]:5} of {total[module]:4}, {limited[module]} by a limit")
    rate = 100 * killed.total() / max(total.total(), 1)
    print(f"{killed.total()} of {total.total()} mutants killed: {rate:.1f} %, at least {LEAST} %")
    return int(rate < LEAST)


def main() -> int:
    """Make the mutants, run the tests on them, and say which are left."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--list", action="store_true", help="only say what would be changed")
    parser.add_argument("names", nargs="*", default=["*"])
    given = parser.parse_intermixed_args()
    os.nice(NICE)
    with tempfile.TemporaryDirectory(prefix="mutants-") as place:
        folder = Path(place)
        diffs = prepare(folder, given.names)
        chosen = {n: diffs[n] for n in diffs if any(fnmatch.fnmatch(n, p) for p in given.names)}
        if given.list:
            print(*(f"{name}\n{diff}" for name, diff in chosen.items()), sep="\n")
            return 0
        os.chdir(folder)
        os.environ |= {"HYPOTHESIS_PROFILE": "mutants", "MUTANT_UNDER_TEST": "none"}
        sys.path.insert(0, str(folder / "src"))
        (folder / "pytest.ini").touch()  # none of ours
        runner = Runner(chosen, given.jobs)
        arguments = ["tests", "-q", "-s", "-p", "no:cacheprovider", "--import-mode=importlib"]
        arguments += ["-k", " and ".join(f"not {name}" for name in LEFT_OUT)]
        arguments += ["--basetemp", "tmp", "-o", "tmp_path_retention_policy=none"]
        arguments += ["--tb=native", "--assert=plain"]  # nobody reads why a mutant fails
        arguments += ["-o", "markers=row(*ids): of the feature list"]
        if code := pytest.main(arguments, plugins=[runner]):
            return int(code)
        return tell(runner.results)


if __name__ == "__main__":
    sys.exit(main())
