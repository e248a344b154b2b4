"""The decision about a HELLO, made and stored in one transaction before the other end is told."""

from __future__ import annotations

from dataclasses import dataclass

import apsw

from peerpost.crypto.statement import Change, follow, newer
from peerpost.errors import EquivocationError, RollbackError, UntrustedError
from peerpost.wire.statement import Signed

from . import contacts, invites, outbox

__all__ = ["Met", "met"]

_UNVERIFIED = "its identity has signed two key statements of one number"


@dataclass(frozen=True, slots=True, kw_only=True)
class Met:
    """The outcome of a HELLO."""

    contact: contacts.Contact
    """The contact as it is stored now."""
    problem: UntrustedError | None = None
    """Why the contact is not served."""
    joined: bool = False
    """Whether it became a contact just now, by an invitation."""


def met(
    db: apsw.Connection, id_public: bytes, signed: Signed, invite_id: bytes | None, now_ms: int
) -> Met:
    """Decide on an identity that proved itself: keep a newer statement, use up the ticket, become active.

    A decision against it is stored as well. Raises TicketError if the invitation was used in the meantime or is for
    somebody else, UntrustedError if the identity is unknown or blocked.
    """
    contact = contacts.by_public(db, id_public)
    joined = contact is None
    if contact is not None and contact.state == "blocked":
        raise UntrustedError("a blocked contact")
    if contact is None:
        if invite_id is None:
            raise UntrustedError("an unknown identity")
        contact = invites.redeem(db, invite_id, id_public, now_ms)
    elif (problem := _judge(db, contact, signed, now_ms)) is not None:
        return Met(contact=contacts.get(db, contact.id), problem=problem)
    elif invite_id is not None:
        invites.redeem(db, invite_id, id_public, now_ms)
    if not joined and (invite_id is not None or contact.ticket_secret is not None):
        # A ticket renews the friendship: perhaps because the other side had removed us, and with us our files.
        outbox.offer_again(db, contact.id)
    return Met(contact=contacts.proved(db, contact.id, signed, now_ms), joined=joined)


def _judge(
    db: apsw.Connection, contact: contacts.Contact, signed: Signed, now_ms: int
) -> UntrustedError | None:
    """Compare a statement with the stored one, and record any contradiction."""
    try:
        change = follow(contact.signed, signed)
    except EquivocationError as error:
        _note_conflict(db, contact, signed)
        return error
    except RollbackError as error:
        contacts.went_back(db, contact.id, now_ms)
        return error
    except UntrustedError as error:
        return error
    if contact.conflict is None:
        return None
    if change is not Change.SAME:
        _note_conflict(db, contact, signed)
    return EquivocationError(_UNVERIFIED)


def _note_conflict(db: apsw.Connection, contact: contacts.Contact, signed: Signed) -> None:
    if contact.conflict is None or newer(signed, contact.conflict):
        contacts.in_conflict(db, contact.id, signed, _UNVERIFIED)
