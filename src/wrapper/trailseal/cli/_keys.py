"""`trailseal keys`: API keys, and the public keys that verify logs."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

from . import _output, _signing
from ._exits import Mistake, say
from ._session import LogId, Session, ask, command, confirm, listed

UNITS = {"h": "hours", "d": "days", "w": "weeks"}
SCOPES = ("events:write", "events:read", "exports", "logs:read", "schemas", "privacy", "admin")
MAX_LIFETIME = 99_999  # hours, days or weeks: beyond any calendar that a key meets
MAX_GRACE = 604_800  # seconds, by the contract

KeyId = Annotated[str, typer.Argument(metavar="KEY_ID", help="As keys list shows it: key_…")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    keys = typer.Typer(no_args_is_help=True, help="API keys, and the keys that sign and verify.")
    command(keys, "list")(list_keys)
    command(keys, "create")(create)
    command(keys, "rotate")(rotate)
    command(keys, "revoke")(revoke)
    command(keys, "verification")(verification)
    _signing.register(keys)
    app.add_typer(keys, name="keys")


def list_keys(
    session: Session,
    *,
    tenant: Annotated[str | None, typer.Option(metavar="ID", help="Of this tenant only.")] = None,
) -> None:
    """List API keys, revoked ones included, without their secrets. Scope: admin."""
    from trailseal_api.api.api_keys import list_api_keys  # noqa: PLC0415  # loads httpx

    given: dict[str, Any] = {} if tenant is None else {"tenant_id": tenant}
    with session.client() as client:
        found = listed(client, lambda **page: list_api_keys.request_kwargs(**page, **given))
        _output.records(session.form, found, COLUMNS)


def create(
    session: Session,
    *,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is for.")],
    scope: Annotated[
        list[str],
        typer.Option("--scope", metavar="SCOPE", help=f"{', '.join(SCOPES)}; may be repeated."),
    ],
    tenant: Annotated[
        str | None, typer.Option(metavar="ID", help="The only tenant it reaches.")
    ] = None,
    default_log: Annotated[
        str | None, typer.Option(metavar="LOG", help="The log of calls that name none.")
    ] = None,
    expires_in: Annotated[
        str | None, typer.Option(metavar="90d", help="12h, 90d, 4w; else it never ends.")
    ] = None,
) -> None:
    """Make an API key. Its secret is shown only now. Scope: admin.

    \b
      trailseal keys create billing --scope events:write --tenant acme --expires-in 90d
    """
    given: dict[str, Any] = {
        "name": name,
        "scopes": scope,
        "tenant_id": tenant,
        "default_log_id": default_log,
        "expires_at": None if expires_in is None else _after(expires_in),
    }
    with session.client() as client:
        from trailseal_api.api.api_keys import create_api_key  # noqa: PLC0415  # loads httpx

        from trailseal._call import body  # noqa: PLC0415

        _show_secret(session, ask(client, create_api_key.request_kwargs(body=body(given))))


def rotate(
    session: Session,
    *,
    key_id: KeyId,
    grace: Annotated[
        int, typer.Option(min=0, max=MAX_GRACE, metavar="SECONDS", help="The old key's last hours.")
    ] = 0,
) -> None:
    """Make a key like another one, which ends after --grace. Scope: admin."""
    with session.client() as client:
        from trailseal_api.api.api_keys import rotate_api_key  # noqa: PLC0415  # loads httpx

        from trailseal._call import body  # noqa: PLC0415

        kwargs = rotate_api_key.request_kwargs(key_id, body=body({"grace_seconds": grace}))
        _show_secret(session, ask(client, kwargs))


def revoke(
    session: Session,
    *,
    key_id: KeyId,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """End an API key for good, within seconds. Scope: admin."""
    if not yes:
        confirm(f"Revoke {key_id}? Whatever uses it stops working.")
    with session.client() as client:
        from trailseal_api.api.api_keys import revoke_api_key  # noqa: PLC0415  # loads httpx

        ended = ask(client, revoke_api_key.request_kwargs(key_id))
    if session.form == _output.TABLE:
        typer.echo(f"{ended['key_id']} ({ended['name']}) was revoked")
    else:
        session.record(ended)


def verification(session: Session, log_id: LogId = None) -> None:
    """List a log's public keys, as the server names them.

    They are what --key of verify takes. Trust them only when the log's operator confirms them
    another way.
    """
    with session.client() as client:
        keys = client.verification_keys(log_id=log_id)
        _output.records(session.form, (key.raw for key in keys), VERIFICATION)


def _show_secret(session: Session, issued: dict[str, Any]) -> None:
    if session.form != _output.TABLE:
        session.record(issued)
        return
    say(f"{issued['api_key']['key_id']} was made; this is the only time its secret is shown:")
    typer.echo(issued["secret"])


def _after(span: str) -> str:
    count, unit = span[:-1], UNITS.get(span[-1:])
    if unit is None or not count.isascii() or not count.isdigit() or len(count) > 5:
        raise Mistake(f"--expires-in {span}: write hours, days or weeks, such as 12h, 90d, 4w.")
    if not 0 < int(count) <= MAX_LIFETIME:
        raise Mistake(f"--expires-in {span}: must be more than nothing.")
    return (datetime.now(UTC) + timedelta(**{unit: int(count)})).isoformat()


def _state(key: Any) -> str:
    if key.get("revoked_at"):
        return "revoked"
    ends = key.get("expires_at")
    if not ends:
        return "active"
    over = datetime.fromisoformat(ends) <= datetime.now(UTC)
    return f"{'expired' if over else 'until'} {ends[:19]}Z"


COLUMNS: _output.Columns = {
    "ID": lambda key: key.get("key_id"),
    "NAME": lambda key: key.get("name"),
    "STATE": _state,
    "TENANT": lambda key: key.get("tenant_id"),
    "SCOPES": lambda key: key.get("scopes"),
    "LAST USED": lambda key: key.get("last_used_at", "-")[:10],
}
VERIFICATION: _output.Columns = {
    "ID": lambda key: key.get("key_id"),
    "KIND": lambda key: key.get("kind"),
    "KEY": lambda key: key.get("verifier_key") or key.get("public_key"),
}
