"""Reading a schema: from a mapping, JSON or YAML text, a file, an open file, a URL.

1. Text is read as the server reads it: YAML as YAML 1.2's JSON schema (`no` and dates are text),
   without aliases, anchors, tags, or a member twice; numbers within ±(2^53-1).
2. A string that looks like a path is a mistake, and the error says so: a path is a `Path`.
3. A URL is fetched only if it lies below an allowed prefix: over https (or http where the prefix
   says so), without redirects, within `URL_TIMEOUT` and `MAX_TEXT`. What is in a schema is never
   fetched, and no `$ref` opens a connection.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePath
from typing import IO, Any, NoReturn
from urllib.parse import unquote, urlsplit

from trailseal._event_rules import MAX_NUMBER
from trailseal.errors import ConfigurationError, ErrorDetail, SchemaInvalidError

MAX_TEXT = 262_144  # characters, by the contract
MAX_BYTES = 4 * MAX_TEXT  # of UTF-8
URL_TIMEOUT = 10.0  # seconds: a program that starts waits for this
MAX_DEPTH = 32  # levels, as at the server

SchemaSource = Mapping[str, Any] | str | PurePath | IO[str] | IO[bytes] | type


def load(source: SchemaSource, allowed_urls: Iterable[str] = ()) -> dict[str, Any]:
    """The document of a schema; raises `SchemaInvalidError`, `ConfigurationError`."""
    if isinstance(source, Mapping):
        value: Any = copy.deepcopy(dict(source))
    elif isinstance(source, PurePath):
        value = parse(_file(source))
    elif isinstance(source, str):
        value = parse(_fetch(source, allowed_urls) if _is_url(source) else _own_text(source))
    elif hasattr(source, "read"):
        value = parse(_text(source.read(MAX_BYTES + 1)))
    else:
        raise ConfigurationError(
            "A schema is a mapping, JSON or YAML text, a pathlib.Path, an open file, a URL or a "
            f"class made with @schema, not {type(source).__name__}."
        )
    if not isinstance(value, dict):
        refuse("", "must be an object")
    _check_size(value, "", 1)
    return value


def parse(text: str) -> Any:
    """The value of JSON or YAML text."""
    if len(text) > MAX_TEXT:
        refuse("", f"must have at most {MAX_TEXT} characters")
    if text.lstrip().startswith("{"):
        try:
            return json.loads(text, object_pairs_hook=_members, parse_constant=_constant)
        except RecursionError:
            refuse("", f"must not nest deeper than {MAX_DEPTH} levels")
        except ValueError as error:
            try:  # YAML may begin with a brace too
                return _yaml(text)
            except SchemaInvalidError:
                refuse("", f"is not JSON: {error}")
    return _yaml(text)


def refuse(pointer: str, detail: str) -> NoReturn:
    """Raise `SchemaInvalidError` for one mistake at a JSON Pointer into the document."""
    raise SchemaInvalidError(
        "The schema is not valid.", errors=(ErrorDetail("schema_invalid", pointer, detail),)
    )


def _yaml(text: str) -> Any:
    try:
        from trailseal.schemas._yaml import read  # noqa: PLC0415  # an extra
    except ModuleNotFoundError:
        raise ConfigurationError("YAML needs an extra: pip install 'trailseal[schemas]'.") from None
    return read(text)


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("holds a member twice")
    return members


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _check_size(value: Any, at: str, depth: int) -> None:
    if depth > MAX_DEPTH and isinstance(value, dict | list):
        refuse(at, f"must not nest deeper than {MAX_DEPTH} levels")
    if isinstance(value, dict):
        for name, each in value.items():
            if not isinstance(name, str):
                refuse(at, "holds a member name that is no text")
            _check_size(each, f"{at}/{token(name)}", depth + 1)
    elif isinstance(value, list):
        for number, each in enumerate(value):
            _check_size(each, f"{at}/{number}", depth + 1)
    elif isinstance(value, int | float) and not -MAX_NUMBER <= value <= MAX_NUMBER:
        refuse(at, "numbers must lie within ±(2^53-1)")
    elif value is not None and not isinstance(value, str | int | float):
        refuse(at, f"{type(value).__name__} is no JSON")


def token(name: object) -> str:
    """A reference token of a JSON Pointer (RFC 6901, section 3)."""
    return str(name).replace("~", "~0").replace("/", "~1")


def _own_text(text: str) -> str:
    if "\n" not in text and not text.lstrip().startswith("{"):
        raise ConfigurationError("This text is no schema. If it is a path, pass pathlib.Path(…).")
    return text


def _file(path: PurePath) -> str:
    try:
        with Path(path).open("rb") as file:
            return _text(file.read(MAX_BYTES + 1))
    except OSError as error:
        text = f"The schema {path} cannot be read: {error.strerror}."
        raise ConfigurationError(text) from error


def _text(content: str | bytes) -> str:
    if isinstance(content, str):
        return content
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        refuse("", "is no UTF-8")


def _is_url(text: str) -> bool:
    return text.startswith(("https://", "http://")) and not any(map(str.isspace, text))


def _fetch(url: str, allowed: Iterable[str]) -> str:
    if not any(_is_below(url, prefix) for prefix in allowed):
        raise ConfigurationError(
            "This URL is not allowed: pass allowed_urls=['https://host/folder/'] to the registry."
        )
    import httpx  # noqa: PLC0415  # only where a URL is asked for

    try:
        with httpx.stream("GET", url, timeout=URL_TIMEOUT, follow_redirects=False) as answer:
            if answer.status_code != 200:
                raise ConfigurationError(f"The schema's URL answers {answer.status_code}.")
            content = b""
            for chunk in answer.iter_bytes():
                content += chunk
                if len(content) > MAX_BYTES:
                    refuse("", f"must have at most {MAX_TEXT} characters")
    except httpx.HTTPError as error:
        text = f"The schema's URL cannot be read ({type(error).__name__})."
        raise ConfigurationError(text) from error
    return _text(content)


def _is_below(url: str, prefix: str) -> bool:
    """Whether a URL lies at the same origin as an allowed one, and below its path."""
    try:
        one, other = urlsplit(url), urlsplit(prefix)
        same = (one.scheme, one.hostname, one.port) == (other.scheme, other.hostname, other.port)
    except ValueError:
        return False
    folder = other.path if other.path.endswith("/") else f"{other.path}/"
    steps = unquote(one.path).replace("\\", "/").split("/")
    plain = not (one.username or one.password or ".." in steps or "." in steps)
    below = one.path.startswith(folder) or one.path == other.path or folder == "/"
    return bool(same and other.hostname and plain and below)
