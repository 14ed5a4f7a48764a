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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import trailseal
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from trailseal.verify import Verifier

ROOT = Path(__file__).resolve().parents[1]
MAX_COMMITS = 10_000  # more history adds minutes and shows nothing new
MAX_FILES = 99  # an event holds 100 resources; the commit itself is the first
START_SECONDS = 30  # a first start makes the database
STOP_SECONDS = 15  # the server finishes what it accepted within 10

console = Console(highlight=False)


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
        return run(events, address, Path(folder))


def run(events: list[dict[str, Any]], address: dict[str, str], folder: Path) -> int:
    with trailseal.Client(base_url=address["url"], api_key=address["api_key"]) as client:
        heading(f"1  Log {len(events)} events")
        with progress("logging") as advance:
            for start in range(0, len(events), 100):
                client.log_bulk(events[start : start + 100]).raise_for_failures()
                advance(min(start + 100, len(events)), len(events))

        heading("2  Find")
        who, count = Counter(
            event["actor"]["id"] for event in events if "actor" in event
        ).most_common(1)[0]
        found = sum(1 for _ in client.query(actor_id=who))
        say(f"query(actor_id={who!r})", f"{found} events")
        expect(found == count, f"{count} events of {who} were logged, {found} were found")
        action = Counter(event["action"] for event in events).most_common(1)[0][0]
        search = client.search(f'action:"{action}"')
        say(f"search('action:\"{action}\"')", f"{search.count} events")
        expect(search.count >= 1, "the search found nothing")
        for event in search.first(3):
            say(f"  {event.raw['received_at'][:19]}  {event.actor_id}", event.summary(60))

        heading("3  Export and download")
        operation = client.export(format="jsonl")
        with progress("exporting") as advance:
            client.wait(
                operation,
                timeout=300,
                on_progress=lambda o: advance(o.progress.done, o.progress.total),
            )
        path = folder / "trail.jsonl"
        with progress("downloading") as advance:
            client.download_results(
                export_id=operation.operation_id, path=path, on_progress=advance
            )
        say(path.name, f"{path.stat().st_size:,} bytes, with its manifest and checkpoint beside it")
        key = client.verification_keys()[0].verifier_key

    heading("4  Verify, offline")
    say("trusted key", key)
    with progress("verifying") as advance:
        report = Verifier(keys=[key]).verify_bundle(path, complete=True, on_progress=advance)
    show(report, good=True)

    heading("5  Change one byte of a copy")
    index, copy = tamper(path, folder / "copy")
    report = Verifier(keys=[key]).verify_bundle(copy, complete=True)
    show(report, good=False)
    expect(report.exit_code == 1, "a changed export was accepted")
    expect(index in {finding.index for finding in report.findings}, f"event {index} was not named")
    console.print("\n[bold green]All of it held.[/]")
    return 0


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
    folder.mkdir()
    for name in path.parent.glob(path.stem + "*"):
        shutil.copy(name, folder / name.name)
    copy = folder / path.name
    lines = copy.read_bytes().splitlines(keepends=True)
    middle = len(lines) // 2
    at = lines[middle].index(b'"action":"') + len(b'"action":"')
    other = b"X" if lines[middle][at : at + 1] != b"X" else b"Y"
    lines[middle] = lines[middle][:at] + other + lines[middle][at + 1 :]
    copy.write_bytes(b"".join(lines))
    return json.loads(lines[middle])["index"], copy


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int | None], None]]:
    """A live bar; call what it yields with how much is done and of how much."""
    columns = (
        TextColumn("  {task.description:12}"),
        BarColumn(40),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total=None: bar.update(task, completed=done, total=total or done)


def heading(text: str) -> None:
    console.print(f"\n[bold cyan]{text}[/]")


def say(what: str, value: object) -> None:
    console.print(f"  {what}", end="  ", markup=False)
    console.print(str(value), style="dim", markup=False)


def show(report: Any, *, good: bool) -> None:
    for line in report.summary():
        console.print(f"  {line}", markup=False, style="green" if report.exit_code == 0 else "red")
    if good:
        expect(report.exit_code == 0, "the export did not verify")


def expect(held: bool, otherwise: str) -> None:
    if not held:
        raise SystemExit(f"demo: {otherwise}")


if __name__ == "__main__":
    sys.exit(main())
