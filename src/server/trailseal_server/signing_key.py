"""The keys that sign checkpoints: their file, and how one takes another's place.

Rules:
- The file has mode 0600 and holds a key a line, 64 hex digits each. The first is the log's key now;
  those below it sign as well. `retired <public key>` remembers one that signed before.
- A change takes two steps. `rotate` puts a new key above the old one: each checkpoint then carries
  both signatures, while readers learn the new key. `retire` takes the old ones away. After each,
  every process is started again, with the same file.
- The database lists every public key that signed in it (store/signers.py), so that a server refuses
  a file with none of them. What a signature is worth goes by the file alone.
"""

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

KEY_BYTES = 32
MAX_KEYS = 8  # that sign: more than two are an accident
RETIRED = "retired "
PRIVATE = 0o600


@dataclass(frozen=True, slots=True)
class KeyFile:
    """What a key file holds: the keys that sign, and the public keys of those that did."""

    keys: Sequence[Ed25519PrivateKey]
    retired: Sequence[bytes] = ()

    @property
    def public_keys(self) -> list[bytes]:
        """Of all of them."""
        return [*map(public, self.keys), *self.retired]


class KeyFileError(ValueError):
    """A key file that is none, or none of this database's."""


def load_key_file(path: Path) -> KeyFile:
    """What a file holds; made, with one key, if there is none."""
    with suppress(FileExistsError):
        _write(path, KeyFile([Ed25519PrivateKey.generate()]), new=True)
    return read_key_file(path)


def read_key_file(path: Path) -> KeyFile:
    """What a file holds; raises OSError without one, KeyFileError for anything else."""
    try:
        lines = path.read_text("ascii").splitlines()
        retired = [bytes.fromhex(each[len(RETIRED) :]) for each in lines if each[:1] == RETIRED[0]]
        seeds = [bytes.fromhex(each) for each in lines if each[:1] != RETIRED[0]]
        keys = [Ed25519PrivateKey.from_private_bytes(seed) for seed in seeds]
    except ValueError:
        keys, retired = [], []
    if not 1 <= len(keys) <= MAX_KEYS or any(len(each) != KEY_BYTES for each in retired):
        raise KeyFileError(f"{path} does not hold a key: 64 hex digits, a line for each key")
    return KeyFile(keys, retired)


def rotate(path: Path) -> KeyFile:
    """Put a new key above that of a file; answers what the file holds now."""
    old = read_key_file(path)
    if len(old.keys) > 1:
        raise KeyFileError(f"{path} holds {len(old.keys)} keys already: retire the old ones first")
    new = KeyFile([Ed25519PrivateKey.generate(), *old.keys], old.retired)
    _write(path, new)
    return new


def retire(path: Path) -> KeyFile:
    """Leave only the first key in a file; answers what the file holds now."""
    old = read_key_file(path)
    first, *others = old.keys
    if not others:
        raise KeyFileError(f"{path} holds one key only: rotate it first")
    new = KeyFile([first], [*old.retired, *map(public, others)])
    _write(path, new)
    return new


def public(key: Ed25519PrivateKey) -> bytes:
    """The 32 bytes of its public key."""
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def _write(path: Path, content: KeyFile, *, new: bool = False) -> None:
    """On disk when it returns, whole or not at all."""
    lines = [key.private_bytes_raw().hex() for key in content.keys]
    lines += [RETIRED + each.hex() for each in content.retired]
    part = path if new else path.with_name(f"{path.name}.{os.getpid()}.new")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE)
    with os.fdopen(descriptor, "w") as file:
        file.write("\n".join(lines) + "\n")
        file.flush()
        os.fsync(file.fileno())
    if not new:
        part.replace(path)
