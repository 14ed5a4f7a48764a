"""A folder for spools, and what they said was lost."""

from __future__ import annotations

from pathlib import Path

import pytest
from trailseal.delivery._file import check_folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return check_folder(tmp_path / "spool")


@pytest.fixture
def lost() -> list[int]:
    return []
