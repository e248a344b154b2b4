"""`contacts invite|invites`: make tickets, list them, withdraw them."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

import msgspec

from peerpost.client.names import contact_name
from peerpost.client.rpc import Request
from peerpost.crypto import invite as invitations
from peerpost.errors import UsageError
from peerpost.node.clock import rfc3339
from peerpost.store.tables import invites as store_invites
from peerpost.wire.ticket import Ticket

from .numbers import Bytes
from .whole import whole

if TYPE_CHECKING:
    from peerpost.node.opened import Opened

__all__ = ["READY_WAIT_S", "invite", "invited", "list_", "withdraw"]

DEFAULT_EXPIRY_S = 24 * 3600
MAX_EXPIRY_S = 365 * 24 * 3600
READY_WAIT_S = 20.0
"""A ticket needs our addresses, and a node that just started takes a second or two to listen."""


class _Invite(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    expires_s: Bytes = DEFAULT_EXPIRY_S


class _Id(msgspec.Struct, forbid_unknown_fields=True):
    id: str


async def invite(opened: Opened, request: Request[_Invite]) -> dict[str, Any]:
    """Make a ticket. Whoever has it may use it once, to become the contact of that name or to renew that contact."""
    params = request.params_as(_Invite)
    if not 1 <= params.expires_s <= MAX_EXPIRY_S:
        raise UsageError("a ticket is good for one second to one year", hint="--expires 24h")
    await opened.network.wait_ready(READY_WAIT_S)
    secret = secrets.token_bytes(16)
    expires_s = opened.clock.now_ms() // 1000 + params.expires_s
    name = contact_name(params.name)
    invite_id = invitations.invite_id(secret)
    known = await opened.store.write(
        store_invites.create, invite_id, secret, name, expires_s, opened.clock.now_ms()
    )
    ticket = Ticket(
        id_public=opened.me.id_public,
        transport_public=opened.me.transport.public,
        secret=secret,
        expires_s=expires_s,
        addresses=opened.me.addresses,
    )
    return {
        "name": name,
        "inviter": opened.me.name,
        "ticket": ticket.encode(),
        "expires": rfc3339(expires_s * 1000),
        "id": invite_id.hex(),
        "renews": known is not None,
        "others": [one.id for one in await _open_for(opened, name) if one.id != invite_id.hex()],
    }


async def _open_for(opened: Opened, name: str) -> list[store_invites.Invite]:
    found = await opened.store.read(store_invites.list_all, opened.clock.now_ms())
    return [one for one in found if one.name == name and one.used_ms is None]


async def list_(opened: Opened, request: Request[None]) -> list[dict[str, Any]]:
    """List the tickets that may still be used, and those that ended without a contact."""
    request.require_no_params()
    found = await opened.store.read(store_invites.list_all, opened.clock.now_ms())
    return [_row(one) for one in found]


@whole
async def withdraw(opened: Opened, request: Request[_Id]) -> dict[str, Any]:
    """Withdraw a ticket: whoever uses it then is a stranger."""
    id_ = request.params_as(_Id).id
    return _row(await opened.store.write(store_invites.withdraw, id_, opened.clock.now_ms()))


def _row(one: store_invites.Invite) -> dict[str, Any]:
    return {
        "id": one.id,
        "name": one.name,
        "state": "invited" if one.used_ms is None else "used",
        "renews": one.renews,
        "created": rfc3339(one.created_ms),
        "expires": rfc3339(one.expires_s * 1000),
        "why": one.why,
    }


async def invited(opened: Opened) -> list[dict[str, Any]]:
    """Return those who have an open invitation and are no contacts yet, as rows of `contacts list`."""
    found = await opened.store.read(store_invites.list_all, opened.clock.now_ms())
    return [
        {
            "id": one.id,
            "name": one.name,
            "state": "invited",
            "peer_id": None,
            "verified": False,
            "last_seen": None,
            "online": False,
            "queued": 0,
            "unread": 0,
            "hint": None,
        }
        for one in found
        if one.used_ms is None and not one.renews
    ]
