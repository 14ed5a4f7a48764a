"""What a server is told when it starts: keywords, else the environment, else a default.

Rules:
- `Settings(...)` takes exactly what it is given; `Settings.load(...)` adds the environment, where a
  keyword wins over `TRAILSEAL_<NAME>` and that over the default.
- Frozen. Its repr never shows the password of a database URL.
- Files that are not named lie beside the SQLite file. A PostgreSQL database has no such place:
  there both must be named, and every process of one database must be given the same ones.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlalchemy import URL

PREFIX = "TRAILSEAL_"
METRICS_DIR = "PROMETHEUS_MULTIPROC_DIR"  # read by prometheus_client when it is imported
MAX_PORT = 65_535
MAX_WORKERS = 64  # each holds some 100 MB and up to 17 connections to the database
ORIGIN_PREFIX = re.compile(r"[A-Za-z0-9._/-]{1,256}")  # C2SP signed-note: no space, no plus


@dataclass(frozen=True, slots=True, repr=False)
class Settings:
    """`database_url` is an SQLAlchemy URL; `port` 0 takes a free one; `origin_prefix` is what the
    origins of a new database begin with (an existing one keeps its own);
    `requests_per_second` is what one key may send to one process, 0 for no limit; `workers` is how
    many processes serve (workers.py)."""

    database_url: str = "sqlite:///trailseal.db"
    host: str = "127.0.0.1"
    port: int = 8080
    origin_prefix: str = "trailseal.local"
    log_key_file: Path | None = None
    export_dir: Path | None = None
    requests_per_second: int = 10_000
    workers: int = 1

    @classmethod
    def load(cls, environment: Mapping[str, str] | None = None, **keywords: Any) -> "Settings":
        """Settings from keywords (None: not given) and the environment; raises ValueError with the
        variable's name for a value that makes no sense, TypeError for an unknown keyword."""
        found = os.environ if environment is None else environment
        given: dict[str, Any] = {}
        for each in fields(cls):
            text = found.get(PREFIX + each.name.upper())
            if text:
                given[each.name] = _typed(each.name, text)
        given |= {name: value for name, value in keywords.items() if value is not None}
        return cls(**given)

    def __post_init__(self) -> None:
        """Refuse what could never work."""
        if not 0 <= self.port <= MAX_PORT:
            raise ValueError(f"port must be 0 to {MAX_PORT}")
        if not 1 <= self.workers <= MAX_WORKERS:
            raise ValueError(f"workers must be 1 to {MAX_WORKERS}")
        if self.requests_per_second < 0:
            raise ValueError("requests_per_second must not be negative")
        if not ORIGIN_PREFIX.fullmatch(self.origin_prefix):
            allowed = "1 to 256 of letters, digits and . - / _"
            raise ValueError(f"origin_prefix ({PREFIX}ORIGIN_PREFIX) must be {allowed}")
        beside = self._url.get_backend_name() == "sqlite"
        for name in () if beside else ("log_key_file", "export_dir"):
            if getattr(self, name) is None:
                raise ValueError(f"{name} is needed for this database: set {PREFIX}{name.upper()}")

    def with_port(self, port: int) -> "Settings":
        """The same settings at another port."""
        return replace(self, port=port)

    @property
    def place(self) -> str:
        """Where the events are, for people: a file or a database's URL without its password."""
        sqlite = self._url.get_backend_name() == "sqlite"
        return str(self._url.database) if sqlite else self._url.render_as_string(hide_password=True)

    @property
    def key_file(self) -> Path:
        """The file of the key that signs checkpoints."""
        return self.log_key_file or self._beside(".key")

    @property
    def exports(self) -> Path:
        """The folder of finished exports."""
        return self.export_dir or self._beside(".exports")

    def _beside(self, suffix: str) -> Path:
        return Path(f"{self._url.database}{suffix}")

    @property
    def _url(self) -> "URL":
        from sqlalchemy import make_url  # noqa: PLC0415  # 0.3 s that `--help` need not wait
        from sqlalchemy.exc import ArgumentError  # noqa: PLC0415

        try:
            return make_url(self.database_url)
        except ArgumentError:
            raise ValueError("database_url is no SQLAlchemy URL: engine://user@host/name") from None

    def __repr__(self) -> str:
        """All settings, with the password of the database URL left out."""
        shown = {each.name: getattr(self, each.name) for each in fields(self)}
        shown["database_url"] = self._url.render_as_string(hide_password=True)
        return f"Settings({', '.join(f'{name}={value!r}' for name, value in shown.items())})"


def _typed(name: str, text: str) -> Any:
    if name in _NUMBERS:
        if not (text.isascii() and text.isdecimal()):
            raise ValueError(f"{PREFIX}{name.upper()} must be {_NUMBERS[name]}")
        return int(text)
    return Path(text) if name in {"log_key_file", "export_dir"} else text


_NUMBERS = {
    "port": f"a number from 0 to {MAX_PORT}",
    "requests_per_second": "a number; 0 is no limit",
    "workers": f"a number from 1 to {MAX_WORKERS}",
}
