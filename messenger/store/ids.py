"""The short ids that people see and type: eight base32 characters, found by any unique beginning."""

from __future__ import annotations

import base64
import os

import apsw

from peerpost.errors import AmbiguousError, NotFoundError

__all__ = ["complete", "new_id"]

ID_BYTES = 5
"""Forty bits: among a million ids a new one collides once in a million, and is then drawn again."""


def new_id(db: apsw.Connection, table: str) -> str:
    """Return an id that no row of the table has."""
    while True:
        text = base64.b32encode(os.urandom(ID_BYTES)).decode().lower()
        taken = db.execute(f"SELECT 1 FROM {table} WHERE id = ?", (text,)).fetchone()  # noqa: S608
        if taken is None:
            return text


def complete(db: apsw.Connection, table: str, prefix: str, *, what: str, see: str) -> str:
    """Return the one id of a table that begins so. Raises NotFoundError, AmbiguousError."""
    prefix = prefix.strip().lower()
    rows = db.execute(
        f"SELECT id FROM {table} WHERE id >= ? AND id < ? ORDER BY id LIMIT 3",  # noqa: S608
        (prefix, prefix + "\uffff"),
    ).fetchall()
    if not prefix or not rows:
        raise NotFoundError(f"no {what} {prefix!r}", hint=f"see: peerpost {see}")
    if len(rows) > 1 and rows[0][0] != prefix:
        found = ", ".join(row[0] for row in rows)
        raise AmbiguousError(f"{prefix!r} fits more than one {what}", hint=f"among them: {found}")
    return str(rows[0][0])
