"""Where the files of an export bundle are, and what its manifest says; nothing of it is trusted.

A bundle is `NAME.jsonl[.gz]` with `NAME.manifest.json`, `NAME.manifest.note` and `NAME.checkpoint`
beside it. The content may come from elsewhere, such as standard input.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from ._values import member, optional, sha256_hex, sha256_list
from .canonical import loads
from .entry import Entry
from .errors import MalformedError, UnverifiableError

MAX_SIDECAR_BYTES = 1 << 20  # a manifest holds two entries, proofs and a checkpoint: 200 KiB
_MANIFEST = ".manifest.json"

StrPath = str | os.PathLike[str]
Node = tuple[int, int, bytes]  # level, index, hash


@dataclass(frozen=True, slots=True)
class Files:
    """Where the files of a bundle are."""

    content: Path | BinaryIO
    manifest: Path
    manifest_note: Path
    checkpoint: Path

    @classmethod
    def locate(cls, content: StrPath | BinaryIO, manifest: StrPath | None = None) -> Files:
        """From the content file or the directory that holds it alone, and NAME.manifest.json, which
        need be named only where it is not beside it. Raises `MalformedError` of the kind `input`.
        """
        if isinstance(content, str | os.PathLike):
            content = Path(content)
            if manifest is None:
                manifest = _beside(content := _single(content))
        elif manifest is None:
            raise UnverifiableError("the manifest is missing: say where NAME.manifest.json is")
        at = Path(manifest)
        if not at.name.endswith(_MANIFEST):
            raise MalformedError(f"the manifest must be a file NAME{_MANIFEST}", kind="input")
        stem = at.name.removesuffix(_MANIFEST)
        return cls(
            content, at, at.with_name(f"{stem}.manifest.note"), at.with_name(f"{stem}.checkpoint")
        )

    @contextmanager
    def open_content(self) -> Iterator[BinaryIO]:
        """The content, to be read from its start; `MalformedError` where it cannot be opened."""
        if not isinstance(self.content, Path):
            yield self.content
            return
        try:
            file = self.content.open("rb")
        except OSError as error:
            reason = f"cannot read {self.content.name}: {error.strerror}"
            raise MalformedError(reason, kind="input") from None
        with file:
            yield file


def _single(path: Path) -> Path:
    if not path.is_dir():
        return path
    found = [*path.glob("*.jsonl"), *path.glob("*.jsonl.gz")]
    if len(found) != 1:
        reason = f"the directory holds {len(found)} exports (*.jsonl, *.jsonl.gz), not one"
        raise MalformedError(reason, kind="input")
    return found[0]


def _beside(content: Path) -> Path:
    name = content.name.removesuffix(".gz")
    if not content.exists():
        raise MalformedError(f"there is no {content.name}", kind="input")
    if not content.is_file() or not name.endswith(".jsonl"):
        raise MalformedError("not a file NAME.jsonl or NAME.jsonl.gz", kind="input")
    return content.with_name(name.removesuffix(".jsonl") + _MANIFEST)


def read_sidecar(path: Path) -> bytes:
    """A small file of a bundle; `UnverifiableError` where it is missing."""
    if path.exists() and not path.is_file():  # opening a pipe would wait for a writer
        raise UnverifiableError(f"cannot read {path.name}: it is no file")
    try:
        with path.open("rb") as file:
            data = file.read(MAX_SIDECAR_BYTES + 1)
    except OSError as error:
        raise UnverifiableError(f"cannot read {path.name}: {error.strerror}") from None
    if len(data) > MAX_SIDECAR_BYTES:
        raise MalformedError(f"{path.name} is longer than {MAX_SIDECAR_BYTES} bytes")
    return data


@dataclass(frozen=True, slots=True)
class Neighbour:
    """The entry just outside a time range, with its inclusion proof."""

    index: int
    entry: Entry
    hashes: list[bytes]

    @classmethod
    def parse(cls, raw: Mapping[str, object]) -> Neighbour:
        """Read `{"index", "entry", "hashes"}`."""
        return cls(
            member(raw, "index", int),
            Entry.parse(member(raw, "entry", str)),
            sha256_list(raw.get("hashes"), "'hashes'"),
        )


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a log says about one export. `start` and `end` bound `received_at`, both inclusive."""

    origin: str
    log_id: str
    compressed: bool
    filtered: bool
    ascending: bool
    indexes: range  # from the lowest to the highest, whatever the order; empty without lines
    count: int
    size: int  # bytes of the content file
    sha256: bytes
    checkpoint: str | None  # None where the log had none yet
    left: list[Node] | None  # boundary: what covers the leaves before the first line's
    right: list[Node] | None  # and behind the last line's
    start: str | None
    end: str | None
    before: Neighbour | None
    after: Neighbour | None

    @property
    def step(self) -> int:
        """From one line's index to the next one's, where no event is left out."""
        return 1 if self.ascending else -1

    @property
    def in_order(self) -> range:
        """The indexes of the lines, where no event is left out."""
        return self.indexes[:: self.step]

    @property
    def has_time_range(self) -> bool:
        """Whether `received_at` bounds the export at either end."""
        return self.start is not None or self.end is not None

    @classmethod
    def parse(cls, data: bytes) -> Manifest:
        """Read a manifest of version 1; raises `MalformedError` of the kind `input`."""
        try:
            return cls._parse(data)
        except MalformedError as error:
            raise MalformedError(f"the manifest: {error.args[0]}", kind="input") from None

    @classmethod
    def _parse(cls, data: bytes) -> Manifest:
        raw = loads(data)
        if not isinstance(raw, dict):
            raise MalformedError("it must be an object")
        if raw.get("v") != 1 or raw.get("format") != "jsonl":
            raise MalformedError("it must be of version 1 and of the format jsonl")
        before, after = optional(raw, "before", dict), optional(raw, "after", dict)
        boundary = optional(raw, "boundary", dict) or {}
        filtered, count = bool(raw.get("filter") or raw.get("query")), member(raw, "count", int)
        return cls(
            origin=member(raw, "origin", str),
            log_id=member(raw, "log_id", str),
            compressed=_choice(raw, "compression", "none", "gzip") == "gzip",
            filtered=filtered,
            ascending=_choice(raw, "order", "asc", "desc") == "asc",
            indexes=_indexes(raw, count, filtered=filtered),
            count=count,
            size=member(raw, "bytes", int),
            sha256=sha256_hex(raw.get("sha256"), "'sha256'"),
            checkpoint=optional(raw, "checkpoint", str),
            left=_nodes(boundary, "left"),
            right=_nodes(boundary, "right"),
            start=_instant(raw, "start"),
            end=_instant(raw, "end"),
            before=None if before is None else Neighbour.parse(before),
            after=None if after is None else Neighbour.parse(after),
        )


def _indexes(raw: Mapping[str, object], count: int, *, filtered: bool) -> range:
    first, last = optional(raw, "first_index", int), optional(raw, "last_index", int)
    if first is None or last is None:
        indexes, fits = range(0), first is last and count == 0
    else:
        indexes = range(first, last + 1)
        fits = 0 <= first <= last and 0 < count <= len(indexes)
        fits = fits and (filtered or count == len(indexes))
    if not fits:
        raise MalformedError("'first_index', 'last_index' and 'count' contradict each other")
    return indexes


def _choice(raw: Mapping[str, object], name: str, *allowed: str) -> str:
    value = member(raw, name, str)
    if value not in allowed:
        raise MalformedError(f"{name!r} must be {' or '.join(allowed)}")
    return value


def _instant(raw: Mapping[str, object], name: str) -> str | None:
    """An RFC 3339 time, written as `received_at` is, so that texts compare as times do."""
    text = optional(raw, name, str)
    if text is None:
        return None
    fault = MalformedError(f"{name!r} must be an RFC 3339 time with an offset")
    try:
        time = datetime.fromisoformat(text)
        in_utc = time.astimezone(UTC)
    except (ValueError, OverflowError):
        raise fault from None
    if time.tzinfo is None:
        raise fault
    return in_utc.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _nodes(boundary: Mapping[str, object], side: str) -> list[Node] | None:
    items = optional(boundary, side, list)
    return None if items is None else [_node(item) for item in items]


def _node(item: object) -> Node:
    match item:
        case [int(level), int(index), digest]:
            return level, index, sha256_hex(digest, "a hash of 'boundary'")
    raise MalformedError("a node of 'boundary' must be [level, index, hash]")
