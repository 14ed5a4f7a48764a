"""The last checkpoint that was seen of each log, in a small file that outlives the process.

1. Whoever compares a log's checkpoint with the last one notices a log that was rewritten, however
   well it agrees with itself.
2. The file is JSON, mode 0600: `{"v": 1, "logs": {ORIGIN: SIGNED NOTE}}`. It is replaced as a
   whole, under a lock, and only where it still holds what the caller compared with; so processes
   may share it, and none forgets what another saw.
3. A file that cannot be read is an error, never an empty memory: else damaging it would hide a
   fork. The file is trusted as its owner is; each note is checked again when it is used.
4. No fsync: it has to outlive the process, not a power failure (ADR 7 says the same of servers).

`TRAILSEAL_STATE_FILE`, else `$XDG_STATE_HOME/trailseal/checkpoints.json`, else the same below
`~/.local/state`.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from trailseal.errors import ConfigurationError

STATE_FILE = "TRAILSEAL_STATE_FILE"
MAX_BYTES = 64 << 20  # some hundred thousand logs of 400 bytes each

if sys.platform != "win32":
    import fcntl


def default_path(environ: Mapping[str, str] | None = None) -> Path:
    """Where the file is unless somebody says otherwise."""
    env = os.environ if environ is None else environ
    if named := env.get(STATE_FILE):
        return Path(named)
    base = env.get("XDG_STATE_HOME") or ""
    root = Path(base) if base.startswith("/") else Path.home() / ".local" / "state"
    return root / "trailseal" / "checkpoints.json"


class Memory:
    """The signed note of the last checkpoint of each log, by origin; without a path, in memory.

    Raises `ConfigurationError` where the file cannot be read or written.
    """

    def __init__(self, path: str | os.PathLike[str] | None) -> None:
        self.path = None if path is None else Path(path)
        self._logs: dict[str, str] = {}  # where there is no file

    def get(self, origin: str) -> str | None:
        """The note of a log, None where it was never seen."""
        return self._read().get(origin)

    def replace(self, origin: str, old: str | None, new: str) -> bool:
        """Remember `new`; False where another than `old` is remembered by now."""
        with self._locked():
            logs = self._read()
            if logs.get(origin) != old:
                return False
            self._write({**logs, origin: new})
            return True

    def _read(self) -> dict[str, str]:
        if self.path is None:
            return self._logs
        try:
            with self.path.open("rb") as file:
                data = file.read(MAX_BYTES + 1)
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise self._refused(error.strerror or "it cannot be read") from None
        logs: dict[str, str] = {}
        try:
            raw = json.loads(data)
            logs = raw["logs"]
            sound = raw["v"] == 1 and all(isinstance(note, str) for note in logs.values())
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            sound = False
        if not sound or len(data) > MAX_BYTES:
            raise self._refused("it is damaged; where that is expected, remove it")
        return logs

    def _write(self, logs: dict[str, str]) -> None:
        if self.path is None:
            self._logs = logs
            return
        try:
            handle, name = tempfile.mkstemp(dir=self.path.parent, prefix=".checkpoints-")  # 0600
            try:
                with os.fdopen(handle, "w", encoding="utf-8") as file:
                    json.dump({"v": 1, "logs": logs}, file)
                Path(name).replace(self.path)
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise
        except OSError as error:
            raise self._refused(error.strerror or "it cannot be written") from None

    @contextmanager
    def _locked(self) -> Iterator[None]:
        if self.path is None:
            yield
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = os.open(f"{self.path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise self._refused(error.strerror or "it cannot be locked") from None
        try:
            if sys.platform != "win32":
                fcntl.flock(lock, fcntl.LOCK_EX)  # held for the microseconds of one small file
            yield
        finally:
            os.close(lock)

    def _refused(self, reason: str) -> ConfigurationError:
        return ConfigurationError(f"The remembered checkpoints, {self.path}: {reason}.")
