"""Which log a request means.

Rules: the request's `log_id`, else the event's `tenant_id`, else the key's tenant, else the key's
default log. A key bound to a tenant reaches that tenant's logs only; another tenant's is not there.
"""

from typing import NamedTuple

from .auth import Caller
from .problems import Problem
from .store import Connection, logs
from .store.logs import LogRow


class Target(NamedTuple):
    """The log that events go to: by its id, or as a tenant's default log, made if it is missing."""

    log_id: str = ""
    tenant_id: str = ""

    @property
    def name(self) -> str:
        """The id of the log, as far as it is known: logs are made in this order (store/logs.py)."""
        return self.log_id or self.tenant_id


def target_of(caller: Caller, log_id: str | None, tenant_id: object) -> Target:
    """The log that a request or an event means; raises Problem log_required, tenant_mismatch."""
    tenant = tenant_id if isinstance(tenant_id, str) else None
    if caller.tenant_id is not None and tenant not in {None, caller.tenant_id}:
        raise Problem("tenant_mismatch", "The API key is bound to another tenant")
    if log_id is not None:
        return Target(log_id=log_id)
    owner = tenant or caller.tenant_id
    if owner is not None:
        return Target(tenant_id=owner)
    if caller.default_log is not None:
        return Target(log_id=caller.default_log)
    raise Problem("log_required", "Name a log with log_id, or a tenant with tenant_id")


def resolve_log(
    connection: Connection, caller: Caller, log_id: str | None, tenant_id: str | None
) -> str:
    """The id of the log that a read means; raises Problem, `log_not_found` included."""
    target = target_of(caller, log_id, tenant_id)
    return find_log(connection, caller, target).log_id


def find_log(connection: Connection, caller: Caller, target: Target) -> LogRow:
    """The log that is meant; raises Problem log_not_found, for another tenant's too."""
    if target.log_id:
        log = logs.find(connection, target.log_id)
    else:
        log = logs.find_default(connection, target.tenant_id)
    if log is None or caller.tenant_id not in {None, log.tenant_id}:
        raise Problem("log_not_found", "There is no such log")
    return log


def open_log(connection: Connection, caller: Caller, target: Target) -> str:
    """The log that is meant; a tenant's or a key's default log is made at its first event."""
    try:
        return find_log(connection, caller, target).log_id
    except Problem:
        if target.tenant_id:
            return logs.ensure_default(connection, target.tenant_id).log_id
        if target.log_id != caller.default_log:
            raise
        logs.ensure(connection, target.log_id, tenant_id=caller.tenant_id)
        return find_log(connection, caller, target).log_id
