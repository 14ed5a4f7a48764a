"""What a log's tree is asked: proofs, checkpoints and tiles, each from one state of the database.

Rule: a proof is for a tree size that the log has reached; a checkpoint or a tile, for one that was
signed. Every method raises Problem: log_not_found, checkpoint_not_found, request_invalid.
"""

from .log import consistency_ranges, inclusion_ranges, proof
from .problems import FieldError, Problem
from .store import Connection, Store, checkpoints, logs, tiles
from .store.checkpoints import CheckpointRow
from .store.logs import LogRow
from .store.tiles import NodeReader


class Trees:
    """Answers about the trees of a store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def inclusion_proof(self, log_id: str, index: int, tree_size: int) -> list[bytes]:
        """The hashes that lead from leaf `index` to the root of `tree_size`, leaf to root."""
        with self._store.read() as connection:
            _reached(_log(connection, log_id), tree_size, "tree_size")
            if not 0 <= index < tree_size:
                raise _invalid("index", "must lie below tree_size")
            read = NodeReader(connection, log_id, tree_size)
            return proof(inclusion_ranges(index, tree_size), read)

    def consistency_proof(self, log_id: str, old: int, new: int) -> list[bytes]:
        """The hashes that show the tree of size `new` to continue the one of size `old`."""
        with self._store.read() as connection:
            _reached(_log(connection, log_id), new, "to")
            if not 0 <= old <= new:
                raise _invalid("from", "must not lie beyond to")
            return proof(consistency_ranges(old, new), NodeReader(connection, log_id, new))

    def checkpoint(self, log_id: str, tree_size: int | None = None) -> CheckpointRow:
        """The checkpoint of exactly this size, or the latest one."""
        with self._store.read() as connection:
            log = _log(connection, log_id)
            size = log.sealed_size if tree_size is None else tree_size
            row = checkpoints.at(connection, log_id, size)
        if row is None:
            raise Problem("checkpoint_not_found", "The log has no checkpoint of this size")
        return row

    def tile(self, log_id: str, path: str) -> bytes:
        """A tile or entry bundle by its C2SP path, such as `tile/0/x001/067`, as far as signed."""
        with self._store.read() as connection:
            log = _log(connection, log_id)
            try:
                return tiles.by_path(connection, log_id, log.sealed_size, path)
            except tiles.TilePathError as error:
                raise _invalid("path", str(error)) from None


def _log(connection: Connection, log_id: str) -> LogRow:
    log = logs.find(connection, log_id)
    if log is None:
        raise Problem("log_not_found", "There is no such log")
    return log


def _reached(log: LogRow, tree_size: int, name: str) -> None:
    if not 0 <= tree_size <= log.size:
        raise _invalid(name, f"must be at most the log's size, {log.size}")


def _invalid(name: str, advice: str) -> Problem:
    errors = [FieldError("request_invalid", f"/query/{name}", advice)]
    return Problem("request_invalid", f"{name}: {advice}", errors=errors)
