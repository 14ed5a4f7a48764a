"""Auth0 log streams: `{"logs": [{log_id, data}]}`, a list of those, one of them, or bare `data`.

Type codes are those of Auth0's "Log Event Type Codes". A code that is not here is kept as
`auth0.<code>`; by Auth0's convention its first letter tells success (`s`) or failure (`f`).
"""

from collections.abc import Mapping
from typing import Any

from .shapes import LONG, MESSAGE, Event, address, event_id, first, instant, member, text, unwrap

# code: action, kind of action, outcome
TYPES: dict[str, tuple[str, str, str]] = {
    "s": ("user.login", "authenticate", "success"),
    "f": ("user.login", "authenticate", "failure"),
    "fp": ("user.login", "authenticate", "failure"),
    "fu": ("user.login", "authenticate", "failure"),
    "ssa": ("user.login.silent", "authenticate", "success"),
    "fsa": ("user.login.silent", "authenticate", "failure"),
    "slo": ("user.logout", "authenticate", "success"),
    "flo": ("user.logout", "authenticate", "failure"),
    "ss": ("user.signup", "create", "success"),
    "fs": ("user.signup", "create", "failure"),
    "scp": ("user.password.change", "update", "success"),
    "fcp": ("user.password.change", "update", "failure"),
    "scpr": ("user.password.reset_request", "update", "success"),
    "fcpr": ("user.password.reset_request", "update", "failure"),
    "sce": ("user.email.change", "update", "success"),
    "fce": ("user.email.change", "update", "failure"),
    "sv": ("user.email.verify", "update", "success"),
    "fv": ("user.email.verify", "update", "failure"),
    "sdu": ("user.delete", "delete", "success"),
    "fdu": ("user.delete", "delete", "failure"),
    "sapi": ("management_api.call", "execute", "success"),
    "fapi": ("management_api.call", "execute", "failure"),
    "mgmt_api_read": ("management_api.read", "read", "success"),
    "seacft": ("token.exchange.authorization_code", "authorize", "success"),
    "feacft": ("token.exchange.authorization_code", "authorize", "failure"),
    "seccft": ("token.exchange.client_credentials", "authorize", "success"),
    "feccft": ("token.exchange.client_credentials", "authorize", "failure"),
    "sertft": ("token.exchange.refresh_token", "authorize", "success"),
    "fertft": ("token.exchange.refresh_token", "authorize", "failure"),
    "limit_wc": ("user.blocked", "authenticate", "failure"),
    "limit_mu": ("ip.blocked", "authenticate", "failure"),
    "gd_auth_succeed": ("user.mfa", "authenticate", "success"),
    "gd_auth_failed": ("user.mfa", "authenticate", "failure"),
}


def records(payload: Any) -> list[Any]:
    """The log events of a delivery."""
    return unwrap(payload, "logs")


def event(record: dict[str, Any], _headers: Mapping[str, str]) -> Event:
    """The event of one log event."""
    told = record["data"] if isinstance(record.get("data"), dict) else record
    code = text(told.get("type"))
    guess = {"s": "success", "f": "failure"}.get((code or "")[:1], "unknown")
    action, kind, outcome = TYPES.get(code or "", (f"auth0.{code}", "other", guess))
    occurred_at = instant(told.get("date"))
    own = first(record, ("log_id", "_id")) or first(told, ("log_id", "_id"))
    return {
        "id": event_id("auth0", own, record, occurred_at),
        "occurred_at": occurred_at,
        "action": action[:256] if code else None,
        "action_type": kind,
        "outcome": outcome,
        "actor": _actor(told),
        "resources": [
            {
                "type": "application",
                "id": text(told.get("client_id")),
                "name": text(told.get("client_name"), LONG),
            }
        ],
        "source": {
            "name": "auth0",
            "instance": text(first(told, ("hostname", "tenant_name"))),
        },
        "context": {
            "source_ip": address(told.get("ip")),
            "user_agent": text(told.get("user_agent"), LONG),
            "session_id": text(told.get("session_id")),
            "location": text(member(told, "location_info", "city_name")),
        },
        "message": text(told.get("description"), MESSAGE),
        "tags": {"auth0_type": code, "connection": text(told.get("connection"))},
    }


def _actor(told: dict[str, Any]) -> dict[str, Any]:
    """The user, else the application that acted by itself."""
    user = text(first(told, ("user_id", "user_name")))
    kind = "user" if user else "service_account"
    return {"id": user or text(told.get("client_id")), "type": kind, "name": _name(told)}


def _name(told: dict[str, Any]) -> str | None:
    return text(told.get("user_name")) or text(member(told, "details", "request", "auth", "user"))
