"""The independent log of the verifier's unit tests, and how long to attack."""

import os
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROUNDS = int(os.environ.get("ATTACK_ROUNDS", "1"))  # make attack sets 20


@pytest.fixture(scope="session")
def tools() -> ModuleType:
    """Tree, commitments, signer and exports, written independently of `trailseal.verify`."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "vectors"))
    try:
        import make_bundles  # type: ignore[import-not-found]  # noqa: PLC0415
    finally:
        sys.path.pop(0)
    return make_bundles.tools


@pytest.fixture(scope="session")
def rounds() -> int:
    """1 in the suite, more in `make attack`."""
    return ROUNDS
