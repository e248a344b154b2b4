"""Contacts whose ticket has not been answered yet, and how long to wait for them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Concatenate, ParamSpec

from peerpost.store.tables import contacts

if TYPE_CHECKING:
    import apsw

    from peerpost.node.services import Services

    from .meeting import Acquainted, Book

__all__ = ["EXPIRY_CHECK_S", "NOT_TAKEN", "expire", "expire_tickets", "take_note"]

P = ParamSpec("P")

NOT_TAKEN = "whoever made the ticket does not take it"
EXPIRY_CHECK_S = 5.0
"""How often to check whether a ticket or a message has expired."""


async def expire(
    services: Services, book: Book, contact_id: str, why: str, at_ms: int | None = None
) -> None:
    """Stop waiting for a contact whose ticket failed or expired, if it is still waited for."""
    await take_note(services, book, contacts.expire, contact_id, why, at_ms)


async def take_note(
    services: Services,
    book: Book,
    work: Callable[Concatenate[apsw.Connection, P], contacts.Contact | None],
    *args: P.args,
    **kwargs: P.kwargs,
) -> None:
    """Write something about a contact to the store, and update the book if that changed the contact."""
    changed = await services.store.write(work, *args, **kwargs)
    if changed is not None:
        book.update(changed)


async def expire_tickets(
    services: Services, book: Book, acquainted: Mapping[str, Acquainted]
) -> None:
    """Stop waiting for contacts whose tickets have expired; runs until it is cancelled."""
    while True:
        for contact in [someone.contact for someone in acquainted.values()]:
            expires_s = contact.ticket_expires_s
            if (
                contact.state == "pending"
                and expires_s is not None
                and expires_s * 1000 <= services.clock.now_ms()
            ):
                why = "the ticket expired before its maker could be reached"
                await expire(services, book, contact.id, why, services.clock.now_ms())
        await asyncio.sleep(EXPIRY_CHECK_S)
