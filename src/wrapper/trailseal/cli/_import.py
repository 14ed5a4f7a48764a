"""`trailseal import`: events out of a file, from TrailSeal, other audit logs, or a table.

1. Bounded memory: at most a batch of records is held, whatever the file's size.
2. Safe to repeat: ids come from the records (`_import_shapes`), so that what is stored already is a
   duplicate, and no event is stored twice. Where it was stopped, `--from-line` goes on.
3. A record that fails is reported with its line, the others are stored; then the exit code is 1.
"""

import io
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any

import typer

from . import _output
from ._exits import FAILED, Mistake, say
from ._session import LogId, Session, command

if TYPE_CHECKING:
    from trailseal import Client

    from ._import_records import Record

MAX_BATCH = 1000  # records, by the contract
MAX_BATCH_BYTES = 8 << 20  # of records: 10 MiB by the contract, less what mapping adds
MAX_SHOWN = 20  # failures on the terminal; --report has them all
FORMATS = ("jsonl", "cloudtrail", "pangea", "apptrail", "auditledge", "csv")
CLOUDTRAIL = ("Records", "auditEvents")

Send = Callable[[list[Any]], Iterable[Mapping[str, Any]]]  # one result for each, as BatchItem.raw


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "import")(import_)


def import_(
    session: Session,
    *,
    path: Annotated[Path, typer.Argument(metavar="FILE", help="May be gzip; - is standard input.")],
    form: Annotated[
        str | None,
        typer.Option("--from", metavar="FORMAT", help=f"{', '.join(FORMATS)}; by the name else."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Read and check everything, send nothing.")
    ] = False,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE", help="All failures, as JSON Lines.")
    ] = None,
    from_line: Annotated[
        int, typer.Option(min=1, metavar="N", help="Begin at this line (of a document: record).")
    ] = 1,
    columns: Annotated[
        list[str] | None,
        typer.Option("--map", metavar="COLUMN=FIELD", help="csv: who=actor.id; repeatable."),
    ] = None,
    channel: Annotated[
        str | None, typer.Option(metavar="KEY", help="A channel for imports marks each for ever.")
    ] = None,
    external_id: Annotated[
        str | None, typer.Option(metavar="ID", help="The channel's, where it has one.")
    ] = None,
    log_id: LogId = None,
) -> None:
    """Import events from a file; once more changes nothing.

    Events are stored under ids that come from the file, so that what is there already is left.

    \b
      trailseal import events.jsonl --dry-run
      trailseal import --from cloudtrail 123_CloudTrail_us-east-1.json.gz
      trailseal import --from pangea dump.jsonl --report failed.jsonl
      trailseal import people.csv --map who=actor.id --map what=action
    """
    form = form or ("csv" if path.name.removesuffix(".gz").endswith(".csv") else "jsonl")
    if form not in FORMATS:
        raise Mistake(f"--from {form}: is none of {', '.join(FORMATS)}.")
    if columns and form != "csv":
        raise Mistake("--map is for csv.")
    names = dict(map(_column, columns or ()))
    with ExitStack() as stack:
        stream = stack.enter_context(path.open("rb") if str(path) != "-" else _standard_input())
        failures = stack.enter_context(report.open("w", encoding="utf-8")) if report else None
        client = None if dry_run else stack.enter_context(session.client())
        route = {
            "log_id": log_id,
            "channel": channel,
            "external_id": external_id,
            "imported": form != "jsonl",  # events of ours were here already
        }
        run = Run(_sender(client, form, route), _mapper(form, names), failures)
        try:
            run.all(_records(stream, form), from_line)
        except BaseException:
            if run.behind and not dry_run:
                say(f"what stands before line {run.behind} is dealt with: --from-line {run.behind}")
            raise
    _summary(session, run, dry_run=dry_run)
    if run.counts["failed"]:
        raise typer.Exit(FAILED)


class Run:
    """One import: batches, sends and counts."""

    def __init__(
        self, send: Send, shape: Callable[["Record"], Any], failures: IO[str] | None
    ) -> None:
        self._send, self._shape, self._failures = send, shape, failures
        self._batch: dict[str, tuple[int, Any]] = {}  # by id: place and event
        self._bytes = 0
        self.counts: dict[str, int] = {"read": 0, "created": 0, "duplicate": 0, "failed": 0}
        self.behind = 0  # the first place that is not dealt with

    def all(self, records: Iterator["Record"], first: int) -> None:
        """Take all records from a place on."""
        for record in records:
            if record.place < first:
                continue
            self.behind = self.behind or record.place
            self._take(record)
        self._flush(None)

    def _take(self, record: "Record") -> None:
        if len(self._batch) >= MAX_BATCH or self._bytes + record.size > MAX_BATCH_BYTES:
            self._flush(record.place)
        self.counts["read"] += 1
        if record.fault is not None:
            self._fail(record.place, record.fault)
            return
        try:
            event_id, event = self._shape(record)
        except ValueError as error:
            self._fail(record.place, str(error))
            return
        if (known := self._batch.get(event_id)) is None:
            self._batch[event_id] = (record.place, event)
            self._bytes += record.size
        elif known[1] == event:
            self.counts["duplicate"] += 1
        else:
            self._fail(record.place, f"id {event_id} is that of {known[0]}, the content another")

    def _flush(self, behind: int | None) -> None:
        if self._batch:
            places = [place for place, _ in self._batch.values()]
            for item in self._send([event for _, event in self._batch.values()]):
                status = item["status"]
                if status == "failed":
                    self._refused(places[item["position"]], item)
                elif status in self.counts:
                    self.counts[status] += 1
        self._batch.clear()
        self._bytes = 0
        self.behind = behind or 0
        if sys.stderr.isatty():
            shown = _words(self.counts) if behind else ""  # the summary follows
            typer.echo(f"\r\x1b[2K{shown}", nl=False, err=True)

    def _refused(self, place: int, item: Mapping[str, Any]) -> None:
        problem = item.get("error") or {}
        faults = [
            f"{'/'.join(fault['pointer'].split('/')[3:]) or 'event'}: {fault['detail']}"
            for fault in problem.get("errors") or ()
        ]
        text = "; ".join(faults) or problem.get("message") or problem.get("code")
        self._fail(place, str(text), id=item.get("id"), code=problem.get("code"))

    def _fail(self, place: int, text: str, **known: Any) -> None:
        self.counts["failed"] += 1
        if self.counts["failed"] <= MAX_SHOWN:
            say(f"line {place}: {text}", colour="yellow")
        elif self.counts["failed"] == MAX_SHOWN + 1:
            say("… more failures: --report FILE holds them all")
        if self._failures:
            line = {"line": place, "message": text, **{k: v for k, v in known.items() if v}}
            self._failures.write(json.dumps(line, ensure_ascii=False) + "\n")


@contextmanager
def _standard_input() -> Iterator[io.BufferedReader]:
    stream: Any = sys.stdin.buffer
    if isinstance(stream, io.BufferedReader):
        yield stream
        return
    buffered = io.BufferedReader(stream)  # where it was replaced
    try:
        yield buffered
    finally:
        buffered.detach()


def _records(stream: io.BufferedReader, form: str) -> Iterator["Record"]:
    from . import _import_records as reading  # noqa: PLC0415  # with the SDK's strict JSON
    from ._import_shapes import SHAPES  # noqa: PLC0415

    unzipped = reading.unzipped(stream)
    if form == "csv":
        return reading.csv_records(unzipped)
    return reading.json_records(unzipped, CLOUDTRAIL if form == "cloudtrail" else SHAPES[form][1])


def _mapper(form: str, names: Mapping[str, str]) -> Callable[["Record"], tuple[str, Any]]:
    """The id and what is sent of a record; raises `ValueError`."""
    from . import _import_shapes as shapes  # noqa: PLC0415

    if form == "cloudtrail":
        return lambda record: (shapes.cloudtrail_id(record.value), record.value)
    shape = shapes.table(names) if form == "csv" else shapes.SHAPES[form][0]

    def mapped(record: "Record") -> tuple[str, Any]:
        event = shapes.shaped(shape, record.value, record.place)
        return str(event["id"]), event

    return mapped


def _sender(client: "Client | None", form: str, route: dict[str, Any]) -> Send:
    if client is None:
        return _checked if form != "cloudtrail" else _accepted
    if form != "cloudtrail":
        return lambda events: (item.raw for item in client.log_bulk(events, **route))
    return lambda records: (item.raw for item in client.log_stream(form, records, **route))


def _checked(events: list[Any]) -> Iterator[Mapping[str, Any]]:
    """What the SDK finds wrong without a server."""
    from dataclasses import asdict  # noqa: PLC0415

    from trailseal._events import prepare  # noqa: PLC0415
    from trailseal.errors import EventValidationError  # noqa: PLC0415

    for position, event in enumerate(events):
        item: dict[str, Any] = {"position": position, "id": event.get("id"), "status": "valid"}
        try:
            prepare(event, at=f"/events/{position}")
        except EventValidationError as error:
            problem = {"code": error.code, "errors": [asdict(each) for each in error.errors]}
            item |= {"status": "failed", "error": problem}
        yield item


def _accepted(events: list[Any]) -> Iterator[Mapping[str, Any]]:
    """Records that the server maps were looked at when their id was made."""
    return ({"position": position, "status": "valid"} for position in range(len(events)))


def _column(text: str) -> tuple[str, str]:
    column, equals, field = text.rpartition("=")
    if not column or not equals or not field:
        raise Mistake(f"--map {text}: write COLUMN=FIELD, such as who=actor.id.")
    return column, field.replace("resource.", "resources.", 1)


def _summary(session: Session, run: Run, *, dry_run: bool) -> None:
    if session.report != _output.TABLE:
        _output.write(_output.dumps({**run.counts, "dry_run": dry_run}))
    elif dry_run:
        read, failed = run.counts["read"], run.counts["failed"]
        _output.write(f"{read} read, {failed} failed; nothing was sent")
    else:
        _output.write(_words(run.counts))


def _words(counts: Mapping[str, int]) -> str:
    return ", ".join(
        f"{counts[name]} {word}"
        for name, word in (
            ("read", "read"),
            ("created", "stored"),
            ("duplicate", "there already"),
            ("failed", "failed"),
        )
    )
