"""Invitations that this home has given out: each admits one guest, once, until it expires."""

from __future__ import annotations

import apsw

from peerpost.errors import ExistsError, TicketError

from . import contacts

__all__ = ["burn", "create", "redeem", "secrets"]


def create(
    db: apsw.Connection, invite_id: bytes, secret: bytes, name: str, expires_s: int, now_ms: int
) -> None:
    """Note an invitation for a contact that will have this name. Raises ExistsError."""
    if db.execute("SELECT 1 FROM contacts WHERE name = ?", (name,)).fetchone() is not None:
        raise ExistsError(
            f"there is a contact named {name!r} already", hint="choose another name, or remove it"
        )
    db.execute("DELETE FROM invites WHERE used_ms IS NULL AND expires_s * 1000 <= ?", (now_ms,))
    db.execute(
        "INSERT INTO invites (invite_id, secret, name, expires_s, created_ms)"
        " VALUES (?, ?, ?, ?, ?)",
        (invite_id, secret, name, expires_s, now_ms),
    )


def secrets(db: apsw.Connection, now_ms: int) -> dict[bytes, bytes]:
    """Return the secrets of the live invitations by their ids."""
    return dict(
        db.execute(
            "SELECT invite_id, secret FROM invites WHERE used_ms IS NULL AND expires_s * 1000 > ?",
            (now_ms,),
        )
    )


def burn(db: apsw.Connection, invite_id: bytes, now_ms: int) -> str | None:
    """Use up an invitation and forget its secret; return its name, or None where it is not live any more."""
    name: str | None = db.execute(
        "UPDATE invites SET used_ms = ?2, secret = NULL"
        " WHERE invite_id = ?1 AND used_ms IS NULL AND expires_s * 1000 > ?2 RETURNING name",
        (invite_id, now_ms),
    ).get
    return name


def redeem(
    db: apsw.Connection, invite_id: bytes, id_public: bytes, now_ms: int
) -> contacts.Contact:
    """Make the guest a contact, burn the invitation and forget its secret, in one transaction.

    A guest that redeems twice because our answer was lost is the same contact. Raises TicketError.
    """
    known = contacts.by_public(db, id_public)
    invited = burn(db, invite_id, now_ms)
    if known is not None:
        return known
    if invited is None:
        raise TicketError("the invitation was used or has expired")
    name, number = invited, 1
    while True:
        try:
            return contacts.add(db, name=name, id_public=id_public, state="active", now_ms=now_ms)
        except ExistsError:
            # Two invitations for one name were both redeemed: nobody is turned away for it.
            number += 1
            name = f"{invited}-{number}"
