"""`trailseal tail`: events as they arrive.

1. The newest events first, then a list from the newest one's `received_at` on, less what was shown:
   no event is missed between the two.
2. A list ends with a `tail_cursor`; with it the server holds the answer until events follow.
3. A server that goes away is asked again until it is back; a refusal ends the command.
"""

import sys
import time
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from . import _output
from ._exits import Mistake, describe, printable, say
from ._read import PAGE, _resource
from ._session import LogId, Session, command

HOLD = 25  # seconds that the server holds an answer: below the idle limits of proxies
MARGIN = 15.0  # seconds more for the call around it
PAUSES = (1, 2, 5, 10, 30)  # seconds between tries while the server is away; the last for ever


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "tail")(tail)


def tail(
    session: Session,
    filters: dict[str, Any],
    *,
    lines: Annotated[
        int, typer.Option("--lines", "-n", min=0, max=PAGE, metavar="N", help="Earlier ones first.")
    ] = 10,
    most: Annotated[
        int | None, typer.Option("--max", min=1, metavar="N", help="End after N events.")
    ] = None,
    log_id: LogId = None,
) -> None:
    """Show events as they arrive, until Ctrl-C.

    \b
      trailseal tail --outcome failure
      trailseal tail -n 0 --jsonl | jq -r .action
    """
    if session.form == _output.JSON:
        raise Mistake("tail has no end, and --json one document: use --jsonl.")
    if filters.keys() & {"end", "time_field"}:
        raise Mistake("tail goes on by received_at: leave --end and --time-field to query.")
    with session.client(timeout=max(session.timeout, HOLD + MARGIN)) as client:
        for count, event in enumerate(_events(client, filters, lines, log_id), 1):
            _output.write(_line(event) if session.form == _output.TABLE else _output.dumps(event))
            sys.stdout.flush()
            if count == most:
                return


def _events(
    client: Any, filters: dict[str, Any], lines: int, log_id: str | None
) -> Iterator[dict[str, Any]]:
    newest = next(client.query(limit=max(lines, 1), log_id=log_id, **filters).pages()).items
    yield from (event.raw for event in reversed(newest[:lines]))
    seen = newest[0].index if newest else -1
    start = {"start": newest[0].raw["received_at"]} if newest else {}
    since = {**{k: v for k, v in filters.items() if k != "last"}, **start}
    options = {"order": "asc", "limit": PAGE, "log_id": log_id, **since}
    cursor, tries = None, 0
    while True:  # until Ctrl-C, or the consumer stops
        try:
            listed = client.query(**options, **({"wait": HOLD} if cursor else {}))
            for page in listed.resume_from(cursor).pages():
                for event in page.items:
                    if event.index > seen:
                        seen = event.index
                        yield event.raw
                cursor = page.tail_cursor or cursor
            tries = 0
        except Exception as error:
            if not _away(error):
                raise
            pause = PAUSES[min(tries, len(PAUSES) - 1)]
            tries += 1
            say(f"trailseal: {describe(error)[0]} Trying again in {pause} s.", colour="yellow")
            time.sleep(pause)


def _away(error: Exception) -> bool:
    from trailseal.errors import RateLimitError, TransportError, UnavailableError  # noqa: PLC0415

    return isinstance(error, TransportError | UnavailableError | RateLimitError)


def _line(event: dict[str, Any]) -> str:
    parts = (
        str(event.get("received_at"))[:19] + "Z",
        event.get("action"),
        (event.get("actor") or {}).get("id"),
        _resource(event),
        event.get("outcome"),
    )
    return printable("  ".join(_output.cell(part) for part in parts))
