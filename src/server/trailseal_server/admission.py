"""What an event must satisfy that only the database knows: its registered schema, its signer's key.

Rule: a schema is looked for among those of the key's tenant, else of the event's `tenant_id`, and
then among the shared ones; a key, in the log that the event goes to.
"""

from .auth import Caller
from .prepare import Event, refusal
from .problems import FieldError
from .schemas.registry import Registry
from .signatures import Signatures
from .store.append import Draft
from .targets import Target


class Admission:
    """The checks of an event after `prepare.draft`."""

    def __init__(self, schemas: Registry, signatures: Signatures) -> None:
        self._schemas = schemas
        self._signatures = signatures

    def check(self, caller: Caller, target: Target, event: Event, draft: Draft, at: str) -> None:
        """Raises `Problem` with pointers that begin with `at`."""
        errors: list[FieldError] = []
        if "schema" in event:
            errors += self._schemas.errors(caller.tenant_id or event.get("tenant_id"), event)
        if "signature" in event:
            errors += self._signatures.errors(caller, target, event, draft.fields_hash)
        if errors:
            raise refusal(errors, event, at)
