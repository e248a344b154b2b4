"""The lives of homes: which runs ours has had, which runs of each contact's were met, and what follows from them.

A home that was put back or copied has forgotten the runs that came after. So a contact that names a run which we do not
know has met another state of our home. And a run of a contact's home that comes back after another run has not ended in
between: two copies of that home are running.
"""

from __future__ import annotations

import enum
import os
from typing import Any, Final

import apsw

from peerpost.wire.life import Life, Run

from .served import require_known

__all__ = [
    "Verdict",
    "begin",
    "compare",
    "copied_at",
    "copied_here",
    "copies",
    "hears_of",
    "last_met",
    "owed",
    "restored",
    "run_now",
]

KEPT_RUNS: Final = 4096
"""Runs of our own that are kept. A lower number is taken for ours, as a contact of long ago may name it."""
KEPT_MET: Final = 16
"""Runs that are kept of each contact."""
NOTED_AGAIN_MS: Final = 60_000
"""How soon the same copy is noted again: two copies drive each other out every few seconds."""


class Verdict(enum.Enum):
    """What a contact's HELLO shows of our home."""

    WELL = enum.auto()
    PUT_BACK = enum.auto()
    """It was put back to an older state, or is a copy of the home that the contact knows."""
    COPIED = enum.auto()
    """The contact has met another home of this identity since this run met the contact: two of them run."""


def begin(db: apsw.Connection, now_ms: int) -> Run:
    """Begin a run of this home, and return it. It may be told to contacts once this is on the disk."""
    number = 1 + (db.execute("SELECT max(number) FROM runs").get or 0)
    run = Run(number, os.urandom(16))
    db.execute("INSERT INTO runs VALUES (?, ?, ?)", (*run, now_ms))
    db.execute("DELETE FROM runs WHERE number <= ?", (number - KEPT_RUNS,))
    return run


def run_now(db: apsw.Connection) -> Run | None:
    """Return the run that began last; None before the first."""
    row = db.execute("SELECT number, id FROM runs ORDER BY number DESC LIMIT 1").fetchone()
    return None if row is None else Run(*row)


def last_met(db: apsw.Connection, contact_id: str) -> Run | None:
    """Return the last run of a contact's home that was in a session with ours."""
    found = db.execute(
        "SELECT run FROM met_runs WHERE contact_id = ? ORDER BY place DESC LIMIT 1", (contact_id,)
    ).get
    return None if found is None else Run.decode(found)


def restored(db: apsw.Connection) -> None:
    """Note that this home was put back: at the next session with each contact the two are compared as never before."""
    db.execute(
        "INSERT INTO lives (contact_id, put_back) SELECT id, 1 FROM contacts WHERE true"
        " ON CONFLICT (contact_id) DO UPDATE SET put_back = 1"
    )


def compare(db: apsw.Connection, contact_id: str, life: Life | None, now_ms: int) -> Verdict:
    """Take what a contact's HELLO says of both homes; return what it shows of ours. Call it when a session begins."""
    row: Any = db.execute(
        "SELECT said, strange, put_back FROM lives WHERE contact_id = ?", (contact_id,)
    ).fetchone()
    said, strange, was_put_back = row or (0, None, 0)
    mine = run_now(db)
    verdict = Verdict.PUT_BACK if was_put_back else Verdict.WELL
    if life is not None:
        _meet(db, contact_id, life.run, now_ms)
        if life.yours is not None and not _is_ours(db, life.yours):
            if life.yours.encode() != strange:
                here = mine is not None and said == mine.number
                verdict = Verdict.COPIED if here else Verdict.PUT_BACK
            strange = life.yours.encode()
    db.execute(
        "INSERT OR REPLACE INTO lives (contact_id, said, strange, put_back) VALUES (?, ?, ?, 0)",
        (contact_id, mine.number if life is not None and mine is not None else said, strange),
    )
    if verdict is Verdict.COPIED:
        copied_here(db, contact_id, now_ms)
    return verdict


def _is_ours(db: apsw.Connection, run: Run) -> bool:
    bounds: Any = db.execute("SELECT min(number), max(number) FROM runs").fetchone()
    oldest, newest = bounds
    if oldest is None or run.number > newest:
        return False
    known = db.execute("SELECT id FROM runs WHERE number = ?", (run.number,)).get
    return run.number < oldest or bool(known == run.id)


def _meet(db: apsw.Connection, contact_id: str, run: Run, now_ms: int) -> None:
    """Note a run of a contact's home; if it comes back after another, note that two copies of that home run."""
    rows: list[Any] = db.execute(
        "SELECT place, run FROM met_runs WHERE contact_id = ? ORDER BY place DESC", (contact_id,)
    ).fetchall()
    if rows and rows[0][1] == run.encode():
        return
    if any(met == run.encode() for _, met in rows):
        _note(db, contact_id, "theirs", now_ms)
        db.execute(
            "UPDATE copied SET owed = ? WHERE contact_id = ? AND side = 'theirs'",
            (Run.decode(rows[0][1]).id, contact_id),
        )
        db.execute(
            "DELETE FROM met_runs WHERE contact_id = ? AND run = ?", (contact_id, run.encode())
        )
    place = rows[0][0] + 1 if rows else 1
    db.execute("INSERT INTO met_runs VALUES (?, ?, ?)", (contact_id, place, run.encode()))
    db.execute(
        "DELETE FROM met_runs WHERE contact_id = ? AND place NOT IN ("
        "SELECT place FROM met_runs WHERE contact_id = ? ORDER BY place DESC LIMIT ?)",
        (contact_id, contact_id, KEPT_MET),
    )


def _note(db: apsw.Connection, contact_id: str, side: str, now_ms: int) -> None:
    known = db.execute(
        "SELECT at_ms FROM copied WHERE contact_id = ? AND side = ?", (contact_id, side)
    ).get
    if known is None or not 0 <= now_ms - known < NOTED_AGAIN_MS:
        db.execute(
            "INSERT OR REPLACE INTO copied VALUES (?, ?, ?, NULL)", (contact_id, side, now_ms)
        )


def copied_here(db: apsw.Connection, contact_id: str, now_ms: int) -> None:
    """Note that a contact meets two copies of our home. Raises NotFoundError if the contact was removed."""
    require_known(db, contact_id)
    _note(db, contact_id, "ours", now_ms)


def owed(db: apsw.Connection, contact_id: str) -> bytes | None:
    """Return the id of the run that came in between, if a contact has to be told that its home is copied."""
    found: bytes | None = db.execute(
        "SELECT owed FROM copied WHERE contact_id = ? AND side = 'theirs'", (contact_id,)
    ).get
    return found


def hears_of(db: apsw.Connection, contact_id: str, run_id: bytes) -> None:
    """Note that a contact was told of its copy."""
    db.execute(
        "UPDATE copied SET owed = NULL WHERE contact_id = ? AND side = 'theirs' AND owed = ?",
        (contact_id, run_id),
    )


def copied_at(db: apsw.Connection, contact_id: str) -> dict[str, int]:
    """Return when two copies of each side's home were last found, for one contact."""
    rows: Any = db.execute("SELECT side, at_ms FROM copied WHERE contact_id = ?", (contact_id,))
    return dict(rows)


def copies(db: apsw.Connection) -> list[tuple[str, str, int]]:
    """Return (contact id, side, when) of all copies that were found, the latest first."""
    rows: list[Any] = db.execute(
        "SELECT contact_id, side, at_ms FROM copied ORDER BY at_ms DESC"
    ).fetchall()
    return rows
