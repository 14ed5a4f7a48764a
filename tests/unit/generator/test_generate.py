"""`generator/generate.py`: the same bytes everywhere, and all or nothing."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = ROOT / "generator" / "generate.py"
SPEC = ROOT / "spec" / "openapi.yaml"
GENERATED = ROOT / "generated" / "trailseal_api"


def generate(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), *map(str, arguments)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def contents(folder: Path) -> dict[str, bytes]:
    paths = (p for p in folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
    return {str(p.relative_to(folder)): p.read_bytes() for p in paths}


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the committed package that a test may spoil."""
    return Path(shutil.copytree(GENERATED, tmp_path / "trailseal_api"))


def test_the_committed_package_is_what_the_spec_makes() -> None:
    """`make generate` on a clean checkout changes nothing."""
    done = generate("--check")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("seed", ["1", "4242"])
def test_the_same_bytes_whatever_the_hash_seed_and_the_ruff_on_the_path(
    tmp_path: Path, seed: str
) -> None:
    """Neither Python's hash seed nor another ruff, first on the PATH, changes a byte."""
    impostor = tmp_path / "bin" / "ruff"
    impostor.parent.mkdir()
    impostor.write_text("#!/bin/sh\necho broken > broken.py\nexit 1\n")
    impostor.chmod(0o755)
    path = f"{impostor.parent}{os.pathsep}{os.environ['PATH']}"
    done = generate("--output", tmp_path / "trailseal_api", PYTHONHASHSEED=seed, PATH=path)
    assert done.returncode == 0, done.stderr
    assert contents(tmp_path / "trailseal_api") == contents(GENERATED)


def test_check_names_files_edited_deleted_and_added_by_hand(copy: Path) -> None:
    """Each file that is not as generated is named with what is wrong with it."""
    (copy / "client.py").write_text((copy / "client.py").read_text() + "# by hand\n")
    (copy / "errors.py").unlink()
    (copy / "api" / "extra.py").write_text("")
    done = generate("--check", "--output", copy)
    assert done.returncode == 1
    for line in ("changed: client.py", "missing: errors.py", "not generated: api/extra.py"):
        assert line in done.stderr
    assert "make generate" in done.stderr


def test_check_names_what_a_changed_spec_changes(copy: Path, tmp_path: Path) -> None:
    """A spec with one more word in a summary is noticed, and the file that it changes is named."""
    changed = tmp_path / "openapi.yaml"
    changed.write_text(
        SPEC.read_text().replace("operationId: getEvent\n", "operationId: fetchEvent\n")
    )
    done = generate("--check", "--output", copy, "--spec", changed)
    assert done.returncode == 1
    assert "changed: GENERATED.json" in done.stderr
    assert "missing: api/events/fetch_event.py" in done.stderr
    assert "not generated: api/events/get_event.py" in done.stderr


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("openapi: 3.1.0", "openapi: [3, 1"),  # no YAML
        ("openapi: 3.1.0", "openapi: 9.9.9"),  # no OpenAPI
        ("operationId: getEvent\n", "operationId: getHTTPEvent\n"),  # breaks an authoring rule
    ],
)
def test_a_broken_spec_leaves_the_package_untouched(
    copy: Path, tmp_path: Path, old: str, new: str
) -> None:
    """What cannot be generated whole is not generated at all."""
    before = contents(copy)
    broken = tmp_path / "openapi.yaml"
    broken.write_text(SPEC.read_text().replace(old, new, 1))
    done = generate("--output", copy, "--spec", broken)
    assert done.returncode == 1
    assert "refused" in done.stderr
    assert contents(copy) == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["openapi.yaml", "trailseal_api"]


def test_a_changed_upstream_template_stops_generation_and_is_named(
    copy: Path, tmp_path: Path
) -> None:
    """An override is only used against the original that it was written for."""
    templates = Path(shutil.copytree(ROOT / "generator" / "templates", tmp_path / "templates"))
    hashes = json.loads((templates / "UPSTREAM.json").read_text())
    hashes["client.py.jinja"] = "0" * 64
    (templates / "UPSTREAM.json").write_text(json.dumps(hashes))
    done = generate("--check", "--output", copy, "--templates", templates)
    assert done.returncode == 1
    assert "upstream templates changed: client.py.jinja" in done.stderr
    assert "--accept-templates" in done.stderr


def test_the_record_says_what_made_the_package() -> None:
    """GENERATED.json names the spec's hash, each tool's version and each override's hash."""
    record = json.loads((GENERATED / "GENERATED.json").read_text())
    assert set(record) == {"spec_sha256", "templates", "tools"}
    assert record["tools"]["openapi-python-client"]
    overrides = {path.name for path in (ROOT / "generator" / "templates").glob("*.jinja")}
    assert set(record["templates"]) == overrides
