"""Says why a contact gets nothing until somebody acts, in the same words wherever it is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from peerpost.store.tables.contacts import Contact

__all__ = ["Obstacle", "obstacle"]


class Obstacle(NamedTuple):
    """Why nothing reaches a contact, and what to do about it."""

    why: str
    hint: str


def obstacle(contact: Contact) -> Obstacle | None:
    """Return why nothing reaches a contact, if waiting does not help; otherwise None."""
    name = contact.name
    match contact.state:
        case "removed":
            return Obstacle(
                f"{name} has removed or blocked you",
                f"they have to give you a new ticket (peerpost contacts add {name} TICKET), or you give"
                f" them one (peerpost contacts invite {name})",
            )
        case "expired":
            return Obstacle(
                f"{name} is not your contact yet: {contact.why or 'the ticket came to nothing'}",
                f"ask for a new ticket (peerpost contacts add {name} TICKET), or give them one"
                f" (peerpost contacts invite {name})",
            )
        case "changed":
            return Obstacle(
                f"{name} is not served: {contact.why or 'its identity has changed'}",
                f"compare safety numbers: peerpost contacts verify {name}",
            )
        case "blocked":
            return Obstacle(f"{name} is blocked", f"peerpost contacts unblock {name}")
    return None
