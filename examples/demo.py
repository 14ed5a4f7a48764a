"""The main job, end to end, on real input: `make demo`, or `make demo INPUT=events.jsonl`.

Starts a server with a temporary database on a free port, logs the history of this repository as an
audit trail (or the events of a JSON Lines file), searches it, exports it, downloads the export,
verifies it offline, and then shows what verification says when one byte of a copy is changed.
Exits 0 only if all of that held. Leaves nothing running and nothing behind.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import trailseal
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
)
from trailseal.verify import Report, Verifier

ROOT = Path(__file__).resolve().parents[1]
EXPORT_SECONDS = 300  # far more than 10,000 events take
MAX_COMMITS = 10_000  # more history adds minutes and shows nothing new
MAX_FILES = 99  # an event holds 100 resources; the commit itself is the first
START_SECONDS = 30  # a first start makes the database
STOP_SECONDS = 15  # the server finishes what it accepted within 10

console = Console(highlight=False)
Advance = Callable[[int, int | None], None]  # how much is done, and of how much where known


def main() -> int:
    parser = argparse.ArgumentParser(description="TrailSeal's main job, end to end.")
    parser.add_argument("--input", type=Path, help="events, one JSON object a line")
    options = parser.parse_args()
    events = list(from_file(options.input) if options.input else from_git(ROOT))
    if not events:
        raise SystemExit("demo: there are no events to log")
    with (
        tempfile.TemporaryDirectory(prefix="trailseal-demo-") as folder,
        server(Path(folder)) as address,
    ):
        try:
            return run(events, address, Path(folder))
        except trailseal.TrailSealError as error:
            raise SystemExit(f"demo: {error}") from None
        except KeyboardInterrupt:
            raise SystemExit("demo: stopped") from None


def run(events: list[dict[str, Any]], address: dict[str, str], folder: Path) -> int:
    """The job; raises SystemExit with the reason as soon as something does not hold."""
    with trailseal.Client(address["url"], address["api_key"]) as client:
        heading(f"1  Log {counted(len(events))}")
        with progress("logging") as advance:
            client.log_bulk(followed(events, advance)).raise_for_failures()

        heading("2  Find")
        who, count = most_common(filter(None, map(actor_id, events)))
        if who:
            found = count_all(client.query(actor_id=who), count)
            say(f"query(actor_id={who!r})", counted(found))
            expect(found == count, f"{count} events of {who} were logged, {found} were found")
        action, count = most_common(event["action"] for event in events)
        query = f"action={json.dumps(action, ensure_ascii=False)}"
        search = client.search(query)
        found = count_all(search, search.count)
        say(f"search({query!r})", f"{counted(found)}, for example")
        expect(found == count, f"{count} events {action} were logged, {found} were found")
        for event in client.results(search.id, limit=3).items:
            by = f"{event.actor.name or event.actor.id}: " if event.actor else ""
            what = event.resources[0].name or event.resources[0].id if event.resources else None
            say(f"  {event.occurred_at or event.received_at}", f"{by}{what or event.action}")

        heading("3  Export and download")
        evidence = folder / "evidence"
        evidence.mkdir()
        operation = client.export()
        with progress("exporting") as advance:
            client.wait(
                operation, timeout=EXPORT_SECONDS, on_progress=lambda now: advance(*counts(now))
            )
        with progress("downloading", DownloadColumn()) as advance:
            download = client.download_results(
                evidence / "trail.jsonl", export_id=operation.id, on_progress=advance
            )
        beside = ", ".join(path.name for path in download.sidecars)
        say(download.path.name, f"{download.bytes:,} bytes; beside it {beside}")
        key = client.verification_keys()[0].verifier_key
        expect(key is not None, "the server names no key for its log")

    heading("4  Verify, offline")
    say("trusted key", key)
    verifier = Verifier(keys=[str(key)])
    with progress("verifying") as advance:
        report = verifier.verify_bundle(
            download.path, complete=True, on_progress=lambda now: advance(now.lines, now.total)
        )
    show(report)
    expect(report.exit_code == 0 and report.complete, "the export did not verify")

    heading("5  Change one byte of a copy")
    index, copy = tamper(download.path, folder / "copy")
    report = verifier.verify_bundle(copy, complete=True)
    show(report)
    expect(report.exit_code == 1, "a changed export was accepted")
    expect(index in {finding.index for finding in report.findings}, f"event {index} was not named")
    console.print("\n[bold green]All of it held.[/]")
    return 0


def most_common(values: Iterable[str]) -> tuple[str, int]:
    """The value that occurs most often, and how often."""
    ((value, count),) = Counter(values).most_common(1) or [("", 0)]
    return value, count


def followed(events: list[dict[str, Any]], advance: Advance) -> Iterator[dict[str, Any]]:
    """The events, with the bar at the one that is taken; log_bulk takes 1,000 for a request."""
    for number, event in enumerate(events, 1):
        yield event
        advance(number, len(events))


def actor_id(event: dict[str, Any]) -> str | None:
    """Who did it, in either of the two ways that an event may say so."""
    actor = event.get("actor")
    return actor.get("id") if isinstance(actor, dict) else actor


def counted(number: int) -> str:
    return f"{number:,} event{'' if number == 1 else 's'}"


def count_all(pages: Iterable[object], expected: int) -> int:
    """How many there are, with a bar while they come."""
    with progress("reading") as advance:
        number = 0
        for number, _ in enumerate(pages, 1):
            advance(number, max(expected, number))
    return number


def counts(operation: trailseal.Operation) -> tuple[int, int | None]:
    return (operation.progress.done, operation.progress.total) if operation.progress else (0, None)


def from_git(repository: Path) -> Iterator[dict[str, Any]]:
    """Each commit as an event: who, what, when, and which files."""
    form = "%x1e%H%x1f%aI%x1f%an%x1f%ae%x1f%s%x1f"
    command = ["git", "-C", str(repository), "log", "--reverse", f"-{MAX_COMMITS}", "--name-only"]
    done = subprocess.run(  # noqa: S603 (git, on this repository)
        [*command, f"--format={form}"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit("demo: this is no git repository; give events with INPUT=events.jsonl")
    for record in done.stdout.split("\x1e")[1:]:
        commit, when, name, email, subject, files = record.split("\x1f")
        changed = files.split()
        yield {
            "id": f"commit:{commit}",
            "occurred_at": when,
            "action": "commit.created",
            "action_type": "create",
            "outcome": "success",
            "actor": {"id": email or name, "type": "user", "name": name},
            "resources": [{"id": commit, "type": "commit", "name": subject[:256]}]
            + [{"id": path[:256], "type": "file"} for path in changed[:MAX_FILES]],
            "message": subject,
            "data": {"files_changed": len(changed)},
            "source": {"name": "git"},
        }


def from_file(path: Path) -> Iterator[dict[str, Any]]:
    """Events of a JSON Lines file, as they are."""
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    try:
                        yield json.loads(line)
                    except ValueError as error:
                        raise SystemExit(f"demo: {path}, line {number}: {error}") from None
    except OSError as error:
        raise SystemExit(f"demo: {path}: {error.strerror}") from None


@contextmanager
def server(folder: Path) -> Iterator[dict[str, str]]:
    """A server of our own on a free port; it is stopped whatever happens."""
    command = [sys.executable, "-m", "trailseal", "serve", "--port", "0", "--json"]
    process = subprocess.Popen(  # noqa: S603 (our own interpreter and module)
        [*command, "--database", str(folder / "trail.db")], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout  # noqa: S101 (asked for above)
        line = process.stdout.readline()
        if not line:
            raise SystemExit("demo: the server did not start; its message is above")
        yield json.loads(line)
    finally:
        process.terminate()
        try:
            process.wait(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def tamper(path: Path, folder: Path) -> tuple[int, Path]:
    """A copy of the export with one letter of one event's action changed; which event it was."""
    shutil.copytree(path.parent, folder)
    copy = folder / path.name
    lines = copy.read_bytes().splitlines(keepends=True)
    middle = len(lines) // 2
    at = lines[middle].index(b'"action":"') + len(b'"action":"')
    other = b"X" if lines[middle][at : at + 1] != b"X" else b"Y"
    lines[middle] = lines[middle][:at] + other + lines[middle][at + 1 :]
    copy.write_bytes(b"".join(lines))
    return json.loads(lines[middle])["index"], copy


@contextmanager
def progress(what: str, *amount: ProgressColumn) -> Iterator[Advance]:
    """A live bar; call what it yields with how much is done and of how much."""
    columns = (
        TextColumn("  {task.description:12}"),
        BarColumn(40),
        *(amount or (MofNCompleteColumn(),)),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total or done)


def heading(text: str) -> None:
    console.print(f"\n[bold cyan]{text}[/]")


def say(what: str, value: object) -> None:
    console.print(f"  {what}", end="  ", markup=False)
    console.print(str(value), style="dim", markup=False)


def show(report: Report) -> None:
    for line in report.summary():
        console.print(f"  {line}", markup=False, style="green" if report.exit_code == 0 else "red")


def expect(held: bool, otherwise: str) -> None:
    if not held:
        raise SystemExit(f"demo: {otherwise}")


if __name__ == "__main__":
    sys.exit(main())
