"""Downloads of any URL, into paths and open files; on from where an earlier process stopped."""

from __future__ import annotations

import io
import json
import socket
from pathlib import Path
from typing import Any

import httpx
import pytest
from trailseal import _downloads, _targets, errors
from trailseal.errors import DownloadError

from .conftest import URL, Script, Side, answer, make_key
from .test_exports import CONTENT, SHA, export, ranged

SIGNED = "https://store.test/bucket/x.csv?signature=secret"


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries at once: how long they wait is tested in test_retry."""
    monkeypatch.setattr(_downloads.random, "random", lambda: 0.0)


def cut_off(side: Side, script: Script, path: Path, at: int, etag: str = '"1"') -> None:
    """A download that ends early, as a kill would leave it."""
    script.steps = [ranged(at, etag), *[httpx.ReadError("x")] * 4]
    with pytest.raises(DownloadError):
        side("download_file", SIGNED, path)
    script.requests.clear()


@pytest.mark.row("P-54")
def test_a_signed_url_is_fetched_and_told_nothing(
    side: Side, script: Script, tmp_path: Path
) -> None:
    """E7: another place gets no key, no headers of ours and no request id."""
    script.steps = [ranged()]
    client = side.client.with_options(headers={"X-Tenant": "secret"})
    done = side.settle(client.download_file(SIGNED, tmp_path / "x.csv"))
    assert (tmp_path / "x.csv").read_bytes() == CONTENT
    assert (done.path.name, done.bytes, done.sha256) == ("x.csv", len(CONTENT), SHA)
    request = script.requests[0]
    assert str(request.url) == SIGNED
    assert {"authorization", "x-tenant", "request-id"}.isdisjoint(request.headers)
    assert [file.name for file in tmp_path.iterdir()] == ["x.csv"]


def test_no_log_shows_the_permission_in_a_url(
    side: Side, script: Script, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """V17: neither ours nor a library's below, at DEBUG; nor that of an upload."""
    caplog.set_level("DEBUG")
    made = {"upload_id": "up_1", "token": "secret"}
    operation = {"operation_id": "op_1", "kind": "upload", "state": "pending"}
    script.steps = [ranged(), answer(201, made), answer(200), answer(202, operation)]
    side("download_file", SIGNED, tmp_path / "x.csv")
    side("upload", [{"action": "a"}])
    assert caplog.records
    assert [r.getMessage() for r in caplog.records if "secret" in r.getMessage()] == []


@pytest.mark.row("P-54")
def test_the_own_server_gets_the_key_and_what_it_redirects_to_does_not(
    side: Side, script: Script, tmp_path: Path
) -> None:
    """E7: auth never crosses origins, whoever sends us there."""
    script.steps = [httpx.Response(307, headers={"location": SIGNED}), ranged()]
    side("download_file", f"{URL}/v1/exports/op_1/content?x=1", tmp_path / "x.csv")
    own, other = script.requests
    assert "authorization" in own.headers
    assert str(own.url) == f"{URL}/v1/exports/op_1/content?x=1"
    assert (str(other.url), "authorization" in other.headers) == (SIGNED, False)


def test_a_redirect_from_elsewhere_to_the_own_server_gets_no_key(
    side: Side, script: Script, tmp_path: Path
) -> None:
    """Another place must not choose what our key fetches."""
    script.steps = [httpx.Response(302, headers={"location": f"{URL}/v1/events/export"}), ranged()]
    side("download_file", "http://evil.test/", tmp_path / "x.csv")
    assert all("authorization" not in request.headers for request in script.requests)


@pytest.mark.parametrize(
    "url",
    [f"{URL}.evil.test/x", f"{URL}@evil.test/x", f"{URL}:81/x", "https://server.test/x"],
)
def test_what_only_looks_like_the_own_server_gets_no_key(
    side: Side, script: Script, tmp_path: Path, url: str
) -> None:
    """Another host, port or scheme is another origin."""
    script.steps = [ranged()]
    if "@" in url:
        with pytest.raises(errors.ConfigurationError):
            side("download_file", url, tmp_path / "x.csv")
        assert script.requests == []
    else:
        side("download_file", url, tmp_path / "x.csv")
        assert "authorization" not in script.requests[0].headers


@pytest.mark.parametrize(
    ("location", "text"),
    [("http://store.test/", "https to http"), ("file:///etc/passwd", "no http"), ("", "end")],
)
def test_redirects_that_lead_nowhere_good_are_errors(
    side: Side, script: Script, tmp_path: Path, location: str, text: str
) -> None:
    """No downgrade, no other scheme, no loop; nothing is left behind."""
    script.steps = [httpx.Response(302, headers={"location": location})] * 9
    with pytest.raises(DownloadError, match=text):
        side("download_file", SIGNED, tmp_path / "x.csv")
    assert len(script.requests) <= 6
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("url", ["", "ftp://x/y", "/v1/events", "http://", "http://[", 7])
def test_what_is_no_url_is_refused_before_any_io(
    side: Side, script: Script, tmp_path: Path, url: Any
) -> None:
    """Also a path: the client does not guess."""
    with pytest.raises(errors.ConfigurationError, match="URL"):
        side("download_file", url, tmp_path / "x.csv")
    assert (script.requests, list(tmp_path.iterdir())) == ([], [])


@pytest.mark.parametrize(
    ("status", "kind"), [(403, errors.PermissionDeniedError), (404, errors.NotFoundError)]
)
def test_a_url_that_is_not_valid_any_more_says_so(
    side: Side, script: Script, tmp_path: Path, status: int, kind: type
) -> None:
    """A store's answer becomes one of our errors, without its body."""
    script.steps = [httpx.Response(status, content=b"<Error>secret</Error>")]
    with pytest.raises(kind) as caught:
        side("download_file", SIGNED, tmp_path / "x.csv")
    assert "secret" not in str(caught.value)
    assert "Check the URL" in str(caught.value)


def test_a_place_that_cannot_be_reached_is_named(side: Side, tmp_path: Path) -> None:
    """Which host and port, and why; not the rest of the URL. Over real sockets."""
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        place = f"127.0.0.1:{reserved.getsockname()[1]}"
    client = side.kind(URL, make_key(), max_retries=1)
    with pytest.raises(DownloadError, match=rf"http://{place}: Connection refused\)") as caught:
        side.settle(client.download_file(f"http://{place}/x?signature=secret", tmp_path / "x"))
    assert "secret" not in str(caught.value)
    proxied = side.kind(URL, make_key(), max_retries=0, proxy=f"http://u:secret@{place}")
    with pytest.raises(errors.ConnectError, match=f"by the proxy {place}: ") as refused:
        side.settle(proxied.whoami())
    assert "secret" not in str(refused.value)
    for one in (client, proxied):
        side.settle(one.close())


def test_a_digest_that_was_given_is_checked(side: Side, script: Script, tmp_path: Path) -> None:
    """What is wrong gets no name, and no later call goes on with it."""
    script.steps = [ranged()]
    with pytest.raises(DownloadError) as caught:
        side("download_file", SIGNED, tmp_path / "x.csv", sha256="0" * 64)
    assert (caught.value.code, list(tmp_path.iterdir())) == ("download_checksum", [])


def test_a_later_call_goes_on_from_the_part(side: Side, script: Script, tmp_path: Path) -> None:
    """E4: with another signature in the URL; the part says nothing of it."""
    path = tmp_path / "x.csv"
    cut_off(side, script, path, 1234)
    notes = json.loads((tmp_path / "x.csv.part.json").read_text())
    assert (tmp_path / "x.csv.part").read_bytes() == CONTENT[:1234]
    assert "secret" not in str(notes)
    script.steps = [ranged()]
    done = side("download_file", SIGNED.replace("secret", "other"), path, sha256=SHA)
    assert script.requests[0].headers["range"] == "bytes=1234-"
    assert script.requests[0].headers["if-range"] == '"1"'
    assert (path.read_bytes(), done.sha256) == (CONTENT, SHA)
    assert [file.name for file in tmp_path.iterdir()] == ["x.csv"]


@pytest.mark.parametrize("change", ["url", "etag", "note", "weak"])
def test_a_part_of_something_else_is_never_used(
    side: Side, script: Script, tmp_path: Path, change: str
) -> None:
    """E2: another address, version or a broken note begins anew."""
    path = tmp_path / "x.csv"
    cut_off(side, script, path, 1234, 'W/"1"' if change == "weak" else '"1"')
    note = tmp_path / "x.csv.part.json"
    if change == "note":
        note.write_text("{")
    url = "https://store.test/another" if change == "url" else SIGNED
    script.steps = [ranged(etag='"2"' if change == "etag" else '"1"')]
    side("download_file", url, path)
    assert path.read_bytes() == CONTENT
    assert ("range" in script.requests[0].headers) == (change == "etag")


def test_a_part_that_was_damaged_is_fetched_again(
    side: Side, script: Script, tmp_path: Path
) -> None:
    """What an earlier process left is not trusted: the digest of an export decides."""
    path = tmp_path / "x.csv"
    script.steps = [answer(200, export(format="csv")), ranged(99), *[httpx.ReadError("x")] * 4]
    with pytest.raises(DownloadError):
        side("download_results", path, export_id="op_1")
    (tmp_path / "x.csv.part").write_bytes(b"!" * 99)
    script.steps = [answer(200, export(format="csv")), ranged(), ranged()]
    side("download_results", path, export_id="op_1")
    assert path.read_bytes() == CONTENT


def test_a_part_that_is_whole_needs_no_more_bytes(
    side: Side, script: Script, tmp_path: Path
) -> None:
    """Killed between the last byte and the name: 416 says that nothing is missing."""
    path = tmp_path / "x.csv"
    cut_off(side, script, path, len(CONTENT))
    headers = {"content-range": f"bytes */{len(CONTENT)}"}
    script.steps = [httpx.Response(416, headers=headers)]
    side("download_file", SIGNED, path)
    assert path.read_bytes() == CONTENT


def test_a_range_that_ignores_a_change_is_not_spliced(
    side: Side, script: Script, tmp_path: Path
) -> None:
    """E2: a 206 of another version, by its ETag or its place, starts again."""
    path = tmp_path / "x.csv"
    cut_off(side, script, path, 1234)

    def stale(etag: str, at: int) -> httpx.Response:
        headers = {"etag": etag, "content-range": f"bytes {at}-9/10"}
        return httpx.Response(206, headers=headers, content=b"?" * 10)

    script.steps = [stale('"2"', 1234), ranged(500), stale('"1"', 499), ranged()]
    side("download_file", SIGNED, path)
    assert path.read_bytes() == CONTENT


def test_content_that_always_changes_ends_in_an_error(
    side: Side, script: Script, tmp_path: Path
) -> None:
    """Not in a loop."""
    script.steps = [httpx.Response(416)] * 50
    with pytest.raises(DownloadError, match="changes"):
        side("download_file", SIGNED, tmp_path / "x.csv")


def test_two_downloads_never_write_one_part(side: Side, script: Script, tmp_path: Path) -> None:
    """The second one says so; the first goes on."""
    path = tmp_path / "x.csv"
    other = _targets.FileTarget(path, overwrite=False, on_progress=None)
    with other, pytest.raises(DownloadError, match="Another process"):
        side("download_file", SIGNED, path)
    assert script.requests == []


def test_an_open_file_takes_the_bytes_from_where_it_stands(side: Side, script: Script) -> None:
    """Cuts are resumed within the call; the file stays open."""
    file = io.BytesIO(b"head ")
    file.seek(5)
    script.steps = [answer(200, export()), ranged(700), ranged()]
    done = side("download_results", file, export_id="op_1")
    assert file.getvalue() == b"head " + CONTENT
    assert (done.sha256, done.sidecars) == (SHA, ())
    script.steps = [ranged(700, '"1"'), ranged(etag='"2"')]
    file = io.BytesIO()
    side("download_file", SIGNED, file)
    assert file.getvalue() == CONTENT


def test_a_pipe_cannot_start_again(side: Side, script: Script) -> None:
    """Bytes that were handed on cannot be taken back: an error, no splice."""

    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

    script.steps = [ranged(700, '"1"'), ranged(etag='"2"')]
    with pytest.raises(DownloadError, match="rewound"):
        side("download_file", SIGNED, Pipe())


def test_a_path_that_is_neither_is_refused(side: Side, script: Script) -> None:
    """A number is no file."""
    with pytest.raises(errors.ConfigurationError):
        side("download_file", SIGNED, 7)


def test_a_full_disk_is_our_error(side: Side, script: Script) -> None:
    """The caller makes room and calls again."""

    class Full(io.BytesIO):
        def write(self, _: Any) -> int:
            raise OSError(28, "No space left on device")

    script.steps = [ranged()]
    with pytest.raises(DownloadError, match="No space left"):
        side("download_file", SIGNED, Full())
