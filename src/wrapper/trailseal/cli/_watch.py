"""`trailseal watch`: looks at a log's checkpoints, and alarms where the log did not only grow.

1. Each checkpoint must be signed by a trusted key and continue the last one seen, which is kept in
   the state file, also between runs.
2. With --events, each event that a new checkpoint covers is fetched and verified too.
3. An alarm is a line, the command of --exec, and exit code 1. A server that is away is no alarm: it
   is asked again, or with --once ends with exit code 5.
"""

import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from . import _output
from ._exits import FAILED, Mistake, describe, printable, say
from ._session import LogId, Session, command
from ._tail import _away

if TYPE_CHECKING:
    from trailseal import Checkpoint, Client, Event

PAGE = 500  # events, some MB with their proofs
EXEC_SECONDS = 60  # for the command of --exec


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "watch")(watch)


def watch(
    session: Session,
    *,
    key: Annotated[
        list[str] | None,
        typer.Option(
            "--key", metavar="KEY", help="A verifier key that you trust. May be repeated."
        ),
    ] = None,
    policy: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The logs and signers that you trust.")
    ] = None,
    state: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The checkpoints seen; else TRAILSEAL_STATE_FILE."),
    ] = None,
    events: Annotated[
        bool, typer.Option("--events", help="Verify each new event too, from now on.")
    ] = False,
    interval: Annotated[
        float, typer.Option(min=0.1, max=86_400, metavar="SECONDS", help="Between two looks.")
    ] = 60.0,
    once: Annotated[bool, typer.Option("--once", help="Look once and end, as for cron.")] = False,
    run: Annotated[
        str | None,
        typer.Option("--exec", metavar="COMMAND", help="For a shell, when there is an alarm."),
    ] = None,
    log_id: LogId = None,
) -> None:
    """Watch a log, and alarm with exit code 1 when it was rewritten.

    --exec finds TRAILSEAL_ALARM_KIND, TRAILSEAL_ALARM_REASON and TRAILSEAL_ALARM_LOG in its
    environment.

    \b
      trailseal watch --policy trust.toml --events --exec "./alarm.sh"
      trailseal watch --key "$KEY" --once     # in cron
    """
    if session.form == _output.JSON:
        raise Mistake("watch writes a line for each look: use --jsonl.")
    if not key and policy is None:
        say("No --key or --policy: the server's own word is taken for its keys.", colour="yellow")
    options: dict[str, Any] = {"trusted_keys": _parsed(key or []), "state_file": state}
    options["verify"] = True if policy is None else policy
    with session.client(**options) as client:
        watcher = _Watcher(session, client, log_id, run, with_events=events)
        while True:  # until Ctrl-C or an alarm
            watcher.look(once=once)
            if once:
                return
            time.sleep(interval)


def _parsed(keys: list[str]) -> list[Any]:
    from trailseal.verify import MalformedError, VerifierKey  # noqa: PLC0415  # slow

    try:
        return [VerifierKey.parse(key) for key in keys]
    except MalformedError as error:
        raise Mistake(f"--key: {error}") from None


class _Watcher:
    """One log, and what was seen of it in this run."""

    def __init__(
        self,
        session: Session,
        client: "Client",
        log_id: str | None,
        run: str | None,
        *,
        with_events: bool,
    ) -> None:
        self._session, self._client, self._log_id, self._run = session, client, log_id, run
        self._with_events = with_events
        self._size = -1
        self._index = -1  # of the last event that was verified
        self._since: str | None = None  # its received_at

    def look(self, *, once: bool) -> None:
        """Look once; ends the program with an alarm."""
        from trailseal.errors import IntegrityError, UnverifiableError  # noqa: PLC0415  # slow

        try:
            checkpoint = self._client.root(log_id=self._log_id)
            if checkpoint.tree_size == self._size:
                return
            verified = self._verify_events(checkpoint) if self._with_events else None
        except UnverifiableError:
            raise  # a key is missing: nothing is known to be wrong
        except IntegrityError as error:
            self._alarm(error.kind, str(error))
        except Exception as error:
            if once or not _away(error):
                raise
            self._tell("away", reason=describe(error)[0])
            return
        self._size = checkpoint.tree_size
        more = {} if verified is None else {"verified": verified}
        seen = {"origin": checkpoint.origin, "tree_size": checkpoint.tree_size}
        self._tell("checkpoint", **seen, root_hash=checkpoint.root_hash, **more)

    def _verify_events(self, checkpoint: "Checkpoint") -> int:
        """Verify what the checkpoint covers and was not seen yet; returns how many."""
        if self._since is None:
            newest = next(self._client.query(limit=1, log_id=self._log_id, verify=False).pages())
            for event in newest.items:
                self._index, self._since = event.index - 1, event.raw["received_at"]
            if self._since is None:
                self._since = "1970-01-01T00:00:00Z"
        count = 0
        options: dict[str, Any] = {"order": "asc", "limit": PAGE, "start": self._since}
        for event in self._client.query(log_id=self._log_id, **options):
            if self._index < event.index < checkpoint.tree_size:
                self._check(event)
                self._index, self._since = event.index, event.raw["received_at"]
                count += 1
        return count

    def _check(self, event: "Event") -> None:
        if event.verdict is not None and event.verdict.error is not None:
            raise event.verdict.error

    def _alarm(self, kind: str, reason: str) -> NoReturn:
        self._tell("alarm", kind=kind, reason=reason)
        if self._run is not None:
            alarm = {"KIND": kind, "REASON": reason, "LOG": self._log_id or ""}
            named = {f"TRAILSEAL_ALARM_{name}": printable(text) for name, text in alarm.items()}
            try:
                subprocess.run(  # noqa: S602  # the user's own command
                    self._run,
                    shell=True,
                    env={**os.environ, **named},
                    timeout=EXEC_SECONDS,
                    check=False,
                )
            except subprocess.TimeoutExpired:
                say(f"trailseal: the command of --exec took over {EXEC_SECONDS} s.", colour="red")
        raise typer.Exit(FAILED)

    def _tell(self, what: str, **facts: object) -> None:
        when = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        if self._session.form == _output.TABLE:
            texts = (f"{name}={value}" for name, value in facts.items())
            _output.write(printable(f"{when}  {what}  {'  '.join(texts)}"))
        else:
            _output.write(_output.dumps({"time": when, "event": what, **facts}))
        sys.stdout.flush()
