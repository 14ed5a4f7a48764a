"""Checkpoints: signed as C2SP says, stored first, never going back."""

import base64
import json
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import delete, update
from trailseal.verify import ProofError, VerifierKey
from trailseal.verify.note import Note
from trailseal_server.auth import Caller
from trailseal_server.check import Check
from trailseal_server.ingest import Ingest
from trailseal_server.log import EMPTY_ROOT
from trailseal_server.problems import Problem
from trailseal_server.signer import Signer, SignerError, signed_by, verifier_key
from trailseal_server.signing_key import (
    KeyFileError,
    load_key_file,
    public,
    read_key_file,
    retire,
    rotate,
)
from trailseal_server.store import Store, checkpoints, keys, logs, signers, tiles
from trailseal_server.store.schema import events
from trailseal_server.store.schema import logs as logs_table

VECTORS = Path(__file__).parents[4] / "shared/vectors/trailseal/tree.json"
CALLER = Caller("key_1", None, "main", frozenset())
WAIT_S = 20.0


@pytest.fixture
def ingest(store: Store) -> Iterator[Ingest]:
    """A started write side."""
    ingest = Ingest(store, lambda event: ())
    ingest.start()
    yield ingest
    assert ingest.stop(WAIT_S)


@pytest.fixture
def signer(store: Store, tmp_path: Path) -> Signer:
    """A signer that does not run in the background."""
    return Signer.open(store, tmp_path / "signing.key", "log.example")


def grow(ingest: Ingest, first: int, count: int) -> None:
    """Append events with ids from `first` on."""
    sent: list[dict[str, Any]] = [{"id": f"e{first + n}", "action": "a"} for n in range(count)]
    ingest.submit(CALLER, sent).result(WAIT_S)


@pytest.mark.skipif(not VECTORS.exists(), reason="the shared vectors are not beside the project")
def test_a_checkpoint_is_the_note_of_the_vectors(store: Store) -> None:
    """Key, key id and note are byte for byte those of an independent program."""
    vectors = json.loads(VECTORS.read_text())
    key = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    origin, rest = vectors["checkpoint"].split("\n", 1)
    signer = Signer(store, [key], origin.rsplit("/", 1)[0])
    text = f"{origin}\n" + rest.split("\n\n")[0] + "\n"
    assert signer.sign_note(origin, text) == vectors["checkpoint"]
    assert verifier_key(origin, public(key)) == vectors["verifier_key"]


def test_seal_signs_what_is_committed(
    store: Store, ingest: Ingest, signer: Signer, tmp_path: Path
) -> None:
    """The note verifies, is stored, and a second seal of the same size is the same checkpoint."""
    grow(ingest, 0, 300)
    row = signer.seal("main")
    assert row.tree_size == 300
    text, _, signature = row.note.partition("\n\n")
    assert text.split("\n") == ["log.example/main", "300", base64.b64encode(row.root_hash).decode()]
    key = read_key_file(tmp_path / "signing.key").keys[0]
    raw = base64.b64decode(signature.split(" ")[2])
    key.public_key().verify(raw[4:], (text + "\n").encode())
    assert signer.seal("main") == row
    with store.read() as connection:
        assert checkpoints.latest(connection, "main") == row


def test_checkpoints_never_go_back(store: Store, ingest: Ingest, signer: Signer) -> None:
    """Of racing signers one wins each size, and sizes only grow."""
    sizes: list[int] = []
    for step in range(10):
        grow(ingest, step * 10, 10)
        racing = [
            threading.Thread(target=lambda: sizes.append(signer.seal("main").tree_size))
            for _ in range(4)
        ]
        for thread in racing:
            thread.start()
        for thread in racing:
            thread.join(WAIT_S)
    assert sizes == sorted(sizes)
    assert len(sizes) == 40
    with store.write() as connection:
        smaller = checkpoints.new("main", 50, b"\0" * 32, "note")
        assert not checkpoints.record(connection, smaller, after=100)


def test_a_database_that_is_no_continuation_is_not_signed(
    store: Store, ingest: Ingest, signer: Signer
) -> None:
    """A log's row that was put back gives an error, never a smaller or forked checkpoint."""
    grow(ingest, 0, 5)
    signer.seal("main")
    grow(ingest, 5, 3)
    with store.write() as connection:
        connection.execute(update(logs_table).values(edge=b"\1" * 32))
        connection.execute(update(events).where(events.c.idx == 2).values(leaf_hash=bytes(32)))
    with pytest.raises(SignerError):
        signer.seal("main")


def test_an_empty_log_has_one_checkpoint_that_grows_on(
    store: Store, ingest: Ingest, signer: Signer
) -> None:
    """Size 0 and the hash of nothing, signed once however often it is asked for."""
    with store.write() as connection:
        logs.create(connection, "main")
    first = signer.seal("main")
    assert (first.tree_size, first.root_hash) == (0, EMPTY_ROOT)
    assert signer.seal("main") == first
    grow(ingest, 0, 2)
    assert signer.seal("main").tree_size == 2


def test_a_missing_log_has_no_checkpoint(signer: Signer) -> None:
    """It has its own error."""
    with pytest.raises(Problem) as caught:
        signer.seal("none")
    assert caught.value.code == "log_not_found"


def test_the_background_signer_covers_what_others_wait_for(ingest: Ingest, signer: Signer) -> None:
    """`wait` ends with a checkpoint that covers the index, or at its deadline with none."""
    grow(ingest, 0, 3)
    assert signer.wait("main", 2, 0.0) is None
    signer.start()
    row = signer.wait("main", 2, WAIT_S)
    signer.stop(WAIT_S)
    assert row is not None
    assert row.tree_size == 3


def test_a_damaged_log_stops_no_other_logs_signing_and_is_told_once(
    store: Store, ingest: Ingest, signer: Signer, caplog: pytest.LogCaptureFixture
) -> None:
    """Hashes that lack are a failure of their log alone, logged with its name, not each second."""
    for log_id in ("damaged", "whole"):
        with store.write() as connection:
            logs.create(connection, log_id)
        caller = Caller("key_1", None, log_id, frozenset())
        ingest.submit(caller, [{"id": log_id, "action": "a"}]).result(WAIT_S)
    with store.write() as connection:
        connection.execute(delete(events).where(events.c.log_id == "damaged"))
    signer.sign_all()
    signer.sign_all()
    with store.read() as connection:
        row = checkpoints.latest(connection, "whole")
        assert checkpoints.latest(connection, "damaged") is None
    assert row is not None
    assert row.tree_size == 1
    assert [each.getMessage().count("to sign damaged") for each in caplog.records] == [1]


def test_the_key_file_is_private_and_kept(tmp_path: Path) -> None:
    """Mode 0600, made once, refused when it holds something else."""
    path = tmp_path / "key"
    first = load_key_file(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_key_file(path).public_keys == first.public_keys
    for wrong in (
        "no key",
        "",
        "retired " + "00" * 32,
        first.keys[0].private_bytes_raw().hex() * 2,
    ):
        path.write_text(wrong)
        with pytest.raises(KeyFileError):
            load_key_file(path)


def test_a_key_is_changed_in_two_steps_and_old_checkpoints_stay_good(
    store: Store, ingest: Ingest, signer: Signer, tmp_path: Path
) -> None:
    """While both keys sign, a reader with either one believes; afterwards the new one signs alone,
    the old one is listed with its end, an old copy of the file is refused, a check knows both."""
    path, origin = tmp_path / "signing.key", "log.example/main"
    grow(ingest, 0, 1)
    notes = [signer.seal("main").note]
    copy = path.read_text()
    new, old = rotate(path).public_keys
    with pytest.raises(KeyFileError, match="retire"):
        rotate(path)
    grow(ingest, 1, 1)
    notes.append(Signer.open(store, path, "log.example").seal("main").note)
    assert retire(path).public_keys == [new, old]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    grow(ingest, 2, 1)
    notes.append(Signer.open(store, path, "log.example").seal("main").note)

    believed = [[believes(note, origin, key) for key in (old, new)] for note in notes]
    assert believed == [[True, False], [True, True], [False, True]]
    with store.read() as connection:
        listed = {each.public_key: each.retired_at for each in signers.known(connection)}
    assert listed.keys() == {old.hex(), new.hex()}
    assert listed[new.hex()] is None
    assert listed[old.hex()] is not None
    assert list(Check(store, "log.example", read_key_file(path).public_keys).all()) == []
    assert len(list(Check(store, "log.example", [new]).all())) == 2
    path.write_text(copy)
    with pytest.raises(KeyFileError, match="retired"):
        Signer.open(store, path, "log.example")


def believes(note: str, origin: str, public_key: bytes) -> bool:
    """Whether a reader, who holds one key, takes the note."""
    key = VerifierKey.parse(verifier_key(origin, public_key))
    try:
        Note.parse(note).verify([key], origin)
    except ProofError:
        return False
    return True


@pytest.mark.parametrize("change", ["twice", "foreign", "other text", "unsigned", "padding"])
def test_a_note_that_is_not_exactly_signed_is_no_checkpoint(change: str) -> None:
    """The check accepts the text and right signatures of our keys, and no byte more."""
    key, origin, text = Ed25519PrivateKey.generate(), "log.example/main", "log.example/main\n1\nx\n"
    line = Signer(None, [key], "log.example").sign_note(origin, text).removeprefix(f"{text}\n")  # type: ignore[arg-type]
    wrong = {
        "twice": f"{text}\n{line}{line}",
        "foreign": Signer(None, [key, Ed25519PrivateKey.generate()], "").sign_note(origin, text),  # type: ignore[arg-type]
        "other text": f"{text}x\n\n{line}",
        "unsigned": f"{text}\n",
        "padding": f"{text}\n{line[:-1]} \n",
    }
    assert signed_by(f"{text}\n{line}", origin, text, [public(key)])
    assert not signed_by(wrong[change], origin, text, [public(key)])


def test_another_key_than_the_databases_own_is_refused(
    store: Store, ingest: Ingest, signer: Signer, tmp_path: Path
) -> None:
    """A lost key file is not made anew over old checkpoints, and a strange one is not taken."""
    grow(ingest, 0, 1)
    signer.seal("main")
    key = tmp_path / "signing.key"
    kept = key.read_text()
    key.unlink()
    with pytest.raises(KeyFileError, match=r"missing.*TRAILSEAL_LOG_KEY_FILE"):
        Signer.open(store, key, "log.example")
    assert not key.exists()
    load_key_file(key)
    with pytest.raises(KeyFileError, match="another key"):
        Signer.open(store, key, "log.example")
    key.write_text(kept)
    Signer.open(store, key, "log.example")


def test_the_origin_prefix_is_chosen_once(store: Store, signer: Signer, tmp_path: Path) -> None:
    """A later start with another prefix keeps the first."""
    again = Signer.open(store, tmp_path / "signing.key", "other.example")
    assert again.origin("x") == "log.example/x"


def test_tiles_are_served_by_their_c2sp_paths(store: Store, ingest: Ingest) -> None:
    """Full and partial tiles and entry bundles; anything else is refused."""
    grow(ingest, 0, 600)
    with store.read() as connection:
        leaves = tiles.by_path(connection, "main", 600, "tile/0/001")
        assert len(leaves) == 256 * 32
        assert len(tiles.by_path(connection, "main", 600, "tile/0/002.p/88")) == 88 * 32
        assert len(tiles.by_path(connection, "main", 600, "tile/1/000.p/2")) == 2 * 32
        bundle = tiles.by_path(connection, "main", 600, "tile/entries/002.p/1")
        assert int.from_bytes(bundle[:2], "big") == len(bundle) - 2
        for path in (
            "tile/0/002",
            "tile/0/2",
            "tile/9/000",
            "tile/0/x000/001",
            "../x",
            "tile/0/000.p/256",
        ):
            with pytest.raises(tiles.TilePathError):
                tiles.by_path(connection, "main", 600, path)


def test_an_api_key_is_found_by_itself_only(store: Store) -> None:
    """A mistyped key is refused without I/O, a revoked one is marked."""
    with store.write() as connection:
        row, key = keys.create(connection, name="first", scopes=["events:write"])
    assert keys.key_id_of(key) == row.key_id
    assert keys.key_id_of(key[:-1] + ("0" if key[-1] != "0" else "1")) is None
    with store.write() as connection:
        assert keys.find(connection, key) == row
        assert keys.revoke(connection, row.key_id)
        found = keys.find(connection, key)
        assert found is not None
        assert found.revoked_at is not None
        assert key not in repr(found)
