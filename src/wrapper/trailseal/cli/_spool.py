"""`trailseal spool`: the events that wait on this machine, also after a crash."""

import json
import os
from collections.abc import Iterator
from dataclasses import asdict
from operator import itemgetter
from pathlib import Path
from typing import Annotated, Any

import typer

from trailseal._words import counted

from . import _output
from ._exits import FAILED, Mistake, say
from ._session import Session, command

COLUMNS = {name: itemgetter(name) for name in ("file", "state", "pending", "parked", "bytes")}
EXPORTED = {name: itemgetter(name) for name in ("state", "id", "log_id", "code", "detail")}
WAIT_S = 60.0  # how long drain goes on by default

Folder = Annotated[
    Path | None,
    typer.Option(
        "--folder", metavar="DIR", help="The spool's folder; else TRAILSEAL_SPOOL_DIR.",
        file_okay=False,
    ),
]  # fmt: skip


def register(app: typer.Typer) -> None:
    """Add the commands."""
    spool = typer.Typer(no_args_is_help=True, help="Events that wait on this machine.")
    command(spool, "status")(status)
    command(spool, "drain")(drain)
    command(spool, "requeue")(requeue)
    command(spool, "export")(export)
    app.add_typer(spool, name="spool")


def status(session: Session, *, folder: Folder = None) -> None:
    """List a spool's files: what waits, was refused, was damaged."""
    from trailseal.delivery import _contents  # noqa: PLC0415  # loads sqlite3

    found = (asdict(each) for each in _contents.contents(_existing(folder)))
    _output.records(session.form, found, COLUMNS)


def drain(
    session: Session,
    *,
    folder: Folder = None,
    wait: Annotated[
        float, typer.Option(min=0.1, max=86_400, metavar="SECONDS", help="How long to go on.")
    ] = WAIT_S,
) -> None:
    """Send what ended processes have left for this server.

    Exits 1 if some of it is left. A process that runs delivers its own events. Scope: events:write.
    """
    from trailseal import Audit  # noqa: PLC0415  # loads httpx
    from trailseal.delivery import _contents  # noqa: PLC0415  # loads sqlite3

    place = _existing(folder)
    with session.client() as client, Audit(client, spool=place) as audit:
        audit.drain(wait)
        stats = audit.stats()
    shown = ("adopted", "delivered", "replayed", "pending", "parked", "last_error")
    session.record({name: getattr(stats, name) for name in shown})
    waiting = sum(each.pending for each in _contents.contents(place) if each.state == "left")
    if waiting:
        say(f"{counted(waiting, 'event')} left, of this server or of another.")
        raise typer.Exit(1)


def requeue(
    session: Session,
    *,
    folder: Folder = None,
    event_id: Annotated[
        str | None, typer.Option("--id", metavar="ID", help="Only this event.")
    ] = None,
) -> None:
    """Let refused events be sent again.

    Exits 1 if there is none. A process that runs sees them within half a minute; else use drain.
    """
    from trailseal.delivery import _contents  # noqa: PLC0415  # loads sqlite3

    count = _contents.requeue(_existing(folder), event_id)
    session.record({"requeued": count})
    if not count:
        raise typer.Exit(FAILED)


def export(session: Session, *, folder: Folder = None) -> None:
    """Print a spool's events, with why they were refused."""
    from trailseal.delivery import _contents  # noqa: PLC0415  # loads sqlite3

    place = _existing(folder)

    def shown() -> Iterator[dict[str, Any]]:
        for row in _contents.rows(place):
            known = {name: getattr(row, name) for name in ("id", "log_id", "code", "detail")}
            state = "parked" if row.code else "pending"
            yield {"state": state, **known, "event": json.loads(row.content)}

    _output.records(session.form, shown(), EXPORTED)


def _existing(folder: Path | None) -> Path:
    given = folder or os.environ.get("TRAILSEAL_SPOOL_DIR")
    if not given:
        raise Mistake("no folder: set TRAILSEAL_SPOOL_DIR, or give --folder.")
    place = Path(given).absolute()
    if not place.is_dir():
        raise Mistake(f"{place} is no folder.")
    return place
