"""Checkpoints, proofs, keys, and checks against them."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import TYPE_CHECKING

from trailseal import _filters, _operations, _signer
from trailseal._async.core import AsyncCore
from trailseal._models import Checkpoint, ConsistencyProof, InclusionProof, VerificationKey
from trailseal._signer import Signer

if TYPE_CHECKING:
    from trailseal._checks import Subject


class AsyncProofs(AsyncCore):
    """`root`, `seal`, both proofs, `verification_keys`, `register_key`, both kinds of `verify`."""

    async def root(
        self,
        tree_size: int | None = None,
        *,
        log_id: str | None = None,
        verify: bool | None = None,
    ) -> Checkpoint:
        """Fetch a log's latest checkpoint, or that of a size; raises `CheckpointNotFoundError`.

        With `verify` it is checked, and that it continues the one last seen of this log (or
        precedes it), which it then takes the place of: else `CheckpointForkError`.
        """
        found = await self._run(_operations.root(self._settings, tree_size, log_id=log_id))
        if self._verifies(verify):
            verifier = await self._verifier(log_id)
            await self._take(verifier, [found.signed_note], latest=tree_size is None)
        return found

    async def seal(self, log_id: str) -> Checkpoint:
        """Have a log sign a checkpoint over all its events now, instead of within a second."""
        return await self._run(_operations.seal(self._settings, log_id))

    async def inclusion_proof(
        self,
        event_id: str | None = None,
        *,
        index: int | None = None,
        tree_size: int | None = None,
        log_id: str | None = None,
    ) -> InclusionProof:
        """Fetch the proof that an event, by id or index, is in the log of a size (the latest)."""
        return await self._run(
            _operations.inclusion_proof(
                self._settings, event_id=event_id, index=index, tree_size=tree_size, log_id=log_id
            )
        )

    async def consistency_proof(
        self, first: int, second: int, *, log_id: str | None = None
    ) -> ConsistencyProof:
        """Fetch the proof that the log of size `second` continues that of size `first`."""
        return await self._run(
            _operations.consistency_proof(self._settings, first, second, log_id=log_id)
        )

    async def verification_keys(self, *, log_id: str | None = None) -> list[VerificationKey]:
        """Fetch the public keys that the server names for a log."""
        return await self._run(_operations.verification_keys(self._settings, log_id=log_id))

    async def register_key(
        self,
        signer: Signer,
        *,
        owner: str | None = None,
        valid_from: str | datetime | None = None,
        valid_to: str | datetime | None = None,
        log_id: str | None = None,
    ) -> VerificationKey:
        """Register a signer's public key with a log, which then takes signatures of its `key_id`
        by this key only, between the two times. The same key again is fine. Scope: `admin`.

        Raises `RequestError` where the id belongs to another key.
        """
        given = _signer.registered(signer) | {
            "owner": owner,
            "valid_from": _filters.moment(valid_from, "valid_from"),
            "valid_to": _filters.moment(valid_to, "valid_to"),
        }
        return await self._run(_operations.register_key(self._settings, given, log_id=log_id))

    async def verify(self, subject: Subject) -> None:
        """Check an event or page (with proofs), receipt, checkpoint, or downloaded export.

        With `trusted_keys` this proves what the holders of those keys signed. Without, the keys
        are fetched from the server first, and it only proves that the server's words agree.

        Raises:
            EventCorruptionError: An event is not what its log entry commits to.
            ProofError: A signature, proof or digest does not hold.
            UnverifiableError: A key or a proof is missing.
        """
        from trailseal import _checks  # noqa: PLC0415  # few verify

        verifier = await self._verifier(_checks.log_of(subject))
        await asyncio.to_thread(_checks.check, verifier, subject)

    async def verify_consistency(self, first: Checkpoint, second: Checkpoint) -> None:
        """Check that one signed checkpoint continues another, with the server's proof.

        Raises:
            CheckpointForkError: It does not: the log was rewritten between them.
            ProofError, UnverifiableError: A signature is wrong, a key is missing.
        """
        from trailseal import _checks, _verifying  # noqa: PLC0415  # it loads cryptography

        verifier = await self._verifier(_checks.log_of(second))
        notes = first.signed_note, second.signed_note
        await self._run(_verifying.continues(self._settings, verifier, *notes))
