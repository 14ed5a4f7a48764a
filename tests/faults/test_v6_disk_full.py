"""V6: the disk is full, and then it is not."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import make_url

from .servers import Process

TMPFS = "size=6m,mode=711"
FREED = 1 << 20  # bytes that are given back
HEALS_S = 5.0
EVENT_BYTES = 20_000


def event(number: int) -> Any:
    """An event that cannot be compressed."""
    return {"id": f"e{number}", "action": "a", "message": os.urandom(EVENT_BYTES).hex()}


# What writes: beside ingest, every operation says it the same way.
WRITES: dict[str, Callable[[int], Any]] = {
    "/v1/events": event,
    "/v1/events/batch": lambda number: {"events": [event(-number - 1)]},
    "/v1/events/batch/async": lambda number: {"events": [event(number)]},
    "/v1/schemas": lambda number: {
        "schema_id": "s", "version": f"{number}", "document": {"description": event(0)["message"]}
    },
}  # fmt: skip


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of six MiB."""
    folder = Path(tempfile.mkdtemp(prefix="trailseal-"))  # pytest's own is closed to other users
    mount = ["mount", "-t", "tmpfs", "-o", TMPFS, "tmpfs", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        folder.rmdir()
        pytest.skip("this user may not mount a file system")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)  # noqa: S607 - as mount above
    folder.rmdir()


@pytest.fixture
def small_sqlite(small_disk: Path) -> str:
    """An SQLite database there."""
    return f"sqlite:///{small_disk / 'trailseal.db'}"


@pytest.fixture
def small_postgresql(postgresql: Callable[[], str], small_disk: Path) -> Iterator[str]:
    """A PostgreSQL database whose tables lie there; its WAL is elsewhere, as PostgreSQL stops where
    that is full."""
    url = make_url(postgresql())
    place = small_disk / "tables"
    place.mkdir(mode=0o700)
    shutil.chown(place, Path(str(url.query["host"])).owner())
    name = f"{url.database}_small"
    address = f"host={url.query['host']} user=trailseal dbname=postgres"
    with psycopg.connect(address, autocommit=True) as admin:
        admin.execute(f"CREATE TABLESPACE {name} LOCATION '{place}'")
        admin.execute(f"CREATE DATABASE {name} TEMPLATE {url.database}")
        session = psycopg.connect(
            f"host={url.query['host']} user=trailseal dbname={name}", autocommit=True
        )
        with session:
            for table in ("events", "terms", "channels", "event_schemas", "operations"):
                session.execute(f"ALTER TABLE {table} SET TABLESPACE {name}")
        yield url.set(database=name).render_as_string(hide_password=False)
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
        admin.execute(f"DROP TABLESPACE {name}")


@pytest.mark.parametrize("kind", ["small_sqlite", "small_postgresql"])
def test_v6_a_full_disk_is_507_reads_work_and_it_heals(
    kind: str, request: pytest.FixtureRequest, small_disk: Path, tmp_path: Path
) -> None:
    """Writes of any kind fail by name while the disk is full, reads and checks go on, and writes
    go on by themselves once there is room."""
    url: str = request.getfixturevalue(kind)
    ballast = small_disk / "ballast"
    with Process(url, tmp_path) as server:
        key = server.key or ""
        status, first = server.call(key, "POST", "/v1/events", {"id": "first", "action": "a"})
        assert status == 201
        assert server.call(key, "POST", "/v1/logs/main/seal")[0] == 200
        ballast.write_bytes(bytes(FREED))
        for path, body in WRITES.items():
            for number in range(1000):
                status, answer = server.call(key, "POST", path, body(number))
                if status >= 400:
                    break
            assert (status, answer.get("code")) == (507, "storage_full"), (path, answer)
            fill(small_disk / f"rest-{path.count('/')}-{len(path)}")
        status, found = server.call(key, "GET", "/v1/events/first?log_id=main&include=proof")
        assert (status, found["leaf_hash"]) == (200, first["leaf_hash"])
        assert server.call(key, "GET", "/v1/events?log_id=main&q=a&limit=5")[0] == 200
        assert server.call(key, "GET", "/v1/checkpoints/latest?log_id=main")[0] == 200
        assert server.call(key, "GET", "/readyz")[0] == 200
        ballast.unlink()
        for rest in small_disk.glob("rest-*"):
            rest.unlink()
        end = time.monotonic() + HEALS_S
        after = {"id": "after", "action": "a"}
        while (healed := server.call(key, "POST", "/v1/events", after))[0] != 201:
            assert time.monotonic() < end, healed
            time.sleep(0.05)
        status, sealed = server.call(key, "POST", "/v1/logs/main/seal")
        assert (status, sealed["tree_size"] > healed[1]["index"]) == (200, True)
        assert server.end() == 0


def fill(path: Path) -> None:
    """Leave no byte free."""
    with path.open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            try:
                while file.write(bytes(size)) == size:
                    pass
            except OSError:
                continue
