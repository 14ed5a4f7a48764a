"""`verify`: which check a value calls for, with `trailseal.verify.Verifier`.

The checks are imported when the first value is verified: they load cryptography, which doubles
what importing a client costs.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from trailseal._downloaded import Download
from trailseal._models import Checkpoint, Event, Page, Receipt, VerificationKey
from trailseal.errors import ConfigurationError

if TYPE_CHECKING:
    from trailseal.verify import Verifier, VerifierKey

Subject = Event | Page | Receipt | Checkpoint | Download | str | os.PathLike[str]


def verifier(
    trusted: Iterable[str | VerifierKey],
    published: Iterable[VerificationKey] = (),
    signing_keys: Mapping[str, str] | None = None,
) -> Verifier:
    """Make a verifier from trusted keys of logs, or else from what the server publishes."""
    from trailseal.verify import Verifier  # noqa: PLC0415  # see above

    given, known = list(trusted), list(published)
    keys = given or [key.verifier_key for key in known if key.verifier_key]
    signing = {key.key_id: key.public_key for key in known if not key.verifier_key}
    return Verifier(keys, signing_keys=signing | dict(signing_keys or {}))


def log_of(subject: Subject) -> str | None:
    """The log that a value is about, as far as it says so; `ConfigurationError` for no value."""
    if isinstance(subject, Event | Receipt):
        return subject.log_id
    if isinstance(subject, Page):
        return subject.items[0].log_id if subject.items else None
    if isinstance(subject, Checkpoint):
        return subject.origin.rpartition("/")[2]
    if isinstance(subject, Download):
        return subject.export.log_id
    if isinstance(subject, str | os.PathLike):
        from trailseal.verify.bundle import Files, Manifest, read_sidecar  # noqa: PLC0415  # see above

        return Manifest.parse(read_sidecar(Files.locate(Path(subject)).manifest)).log_id
    raise _refused(subject)


def check(verifier: Verifier, subject: Subject) -> None:
    """Check a value; returns nothing, or raises an `IntegrityError`."""
    if isinstance(subject, Event):
        verifier.verify_record(subject.raw)
    elif isinstance(subject, Receipt):
        verifier.verify_receipt(subject.raw)
    elif isinstance(subject, Checkpoint):
        verifier.verify_checkpoint(subject.signed_note)
    elif isinstance(subject, Page):
        for event in subject.items:
            verifier.verify_record(event.raw)
    elif isinstance(subject, Download | str | os.PathLike) and (path := _path(subject)):
        verifier.verify_bundle(path).raise_for_findings()
    else:
        raise _refused(subject)


def _path(subject: Download | str | os.PathLike[str]) -> Path | None:
    if not isinstance(subject, Download):
        return Path(subject)
    return subject.path if subject.sidecars else None


def _refused(subject: object) -> ConfigurationError:
    text = f"verify takes no {type(subject).__name__}"
    return ConfigurationError(
        f"{text} without a manifest." if isinstance(subject, Download) else f"{text}."
    )
