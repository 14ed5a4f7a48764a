"""Reading records out of a file of any size, in bounded memory.

1. JSON Lines: a line is a record, or an object or array that holds several.
2. A JSON document over several lines: the elements of its array, or of the list that is named in
   it; read one by one, so that the document may be larger than memory.
3. CSV (RFC 4180): a row is a record of texts, named by the header.
4. gzip is recognised by its first bytes. JSON is read strictly: a key that comes twice is a fault.
5. A record that cannot be read is a fault at its place; reading goes on behind it if it can.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

from trailseal.verify.canonical import loads
from trailseal.verify.errors import MalformedError

from ._exits import BAD_INPUT, Mistake

MAX_RECORD = 16 << 20  # bytes: an event has at most 1 MiB, its record elsewhere somewhat more
MAX_HEAD = 1 << 20  # characters of a document before its list
MAX_CELL = 4 << 20  # characters: where a quote never ends, reading stops here
_CHUNK = 1 << 16
_BLANK = re.compile(r"[\s,]*")
_DECODER = json.JSONDecoder()


@dataclass(frozen=True, slots=True)
class Record:
    """One record: its place (a line, or a record of a document, from 1), and what is wrong."""

    place: int
    value: object = None
    size: int = 0
    fault: str | None = None


def unzipped(stream: io.BufferedReader) -> BinaryIO:
    """The stream, or what it packs."""
    if stream.peek(2)[:2] == b"\x1f\x8b":
        return cast("BinaryIO", gzip.GzipFile(fileobj=stream))
    return stream


@contextmanager
def _decoded(stream: BinaryIO, encoding: str) -> Iterator[io.TextIOWrapper]:
    """The stream as text; bytes that are none become lone surrogates, which fail their record."""
    text = io.TextIOWrapper(stream, encoding, errors="surrogateescape", newline="")
    try:
        yield text
    finally:
        text.detach()  # whoever opened the stream closes it


def json_records(stream: BinaryIO, lists: Sequence[str]) -> Iterator[Record]:
    """The records of JSON Lines or of a document; `lists` are the names that hold records."""
    place = 0
    try:
        first = stream.readline(MAX_RECORD + 1).removeprefix(b"\xef\xbb\xbf")
        if _document(first, lists):
            with _decoded(stream, "utf-8") as text:
                yield from _elements(text, first, lists)
            return
        line = first
        while line:
            place += 1
            if len(line) > MAX_RECORD and not line.endswith(b"\n"):
                yield Record(place, fault=f"longer than {MAX_RECORD} bytes")
                while line and not line.endswith(b"\n"):
                    line = stream.readline(_CHUNK)
            elif line.strip():
                yield from _line(place, line, lists)
            line = stream.readline(MAX_RECORD + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise Mistake(f"the gzip is damaged behind line {place}.", BAD_INPUT) from None


def _line(place: int, line: bytes, lists: Sequence[str]) -> Iterator[Record]:
    try:
        value = loads(line.strip())
    except MalformedError as error:
        yield Record(place, fault=str(error.args[0]))
        return
    found = _unwrapped(value, lists)
    for each in found:
        yield Record(place, each, len(line) // len(found) + 1)


def _unwrapped(value: object, lists: Sequence[str]) -> list[object]:
    inner = value.get("result", value) if isinstance(value, dict) else value
    if isinstance(inner, dict):
        inner = next((inner[n] for n in lists if isinstance(inner.get(n), list)), value)
    return inner if isinstance(inner, list) else [value]


def _document(first: bytes, lists: Sequence[str]) -> bool:
    """Whether a file that begins with this line is one JSON text over several lines, or one line
    too long to be read whole."""
    start = first[:MAX_HEAD].strip()
    named = rb'\{\s*"(%s)"\s*:\s*\[' % b"|".join(re.escape(each.encode()) for each in lists)
    opened = start in {b"[", b"{"} or re.fullmatch(named, start)
    return bool(opened or (len(first) > MAX_RECORD and re.match(rb"\[|" + named, start)))


def _elements(text: io.TextIOWrapper, first: bytes, lists: Sequence[str]) -> Iterator[Record]:
    buffer = first.decode("utf-8", "surrogateescape")
    names = "|".join(map(re.escape, lists))
    named = re.compile(rf'^\s*\[|(?<!\\)"(?:{names})"\s*:\s*\[')
    while (begun := named.search(buffer)) is None:
        more = text.read(_CHUNK)
        if not more or len(buffer) > MAX_HEAD:
            raise Mistake(f"no list of records ({', '.join(lists)}) was found.", BAD_INPUT)
        buffer += more
    at, place = begun.end(), 0
    while True:  # each turn takes an element, or reads more of a file that ends
        at = _blank(buffer, at)
        if buffer[at : at + 1] == "]":
            return
        try:
            _, end = _DECODER.raw_decode(buffer, at)
        except (ValueError, RecursionError) as error:
            left = len(buffer) - at
            more = text.read(max(_CHUNK, left)) if left <= MAX_RECORD else ""
            if not more:
                what = "nested too deeply" if isinstance(error, RecursionError) else "not JSON"
                yield Record(place + 1, fault=f"{what}: the rest of the file cannot be read")
                return
            buffer, at = buffer[at:] + more, 0
            continue
        place += 1
        element, at = buffer[at:end], end
        try:
            yield Record(place, loads(element), len(element))
        except (MalformedError, UnicodeError) as error:
            yield Record(place, fault=str(error.args[0]))


def _blank(buffer: str, at: int) -> int:
    found = _BLANK.match(buffer, at)
    return found.end() if found else at


def csv_records(stream: BinaryIO) -> Iterator[Record]:
    """The rows of a table, as texts by column; empty cells are left out."""
    csv.field_size_limit(MAX_CELL)
    with _decoded(stream, "utf-8-sig") as text:
        yield from _rows(csv.reader(text, strict=True))


def _rows(reader: Any) -> Iterator[Record]:
    header = _row(reader)
    if not isinstance(header, list) or not header:
        raise Mistake("the first line must name the columns.", BAD_INPUT)
    names = [name.strip() for name in header]
    if len(set(names)) < len(names):
        raise Mistake("a column's name comes twice.", BAD_INPUT)
    while (row := _row(reader)) is not None:
        if isinstance(row, str):
            yield Record(reader.line_num, fault=row)
        elif row and len(row) != len(names):
            text = f"has {len(row)} cells, the header {len(names)}"
            yield Record(reader.line_num, fault=text)
        elif row:
            cells = {name: cell for name, cell in zip(names, row, strict=True) if cell}
            yield Record(reader.line_num, cells, sum(map(len, row)))


def _row(reader: Iterator[list[str]]) -> list[str] | str | None:
    """The next row, what is wrong with it, or None at the end."""
    try:
        return next(reader, None)
    except csv.Error as error:
        return f"no CSV: {error}"
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise Mistake("the gzip is damaged.", BAD_INPUT) from None
