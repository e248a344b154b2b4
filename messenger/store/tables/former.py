"""The names of contacts that were removed: their history can still be found by them."""

from __future__ import annotations

import apsw

__all__ = ["forget", "ids_of", "names", "remember"]


def remember(db: apsw.Connection, contact_id: str) -> None:
    """Keep the name of a contact that is about to be removed."""
    db.execute(
        "INSERT OR REPLACE INTO former_contacts SELECT id, name FROM contacts WHERE id = ?",
        (contact_id,),
    )


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
