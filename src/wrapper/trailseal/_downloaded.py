"""What downloads come to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from trailseal._models import Export


@dataclass(frozen=True, slots=True)
class Download:
    """A finished download; `manifest`, `note` and `checkpoint` lie beside a `jsonl` export.

    Of an open file, `path` is its name as far as it has one.
    """

    path: Path
    export: Export
    bytes: int
    sha256: str
    sidecars: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class DownloadedFile:
    """What `download_file` has fetched; `sha256` in hex."""

    path: Path
    bytes: int
    sha256: str
