"""What the package offers, and what importing it costs."""

from __future__ import annotations

import pickle
import subprocess
import sys

import pytest
import trailseal
from trailseal import _api

NAMES = """
Actor ActorRecord AsyncClient AsyncPager AsyncSearch Audit BatchItem BatchResult Caller
Checkpoint Client ConsistencyProof Download DownloadedFile Ed25519Signer Erasure Event
EventFields Export Filters InclusionProof LegalHold Operation Page Pager Progress Receipt
RedactionPolicy Resource ResourceRecord Schema Search Signer TrailSealError
UnreadFailuresWarning Usage Verdict VerificationKey context errors verify
"""


def test_public_names_are_pinned() -> None:
    """A name appears or vanishes only on purpose, and each can be loaded."""
    assert trailseal.__all__ == NAMES.split()
    assert all(getattr(trailseal, name) is not None for name in trailseal.__all__)
    assert set(trailseal.__all__) <= set(dir(trailseal))


@pytest.mark.parametrize("name", ["Pager", "AsyncPager", "Search", "AsyncSearch", "context"])
def test_what_has_no_repr_of_its_own_shows_where_it_is_imported_from(name: str) -> None:
    """Not the private module that it lies in; and it can be pickled by that name."""
    kind = getattr(trailseal, name)
    assert repr(kind) == f"<class 'trailseal.{name}'>"
    assert pickle.loads(pickle.dumps(kind)) is kind  # noqa: S301  # our own bytes


def test_a_warning_shows_its_public_name() -> None:
    """As people name it in a filter."""
    code = (
        "import trailseal, warnings; kind = trailseal.UnreadFailuresWarning; "
        "warnings.simplefilter('error', kind); warnings.warn('x', kind)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1] == "trailseal.UnreadFailuresWarning: x"


def test_unknown_name_is_an_attribute_error() -> None:
    """A misspelt name fails as in any module."""
    with pytest.raises(AttributeError, match="Clinet"):
        trailseal.Clinet  # noqa: B018  # the access is the test


@pytest.mark.parametrize("code", ["import trailseal", "import trailseal.errors, trailseal.config"])
def test_import_loads_no_http_library(code: str) -> None:
    """Importing the package, its errors and settings loads neither httpx nor cryptography."""
    loaded = "print([m for m in ('httpx', 'cryptography', 'trailseal_api') if m in sys.modules])"
    command = [sys.executable, "-c", f"import sys; {code}; {loaded}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # our own code
    assert done.stdout.strip() == "[]"


def test_the_blocking_client_loads_no_asyncio_no_cryptography_and_no_models() -> None:
    """What few programs need is loaded by those: this halves what a client costs above httpx."""
    rare = {"asyncio", "cryptography", "importlib.metadata", "trailseal_api.models.event_input"}
    rare |= {"trailseal_api.api.events.create_event", "trailseal_api.models.order"}
    rare |= {"concurrent.futures", "gzip", "tempfile", "trailseal.hooks"}
    code = f"import sys, trailseal; trailseal.Client; print(sorted({rare} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_each_operation_of_the_flows_loads_from_the_generated_layer() -> None:
    """What is loaded at its first use would fail there, and not at the start."""
    assert sorted(_api._HOMES) == _api.__all__
    for name in _api.__all__:
        assert callable(getattr(_api, name).request_kwargs)
    with pytest.raises(AttributeError, match="create_evnet"):
        _api.create_evnet  # noqa: B018  # the access is the test
