"""The checks of an auditor: offline, with standard primitives, trusting only the keys given.

1. A check returns nothing or raises an `IntegrityError`; a bundle gives a `Report`.
2. What is proved of an event: its fields hash to `fields_hash`, which stands in its entry, which
   is a leaf of the tree whose root a trusted key signed. Id, log and index must agree all along.
3. A client's signature is checked with the key given for its `key_id`, else with the key that it
   encloses, which shows only that whoever holds that key signed.
4. Nothing here touches the network.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import BinaryIO

from . import merkle
from ._audit import Audit
from ._values import member, optional, sha256_hex, sha256_list
from .bundle import Files
from .canonical import loads
from .checkpoint import Checkpoint, open_checkpoint
from .entry import Entry
from .errors import (
    CheckpointForkError,
    EventCorruptionError,
    IntegrityError,
    MalformedError,
    ProofError,
    UnverifiableError,
)
from .line import LINE_MEMBERS
from .note import VerifierKey
from .policy import TrustPolicy
from .report import Findings, Progress, Report
from .tlogproof import TlogProof

# What a server adds to an event in a record, and what a client sends beside it: no fields.
_NOT_OF_THE_EVENT = frozenset(
    {"log_id", "index", "received_at", "sent_at", "skew_ms", "state", "leaf_hash", "ingested_by"}
    | {"channel_id", "imported", "redactions", "entry", "seed", "salts", "proof"}
    | {"signature", "checksum"}
)
_ENTRY_MEMBERS = ("log_id", "received_at", "ingested_by", "channel_id", "imported")

Answer = Mapping[str, object] | bytes | str  # parsed JSON, or better its text as received


class Verifier:
    """Checks what a log says, with the keys of the logs that you trust.

    `keys` are C2SP verifier keys, one or more for each log; `signing_keys` are clients' Ed25519
    public keys (base64 of 32 bytes) by their `key_id`.
    """

    def __init__(
        self,
        keys: Iterable[VerifierKey | str] = (),
        *,
        signing_keys: Mapping[str, str] | None = None,
    ) -> None:
        self._keys = tuple(VerifierKey.parse(key) if isinstance(key, str) else key for key in keys)
        self._signing_keys = dict(signing_keys or {})
        self._opened: tuple[str, Checkpoint] | None = None  # the last one that was right

    @classmethod
    def from_policy(cls, policy: TrustPolicy | str | os.PathLike[str]) -> Verifier:
        """Trust what a policy names, or the policy in this file; raises as `TrustPolicy.load`."""
        if not isinstance(policy, TrustPolicy):
            policy = TrustPolicy.load(policy)
        return cls(policy.keys, signing_keys=policy.signing_keys)

    def verify_record(self, record: Answer) -> None:
        """Check an `EventRecord` that was fetched with `include=proof`.

        Raises `EventCorruptionError` where the event is not what its entry says, `ProofError`
        where the entry is not in the log, `UnverifiableError` where a proof or a key is missing.
        `sent_at`, `skew_ms`, `state` and a redaction's `replacement` are the server's word.
        """
        self.check_record(record)

    def check_record(self, record: Answer) -> bool | None:
        """As `verify_record`; then who signed the event: True where it was a key given by its
        `key_id`, False an enclosed one, None where nobody did, or there is no key for it.
        """
        raw = _object(record)
        with _at(index := member(raw, "index", int)):
            entry = _entry(raw)
            self._check_proof(raw, index, entry.log_id, entry.leaf_hash)
            entry.check_event(_event(raw, entry), raw)
            return entry.check_signature(self._signing_keys)

    def verify_receipt(self, receipt: Answer) -> None:
        """Check that the leaf of a `Receipt` with a proof is in the log; raises as above.

        A receipt does not hold the event: fetch the record to check what was logged.
        """
        raw = _object(receipt)
        with _at(index := member(raw, "index", int)):
            leaf = sha256_hex(raw.get("leaf_hash"), "'leaf_hash'")
            self._check_proof(raw, index, member(raw, "log_id", str), leaf)

    def verify_sent(
        self, receipt: Answer, event: Mapping[str, object], sent: Mapping[str, object]
    ) -> None:
        """Check that a `Receipt` with entry and proof is for `event`, as it was sent.

        `event` is without `seed`, `signature` and `checksum`, which are in `sent`. Raises as
        `verify_record`.
        """
        raw = _object(receipt)
        self.verify_receipt(raw)
        with _at(member(raw, "index", int)):
            entry = _entry(raw)
            told = {"event_id": entry.id, "log_id": entry.log_id, "received_at": entry.received_at}
            _hold(raw, told | {"leaf_hash": entry.leaf_hash.hex()})
            first = raw.get("replayed") is not True  # else the first seed and signature stay
            seed = (sent.get("seed") if first else None) or raw.get("seed")
            entry.check_event(event, {"seed": seed})
            if first and entry.signature != sent.get("signature"):
                raise EventCorruptionError("its signature is not the one that was sent")
            entry.check_signature(self._signing_keys)

    def verify_tlog_proof(self, proof: bytes, record: Answer) -> None:
        """Check a C2SP tlog-proof of a record or an export's line; raises as `verify_record`.

        A record's own `proof` is not looked at.
        """
        raw, parsed = _object(record), TlogProof.parse(proof)
        with _at(parsed.index):
            if optional(raw, "index", int) not in {None, parsed.index}:
                raise ProofError("the tlog-proof is for another index")
            if "event" in raw and not raw.keys() <= LINE_MEMBERS:
                raise MalformedError("it is neither a record nor a line of an export")
            entry, checkpoint = _entry(raw), self.open_checkpoint(parsed.signed_note)
            checkpoint.verify_inclusion(parsed.index, entry.log_id, entry.leaf_hash, parsed.hashes)
            event = member(raw, "event", dict) if "event" in raw else _event(raw, entry)
            entry.check_event(event, raw)
            entry.check_signature(self._signing_keys)

    def open_checkpoint(self, signed_note: bytes | str) -> Checkpoint:
        """The checkpoint in a note that the log's key signed; raises as `verify_checkpoint`."""
        text = signed_note if isinstance(signed_note, str) else signed_note.decode(errors="replace")
        if self._opened is not None and self._opened[0] == text:
            return self._opened[1]  # a page of records has one
        checkpoint = open_checkpoint(signed_note, self._keys)
        self._opened = text, checkpoint
        return checkpoint

    def verify_checkpoint(self, signed_note: bytes | str) -> None:
        """Check that the log's key signed a checkpoint.

        Raises `ProofError`, `MalformedError`, or `UnverifiableError` without a key for its origin.
        """
        open_checkpoint(signed_note, self._keys)

    def verify_consistency(self, old: bytes | str, new: bytes | str, hashes: Iterable[str]) -> None:
        """Check that the signed checkpoint `new` continues `old`; `hashes` are hexadecimal.

        Raises `CheckpointForkError` where it does not, `ProofError` for a proof that is none.
        """
        earlier, later = open_checkpoint(old, self._keys), open_checkpoint(new, self._keys)
        proof = sha256_list(list(hashes), "the consistency proof")
        if earlier.origin != later.origin:
            raise ProofError("the checkpoints are of two logs", kind="origin")
        if later.tree_size < earlier.tree_size:
            raise CheckpointForkError(
                f"the log shrank from {earlier.tree_size} to {later.tree_size} events"
            )
        if earlier.tree_size == 0 and not proof:
            return  # every log continues the empty one
        merkle.verify_consistency(
            earlier.tree_size, later.tree_size, earlier.root_hash, later.root_hash, proof
        )

    def verify_bundle(
        self,
        path: str | os.PathLike[str] | BinaryIO,
        *,
        manifest: str | os.PathLike[str] | None = None,
        complete: bool = False,
        processes: int | None = None,
        on_progress: Callable[[Progress], object] | None = None,
    ) -> Report:
        """Check an export: its content file, or the directory in which it lies alone.

        An open binary file, such as standard input, is read once, and then `manifest` says where
        NAME.manifest.json is. With `complete`, the report is a success only if no event of the
        range is left out. Large exports are checked by as many processes as there are cores, up to
        eight, unless `processes` says otherwise. `on_progress` is called every 1000 lines and at
        the end. Constant memory, any size; nothing is raised for what the files hold.
        """

        findings, audit = Findings(), None
        with findings:
            audit = Audit(Files.locate(path, manifest), self._keys, self._signing_keys)
            audit.run(findings, processes, on_progress or (lambda _: None))
        if audit is None:
            return findings.report("not everything could be verified")
        reason = audit.why_incomplete()
        if complete and reason is not None and not findings.first:  # else it follows
            findings.append(UnverifiableError(f"not proved complete: {reason}"))
        return findings.report(reason, audit.checkpoint, audit.manifest.indexes)

    def verify_records(self, texts: Iterable[bytes], *, proof: bytes | None = None) -> Report:
        """Check JSON texts, each a record or a receipt with its proof, such as lines of a file.

        With `proof`, a C2SP tlog-proof, there is one text, a record or a line of an export.

        The report names a bad one by its line and goes on. It is never complete: each is proved to
        be in the log, and nothing says which others are.
        """
        findings = Findings()
        for number, text in enumerate(texts, 1):
            findings.events, findings.at = number, (None, number)
            with findings:
                raw = _object(text.strip(b"\r\n"))
                if proof is not None:
                    self.verify_tlog_proof(proof, raw)
                else:
                    (self.verify_record if "action" in raw else self.verify_receipt)(raw)
                findings.redacted += raw.get("salts") is not None
                findings.signed += raw.get("signature") is not None
        if not findings.events:
            findings.append(MalformedError("there is nothing to verify", kind="input"))
        return findings.report("each event was checked by itself")

    def _check_proof(self, raw: Mapping[str, object], index: int, log_id: str, leaf: bytes) -> None:
        proof = optional(raw, "proof", dict)
        if proof is None:
            raise UnverifiableError("it has no 'proof' yet; fetch it with include=proof")
        checkpoint = self.open_checkpoint(member(proof, "signed_note", str))
        place = (member(proof, "index", int), member(proof, "tree_size", int))
        if place != (index, checkpoint.tree_size):
            raise ProofError("the proof is for another index or another checkpoint")
        hashes = sha256_list(proof.get("hashes"), "the proof's 'hashes'")
        checkpoint.verify_inclusion(index, log_id, leaf, hashes)


def _object(answer: Answer) -> Mapping[str, object]:
    raw = loads(answer) if isinstance(answer, bytes | str) else answer
    if not isinstance(raw, Mapping):
        raise MalformedError("a record or a receipt must be a JSON object")
    return raw


def _entry(raw: Mapping[str, object]) -> Entry:
    if raw.get("entry") is None:
        raise UnverifiableError("it has no 'entry'; fetch it with include=proof")
    return Entry.parse(member(raw, "entry", str))


def _event(raw: Mapping[str, object], entry: Entry) -> Mapping[str, object]:
    """The event of a record, of which the rest is held against its entry."""
    leaf = entry.leaf_hash.hex()
    told = {name: getattr(entry, name) for name in _ENTRY_MEMBERS} | {"leaf_hash": leaf}
    _hold({"leaf_hash": leaf, **raw}, told)
    return {name: raw[name] for name in raw.keys() - _NOT_OF_THE_EVENT}


def _hold(raw: Mapping[str, object], told: Mapping[str, object]) -> None:
    """Hold what a server says beside an entry against the entry; nothing is the same as False."""
    for name, value in told.items():
        if (raw.get(name) or None) != (value or None):
            raise EventCorruptionError(f"{name!r} is not the one in its entry")


@contextmanager
def _at(index: int) -> Iterator[None]:
    """Say in an error which event it is about."""
    try:
        yield
    except IntegrityError as error:
        error.index = index
        raise
