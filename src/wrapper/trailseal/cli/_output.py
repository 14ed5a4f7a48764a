"""What results look like: a table for people, JSON or JSON Lines for programs.

1. Without a choice: a table on a terminal, JSON Lines anywhere else.
2. JSON holds what the server sent, whole. `--json` is one document, an array for lists, written
   item by item, so that memory stays constant.
3. Nothing that an event holds can move the cursor of a terminal.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

import typer

from ._exits import Mistake, printable

TABLE, JSON, JSONL = "table", "json", "jsonl"
ROWS = 200  # of a table at once: what is longer goes on in another one below
WIDEST = 40  # columns of a terminal for one cell
MAX_TERMINAL = 1000  # columns: what is wider is no terminal, and nothing is cut there
WHOLE = frozenset({"ID", "KEY"})  # columns to copy from: never cut, rather over two lines

Raw = Mapping[str, Any]
Columns = Mapping[str, Callable[[Raw], object]]


def choose(*, as_json: bool, as_jsonl: bool, as_table: bool) -> str:
    """The form that the options ask for; raises `Mistake` for two of them."""
    asked = [name for name, on in ((JSON, as_json), (JSONL, as_jsonl), (TABLE, as_table)) if on]
    if len(asked) > 1:
        raise Mistake("choose one of --json, --jsonl and --table.")
    return asked[0] if asked else TABLE if sys.stdout.isatty() else JSONL


def dumps(value: object) -> str:
    """Compact JSON of one line, safe for a terminal if it goes there."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    if not sys.stdout.isatty() or text.isprintable():
        return text
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text)


def write(line: str) -> None:
    """Write a line of the result."""
    sys.stdout.write(line + "\n")


def records(form: str, items: Iterable[Raw], columns: Columns) -> int:
    """Show a list; return how many there were."""
    if form == TABLE:
        return _tables(iter(items), columns)
    count = 0
    for count, item in enumerate(items, 1):
        if form == JSONL:
            write(dumps(item))
        else:
            write(("[" if count == 1 else ",") + dumps(item))
    if form == JSON:
        write("]" if count else "[]")
    return count


def record(form: str, item: Raw) -> None:
    """Show one object: its members line by line, or as JSON."""
    if form != TABLE:
        write(dumps(item) if form == JSONL else json.dumps(item, ensure_ascii=True, indent=2))
        return
    rows = list(flat(item))
    width = max((len(name) for name, _ in rows), default=0)
    for name, value in rows:
        write(f"{printable(name):<{width}}  {printable(value)}")


def flat(value: object, name: str = "") -> Iterator[tuple[str, str]]:
    """`actor.id` and its text, for every value that is no container."""
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from flat(item, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list) and value and isinstance(value[0], Mapping):
        for place, item in enumerate(value):
            yield from flat(item, f"{name}[{place}]")
    else:
        yield name, cell(value)


def cell(value: object) -> str:
    """A value as people read it."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ", ".join(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _tables(items: Iterator[Raw], columns: Columns) -> int:
    from rich.console import Console  # noqa: PLC0415  # 50 ms, for tables only
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    console = Console(highlight=False, file=sys.stdout, **_width())
    widest = WIDEST if console.width <= MAX_TERMINAL else None
    count = 0
    while chunk := list(islice(items, ROWS)):
        table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
        for name in columns:
            whole = name in WHOLE
            table.add_column(
                name, no_wrap=not whole, overflow="fold" if whole else "ellipsis", max_width=widest
            )
        for item in chunk:
            table.add_row(*(Text(printable(cell(show(item)))) for show in columns.values()))
        console.print(table)
        count += len(chunk)
    return count


def _width() -> dict[str, Any]:
    """A pipe has no width. `COLUMNS` says otherwise."""
    return {} if sys.stdout.isatty() or "COLUMNS" in os.environ else {"width": 10_000}


def note(message: str) -> None:
    """Tell people something beside the result."""
    typer.echo(printable(message), err=True)
