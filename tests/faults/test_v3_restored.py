"""V3: an old database is put back.

What the server published last lies beside its key, outside the database: it signs nothing in a
database that lacks it. Where that file went back too, a client that remembers finds the fork.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
import pytest
from sqlalchemy import make_url
from trailseal.verify import CheckpointForkError, VerifierKey, open_checkpoint
from trailseal.verify.merkle import verify_consistency
from trailseal_server.last_checkpoint import SUFFIX
from trailseal_server.log import consistency_ranges, proof
from trailseal_server.store import Store
from trailseal_server.store.tiles import NodeReader

from .servers import DEADLINE_S, Process


def log(server: Process, key: str, first: int, count: int) -> None:
    """Store events with ids from `first` on."""
    sent = [{"id": f"e{n}", "action": "a"} for n in range(first, first + count)]
    status, answer = server.call(key, "POST", "/v1/events/batch", {"events": sent})
    assert (status, answer["created"]) == (200, count)


def seal(server: Process, key: str) -> tuple[int, Any]:
    """Status and checkpoint."""
    return server.call(key, "POST", "/v1/logs/main/seal")


class Restored(NamedTuple):
    """An SQLite database that was put back, as it was three events ago."""

    folder: Path
    key: str
    published: dict[str, Any]  # the checkpoint of size 8, which it lacks

    @property
    def url(self) -> str:
        """The database."""
        return f"sqlite:///{self.folder / 'log.db'}"


@pytest.fixture(scope="module")
def restored(tmp_path_factory: pytest.TempPathFactory) -> Restored:
    """One for all tests."""
    tmp_path = tmp_path_factory.mktemp("restored")
    url = f"sqlite:///{tmp_path / 'log.db'}"
    with Process(url, tmp_path) as server:
        key = server.key or ""
        log(server, key, 0, 5)
        assert seal(server, key)[0] == 200
        assert server.end() == 0
    copy = tmp_path / "copy.db"
    shutil.copy(tmp_path / "log.db", copy)  # a server that ended in order leaves one file
    with Process(url, tmp_path) as server:
        log(server, key, 5, 3)
        status, published = seal(server, key)
        assert (status, published["tree_size"]) == (200, 8)
        assert server.end() == 0
    for name in ("log.db-wal", "log.db-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    shutil.copy(copy, tmp_path / "log.db")
    return Restored(tmp_path, key, published)


def test_v3_no_server_starts_on_a_database_older_than_what_it_published(
    restored: Restored, tmp_path: Path
) -> None:
    """It says which checkpoint is missing, and exits with 1; so does the check of a kept one."""
    process = Process(restored.url, restored.folder)
    try:
        assert process.popen.wait(DEADLINE_S) == 1
    finally:
        process.end(signal.SIGKILL)
    assert "lacks the checkpoint of main at size 8" in " ".join(process.errors.split())
    kept = tmp_path / "kept"
    kept.write_text(restored.published["signed_note"])
    command = [sys.executable, "-m", "trailseal_server", "check", "--database-url", restored.url]
    done = subprocess.run(
        [*command, "--contains", str(kept)],
        env={**os.environ, "TRAILSEAL_LOG_KEY_FILE": str(restored.folder / "signing.key")},
        capture_output=True, check=False, text=True, timeout=DEADLINE_S,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert done.stdout.startswith("main: checkpoint 8: was published and is not there")


def test_v3_where_the_servers_memory_went_back_too_a_client_finds_the_fork(
    restored: Restored, tmp_path: Path
) -> None:
    """The whole machine was put back: the server cannot know, a remembered checkpoint does."""
    shutil.copytree(restored.folder, tmp_path, dirs_exist_ok=True)
    (tmp_path / f"signing.key{SUFFIX}").unlink()
    _, key, published = restored
    url = f"sqlite:///{tmp_path / 'log.db'}"
    with Process(url, tmp_path) as server:
        log(server, key, 100, 7)
        forked = seal(server, key)[1]
        listed = server.call(key, "GET", "/v1/keys?log_id=main")[1]["items"]
        proof = server.call(key, "GET", "/v1/checkpoints/8?log_id=main")
        assert proof[0] == 404  # nor does it have the published one
    keys = [VerifierKey.parse(each["verifier_key"]) for each in listed]
    old = open_checkpoint(published["signed_note"], keys)
    new = open_checkpoint(forked["signed_note"], keys)
    assert (old.tree_size, new.tree_size) == (8, 12)
    # The same key signed both; no proof can join them, and the honest one of these trees does not.
    hashes = consistency(url, 8, 12)
    with pytest.raises(CheckpointForkError):
        verify_consistency(8, 12, old.root_hash, new.root_hash, hashes)


def consistency(url: str, old: int, new: int) -> list[bytes]:
    """The proof that the database's own tree gives."""
    store = Store.open(url)
    try:
        with store.read() as connection:
            return proof(consistency_ranges(old, new), NodeReader(connection, "main", new))
    finally:
        store.close()


def test_v3_a_running_server_signs_nothing_in_a_database_that_went_back(
    postgresql: Callable[[], str], tmp_path: Path
) -> None:
    """As after a failover to a standby that lagged: the process lives on, and refuses to sign."""
    url = postgresql()
    name = make_url(url).database
    host = make_url(url).query["host"]
    with Process(url, tmp_path) as server:
        key = server.key or ""
        log(server, key, 0, 5)
        assert seal(server, key)[0] == 200
        assert server.end() == 0
    admin = psycopg.connect(f"host={host} user=trailseal dbname=postgres", autocommit=True)
    with admin, Process(url, tmp_path) as server:
        admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        away(admin, name)
        admin.execute(f"CREATE DATABASE {name}_old TEMPLATE {name}")
        admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        log(server, key, 5, 3)
        assert seal(server, key)[1]["tree_size"] == 8
        admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        away(admin, name)
        admin.execute(f"ALTER DATABASE {name} RENAME TO {name}_lost")
        admin.execute(f"ALTER DATABASE {name}_old RENAME TO {name}")
        log(server, key, 100, 7)  # beyond the lost size, so that size alone tells nothing
        assert seal(server, key)[0] == 500
        time.sleep(1.5)  # a round of the signer in the background
        status, latest = server.call(key, "GET", "/v1/checkpoints/latest?log_id=main")
        assert (status, latest["tree_size"]) == (200, 5)
        assert server.end() == 0
    assert "it is an older copy" in " ".join(server.errors.split())


def away(admin: psycopg.Connection[Any], name: str | None) -> None:
    """End all sessions of a database, and wait until they have."""
    end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
    while admin.execute(end, [name]).fetchall():
        time.sleep(0.02)
