"""`trailseal log`: one event."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from . import _output
from ._exits import BAD_INPUT, Mistake
from ._session import LogId, Session, command

MAX_INPUT = 4 << 20  # characters of an event's JSON: four times what an event may have


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "log")(log)


def log(
    session: Session,
    *,
    action: Annotated[
        str | None, typer.Argument(metavar="ACTION", help="What was done: invoice.deleted.")
    ] = None,
    actor_id: Annotated[str | None, typer.Option(metavar="ID", help="Who did it.")] = None,
    actor_type: Annotated[
        str | None, typer.Option(metavar="TYPE", help="user, service_account, agent, system …")
    ] = None,
    actor_name: Annotated[str | None, typer.Option(metavar="TEXT")] = None,
    resource_id: Annotated[str | None, typer.Option(metavar="ID", help="To what.")] = None,
    resource_type: Annotated[
        str | None, typer.Option(metavar="TYPE", help="Its kind: invoice.")
    ] = None,
    resource_name: Annotated[str | None, typer.Option(metavar="TEXT")] = None,
    outcome: Annotated[
        str | None, typer.Option("--outcome", metavar="OUTCOME", help="success, failure, unknown.")
    ] = None,
    message: Annotated[
        str | None, typer.Option("--message", "-m", metavar="TEXT", help="A sentence for people.")
    ] = None,
    tag: Annotated[
        list[str] | None, typer.Option(metavar="KEY:VALUE", help="May be repeated.")
    ] = None,
    data: Annotated[
        str | None, typer.Option(metavar="JSON", help="Anything else; @FILE reads a file.")
    ] = None,
    severity: Annotated[
        str | None,
        typer.Option("--severity", metavar="SEVERITY", help="info, low, medium, high, critical."),
    ] = None,
    subject: Annotated[
        list[str] | None,
        typer.Option(metavar="ID", help="Whose data it holds, for erasure. May be repeated."),
    ] = None,
    tenant: Annotated[str | None, typer.Option(metavar="ID", help="Whose log.")] = None,
    occurred_at: Annotated[
        str | None, typer.Option(metavar="TIME", help="RFC 3339; now if there is no --id.")
    ] = None,
    event_id: Annotated[
        str | None,
        typer.Option("--id", metavar="ID", help="Makes the command safe to repeat."),
    ] = None,
    event: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="A whole event as JSON, - for standard input."),
    ] = None,
    log_id: LogId = None,
    proof: Annotated[bool, typer.Option("--proof", help="Wait up to 3 s for a proof.")] = False,
) -> None:
    """Log one event.

    It is on the server's disk when the command ends with 0.

    \b
      trailseal log invoice.deleted --actor-id user_1 --resource-type invoice --resource-id inv_1
      echo '{"action": "door.opened"}' | trailseal log --event -
    """
    given: dict[str, Any] = dict(_event(event)) if event is not None else {}
    resource = _parts(id=resource_id, type=resource_type, name=resource_name)
    told = {
        "action": action,
        "actor": _parts(id=actor_id, type=actor_type, name=actor_name),
        "resources": [resource] if resource else [],
        "outcome": outcome,
        "message": message,
        "tags": dict(map(pair, tag or ())),
        "data": None if data is None else _json(data, "--data"),
        "severity": severity,
        "subjects": subject or [],
        "tenant_id": tenant,
        "occurred_at": occurred_at,
        "id": event_id,
    }
    given |= {name: value for name, value in told.items() if value not in (None, {}, [])}
    if "action" not in given:
        raise Mistake("what was done? Give ACTION, or a whole event with --event.")
    with session.client() as client:
        receipt = client.log_event(given, log_id=log_id, include_proof=proof)
    if session.form == _output.TABLE:
        again = ", as before" if receipt.replayed else ""
        typer.echo(f"{receipt.event_id} is event {receipt.index} of {receipt.log_id}{again}")
    else:
        session.record(receipt.raw)


def pair(text: str) -> tuple[str, str]:
    """A tag, `key:value`, split at the first colon; raises `Mistake`."""
    key, colon, value = text.partition(":")
    if not key or not colon:
        raise Mistake(f"--tag {text}: write KEY:VALUE.")
    return key, value


def _parts(**given: str | None) -> dict[str, str]:
    return {name: value for name, value in given.items() if value is not None}


def _event(source: str) -> dict[str, Any]:
    text = sys.stdin.read(MAX_INPUT) if source == "-" else _file(Path(source))
    event = _parsed(text, "--event")
    if not isinstance(event, dict):
        raise Mistake("--event: an event is a JSON object.", BAD_INPUT)
    return event


def _json(text: str, option: str) -> Any:
    return _parsed(_file(Path(text[1:])) if text.startswith("@") else text, option)


def _file(path: Path) -> str:
    try:
        with path.open(encoding="utf-8-sig") as file:
            return file.read(MAX_INPUT)
    except UnicodeDecodeError:
        raise Mistake(f"{path}: is no UTF-8.", BAD_INPUT) from None


def _parsed(text: str, option: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        where = f" in line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise Mistake(f"{option}: not JSON{where}.", BAD_INPUT) from None
