"""Signing a log's checkpoints: C2SP tlog-checkpoint in C2SP signed-note, Ed25519.

Rules:
- Only what is committed is signed, never a smaller size than before, and a checkpoint is stored
  before anybody sees it (compare-and-swap on the last one).
- Before signing, the root is computed from the stored hashes. It must be that of the log's compact
  range, and the same hashes must give the last checkpoint's root: a database that was damaged or
  put back is refused (SignerError), not signed.
- Origin = `<prefix>/<log_id>` = the key's name in the note. One key signs for all logs; while it is
  changed, the new one and the old one do (signing_key.py).
- A database that none of the file's keys signed before is refused (KeyFileError), and no new key
  is made for it: readers would take its next checkpoint for a forgery.
- A background thread looks about once a second; `seal` signs at once; `wait` waits for a checkpoint
  that covers an index, with a deadline.
"""

import base64
import threading
import time
from collections.abc import Iterable, Sequence
from functools import partial
from hashlib import sha256
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from .background import Background
from .last_checkpoint import SUFFIX, LastCheckpoint, missing
from .log import fold, range_hash, split
from .problems import Problem
from .signing_key import KeyFileError, load_key_file, public
from .store import Connection, Store, checkpoints, logs, signers
from .store.checkpoints import CheckpointRow
from .store.tiles import NodeReader

INTERVAL_S = 1.0  # an event stays pending about this long
MAX_RACES = 10  # lost one after the other, to processes that sign the same log
ED25519 = b"\x01"  # signature type in a signed note's key id
PUT_BACK = (
    "This database has checkpoints that its own key signed: put that key file back from your copy, "
    "or name it in TRAILSEAL_LOG_KEY_FILE"
)
OLDER = (
    "This database lacks the checkpoint of {}, which this server published: it is an older copy, "
    "or another database. Recover it further, or begin a new one with another "
    "TRAILSEAL_ORIGIN_PREFIX. What was published last is in {}"
)


class SignerError(RuntimeError):
    """The signer's refusal to sign."""


class OlderDatabaseError(SignerError, ValueError):
    """A database that lacks what this server published: signing in it would fork its logs."""


class Signer(Background):
    """Signs for all logs of a store. `prefix` is what the database's origins begin with."""

    def __init__(
        self,
        store: Store,
        keys: Sequence[Ed25519PrivateKey],
        prefix: str,
        last: LastCheckpoint | None = None,
    ) -> None:
        super().__init__("trailseal-signer", INTERVAL_S)
        self._store = store
        self._last = last or LastCheckpoint()
        self._keys = keys
        self._prefix = prefix
        self._published = threading.Condition()

    @classmethod
    def open(cls, store: Store, key_path: Path, prefix: str) -> "Signer":
        """A signer with the key in a file; `prefix` is used if the database has none yet.

        Raises KeyFileError, OlderDatabaseError.
        """
        with store.write() as connection:
            chosen = checkpoints.choose_origin_prefix(connection, prefix)
            used = checkpoints.newest(connection) is not None
            ended = {each.public_key: each.retired_at for each in signers.known(connection)}
            if used and not key_path.exists():
                raise KeyFileError(f"{key_path} is missing. {PUT_BACK}")
            held = load_key_file(key_path)
            mine = [public(key) for key in held.keys]
            if used and not any(each.hex() in ended for each in mine):
                raise KeyFileError(f"{key_path} holds another key. {PUT_BACK}")
            if any(ended.get(each.hex()) for each in mine):
                raise KeyFileError(f"{key_path} holds a key that was retired: it is an old copy")
            signers.keep(connection, mine, held.retired)
        remembered = LastCheckpoint(key_path.with_name(key_path.name + SUFFIX))
        signer = cls(store, held.keys, chosen, remembered)
        remembered.load()
        with store.read() as connection:
            signer._refuse_older(connection, remembered.note)
        return signer

    def origin(self, log_id: str) -> str:
        """The log's name in checkpoints."""
        return f"{self._prefix}/{log_id}"

    def sign_note(self, origin: str, text: str) -> str:
        """A signed note over `text`, which ends with a newline."""
        lines = [_line(origin, public(key), key.sign(text.encode())) for key in self._keys]
        return f"{text}\n{''.join(lines)}"

    def seal(self, log_id: str) -> CheckpointRow:
        """The checkpoint of the log as it is now, signed unless there is one.

        Raises Problem: log_not_found; SignerError.
        """
        for _ in range(MAX_RACES):
            published = self._last.note
            with self._store.read() as connection:
                self._refuse_older(connection, published)
                log = logs.find(connection, log_id)
                if log is None:
                    raise Problem("log_not_found", "There is no such log")
                row = checkpoints.at(connection, log_id, log.sealed_size)
                if row is not None and log.size == log.sealed_size:
                    return row
                root = self._root(connection, log, row)
            if (signed := self._publish(log, root)) is not None:
                return signed
        raise SignerError("other processes sign this log without end")

    def wait(self, log_id: str, index: int, timeout: float) -> CheckpointRow | None:
        """The latest checkpoint once it covers `index`; None after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while True:
            with self._store.read() as connection:
                row = checkpoints.latest(connection, log_id)
            if row is not None and row.tree_size > index:
                return row
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            with self._published:  # a signer of another process does not notify: look again
                self._published.wait(min(left, INTERVAL_S / 4))

    def sign_all(self) -> None:
        """Seal every log that grew; one log's failure does not stop the others."""
        with self._store.read() as connection:
            waiting = logs.unsealed(connection)
        for log_id in waiting:
            self._attempt(partial(self.seal, log_id), f"to sign {log_id}")

    def _round(self) -> bool:
        self.sign_all()
        return False

    def _refuse_older(self, connection: Connection, published: str | None) -> None:
        lacking = missing(connection, self._prefix, published)
        if lacking is not None:
            raise OlderDatabaseError(OLDER.format(lacking, self._last.path or "its memory"))

    def _root(self, connection: Connection, log: logs.LogRow, last: CheckpointRow | None) -> bytes:
        edge = split(log.edge)
        if len(edge) != log.size.bit_count() or (last is None and log.sealed_size):
            raise SignerError("the log's row does not match its checkpoints")
        read = NodeReader(connection, log.log_id, log.size)
        if last is not None and range_hash(0, last.tree_size, read) != last.root_hash:
            raise SignerError("the log is no continuation of its last checkpoint")
        root = range_hash(0, log.size, read)
        if root != fold(edge):
            raise SignerError("the log's row does not match its leaves")
        return root

    def _publish(self, log: logs.LogRow, root: bytes) -> CheckpointRow | None:
        """Sign, store, serve; None if another process was faster, with a smaller size."""
        origin = self.origin(log.log_id)
        text = f"{origin}\n{log.size}\n{base64.b64encode(root).decode()}\n"
        row = checkpoints.new(log.log_id, log.size, root, self.sign_note(origin, text))
        with self._store.write() as connection:
            if not checkpoints.record(connection, row, after=log.sealed_size):
                newer = checkpoints.latest(connection, log.log_id)
                if newer is None or newer.tree_size <= log.sealed_size:
                    raise SignerError("the log went back while it was signed")
                if newer.tree_size < log.size:
                    return None
                row = newer
        self._last.remember(row)
        with self._published:
            self._published.notify_all()
        return row


def verifier_key(origin: str, public_key: bytes) -> str:
    """The key as C2SP signed-note writes it: `<name>+<hash>+<base64>`."""
    key = base64.b64encode(ED25519 + public_key).decode()
    return f"{origin}+{_key_hash(origin, public_key).hex()}+{key}"


def signed_by(note: str, origin: str, text: str, public_keys: Iterable[bytes]) -> bool:
    """Whether a note is `text`, right signatures by these keys (each once at most), and no more."""
    head = f"{text}\n"
    by_hash = {_key_hash(origin, each): each for each in public_keys}
    lines = note.removeprefix(head).splitlines(keepends=True)
    for line in lines:
        try:
            signature = base64.b64decode(line.rpartition(" ")[2].strip())
            key = by_hash.pop(signature[:4])
            Ed25519PublicKey.from_public_bytes(key).verify(signature[4:], text.encode())
        except (KeyError, ValueError, InvalidSignature):
            return False
        if line != _line(origin, key, signature[4:]):
            return False
    return bool(lines) and note.startswith(head)


def _line(origin: str, public_key: bytes, signature: bytes) -> str:
    signed = base64.b64encode(_key_hash(origin, public_key) + signature).decode()
    return f"\u2014 {origin} {signed}\n"


def _key_hash(origin: str, public_key: bytes) -> bytes:
    return sha256(origin.encode() + b"\n" + ED25519 + public_key).digest()[:4]
