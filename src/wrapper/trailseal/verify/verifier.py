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
from pathlib import Path
from typing import BinaryIO

from . import merkle
from ._audit import Audit
from ._values import member, optional, sha256_hex, sha256_list
from .bundle import Files
from .canonical import MAX_DEPTH, loads
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
        index = member(raw, "index", int)
        with _at(index):
            if raw.get("entry") is None:
                raise UnverifiableError("the record has no 'entry'; fetch it with include=proof")
            entry = Entry.parse(member(raw, "entry", str))
            self._check_proof(raw, index, entry.log_id, entry.leaf_hash)
            for name in _ENTRY_MEMBERS:
                if (raw.get(name) or None) != (getattr(entry, name) or None):
                    raise EventCorruptionError(f"{name!r} is not the one in its entry")
            if raw.get("leaf_hash", entry.leaf_hash.hex()) != entry.leaf_hash.hex():
                raise EventCorruptionError("'leaf_hash' is not the hash of its entry")
            event = {name: raw[name] for name in raw.keys() - _NOT_OF_THE_EVENT}
            entry.check_event(event, raw)
            return entry.check_signature(self._signing_keys)

    def verify_receipt(self, receipt: Answer) -> None:
        """Check that the leaf of a `Receipt` with a proof is in the log; raises as above.

        A receipt does not hold the event: fetch the record to check what was logged.
        """
        raw = _object(receipt)
        index = member(raw, "index", int)
        with _at(index):
            leaf = sha256_hex(raw.get("leaf_hash"), "'leaf_hash'")
            log_id = member(raw, "log_id", str)
            self._check_proof(raw, index, log_id, leaf)

    def verify_sent(
        self, receipt: Answer, event: Mapping[str, object], sent: Mapping[str, object]
    ) -> None:
        """Check that a `Receipt` with entry and proof is for `event`, as it was sent.

        `event` is without `seed`, `signature` and `checksum`, which are in `sent`. Raises as
        `verify_record`.
        """
        raw = _object(receipt)
        self.verify_receipt(raw)
        index = member(raw, "index", int)
        with _at(index):
            if raw.get("entry") is None:
                raise UnverifiableError("the receipt has no 'entry'; ask for it with include=proof")
            entry = Entry.parse(member(raw, "entry", str))
            if raw["leaf_hash"] != entry.leaf_hash.hex():
                raise EventCorruptionError("'leaf_hash' is not the hash of its entry")
            for name, value in (("event_id", entry.id), ("log_id", entry.log_id)):
                if raw.get(name) != value:
                    raise EventCorruptionError(f"{name!r} is not the one in its entry")
            if raw.get("received_at") != entry.received_at:
                raise EventCorruptionError("'received_at' is not the one in its entry")
            first = raw.get("replayed") is not True  # else the first seed and signature stay
            seed = sent.get("seed") if first else raw.get("seed")
            entry.check_event(event, {"seed": seed or raw.get("seed")})
            if first and entry.signature != sent.get("signature"):
                raise EventCorruptionError("its signature is not the one that was sent")
            entry.check_signature(self._signing_keys)

    def verify_tlog_proof(self, proof: bytes, record: Answer) -> None:
        """Check a C2SP tlog-proof of a record or an export's line; raises as `verify_record`.

        A record's own `proof` is not looked at.
        """
        raw, parsed = _object(record), TlogProof.parse(proof)
        with _at(parsed.index):
            if raw.get("index") not in {None, parsed.index}:
                raise ProofError("the tlog-proof is for another index")
            checkpoint = self.open_checkpoint(parsed.signed_note)
            given = {
                "tree_size": checkpoint.tree_size,
                "index": parsed.index,
                "hashes": [digest.hex() for digest in parsed.hashes],
                "signed_note": parsed.signed_note,
            }
            event = raw.get("event")
            if event is None:
                self.check_record({**raw, "index": parsed.index, "proof": given})
                return
            entry = Entry.parse(member(raw, "entry", str))
            whole = {"proof": given, "index": parsed.index}
            self._check_proof(whole, parsed.index, entry.log_id, entry.leaf_hash)
            entry.check_event(member(raw, "event", dict), raw)
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

        def locate() -> Files:
            if isinstance(path, str | os.PathLike) and manifest is None:
                return Files.locate(Path(path))
            if manifest is None:
                raise UnverifiableError("the manifest is missing: say where NAME.manifest.json is")
            content = Path(path) if isinstance(path, str | os.PathLike) else path
            return Files.beside(Path(manifest), content)

        audit = Audit(self._keys, self._signing_keys, processes, on_progress)
        return audit.run(locate, complete=complete)

    def verify_records(self, texts: Iterable[bytes], *, proof: bytes | None = None) -> Report:
        """Check JSON texts, each a record or a receipt with its proof, such as lines of a file.

        With `proof`, a C2SP tlog-proof, there is one text, a record or a line of an export.

        The report names a bad one by its line and goes on. It is never complete: each is proved to
        be in the log, and nothing says which others are.
        """
        findings = Findings()
        count = redacted = signed = 0
        for number, text in enumerate(texts, 1):
            count, findings.at = number, (None, number)
            with findings:
                raw = _object(text.strip(b"\r\n"))
                if proof is not None:
                    self.verify_tlog_proof(proof, raw)
                else:
                    (self.verify_record if "action" in raw else self.verify_receipt)(raw)
                redacted += raw.get("salts") is not None
                signed += raw.get("signature") is not None
        if not count:
            findings.append(MalformedError("there is nothing to verify", kind="input"))
        return Report(
            checkpoint=None,
            first_index=None,
            last_index=None,
            events=count,
            redacted=redacted,
            signed=signed,
            signatures_checked=0,
            signatures_trusted=0,
            complete=False,
            incomplete_reason="each event was checked by itself",
            findings=tuple(findings.first),
            counts=dict(findings.counts),
        )

    def _check_proof(self, raw: Mapping[str, object], index: int, log_id: str, leaf: bytes) -> None:
        proof = optional(raw, "proof", dict)
        if proof is None:
            raise UnverifiableError("it has no 'proof' yet; fetch it with include=proof")
        checkpoint = self.open_checkpoint(member(proof, "signed_note", str))
        if checkpoint.log_id != log_id:
            raise ProofError("the proof's checkpoint is of another log", kind="origin")
        place = (member(proof, "index", int), member(proof, "tree_size", int))
        if place != (index, checkpoint.tree_size):
            raise ProofError("the proof is for another index or another checkpoint")
        hashes = sha256_list(proof.get("hashes"), "the proof's 'hashes'")
        merkle.verify_inclusion(index, checkpoint.tree_size, leaf, hashes, checkpoint.root_hash)


def _object(answer: Answer) -> Mapping[str, object]:
    raw = loads(answer, max_depth=MAX_DEPTH) if isinstance(answer, bytes | str) else answer
    if not isinstance(raw, Mapping):
        raise MalformedError("a record or a receipt must be a JSON object")
    return raw


@contextmanager
def _at(index: int) -> Iterator[None]:
    """Say in an error which event it is about."""
    try:
        yield
    except IntegrityError as error:
        error.index = index
        raise
