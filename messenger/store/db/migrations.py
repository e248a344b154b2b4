"""Bring a database's schema up to date: numbered SQL files, in order, each in one transaction."""

from __future__ import annotations

import importlib.resources

import apsw

from peerpost.errors import StorageError

__all__ = ["APPLICATION_ID", "check_version", "latest", "migrate"]

APPLICATION_ID = 0x50505354
"""`PPST`: distinguishes a Peerpost database from any other."""


def _scripts() -> list[str]:
    folder = importlib.resources.files(__package__) / "schema"
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql"))
    return [(folder / name).read_text() for name in names]


def latest() -> int:
    """Return the version that this program writes."""
    return len(_scripts())


def check_version(db: apsw.Connection) -> int:
    """Return the version of a database; 0 for an empty one. Changes nothing.

    Raises StorageError for a database of a later version or of another program.
    """
    application_id, version = db.pragma("application_id"), db.pragma("user_version")
    if application_id != (APPLICATION_ID if version else 0) or version < 0:
        raise StorageError("the store is the database of another program")
    if version > latest():
        raise StorageError(
            f"the store was written by a later version of Peerpost (schema {version})",
            hint="update Peerpost; going back is not possible",
        )
    return int(version)


def migrate(db: apsw.Connection) -> None:
    """Apply what is missing; each step is done whole or not at all. Raises as check_version."""
    scripts = _scripts()
    for number in range(check_version(db), len(scripts)):
        db.execute("BEGIN EXCLUSIVE")
        try:
            db.execute(scripts[number])
            db.pragma("user_version", number + 1)
            db.pragma("application_id", APPLICATION_ID)
            db.execute("COMMIT")
        except BaseException:
            # Some errors, such as a full disk, have ended the transaction already.
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise
