"""Redaction policies: reading and replacing them. What they do is in policies.py of the server."""

from typing import Any

from starlette.responses import Response

from ..contract import operation
from ..policies import check
from ..removals import locked
from ..store import micros, policies
from ._http import ServerCall, answer, log_of


@operation("getRedactionPolicy")
def get_redaction_policy(call: ServerCall) -> Response:
    """The log's policy; without one, no rules."""
    with call.services.store.read() as connection:
        rules, updated_at = policies.in_force(connection, log_of(call))
    return answer(_show(rules, updated_at))


@operation("updateRedactionPolicy")
def update_redaction_policy(call: ServerCall) -> Response:
    """Put a policy in force for events that arrive from now on."""
    rules = call.body["rules"]
    check(rules)
    log_id = log_of(call)
    with call.services.store.write() as connection:
        locked(connection, log_id)
        updated_at = policies.replace(connection, log_id, rules)
    return answer(_show(rules, updated_at))


def _show(rules: Any, updated_at: int | None) -> dict[str, Any]:
    return {
        "rules": rules,
        **({} if updated_at is None else {"updated_at": micros.text(updated_at)}),
    }
