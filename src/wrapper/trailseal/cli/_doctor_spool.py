"""The doctor's look at the spool: the folder, its disk, and what lies in it."""

import os
from collections.abc import Iterator
from pathlib import Path

from trailseal._words import counted

from ._doctor_check import FAIL, OK, WARN, Check
from ._exits import FAILED, USAGE

LOW = (
    64 << 20
)  # bytes that are free: the write-ahead log may grow to some 16 MiB, events come on top


def look(folder: Path) -> Iterator[Check]:
    """One line if all is well, else one for each fault."""
    place = folder.absolute()
    if not os.path.lexists(place):
        yield Check("spool", OK, f"{place} is not there yet: the first event makes it")
        return
    wrong = list(_of_folder(place))
    if any(check.status == FAIL for check in wrong):
        yield from wrong
        return
    wrong += _of_files(place)
    yield from wrong or [Check("spool", OK, f"{place}: nothing waits for long")]


def _of_folder(place: Path) -> Iterator[Check]:
    from trailseal.delivery._file import check_folder  # noqa: PLC0415  # loads sqlite3
    from trailseal.errors import ConfigurationError  # noqa: PLC0415

    try:
        check_folder(place)
    except ConfigurationError as error:
        fix = "the folder must be this user's alone, and no link; or give another, in --spool"
        yield Check("spool", FAIL, str(error.args[0]), fix, USAGE)
        return
    if not os.access(place, os.R_OK | os.W_OK | os.X_OK):
        yield Check("spool", FAIL, f"{place} cannot be written", f"chmod 700 {place}", USAGE)
        return
    disk = os.statvfs(place)
    free = disk.f_bavail * disk.f_frsize
    if free < LOW:
        detail = f"the disk of {place} has {free >> 20} MiB left"
        yield Check("spool", WARN, detail, "make room: a full disk refuses durable events")


def _of_files(place: Path) -> Iterator[Check]:
    from trailseal.delivery import _contents  # noqa: PLC0415  # loads sqlite3
    from trailseal.errors import DeliveryError  # noqa: PLC0415

    try:
        found = list(_contents.contents(place))
    except (DeliveryError, OSError) as error:
        fix = "look at the folder and its disk; files may be moved away, none is needed to log on"
        yield Check("spool", FAIL, str(error), fix, FAILED)
        return
    at = f"--folder {place}"
    if left := sum(each.pending for each in found if each.state == "left"):
        detail = f"{counted(left, 'event')} left by processes that ended"
        yield Check("spool", WARN, detail, f"trailseal spool drain {at}")
    if parked := sum(each.parked for each in found):
        fix = f"see why: trailseal spool export {at}; then trailseal spool requeue {at}"
        yield Check("spool", WARN, f"{counted(parked, 'event')} refused by the server", fix)
    if damaged := sum(each.state == "damaged" for each in found):
        fix = "what was sound in them is saved: look at the disk, then delete *.damaged-*"
        yield Check("spool", WARN, f"{counted(damaged, 'damaged file')} set aside", fix)
