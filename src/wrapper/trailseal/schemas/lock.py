"""The lock file of `trailseal schemas push`: what was pushed, so that it is never changed.

It holds the SHA-256 of each pushed version's document as sorted JSON, and belongs into version
control. A version that is in it may not change; one that is not may still be edited.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from trailseal.errors import ConfigurationError
from trailseal.schemas.registry import LocalSchema

FORM = 1  # of the file
DEFAULT = "trailseal-schemas.lock"


@dataclass(slots=True)
class Lock:
    """Digests by schema id and version."""

    digests: dict[str, dict[str, str]] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> Lock:
        """The file's content, empty if there is none; raises `ConfigurationError`."""
        try:
            raw = json.loads(path.read_text(encoding="utf-8"))
            found = raw["schemas"]
            assert raw["form"] == FORM  # noqa: S101  # handled below
            assert all(isinstance(d, str) for each in found.values() for d in each.values())  # noqa: S101
        except FileNotFoundError:
            return cls()
        except (ValueError, KeyError, TypeError, AttributeError, AssertionError):
            text = f"{path} is no lock file of this version; restore it from version control."
            raise ConfigurationError(text) from None
        return cls(found)

    def write(self, path: Path) -> None:
        """Replace the file, in one step."""
        new = path.with_name(f"{path.name}.new")
        text = json.dumps({"form": FORM, "schemas": self.digests}, indent=2, sort_keys=True)
        new.write_text(f"{text}\n", encoding="utf-8")
        new.replace(path)

    def changed(self, schemas: Iterable[LocalSchema]) -> list[LocalSchema]:
        """The versions whose content is not what was pushed."""
        return [each for each in schemas if self._digest(each) not in {None, each.digest}]

    def new(self, schemas: Iterable[LocalSchema]) -> list[LocalSchema]:
        """The versions that were not pushed yet."""
        return [each for each in schemas if self._digest(each) is None]

    def add(self, schema: LocalSchema) -> None:
        """Note that a version was pushed."""
        self.digests.setdefault(schema.id, {})[schema.version] = schema.digest

    def _digest(self, schema: LocalSchema) -> str | None:
        return self.digests.get(schema.id, {}).get(schema.version)
