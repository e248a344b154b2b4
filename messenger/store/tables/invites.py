"""Invitations that this home has given out: each admits one guest, once, until it expires or is withdrawn.

An invitation for the name of a contact renews that contact and admits nobody else. So a name that the user trusts never
changes to another identity, and no guest gets a name that nobody chose.
"""

from __future__ import annotations

from dataclasses import dataclass

import apsw

from peerpost.errors import AmbiguousError, ExistsError, NotFoundError, TicketError

from . import contacts

__all__ = [
    "AnotherGuestError",
    "Invite",
    "any_open",
    "burn",
    "create",
    "list_all",
    "redeem",
    "secrets",
    "withdraw",
]

_LIVE = "used_ms IS NULL AND expires_s * 1000 >"


class AnotherGuestError(TicketError):
    """The name of the invitation belongs to a contact with another identity than the guest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Invite:
    """An invitation as a person sees it."""

    id: str
    name: str
    created_ms: int
    expires_s: int
    used_ms: int | None
    why: str | None
    """Why it admitted nobody, or somebody else."""
    renews: bool
    """Whether its name is a contact's."""


def create(
    db: apsw.Connection, invite_id: bytes, secret: bytes, name: str, expires_s: int, now_ms: int
) -> contacts.Contact | None:
    """Store an invitation for a name; return the contact that it renews, if there is one of that name.

    Raises ExistsError if that contact is blocked, or is to be verified first.
    """
    known = contacts.by_name(db, name)
    if known is not None:
        contacts.require_renewable(known)
    db.execute(
        "DELETE FROM invites WHERE (used_ms IS NULL OR why IS NOT NULL) AND expires_s * 1000 <= ?",
        (now_ms,),
    )
    db.execute(
        "INSERT INTO invites (invite_id, secret, name, expires_s, created_ms)"
        " VALUES (?, ?, ?, ?, ?)",
        (invite_id, secret, name, expires_s, now_ms),
    )
    return known


def secrets(db: apsw.Connection, now_ms: int) -> dict[bytes, bytes]:
    """Return the secrets of the live invitations by their ids."""
    return dict(db.execute(f"SELECT invite_id, secret FROM invites WHERE {_LIVE} ?", (now_ms,)))  # noqa: S608


def any_open(db: apsw.Connection, now_ms: int) -> bool:
    """Return whether any ticket that was given out may still be used."""
    return db.execute(f"SELECT 1 FROM invites WHERE {_LIVE} ? LIMIT 1", (now_ms,)).get is not None  # noqa: S608


def list_all(db: apsw.Connection, now_ms: int) -> list[Invite]:
    """Return the invitations that may still be used, and those that ended without a contact; oldest first."""
    rows = db.execute(
        "SELECT lower(hex(invite_id)), name, created_ms, expires_s, used_ms, why,"
        " EXISTS (SELECT 1 FROM contacts WHERE contacts.name = invites.name) FROM invites"
        " WHERE expires_s * 1000 > ? AND (used_ms IS NULL OR why IS NOT NULL)"
        " ORDER BY created_ms, invite_id",
        (now_ms,),
    )
    return [
        Invite(
            id=str(id_),
            name=str(name),
            created_ms=int(created or 0),
            expires_s=int(expires or 0),
            used_ms=None if used is None else int(used),
            why=None if why is None else str(why),
            renews=bool(renews),
        )
        for id_, name, created, expires, used, why, renews in rows
    ]


def withdraw(db: apsw.Connection, prefix: str, now_ms: int) -> Invite:
    """Forget an invitation, by its id or a beginning of it; whoever has the ticket is a stranger then.

    Raises NotFoundError, AmbiguousError.
    """
    prefix = prefix.strip().lower()
    found = [invite for invite in list_all(db, now_ms) if prefix and invite.id.startswith(prefix)]
    if not found:
        hint = "see: peerpost contacts invites"
        raise NotFoundError(f"no open invitation {prefix!r}", hint=hint)
    if len(found) > 1:
        ids = ", ".join(invite.id for invite in found)
        raise AmbiguousError(f"{prefix!r} fits more than one invitation", hint=f"among them: {ids}")
    db.execute("DELETE FROM invites WHERE invite_id = ?", (bytes.fromhex(found[0].id),))
    return found[0]


def burn(db: apsw.Connection, invite_id: bytes, now_ms: int, why: str | None = None) -> str | None:
    """Use up an invitation and forget its secret; return its name, or None if it is not live any more."""
    name: str | None = db.execute(
        "UPDATE invites SET used_ms = ?2, secret = NULL, why = ?3"  # noqa: S608
        f" WHERE invite_id = ?1 AND {_LIVE} ?2 RETURNING name",
        (invite_id, now_ms, why),
    ).get
    return name


def redeem(
    db: apsw.Connection, invite_id: bytes, id_public: bytes, now_ms: int
) -> contacts.Contact:
    """Make the guest a contact, burn the invitation and forget its secret, in one transaction.

    A guest that is a contact already stays that contact. Raises TicketError, and AnotherGuestError if the name belongs
    to another contact; then nothing has changed.
    """
    known = contacts.by_public(db, id_public)
    if known is not None:
        invited = burn(db, invite_id, now_ms)
        if invited not in (None, known.name):
            why = f"used by {known.name}, who was a contact already"
            db.execute("UPDATE invites SET why = ? WHERE invite_id = ?", (why, invite_id))
        return known
    invited = burn(db, invite_id, now_ms)
    if invited is None:
        raise TicketError("the invitation was used or has expired")
    try:
        return contacts.add(db, name=invited, id_public=id_public, state="active", now_ms=now_ms)
    except ExistsError:
        raise AnotherGuestError(
            f"the invitation is for {invited}, who has another identity here"
        ) from None
