"""The contract's file, read once in each process: that takes half a second."""

from pathlib import Path
from typing import Any

import yaml

SPEC = Path(__file__).parents[1] / "spec" / "openapi.yaml"
DOCUMENT: dict[str, Any] = yaml.safe_load(SPEC.read_bytes())  # nobody changes it
