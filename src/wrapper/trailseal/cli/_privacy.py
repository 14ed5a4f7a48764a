"""`trailseal privacy`: redaction, erasure and legal holds. All of it needs the scope `privacy`."""

from typing import Annotated, Any

import typer

from . import _output
from ._session import LogId, Session, command, confirm

ERASURE_SECONDS = 86_400.0  # a large log's erasure is hours of work; Ctrl-C leaves it going on

Reason = Annotated[
    str, typer.Option(metavar="TEXT", help="Why. It is kept for good: name no person in it.")
]
Subject = Annotated[
    str | None, typer.Option(metavar="ID", help="One person's events, by subjects; else all.")
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    privacy = typer.Typer(no_args_is_help=True, help="Redaction, erasure and legal holds.")
    command(privacy, "redact")(redact)
    command(privacy, "erase")(erase)
    command(privacy, "erasures")(erasures)
    command(privacy, "hold")(hold)
    command(privacy, "holds")(holds)
    command(privacy, "release")(release)
    app.add_typer(privacy, name="privacy")


def redact(
    session: Session,
    *,
    event_id: Annotated[str, typer.Argument(metavar="EVENT_ID")],
    paths: Annotated[
        list[str], typer.Argument(metavar="POINTER…", help="What goes: /actor/email, /data.")
    ],
    reason: Reason,
    log_id: LogId = None,
) -> None:
    """Take fields out of one event, for good. Its proofs stay valid.

    \b
      trailseal privacy redact evt-1 /actor/email /data --reason "ticket 88"
    """
    with session.client() as client:
        event = client.redact(event_id, paths, reason, log_id=log_id)
    if session.form == _output.TABLE:
        count = len(event.raw["redactions"])
        typer.echo(f"{event_id}: {count} field{'s' * (count != 1)} redacted in all")
    else:
        session.record(event.raw)


def erase(
    session: Session,
    *,
    subject: Annotated[str, typer.Argument(metavar="SUBJECT", help="The person's id.")],
    reason: Reason,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    log_id: LogId = None,
) -> None:
    """Take a person's data out of all events, for good.

    Of those that name the person in subjects. Waits until it is done; Ctrl-C leaves it going on at
    the server: privacy erasures shows it.

    \b
      trailseal privacy erase user_1 --reason "request 2026-118"
    """
    if not yes:
        confirm(f"Erase {subject}? Nothing brings it back.")
    with session.client() as client:
        begun = client.erase(subject, reason, log_id=log_id)
        client.wait(begun, timeout=ERASURE_SECONDS)
        done = next(each for each in client.erasures(log_id=log_id) if each.id == begun.id)
    if session.form == _output.TABLE:
        count = done.events or 0
        typer.echo(f"{done.id}: erased from {count} event{'s' * (count != 1)}")
    else:
        session.record(done.raw)


def erasures(session: Session, log_id: LogId = None) -> None:
    """List erasures, newest first, without whom they were about."""
    with session.client() as client:
        found = client.erasures(log_id=log_id)
    _output.records(session.form, (each.raw for each in found), ERASURES)


def hold(
    session: Session,
    *,
    reason: Reason,
    subject: Subject = None,
    log_id: LogId = None,
) -> None:
    """Stop redaction, erasure and retention.

    \b
      trailseal privacy hold --subject user_1 --reason "case 17"
    """
    with session.client() as client:
        session.record(client.legal_holds.place(reason, subject=subject, log_id=log_id).raw)


def holds(session: Session, log_id: LogId = None) -> None:
    """List legal holds, released ones too."""
    with session.client() as client:
        found = client.legal_holds.list(log_id=log_id)
    _output.records(session.form, (each.raw for each in found), HOLDS)


def release(
    session: Session,
    *,
    hold_id: Annotated[str, typer.Argument(metavar="HOLD_ID", help="As privacy holds shows it.")],
) -> None:
    """End a legal hold. What waited for it goes on."""
    with session.client() as client:
        session.record(client.legal_holds.release(hold_id).raw)


def _day(name: str) -> Any:
    return lambda raw: (raw.get(name) or "-")[:10]


ERASURES: _output.Columns = {
    "ID": lambda raw: raw.get("erasure_id"),
    "STATE": lambda raw: raw.get("state"),
    "EVENTS": lambda raw: raw.get("events"),
    "COMPLETED": _day("completed_at"),
    "REASON": lambda raw: raw.get("reason"),
}
HOLDS: _output.Columns = {
    "ID": lambda raw: raw.get("hold_id"),
    "SUBJECT": lambda raw: raw.get("subject"),
    "PLACED": _day("created_at"),
    "RELEASED": _day("released_at"),
    "REASON": lambda raw: raw.get("reason"),
}
