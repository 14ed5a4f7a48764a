"""Coverage-guided fuzzing of the parsers with atheris, which the tests do not need:

    pip install atheris && python tests/attacks/fuzz.py -max_total_time=60

Any input gives a result or one of our own errors, and both readers of JSON agree.
"""

import base64
import contextlib
import gzip
import io
import json
import sys
import tempfile
from pathlib import Path

import atheris  # type: ignore[import-not-found]

with atheris.instrument_imports(include=["trailseal.verify", "rfc8785"]):
    from trailseal.verify import canonical
    from trailseal.verify.bundle import Manifest
    from trailseal.verify.checkpoint import Checkpoint
    from trailseal.verify.content import Content
    from trailseal.verify.entry import Entry
    from trailseal.verify.errors import IntegrityError
    from trailseal.verify.line import Expected, check_line
    from trailseal.verify.note import Note, VerifierKey
    from trailseal.verify.policy import TrustPolicy

VECTORS = Path(__file__).parents[2] / "spec" / "vectors"
EXPECTED = Expected("org_789", 5, bytes(32), False, None, None, {})


def same_reading(data: bytes) -> None:
    """The fast reader takes what the strict one takes, and reads the same."""
    quick = canonical._loads_fast(data)
    if quick is not canonical._SLOW:
        assert repr(quick) == repr(canonical._loads_strict(data, 1000))


def one(data: bytes) -> None:
    """The first byte chooses the parser."""
    text = data[1:].decode(errors="replace")
    parsers = (
        lambda: same_reading(data[1:]),
        lambda: canonical.canonical(canonical.loads(data[1:])),
        lambda: check_line(data[1:], EXPECTED),
        lambda: Manifest.parse(data[1:]),
        lambda: Note.parse(data[1:]),
        lambda: Checkpoint.parse(text),
        lambda: Entry.parse(text),
        lambda: VerifierKey.parse(text),
        lambda: TrustPolicy.parse(data[1:]),
        lambda: list(Content(io.BytesIO(data[1:]), compressed=True).lines()),
    )
    with contextlib.suppress(IntegrityError):
        parsers[(data[0] if data else 0) % len(parsers)]()


def seeds(folder: Path) -> None:
    """A good input for each parser, from the conformance suite."""
    bundle = json.loads((VECTORS / "bundles.json").read_text())["cases"][0]["files"]
    files = {name: base64.b64decode(text) for name, text in bundle.items()}
    line = files["audit.jsonl"].split(b"\n")[0]
    note = files["audit.checkpoint"]
    inputs = [line, line, line, files["audit.manifest.json"], note, note.split(b"\n\n")[0] + b"\n"]
    inputs += [json.loads(line)["entry"].encode(), b"a/b+00000000+AQ==", b"[logs]\n'a' = []\n"]
    for number, data in enumerate([*inputs, gzip.compress(line)]):
        (folder / str(number)).write_bytes(bytes([number]) + data)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        seeds(Path(folder))
        atheris.Setup([*sys.argv, folder], one)
        atheris.Fuzz()
