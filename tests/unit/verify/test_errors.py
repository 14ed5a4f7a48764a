"""The root of the error tree, and what importing costs."""

import ast
import copy
import pickle
import re
import subprocess
import sys
from importlib import import_module
from operator import attrgetter
from pathlib import Path

import pytest
import trailseal.verify
from trailseal.verify import errors

ALL = [getattr(errors, name) for name in errors.__all__]


@pytest.mark.parametrize("error", ALL)
def test_every_error_has_the_attributes_of_the_root(error) -> None:
    """Whoever catches `TrailSealError` may read all of them."""
    caught = error("what is wrong")
    assert isinstance(caught, errors.TrailSealError)
    assert (caught.status, caught.request_id, caught.errors) == (None, None, ())
    assert (caught.retryable, caught.response) == (False, None)
    assert str(caught).startswith("what is wrong")


@pytest.mark.parametrize("error", [e for e in ALL if issubclass(e, errors.IntegrityError)])
def test_an_integrity_error_survives_pickling_and_copying(error) -> None:
    """With index and kind, as a process pool needs it."""
    raised = error("it does not hold", index=7, kind="time")
    for again in (pickle.loads(pickle.dumps(raised)), copy.copy(raised)):  # noqa: S301  # our own
        assert type(again) is error
        assert (str(again), again.index, again.kind) == (str(raised), 7, "time")
    assert str(raised).startswith("event at index 7: it does not hold")
    assert raised.code


def test_only_our_own_errors_become_findings() -> None:
    """Whatever else goes wrong ends the check: there is no verdict then."""
    faults = errors.Faults()
    with faults:
        raise errors.ProofError("it does not hold")
    for error in (ValueError, KeyboardInterrupt, errors.TrailSealError):
        with pytest.raises(error), faults:
            raise error
    assert [str(fault.args[0]) for fault in faults] == ["it does not hold"]


def test_advice_follows_a_message_after_one_full_stop() -> None:
    """However the message ends; what a client adds is missing at first."""
    error = errors.MalformedError(".a file ends early. ")
    assert str(error) == f".a file ends early. . {error.advice}"
    assert str(errors.MalformedError("it X.")) == f"it X. {error.advice}"
    assert error.subject is None


def test_errors_cost_no_cryptography() -> None:
    """`trailseal.verify.errors` loads nothing that has to be installed."""
    code = (
        "import sys, trailseal.verify.errors, trailseal.verify\n"
        "print([m for m in ('cryptography', 'rfc8785', 'orjson', 'hashlib') if m in sys.modules])"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_loads() -> None:
    """Each from its own module, and no other name."""
    for name in trailseal.verify.__all__:
        assert getattr(trailseal.verify, name).__name__ == name
        assert name in dir(trailseal.verify)
    with pytest.raises(AttributeError):
        trailseal.verify.__getattr__("nothing")


def test_verify_imports_nothing_else_of_the_package() -> None:
    """An auditor reads these files, the standard library and two or three known packages."""
    allowed = set(sys.stdlib_module_names) | {"cryptography", "rfc8785", "orjson", "nacl"}
    for path in Path(trailseal.verify.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                assert {alias.name.split(".")[0] for alias in node.names} <= allowed
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 1 or (node.module or "").split(".")[0] in allowed


def test_the_page_for_auditors_names_every_file_before_those_that_need_it() -> None:
    """And each function that decides is there under its name."""
    page = Path(__file__).parents[3] / "docs" / "verifier.md"
    rows = re.findall(r"^\| `(\w+)\.py` \|.*\| (.*) \|$", page.read_text(), re.MULTILINE)
    folder = Path(trailseal.verify.__file__).parent
    assert {name for name, _ in rows} == {p.stem for p in folder.glob("*.py")} - {"__init__"}
    read: set[str] = set()
    for name, deciding in rows:
        module = import_module(f"trailseal.verify.{name}")
        for path in re.findall(r"`([A-Za-z_0-9.]+)`", deciding):
            assert attrgetter(path)(module) is not None
        for node in ast.parse((folder / f"{name}.py").read_text()).body:
            if isinstance(node, ast.ImportFrom) and node.level == 1:
                assert {node.module or alias.name for alias in node.names} <= read, name
        read.add(name)
