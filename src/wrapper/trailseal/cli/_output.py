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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from operator import methodcaller
from shutil import get_terminal_size
from typing import Any

import typer

from ._exits import Mistake, printable

TABLE, JSON, JSONL = "table", "json", "jsonl"
ROWS = 200  # of a table at once: what is longer goes on in another one below
NARROWEST = 8  # columns of a terminal that a cell keeps
GAP = "  "
WHOLE = frozenset({"ID", "KEY", "RECEIVED"})  # columns to copy from: never cut

Raw = Mapping[str, Any]
Columns = Mapping[str, Callable[[Raw], object]]  # by header: what stands in a row


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
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)


def write(line: str) -> None:
    """Write a line of the result."""
    sys.stdout.write(line + "\n")


def records(form: str, items: Iterable[Raw], columns: Columns | Sequence[str]) -> int:
    """Show a list; return how many there were. `columns` may be names of members."""
    if form == TABLE:
        if not isinstance(columns, Mapping):
            columns = {name.upper(): methodcaller("get", name) for name in columns}
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
    from rich.cells import cell_len, set_cell_size  # noqa: PLC0415  # for tables only

    count = 0
    while chunk := list(islice(items, ROWS)):
        rows = [[printable(cell(show(item))) for show in columns.values()] for item in chunk]
        table = [list(columns), *rows]
        natural = [max(map(cell_len, column)) for column in zip(*table, strict=True)]
        widths = _fitting(natural, [name in WHOLE for name in columns])
        for number, row in enumerate(table):
            cut = (
                text if cell_len(text) <= width else set_cell_size(text, width - 1) + "…"
                for text, width in zip(row, widths, strict=True)
            )
            line = GAP.join(map(set_cell_size, cut, widths)).rstrip()
            typer.echo(typer.style(line, bold=True) if not number and _colours() else line)
        count += len(chunk)
    return count


def _fitting(widths: list[int], whole: list[bool]) -> list[int]:
    """The widest columns give way until a terminal's line holds all; whole ones never do."""
    room = _width()
    while room and sum(widths) + len(GAP) * (len(widths) - 1) > room:
        free = [i for i, keep in enumerate(whole) if not keep and widths[i] > NARROWEST]
        if not free:
            break  # the terminal folds the line
        widths[max(free, key=widths.__getitem__)] -= 1
    return widths


def _width() -> int:
    """The terminal's; 0 for a pipe, where nothing is cut."""
    return get_terminal_size().columns if sys.stdout.isatty() else 0


def _colours() -> bool:
    return sys.stdout.isatty() and "NO_COLOR" not in os.environ


def note(message: str) -> None:
    """Tell people something beside the result."""
    typer.echo(printable(message), err=True)
