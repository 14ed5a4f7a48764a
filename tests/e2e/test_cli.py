"""The commands, run as a user runs them: real processes, real signals, real exit codes."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import trailseal

TRAILSEAL = [sys.executable, "-m", "trailseal"]
SECONDS = 30  # far more than any of these takes


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*TRAILSEAL, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
        env={**os.environ, "COLUMNS": "200", "NO_COLOR": "1"},
    )


@contextmanager
def serving(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    """`trailseal serve` until the block ends."""
    command = [*TRAILSEAL, "serve", "--port", "0", *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=SECONDS)


def first_line(process: subprocess.Popen[str]) -> dict[str, str | None]:
    assert process.stdout
    ready: dict[str, str | None] = json.loads(process.stdout.readline())
    return ready


def test_serve_prints_its_address_and_a_first_key_once(tmp_path: Path) -> None:
    """The key of the first start works; the second start has none to show; --new-key makes one."""
    database = tmp_path / "trail.db"
    with serving("--database", database, "--json") as process:
        ready = first_line(process)
        with trailseal.Client(ready["url"], ready["api_key"]) as client:
            assert client.log("server.started").index == 0
    with serving("--database", database, "--json") as process:
        again = first_line(process)
        assert again["api_key"] is None
        with trailseal.Client(again["url"], ready["api_key"]) as client:
            assert client.log("server.started").index == 1
    with serving("--database", database, "--json", "--new-key") as process:
        other = first_line(process)
        with trailseal.Client(other["url"], other["api_key"]) as client:
            assert client.log("server.started").index == 2


def test_only_its_owner_can_read_what_serve_writes(tmp_path: Path) -> None:
    """Database, write-ahead log and signing key are 0600."""
    database = tmp_path / "trail.db"
    with serving("--database", database, "--json") as process:
        first_line(process)
        modes = {path.name: path.stat().st_mode & 0o77 for path in tmp_path.iterdir()}
    assert modes.keys() >= {"trail.db", "trail.db-wal", "trail.db.key"}
    assert not any(modes.values()), modes


def test_serve_speaks_to_people(tmp_path: Path) -> None:
    """Address, key, and the two lines to paste into a shell."""
    with serving("--database", tmp_path / "trail.db") as process:
        assert process.stdout
        text = "".join(process.stdout.readline() for _ in range(5))
    assert "listens on http://127.0.0.1:" in text
    assert "shown only now" in text
    assert "export TRAILSEAL_URL=" in text
    assert "export TRAILSEAL_API_KEY=ts_" in text


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_serve_in_order(tmp_path: Path, sent: signal.Signals) -> None:
    """Exit without a traceback, with everything written."""
    with serving("--database", tmp_path / "trail.db", "--json") as process:
        first_line(process)
        process.send_signal(sent)
        _, errors = process.communicate(timeout=SECONDS)
    assert errors == ""
    assert process.returncode in {0, -sent, 128 + sent}  # the last is what shells say


def test_what_a_user_gets_wrong_is_one_line(tmp_path: Path) -> None:
    """No traceback for a missing folder, a file that is no database, or a taken port."""
    (tmp_path / "text.db").write_text("this is no database, just some text in a file\n" * 99)
    with serving("--database", tmp_path / "trail.db", "--json") as process:
        port = str(first_line(process)["url"]).rpartition(":")[2]
        taken = run("serve", "--database", tmp_path / "other.db", "--port", port)
    missing = run("serve", "--database", tmp_path / "no" / "trail.db", "--port", 0)
    broken = run("serve", "--database", tmp_path / "text.db", "--port", 0)
    cases = ((missing, "No such file"), (broken, "not a database"), (taken, "in use"))
    for done, word in cases:
        assert done.returncode == 1
        assert done.stderr.startswith("trailseal: ")
        assert word in done.stderr
        assert done.stderr.count("\n") == 1


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], tuple[Path, str]]:
    """Makes copies of an export of 40 events, and gives the log's key."""
    folder = tmp_path_factory.mktemp("bundle")
    with ExitStack() as stack:
        process = stack.enter_context(serving("--database", folder / "trail.db", "--json"))
        ready = first_line(process)
        client = stack.enter_context(trailseal.Client(ready["url"], ready["api_key"]))
        client.log_bulk([{"action": f"page.read{n}"} for n in range(40)]).raise_for_failures()
        operation = client.export()
        client.wait(operation)
        client.download_results(folder / "trail.jsonl", export_id=operation.id)
        key = str(client.verification_keys()[0].verifier_key)
    copies = iter(range(1_000))

    def copy() -> tuple[Path, str]:
        target = folder / f"copy{next(copies)}"
        target.mkdir()
        for path in folder.glob("trail.[jmc]*"):
            (target / path.name).write_bytes(path.read_bytes())
        return target / "trail.jsonl", key

    return copy


Bundle = Callable[[], tuple[Path, str]]


@pytest.mark.row("P-66")
def test_verify_exits_0_for_a_good_export(bundle: Bundle) -> None:
    """Verified, complete, and says so."""
    path, key = bundle()
    done = run("verify", path, "--key", key, "--complete")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("verified: 40 events read")


@pytest.mark.row("P-66")
def test_verify_exits_1_and_names_the_changed_event(bundle: Bundle) -> None:
    """One byte of event 23 is another one."""
    path, key = bundle()
    path.write_bytes(path.read_bytes().replace(b'"page.read23"', b'"page.read99"'))
    done = run("verify", path, "--key", key)
    assert done.returncode == 1
    assert "index 23" in done.stdout
    report = json.loads(run("verify", path, "--key", key, "--json").stdout)
    assert report["findings"][0]["index"] == 23


def test_verify_exits_1_for_a_truncated_export(bundle: Bundle) -> None:
    """Half a file is not a smaller good file."""
    path, key = bundle()
    data = path.read_bytes()
    path.write_bytes(data[: data.rindex(b"\n", 0, len(data) // 2) + 1])
    assert run("verify", path, "--key", key).returncode == 1


def test_verify_exits_2_without_a_key_or_a_manifest(bundle: Bundle) -> None:
    """Nothing is wrong, and nothing is proved."""
    path, key = bundle()
    assert run("verify", path).returncode == 2
    path.with_name("trail.manifest.json").unlink()
    done = run("verify", path, "--key", key)
    assert done.returncode == 2
    assert "trail.manifest.json" in done.stdout


def test_verify_exits_3_for_what_is_no_export(bundle: Bundle, tmp_path: Path) -> None:
    """A missing file, a key that is none."""
    path, _ = bundle()
    for arguments in ((tmp_path / "none.jsonl", "--key", "x"), (path, "--key", "nonsense")):
        done = run("verify", *arguments)
        assert done.returncode == 3
        assert "Traceback" not in done.stderr + done.stdout


@pytest.mark.parametrize("command", [[], ["serve"], ["verify"]])
def test_help_is_there(command: list[str]) -> None:
    """Each command explains itself."""
    done = run(*command, "--help")
    assert done.returncode == 0
    assert "Usage" in done.stdout


DEMO = Path(__file__).resolve().parents[2] / "examples" / "demo.py"


def demo(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "TMPDIR": str(cwd), "COLUMNS": "200"}
    return subprocess.run(
        [sys.executable, str(DEMO), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=3 * SECONDS,
        check=False,
        env=environment,
    )


def test_the_demo_runs_on_events_of_ones_own_and_leaves_nothing_behind(tmp_path: Path) -> None:
    """Logs, finds, exports, verifies, and shows a changed byte; its folder is gone afterwards."""
    events = tmp_path / "events.jsonl"
    lines = [{"action": f"door.opened{n % 3}", "actor": {"id": f"p{n % 5}"}} for n in range(250)]
    events.write_text("".join(json.dumps(line) + "\n" for line in lines))
    done = demo("--input", events, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "All of it held." in done.stdout
    assert "FAILED: 250 events" in done.stdout
    assert list(tmp_path.iterdir()) == [events]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"action": "a"}\n{"action": 3}\n', "/events/1/action"),
        ('{"action": "a"}\n{"acti', "line 2"),
        ("", "no events"),
    ],
)
def test_the_demo_says_what_is_wrong_with_its_input(tmp_path: Path, text: str, says: str) -> None:
    """A bad line is named, and the exit status is not 0."""
    events = tmp_path / "events.jsonl"
    events.write_text(text)
    done = demo("--input", events, cwd=tmp_path)
    assert done.returncode != 0
    assert says in done.stderr
    assert "Traceback" not in done.stderr
