"""`contacts verify|block|unblock`: whom the user trusts and whom not."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from peerpost.client.rpc import Request
from peerpost.crypto.keys import safety_number
from peerpost.errors import BadInputError, UntrustedError
from peerpost.node.clock import rfc3339
from peerpost.store.tables import contacts as store_contacts

from .whole import whole

if TYPE_CHECKING:
    from peerpost.node.opened import Opened

__all__ = ["block", "unblock", "verify"]


class _Verify(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    safety_number: str | None = None


class _Name(msgspec.Struct, forbid_unknown_fields=True):
    name: str


@whole
async def verify(opened: Opened, request: Request[_Verify]) -> dict[str, Any]:
    """Compare a safety number and record that the contact is verified; without one, return the number."""
    params = request.params_as(_Verify)
    contact = await opened.store.read(store_contacts.find, params.name)
    number = safety_number(opened.me.id_public, contact.id_public)
    if params.safety_number is not None:
        given = re.sub(r"[\s-]", "", params.safety_number)
        if not (
            given.isascii() and given.isdecimal() and len(given) == len(number.replace(" ", ""))
        ):
            raise BadInputError(
                "a safety number is twelve groups of five digits",
                hint="give all that the contact reads to you",
            )
        if given != number.replace(" ", ""):
            raise UntrustedError(
                f"this is not the safety number with {contact.name}",
                hint="compare again what both of you see; if it differs, somebody is between you",
            )
        contact = await opened.store.write(store_contacts.verify, contact.id, opened.clock.now_ms())
        _take(opened, contact)
    return {
        **_described(contact),
        "safety_number": number,
        "verified": contact.verified_at_ms is not None,
        "verified_at": rfc3339(contact.verified_at_ms),
    }


@whole
async def block(opened: Opened, request: Request[_Name]) -> dict[str, Any]:
    """Block a contact: it is treated like a stranger. What is queued for it stays queued."""
    return await _set(opened, request, store_contacts.block)


@whole
async def unblock(opened: Opened, request: Request[_Name]) -> dict[str, Any]:
    """Serve a contact again."""
    return await _set(opened, request, store_contacts.unblock)


async def _set(opened: Opened, request: Request[_Name], change: Any) -> dict[str, Any]:
    contact = await opened.store.read(store_contacts.find, request.params_as(_Name).name)
    contact = await opened.store.write(change, contact.id)
    _take(opened, contact)
    return _described(contact)


def _take(opened: Opened, contact: store_contacts.Contact) -> None:
    """Act on the recorded state: end the session of a contact that is not served, dial one that is."""
    peer = opened.network.update(contact)
    if peer is not None and contact.served:
        peer.dial_now()


def _described(contact: store_contacts.Contact) -> dict[str, Any]:
    return {"id": contact.id, "name": contact.name, "state": contact.state}
