"""Settings."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from trailseal_server.settings import Settings

FILES: dict[str, Any] = {"log_key_file": Path("/k"), "export_dir": Path("/e")}


def test_a_keyword_wins_over_the_environment_and_that_over_the_default() -> None:
    """None means: not given."""
    environment = {"TRAILSEAL_PORT": "9000", "TRAILSEAL_HOST": "::1", "TRAILSEAL_EXPORT_DIR": "/x"}
    settings = Settings.load(environment, port=9001, host=None)
    assert (settings.port, settings.host, settings.exports) == (9001, "::1", Path("/x"))
    assert settings.database_url == Settings().database_url


def test_files_lie_beside_the_database() -> None:
    """Unless they are named."""
    settings = Settings(database_url="sqlite:////var/lib/audit.db")
    assert settings.key_file == Path("/var/lib/audit.db.key")
    assert settings.exports == Path("/var/lib/audit.db.exports")


@pytest.mark.parametrize("name", ["log_key_file", "export_dir"])
def test_a_database_server_has_no_place_for_files(name: str) -> None:
    """They must be named, and the message says by which variable."""
    given = {each: path for each, path in FILES.items() if each != name}
    with pytest.raises(ValueError, match=f"TRAILSEAL_{name.upper()}"):
        Settings("postgresql+psycopg://db/audit", **given)


def test_a_database_url_must_be_one() -> None:
    """A bare path is not."""
    with pytest.raises(ValueError, match="database_url"):
        Settings("/var/lib/audit.db")


def test_a_repr_has_no_password() -> None:
    """The rest of the URL is shown."""
    shown = repr(Settings("postgresql://me:hunter2@db/audit", **FILES))
    assert "hunter2" not in shown
    assert "me:***@db/audit" in shown


@pytest.mark.parametrize("prefix", ["a b+c", "a+b", "a b", "", "ä", "a\n", "x" * 257])
def test_an_origin_prefix_is_a_name_that_notes_can_have(prefix: str) -> None:
    """C2SP allows neither spaces nor plus signs; the variable is named."""
    with pytest.raises(ValueError, match="TRAILSEAL_ORIGIN_PREFIX"):
        Settings(origin_prefix=prefix)


@pytest.mark.parametrize("port", ["-1", "x", "65536", "٣"])
def test_a_bad_port_is_refused(port: str) -> None:
    """With a message that says what is allowed."""
    with pytest.raises(ValueError, match="65535"):
        Settings.load({"TRAILSEAL_PORT": port})


def test_settings_are_frozen_and_know_their_names() -> None:
    """Nothing changes them later; a keyword that does not exist is an error."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().port = 1  # type: ignore[misc]
    with pytest.raises(TypeError):
        Settings.load({}, prot=1)
