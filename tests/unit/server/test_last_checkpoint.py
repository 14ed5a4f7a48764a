"""What a server remembers outside its database: kept up, read strictly, and never a false alarm."""

from collections.abc import Callable
from pathlib import Path

import pytest
from trailseal_server.last_checkpoint import SUFFIX, LastCheckpoint, missing
from trailseal_server.signer import OlderDatabaseError, Signer
from trailseal_server.store import Store

from .conftest import Trail

EVENT = {"action": "a"}


@pytest.fixture
def signed(trail: Trail, tmp_path: Path) -> Signer:
    """A signer with a file, of a log with a checkpoint of size 3."""
    signer = Signer.open(trail.store, tmp_path / "signing.key", "log.example")
    trail.log("a")
    trail.append("a", [EVENT] * 3)
    signer.seal("a")
    return signer


def test_the_last_checkpoint_lies_beside_the_key(
    signed: Signer, trail: Trail, tmp_path: Path
) -> None:
    """As it was published, the newest one, and no other file is left."""
    trail.append("a", [EVENT])
    note = signed.seal("a").note
    assert (tmp_path / f"signing.key{SUFFIX}").read_text() == note
    assert {each.name for each in tmp_path.glob("signing*")} == {
        "signing.key", f"signing.key{SUFFIX}"
    }  # fmt: skip
    Signer.open(trail.store, tmp_path / "signing.key", "log.example")


def test_another_database_with_the_same_origin_is_refused(
    signed: Signer, make_database: Callable[[], str], tmp_path: Path
) -> None:
    """An empty one too: its logs would have the names of those that were published. With another
    prefix it is other logs."""
    key = tmp_path / "signing.key"
    other = Store.open(make_database())
    with pytest.raises(OlderDatabaseError, match=r"a at size 3.*signing\.key\.last"):
        Signer.open(other, key, signed.origin("").rstrip("/"))
    other.close()
    new = Store.open(make_database())
    Signer.open(new, key, "elsewhere.example")
    new.close()


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"hello\n", b"a/b\n-1\nx\n\n", b"x" * 9999])
def test_a_file_that_holds_no_checkpoint_says_nothing(
    content: bytes, trail: Trail, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is told, and not looked at."""
    last = LastCheckpoint(tmp_path / "key.last")
    (tmp_path / "key.last").write_bytes(content)
    last.load()
    assert last.note is None
    assert "holds no checkpoint" in caplog.text
    with trail.store.read() as connection:
        assert missing(connection, "log.example", last.note) is None


def test_a_file_that_cannot_be_written_is_told_and_signing_goes_on(
    trail: Trail, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As long as the process runs, it remembers all the same."""
    key = tmp_path / "signing.key"
    signer = Signer.open(trail.store, key, "log.example")
    (tmp_path / f"signing.key{SUFFIX}").mkdir()
    trail.log("a")
    trail.append("a", [EVENT])
    assert signer.seal("a").tree_size == 1
    assert "is not kept up" in caplog.text
    assert not list(tmp_path.glob("signing.key.last.*"))
