"""Programs that the delivery tests run in processes of their own, and what they share."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from trailseal import Audit, Client
from trailseal_server.app import Running

ROUNDS = int(os.environ.get("FAULT_ROUNDS", "0"))  # 0: the short form
DEADLINE_S = 60.0  # for a child, and for what is delivered after it
BEGIN = """
import os, signal, sys, threading, time
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # whatever `nohup` told us
from trailseal import Audit, Client
url, key, folder, log_id, name, *rest = sys.argv[1:]
client = Client(url, key)
audit = Audit(client, spool=folder)
def accept(n, delivery="durable", said=True):
    audit.log("a.b", id=f"{name}-{n}", log_id=log_id, delivery=delivery, data={"n": n})
    if said:
        os.write(1, f"{name}-{n}\\n".encode())
"""


class Place:
    """A log of the shared server and a spool folder; and what children said they had accepted."""

    def __init__(self, server: Running, log_id: str, folder: Path) -> None:
        self.server, self.log_id, self.folder = server, log_id, folder
        self.accepted: list[str] = []
        self._stack = ExitStack()

    def client(self, key: str | None = None) -> Client:
        """A client of the server."""
        return Client(self.server.url, key or self.server.key)

    def command(self, program: str, name: str, *rest: str) -> list[str]:
        """The command of a child."""
        given = [self.server.url, self.server.key or "", str(self.folder), self.log_id, name]
        return [sys.executable, "-c", BEGIN + program, *given, *rest]

    def start(self, program: str, name: str, *rest: str, **options: Any) -> subprocess.Popen[str]:
        """Start a child; its standard output are ids."""
        command = [*options.pop("before", []), *self.command(program, name, *rest)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **options)

    def finish(self, child: subprocess.Popen[str]) -> int:
        """Wait for a child's end, and note what it accepted."""
        assert child.stdout is not None
        lines = child.stdout.read().split("\n")[:-1]  # a line that was cut short was not said
        child.stdout.close()
        self.accepted += lines
        return child.wait(DEADLINE_S)

    def stored(self) -> list[str]:
        """The ids in the log, in its order."""
        with self.client() as client:
            pages = client.query(log_id=self.log_id, order="asc", limit=1000)
            return [event.id for event in pages]

    def drain(self) -> Any:
        """Deliver what lies in the folder, in this process; the numbers."""
        with self.client() as client, Audit(client, spool=self.folder) as audit:
            audit.start()
            until(lambda: not list(self.folder.glob("*.db")))
            return audit.stats()

    def check(self, drained: bool = True) -> None:
        """Everything accepted is in the log; ids are unique there by nature, so are places."""
        if drained:
            self.drain()
        stored = self.stored()
        assert len(stored) == len(set(stored))
        assert set(self.accepted) <= set(stored), set(self.accepted) - set(stored)


def until(condition: Callable[[], bool], seconds: float = DEADLINE_S) -> None:
    """Wait for a condition."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "in vain"
        time.sleep(0.01)
