"""Checks that a spec keeps to the authoring rules that the generator and the server rely on.

A finding names the place (``paths./v1/events.post``), what is wrong, and what to write instead.
``lint`` expects a valid OpenAPI 3.1 document; the command runs openapi-spec-validator before it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import lint_operations  # noqa: F401  # registers its rules
import lint_schemas  # noqa: F401  # registers its rules
import yaml
from lint_rules import lint
from openapi_spec_validator import validate
from openapi_spec_validator.validation.exceptions import OpenAPIValidationError
from spec_places import operations

SPEC = Path(__file__).resolve().parent.parent / "spec" / "openapi.yaml"


def main(arguments: list[str]) -> int:
    """Check the file named by the only argument, else the project's spec; 0 clean, 1 not."""
    path = Path(arguments[0]) if arguments else SPEC
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's is ten times as fast
    try:
        document = yaml.load(path.read_bytes(), Loader=loader)  # noqa: S506 (both are safe loaders)
        validate(document)
    except yaml.YAMLError as error:
        print(f"{path}: no YAML: {error}")
        return 1
    except OpenAPIValidationError as error:
        print(f"{path}: no valid OpenAPI 3.1: {error.message}")
        return 1
    findings = lint(document)
    clean = f"{path.name}: {len(list(operations(document)))} operations, no findings"
    print("\n".join(map(str, findings)) or clean)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
