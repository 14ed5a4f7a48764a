"""`trailseal schemas push`: local schemas, a lock file, and what CI is told."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from trailseal.cli._app import app
from trailseal.testing import AuditLog
from typer.testing import CliRunner, Result

Push = Callable[..., Result]
V1: dict[str, Any] = {"$id": "urn:ci:door", "version": "1", "type": "object"}
V2 = {**V1, "version": "2", "properties": {"by": {}}}
NARROW = {**V1, "version": "3", "required": ["by"]}


@pytest.fixture
def push(audit_log: AuditLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Push]:
    """Runs `schemas push schemas …` in a folder with version 1."""
    monkeypatch.chdir(tmp_path)
    write(V1)

    def run(*options: str, code: int = 0) -> Result:
        result = CliRunner().invoke(app, ["schemas", "push", "schemas", *options])
        assert result.exit_code == code, result.output
        return result

    return run


def write(document: Any) -> None:
    Path("schemas").mkdir(exist_ok=True)
    Path(f"schemas/door-{document['version']}.json").write_text(json.dumps(document))


def versions(audit_log: AuditLog) -> list[str]:
    return sorted(each.version for each in audit_log.client.schemas.list("urn:ci:door"))


@pytest.mark.row("J-25", "P-22")
def test_what_is_pushed_is_locked_and_never_changes(push: Push, audit_log: AuditLog) -> None:
    """push registers and locks; --check changes nothing; a changed version fails, a new one not."""
    assert json.loads(push("--check").stdout)["to_push"] == 1
    assert versions(audit_log) == []
    assert not Path("trailseal-schemas.lock").exists()
    assert json.loads(push().stdout)["pushed"] == 1
    assert versions(audit_log) == ["1"]
    lock = json.loads(Path("trailseal-schemas.lock").read_text())
    assert list(lock["schemas"]["urn:ci:door"]) == ["1"]
    assert json.loads(push().stdout)["pushed"] == 0
    write({**V1, "title": "edited"})
    for options in (["--check"], ["--check", "--offline"], []):
        assert "give it a new version" in push(*options, code=1).stderr
    write(V1)
    write(V2)
    push("--check")
    push()
    assert versions(audit_log) == ["1", "2"]


@pytest.mark.row("J-25")
def test_a_version_that_takes_less_is_not_compatible(push: Push, audit_log: AuditLog) -> None:
    """CI is told before anything is pushed; a schema may say that it breaks on purpose."""
    push()
    write(NARROW)
    assert "/required" in push("--check", code=1).stderr
    push(code=1)
    assert versions(audit_log) == ["1"]
    push("--check", "--compatibility", "none")
    write({**NARROW, "x-compatibility": "none"})
    push("--check")
    push()
    assert versions(audit_log) == ["1", "3"]


@pytest.mark.row("J-25")
def test_the_exit_code_tells_what_is_wrong(push: Push) -> None:
    """0 right, 1 not valid, 2 no JSON or a broken lock file, 3 nothing there."""
    bad = Path("schemas/bad.yaml")
    bad.write_text("$id: urn:x\nversion: 1\ntype: strin\n")
    assert "/type" in push("--check", "--offline", code=1).stderr
    bad.write_text("a: [\n")
    assert "bad.yaml" in push("--check", "--offline", code=2).stderr
    bad.unlink()
    Path("trailseal-schemas.lock").write_text("{}")
    assert "lock file" in push("--check", "--offline", code=2).stderr
    assert "--check" in push("--offline", code=2).stderr
    Path("trailseal-schemas.lock").unlink()
    missing = CliRunner().invoke(app, ["schemas", "push", "nowhere.json"])
    assert missing.exit_code == 3


def test_schema_says_the_same_as_schemas() -> None:
    """`trailseal schema push --help` is there, for fingers that leave the s out."""
    command = [sys.executable, "-m", "trailseal", "schema", "push", "--help"]
    done = subprocess.run(command, capture_output=True, check=False, text=True, timeout=60)
    assert done.returncode == 0
    assert "--check" in done.stdout
