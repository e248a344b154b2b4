"""Those who are no contacts any more, or never were here: their history can still be found by their names."""

from __future__ import annotations

from typing import Any

import apsw

__all__ = ["add", "card", "forget", "ids_of", "names", "remember", "who"]


def remember(db: apsw.Connection, contact_id: str) -> None:
    """Keep the name of a contact that is about to be removed, and who it is."""
    db.execute(
        "INSERT OR REPLACE INTO former_contacts (id, name, id_public)"
        " SELECT id, name, id_public FROM contacts WHERE id = ?",
        (contact_id,),
    )


def add(db: apsw.Connection, contact_id: str, name: str, id_public: bytes | None) -> str:
    """Keep the name of somebody whose messages are imported; return the name that is kept: an earlier one stays."""
    db.execute(
        "INSERT INTO former_contacts (id, name, id_public) VALUES (?, ?, ?)"
        " ON CONFLICT (id) DO UPDATE SET id_public = coalesce(id_public, excluded.id_public)",
        (contact_id, name, id_public),
    )
    return str(db.execute("SELECT name FROM former_contacts WHERE id = ?", (contact_id,)).get)


def who(db: apsw.Connection, id_: str, name: str, id_public: bytes | None) -> str | None:
    """Return the id of whoever has this identity, or if it is not known, this id and name; None if nobody has."""
    row = db.execute(
        "SELECT id FROM former_contacts WHERE id_public = ?3"
        " OR (?3 IS NULL AND id = ?1 AND name = ?2)",
        (id_, name, id_public),
    ).fetchone()
    return None if row is None else str(row[0])


def card(db: apsw.Connection, contact_id: str) -> tuple[str, bytes | None] | None:
    """Return the name and the identity of one of them; None if it is none."""
    query = "SELECT name, id_public FROM former_contacts WHERE id = ?"
    row: Any = db.execute(query, (contact_id,)).fetchone()
    return None if row is None else (row[0], row[1])


def forget(db: apsw.Connection, contact_id: str) -> None:
    """Forget the name of a removed contact, because it is a contact again, or the user wants its history gone."""
    db.execute("DELETE FROM former_contacts WHERE id = ?", (contact_id,))


def ids_of(db: apsw.Connection, text: str) -> list[str]:
    """Return the ids of the removed contacts with this name or id."""
    rows = db.execute("SELECT id FROM former_contacts WHERE name = ?1 OR id = ?1", (text,))
    return [str(id_) for (id_,) in rows]


def names(db: apsw.Connection) -> dict[str, str]:
    """Return the names of all removed contacts by their ids."""
    return dict(db.execute("SELECT id, name FROM former_contacts"))
