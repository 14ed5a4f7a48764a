"""What the process does about its memory."""

import platform
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import ctypes, sys, threading
from trailseal_server.memory import bound_arenas

if sys.argv[2] == "bound":
    bound_arenas()
meet = threading.Barrier(12)

def use():
    meet.wait()
    kept = [bytes(n) for n in range(1_000, 60_000, 100)]
    meet.wait()

threads = [threading.Thread(target=use) for _ in range(12)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
libc = ctypes.CDLL(None)
libc.fopen.restype = ctypes.c_void_p
file = ctypes.c_void_p(libc.fopen(sys.argv[1].encode(), b"w"))
libc.malloc_info(0, file)
libc.fclose(file)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="arenas are glibc's")
def test_many_threads_share_two_arenas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The memory that one thread has freed is the next one's."""
    monkeypatch.delenv("MALLOC_ARENA_MAX", raising=False)

    def arenas(how: str) -> int:
        path = tmp_path / how
        subprocess.run([sys.executable, "-c", PROGRAM, path, how], check=True)
        return path.read_text().count("<heap nr=")

    assert arenas("bound") <= 2 < arenas("free")
