"""Settings are checked before any I/O and never show a secret."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trailseal import AsyncClient, Client, config
from trailseal.errors import ConfigurationError

from .conftest import URL, make_key

KEY = make_key()


@pytest.mark.row("A-03", "L-01", "P-01")
@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_missing_or_malformed_key_is_refused_at_construction(kind: type) -> None:
    """No network call is needed to learn that a key cannot work."""
    for key in ("", "nonsense", KEY.upper(), KEY.replace("ts_", ""), 5, KEY.encode()):
        with pytest.raises(ConfigurationError, match="API key"):
            kind(URL, key)
    for key in (KEY + "\n", " " + KEY):
        with pytest.raises(ConfigurationError, match="a space or a line's end around it"):
            kind(URL, key)


@pytest.mark.row("A-03")
@given(st.integers(0, len(KEY) - 1), st.sampled_from("abcXYZ019"))
def test_any_single_mistyped_character_is_noticed(at: int, char: str) -> None:
    """The checksum catches each wrong character, and the error does not repeat the key."""
    if KEY[at] == char:
        return
    with pytest.raises(ConfigurationError) as caught:
        config.check_api_key(KEY[:at] + char + KEY[at + 1 :])
    assert "S" * 16 not in str(caught.value)


@pytest.mark.row("A-24", "A-01")
def test_reprs_show_no_secret() -> None:
    """Settings and clients show the key's id only."""
    client = Client(URL, KEY, headers={"X-Secret": "hush"})
    for text in (repr(client), repr(client._settings), repr(client._transport.api)):
        assert "S" * 16 not in text
        assert "hush" not in text
    assert "abcd1234" in repr(client)


@pytest.mark.row("A-02", "P-02")
def test_region_fills_the_base_url() -> None:
    """`{region}` stands for the region, which can only be one DNS label."""
    assert config.check_base_url("https://{region}.x.test/", "eu-1") == "https://eu-1.x.test"
    for url, region in (("https://{region}.x", None), ("https://{region}.x", "a/b"), (URL, "eu")):
        with pytest.raises(ConfigurationError, match="region"):
            config.check_base_url(url, region)


@pytest.mark.parametrize(
    "url",
    [
        *("", "ftp://x", "http://", "x.test", "http://u:p@x", "http://x/?a=1", "http://x:port"),
        *(" http://x", "http://x\n", "http://x y", 5, b"http://x"),
    ],
)
def test_base_urls_that_cannot_work_are_refused(url: Any) -> None:
    """Also one that holds a password, which would end up in logs."""
    with pytest.raises(ConfigurationError):
        config.check_base_url(url)


@pytest.mark.parametrize(
    "wrong",
    [
        {"timeout": 0},
        {"timeout": float("nan")},
        {"timeout": True},
        {"max_retries": -1},
        {"max_retries": 1.5},
        {"headers": {"Authorization": "x"}},
        {"headers": {"X": "a\nb"}},
        {"trusted_keys": "one+key"},
        {"trusted_keys": ["no key"]},
        {"hooks": 5},
    ],
)
def test_settings_out_of_range_are_refused(wrong: dict[str, object]) -> None:
    """The error names the setting."""
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        config.load(URL, KEY, environ={}, **wrong)  # type: ignore[arg-type]  # wrong on purpose


@pytest.mark.row("P-03", "P-02")
def test_keywords_come_before_the_environment() -> None:
    """What is not given comes from TRAILSEAL_*."""
    environ = {"TRAILSEAL_URL": URL, "TRAILSEAL_API_KEY": KEY, "TRAILSEAL_TENANT": "t1"}
    settings = config.load(environ=environ)
    assert (settings.base_url, settings.api_key, settings.tenant) == (URL, KEY, "t1")
    assert config.load("http://other", tenant="t2", environ=environ).tenant == "t2"


def test_disabled_needs_neither_url_nor_key() -> None:
    """A test suite or a laptop can switch logging off with one variable."""
    assert config.load(environ={"TRAILSEAL_DISABLED": "true"}).disabled
    with pytest.raises(ConfigurationError, match="TRAILSEAL_DISABLED"):
        config.load(URL, KEY, environ={"TRAILSEAL_DISABLED": "maybe"})


def test_settings_are_frozen_and_can_be_pickled() -> None:
    """They can be handed to other threads and processes."""
    settings = config.load(URL, KEY, environ={})
    assert pickle.loads(pickle.dumps(settings)) == settings  # noqa: S301  # our own bytes
    with pytest.raises(AttributeError):
        settings.tenant = "x"  # type: ignore[misc]  # that it fails is the test
