"""Tags of contacts: words of the user's own, by which several contacts are meant at once. No contact learns of them."""

from __future__ import annotations

from collections.abc import Iterable

import apsw

from peerpost.errors import UsageError

__all__ = ["MAX_TAGS", "all_tags", "change", "tags_of"]

MAX_TAGS = 32
"""Tags of one contact."""


def change(
    db: apsw.Connection, contact_id: str, *, add: Iterable[str], drop: Iterable[str]
) -> None:
    """Give a contact some tags and take others away; what it has, or lacks, already stays so. Raises UsageError."""
    for tag in drop:
        db.execute("DELETE FROM tags WHERE contact_id = ? AND tag = ?", (contact_id, tag))
    for tag in add:
        db.execute("INSERT OR IGNORE INTO tags (contact_id, tag) VALUES (?, ?)", (contact_id, tag))
    if len(tags_of(db, contact_id)) > MAX_TAGS:
        raise UsageError(f"a contact has at most {MAX_TAGS} tags")


def tags_of(db: apsw.Connection, contact_id: str) -> list[str]:
    """Return the tags of a contact, in the order of the alphabet."""
    rows = db.execute("SELECT tag FROM tags WHERE contact_id = ? ORDER BY tag", (contact_id,))
    return [str(tag) for (tag,) in rows]


def all_tags(db: apsw.Connection) -> dict[str, list[str]]:
    """Return the tags of each contact that has any."""
    found: dict[str, list[str]] = {}
    for contact_id, tag in db.execute("SELECT contact_id, tag FROM tags ORDER BY contact_id, tag"):
        found.setdefault(str(contact_id), []).append(str(tag))
    return found
