"""What the store knows of its backups: when one was made last, and that this store itself came out of one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import apsw

from . import lives

__all__ = ["Backups", "is_older_keyfile", "load", "made", "mark_copy", "take_mark"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Backups:
    """The backups of a home."""

    made_ms: int | None
    """When the last one was made; None if none was."""
    restored_ms: int | None
    """When the home was last put back from one, by `backup restore`."""
    restored_from_ms: int | None
    """When that one had been made."""


def load(db: apsw.Connection) -> Backups:
    """Return what is known."""
    row: Any = db.execute("SELECT made_ms, restored_ms, restored_from_ms FROM backups").fetchone()
    made_ms, restored_ms, from_ms = row
    return Backups(made_ms=made_ms, restored_ms=restored_ms, restored_from_ms=from_ms)


def made(db: apsw.Connection, at_ms: int) -> None:
    """Note that a backup of the state at a moment is in its place."""
    db.execute("UPDATE backups SET made_ms = max(coalesce(made_ms, 0), ?)", (at_ms,))


def mark_copy(db: apsw.Connection, at_ms: int) -> None:
    """Mark a copy of the store, made for a backup, so that whoever opens it knows that the home was put back."""
    db.execute("UPDATE backups SET made_ms = ?1, copy_of_ms = ?1", (at_ms,))


def take_mark(db: apsw.Connection, now_ms: int) -> bool:
    """Return whether this store has just come out of a backup, and note that it has. Call it at each start."""
    if db.execute("SELECT copy_of_ms FROM backups").get is None:
        return False
    db.execute(
        "UPDATE backups SET restored_ms = ?, restored_from_ms = copy_of_ms, copy_of_ms = NULL",
        (now_ms,),
    )
    lives.restored(db)
    return True


def is_older_keyfile(db: apsw.Connection, generation: int) -> bool:
    """Return whether a keyfile is an older one than this store was opened with before; keep the newest generation."""
    kept: int = db.execute("SELECT generation FROM backups").get
    if generation > kept:
        db.execute("UPDATE backups SET generation = ?", (generation,))
    return generation < kept
