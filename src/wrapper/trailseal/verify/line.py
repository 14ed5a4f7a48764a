"""One line of a bundle, checked by itself: event → fields_hash → entry → leaf, and its own proof.

Nothing here knows of the other lines, so that several processes can check them. What needs their
order, the tree or the last line's time is in `_audit`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from . import merkle
from ._values import member, sha256_list
from .canonical import MAX_DEPTH, loads
from .entry import Entry
from .errors import (
    EventCorruptionError,
    Faults,
    IntegrityError,
    MalformedError,
    ProofError,
    UnverifiableError,
)

MAX_LINE_BYTES = 32 << 20  # a redacted 1 MiB event of half a million fields, a salt for each

LINE_MEMBERS = frozenset({"index", "event", "entry", "seed", "salts", "redactions", "proof"})


@dataclass(frozen=True, slots=True)
class Expected:
    """What each line of a bundle is held against."""

    log_id: str
    tree_size: int
    root_hash: bytes | None  # None without a checkpoint: then no proof proves anything
    in_tree: bool  # the root is recomputed from all leaves, and a line needs no proof of its own
    start: str | None  # bounds of `received_at`, both inclusive, in its own spelling
    end: str | None
    signing_keys: Mapping[str, str]


class Checked(NamedTuple):
    """What was found out about a line."""

    faults: Sequence[IntegrityError]
    at: int | None = None  # its index; None where the line could not be read
    leaf_hash: bytes | None = None  # None where the entry could not be read
    received_at: str = ""
    redacted: bool = False
    signed: bool = False
    trusted: bool | None = None  # as `Entry.check_signature` has it


def check_line(text: bytes | None, expected: Expected) -> Checked:
    """Check one line, None being one too long. Nothing is raised: `faults` says what is wrong."""
    faults, index, trusted = Faults(), None, None
    with faults:
        raw = _read(text)
        event, written = member(raw, "event", dict), member(raw, "entry", str)
        proof = None if raw.get("proof") is None else sha256_list(raw["proof"], "'proof'")
        index = member(raw, "index", int)
        entry = Entry.parse(written)
        leaf_hash = entry.leaf_hash
        with faults:
            _check_place(entry, leaf_hash, index, proof, expected)
        with faults:
            _check_time(entry.received_at, expected)
        with faults:
            entry.check_event(event, raw)
        with faults:
            trusted = entry.check_signature(expected.signing_keys)
        redacted, signed = raw.get("salts") is not None, entry.signature is not None
        at = (index, leaf_hash, entry.received_at)
        return Checked(tuple(faults), *at, redacted, signed, trusted)
    return Checked(tuple(faults), index)


def _read(text: bytes | None) -> Mapping[str, object]:
    if text is None:
        raise MalformedError(f"the line is longer than {MAX_LINE_BYTES} bytes")
    raw = loads(text, max_depth=MAX_DEPTH + 1)  # the event is one level down
    if not isinstance(raw, dict) or not raw.keys() <= LINE_MEMBERS:
        raise MalformedError("a line must be an object with the members of an export line")
    return raw


def _check_place(
    entry: Entry, leaf_hash: bytes, index: int, proof: Sequence[bytes] | None, expected: Expected
) -> None:
    if entry.log_id != expected.log_id:
        raise EventCorruptionError("the entry is of another log", kind="entry")
    if proof is not None and expected.root_hash is not None:
        size, root = expected.tree_size, expected.root_hash
        merkle.verify_inclusion(index, size, leaf_hash, proof, root)
    elif not expected.in_tree:
        raise UnverifiableError("nothing shows that the entry is in the log")


def _check_time(received_at: str, expected: Expected) -> None:
    start, end = expected.start or received_at, expected.end or received_at
    if not start <= received_at <= end:
        raise ProofError("'received_at' is outside the export's time range", kind="time")
