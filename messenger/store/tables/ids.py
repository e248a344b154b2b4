"""The short ids that people see and type: eight base32 characters, any unique beginning will do.

All are random except those of contacts. The id of a contact is derived from its identity, so that a
contact that is removed and added again goes on with the same numbers: the peer remembers which
numbers it has seen.
"""

from __future__ import annotations

import base64
import hashlib
import os

import apsw

from peerpost.crypto.labels import PERSON_CONTACT
from peerpost.errors import AmbiguousError, NotFoundError

__all__ = ["complete", "contact_id", "is_taken", "new_id", "new_ids"]

ID_BYTES = 5
"""Forty bits. Among a million ids, one new id in a million collides, and is then drawn again."""

DRAWN = 64
"""How many ids are drawn at once."""


def new_id(db: apsw.Connection, table: str) -> str:
    """Return an id that no row of the table has."""
    while True:
        text = _text(os.urandom(ID_BYTES))
        if not is_taken(db, table, text):
            return text


def new_ids(db: apsw.Connection, table: str, count: int) -> list[str]:
    """Return ids that no row of the table has, each once."""
    found: list[str] = []
    while len(found) < count:
        # One urandom call for the whole batch: each call releases the GIL, and then waits to get it back.
        drawn = os.urandom(ID_BYTES * min(count - len(found), DRAWN))
        fresh = {_text(drawn[at : at + ID_BYTES]) for at in range(0, len(drawn), ID_BYTES)}
        places = ", ".join("?" * len(fresh))
        taken = db.execute(f"SELECT id FROM {table} WHERE id IN ({places})", (*fresh,))  # noqa: S608
        found += fresh.difference(found, (row[0] for row in taken))
    return found


def contact_id(db: apsw.Connection, id_public: bytes) -> str:
    """Return the id for a contact of this identity, the same as before if it was a contact once.

    It is keyed with our identity's secret, so that nobody can make an identity with the id of another contact.
    """
    seed = db.execute("SELECT id_seed FROM identity").get
    digest = hashlib.blake2b(id_public, digest_size=ID_BYTES, key=seed, person=PERSON_CONTACT)
    text = _text(digest.digest())
    return new_id(db, "contacts") if is_taken(db, "contacts", text) else text


def _text(data: bytes) -> str:
    return base64.b32encode(data).decode().lower()


def is_taken(db: apsw.Connection, table: str, id_: str) -> bool:
    """Return whether a row of the table has this id."""
    row = db.execute(f"SELECT 1 FROM {table} WHERE id = ?", (id_,)).fetchone()  # noqa: S608
    return row is not None


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
        found = ", ".join(str(row[0]) for row in rows)
        raise AmbiguousError(f"{prefix!r} fits more than one {what}", hint=f"among them: {found}")
    return str(rows[0][0])
