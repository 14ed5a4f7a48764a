"""The contract holds on every engine: the shared server runs on each in turn."""

from collections.abc import Callable, Iterator

import pytest
from trailseal_server.app import Running, running
from trailseal_server.settings import Settings


@pytest.fixture(scope="session")
def server(
    make_database: Callable[[], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    """A running server that all tests share: `url`, and `key`, the first API key."""
    folder = tmp_path_factory.mktemp("server")
    files = {"log_key_file": folder / "key", "export_dir": folder / "exports"}
    with running(Settings(database_url=make_database(), port=0, **files)) as started:
        yield started
