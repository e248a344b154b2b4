"""`contacts add|list|show|edit|remove`."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal

import apsw
import msgspec

from peerpost.client.names import contact_name, tag_name
from peerpost.client.rpc import Request
from peerpost.crypto.keys import peer_id, safety_number, transport_public
from peerpost.errors import BadInputError, TicketError, UnavailableError, UsageError
from peerpost.node.clock import rfc3339
from peerpost.node.contact.reach import peer_ids
from peerpost.node.contact.standing import obstacle
from peerpost.node.contact.tickets import NOT_TAKEN
from peerpost.store.tables import contacts as store_contacts
from peerpost.store.tables import counts as store_counts
from peerpost.store.tables import entries as store_entries
from peerpost.store.tables import inbox as store_inbox
from peerpost.store.tables import limits as store_limits
from peerpost.store.tables import quota
from peerpost.store.tables import tags as store_tags
from peerpost.wire import address as addresses
from peerpost.wire.ticket import Ticket

from . import limits
from .invites import READY_WAIT_S, invited
from .numbers import Bytes
from .past import past_with
from .pasted import find_ticket
from .whole import whole

if TYPE_CHECKING:
    from peerpost.node.contact.peer import Peer
    from peerpost.node.opened import Opened

__all__ = ["add", "edit", "list_", "remove", "show"]

FIRST_DIAL_S = 5.0
"""How long `contacts add` waits to say whether the ticket was taken."""


class _Add(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    ticket: str | None = None
    id: str | None = None
    address: str | None = None


@whole
async def add(opened: Opened, request: Request[_Add]) -> dict[str, Any]:
    """Add a contact by ticket, or by identity and address."""
    params = request.params_as(_Add)
    name = contact_name(params.name)
    if params.ticket is not None:
        contact = await _join(opened, await _add_by_ticket(opened, name, params.ticket))
    elif params.id is not None and params.address is not None:
        contact = await _add_by_id(opened, name, params.id, params.address)
    else:
        raise UsageError("a contact needs a ticket", hint="or --id ID together with --address")
    return {"id": contact.id, "name": contact.name, "state": contact.state}


async def _add_by_ticket(opened: Opened, name: str, text: str) -> store_contacts.Contact:
    ticket = Ticket.decode(find_ticket(text))
    if ticket.expires_s * 1000 <= opened.clock.now_ms():
        raise TicketError(
            f"the ticket expired at {rfc3339(ticket.expires_s * 1000)}",
            hint="ask for a new one: peerpost contacts invite NAME",
        )
    if ticket.id_public == opened.me.id_public:
        raise UsageError("this ticket is your own", hint="give it to the person you invited")
    return await opened.store.write(
        store_contacts.add,
        name=name,
        id_public=ticket.id_public,
        transport_public=ticket.transport_public,
        addresses=ticket.addresses,
        ticket_secret=ticket.secret,
        ticket_expires_s=ticket.expires_s,
        now_ms=opened.clock.now_ms(),
    )


async def _join(opened: Opened, contact: store_contacts.Contact) -> store_contacts.Contact:
    """Try the ticket at once. Raises TicketError if its maker is online and refuses it.

    If the maker is away or slow, the node goes on trying in the background.
    """
    before = opened.network.peers.get(contact.id)
    peer = opened.network.add(contact)
    if before is not None:
        peer.dial_anew()
    with suppress(UnavailableError):
        await opened.network.wait_ready(READY_WAIT_S)
        await peer.dialled(FIRST_DIAL_S)
    if peer.refused:
        why = peer.last_error or ""
        if before is None:
            await opened.network.remove(contact.id)
        raise TicketError(
            why if why.startswith(NOT_TAKEN) else f"{NOT_TAKEN}: it was used, or is no longer good",
            hint="ask for a new one: peerpost contacts invite NAME",
        )
    return peer.contact


async def _add_by_id(
    opened: Opened, name: str, id_text: str, address: str
) -> store_contacts.Contact:
    try:
        id_public = bytes.fromhex(id_text)
    except ValueError:
        id_public = b""
    if len(id_public) != 32:
        raise BadInputError(
            "the identity is damaged", hint="64 hex digits, as 'peerpost identity show' prints them"
        )
    if id_public == opened.me.id_public:
        raise UsageError("this identity is your own")
    where = addresses.parse(address)
    if where.peer_id is None:
        raise BadInputError(
            "the address does not say which peer is there",
            hint="end it with /p2p/PEER_ID, as 'peerpost identity show' prints it",
        )
    contact = await opened.store.write(
        store_contacts.add,
        name=name,
        id_public=id_public,
        transport_public=transport_public(where.peer_id),
        addresses=(where.text,),
        ticket_secret=None,
        ticket_expires_s=None,
        now_ms=opened.clock.now_ms(),
    )
    opened.network.add(contact)
    return contact


async def list_(opened: Opened, request: Request[None]) -> list[dict[str, Any]]:
    """List the contacts by name, then those who are invited."""
    request.require_no_params()
    found = await opened.store.read(store_contacts.list_all)
    queued = await opened.store.read(store_entries.depths)
    unread = await opened.store.read(store_inbox.unread_counts)
    tags = await opened.store.read(store_tags.all_tags)
    rows = [
        {**_row(opened, contact, queued, unread), "tags": tags.get(contact.id, [])}
        for contact in found
    ]
    return rows + await invited(opened)


def _row(
    opened: Opened, contact: store_contacts.Contact, queued: dict[str, int], unread: dict[str, int]
) -> dict[str, Any]:
    peer = opened.network.peers.get(contact.id)
    publics = contact.transport_publics
    stands = obstacle(contact)
    return {
        "id": contact.id,
        "name": contact.name,
        "state": contact.state,
        "peer_id": peer_id(publics[0]) if publics else None,
        "verified": contact.verified_at_ms is not None,
        "last_seen": rfc3339(contact.last_seen_ms),
        "online": peer is not None and peer.online,
        "queued": queued.get(contact.id, 0),
        "unread": unread.get(contact.id, 0),
        "hint": None if stands is None else f"{stands.why}: {stands.hint}",
    }


class _Name(msgspec.Struct, forbid_unknown_fields=True):
    name: str


async def show(opened: Opened, request: Request[_Name]) -> dict[str, Any]:
    """Describe one contact, by name or id."""
    contact = await opened.store.read(store_contacts.find, request.params_as(_Name).name)
    queued = await opened.store.read(store_entries.depths)
    depth_bytes = await opened.store.read(store_entries.depth_bytes, contact.id)
    unread = await opened.store.read(store_inbox.unread_counts)
    counts = await opened.store.read(store_counts.count, contact.id)
    limit = await opened.store.read(store_limits.get, contact.id)
    usage = await opened.store.read(quota.usage, contact.id)
    peer = opened.network.peers.get(contact.id)
    session = peer.session if peer is not None else None
    rtt_s = session.connection.rtt_s if session else None
    statement, now_s = contact.statement, opened.clock.now_ms() // 1000
    row, its_past = _row(opened, contact, queued, unread), await past_with(opened, contact.id)
    return {
        **row,
        "tags": await opened.store.read(store_tags.tags_of, contact.id),
        "notes": contact.note,
        "addresses": list(opened.network.reach.where(contact)),
        "safety_number": safety_number(opened.me.id_public, contact.id_public),
        "verified_at": rfc3339(contact.verified_at_ms),
        "added": rfc3339(contact.added_ms),
        "keys": _keys(contact),
        "key_age": None if statement is None else now_s - statement.created_s,
        "path": session.connection.remote_address if session else None,
        "transport": session.connection.transport if session else None,
        "rtt_ms": None if rtt_s is None else round(rtt_s * 1000, 2),
        "queued_bytes": depth_bytes,
        "sent": counts.sent,
        "received": counts.received,
        "accept": contact.accept,
        "quota": usage.quota_bytes,
        "used": usage.bytes,
        "in_force": _in_force(opened, contact, usage),
        # What keeps a contact from getting anything comes first.
        **(its_past | {"hint": row["hint"] or its_past["hint"]}),
        "limits": limits.describe(limit),
        "went_back": rfc3339(contact.went_back_ms),
        "last_error": _last_error(contact, peer),
        "last_error_at": rfc3339(peer.last_error_ms if peer is not None else None),
    }


def _keys(contact: store_contacts.Contact) -> list[dict[str, Any]]:
    """Describe its keys. Those of a statement are as old as the newest one that has them says, at least."""
    statement = contact.statement
    added = rfc3339(contact.added_ms)
    stated = None if statement is None else rfc3339(statement.created_s * 1000)
    keys = [{"use": "identity", "type": "ed25519", "since": added}]
    if statement is not None:
        keys.append({"use": "encryption", "type": "x25519", "since": stated})
        keys += [
            {"use": "prekey", "type": "x25519", "since": rfc3339(prekey.created_s * 1000)}
            for prekey in statement.prekeys[:1]
        ]
    keys += [
        {"use": "transport", "type": "ed25519", "since": stated or added}
        for _ in contact.transport_publics[:1]
    ]
    return keys


def _in_force(
    opened: Opened, contact: store_contacts.Contact, usage: quota.Usage
) -> dict[str, Any]:
    """Return what holds for it, from its own settings or those for everybody."""
    storage = opened.services.config.storage
    own = contact.accept
    accept: int | str = storage.accept if own is None else int(own) if own.isdigit() else own
    return {
        "accept": accept,
        "quota": storage.quota if usage.quota_bytes is None else usage.quota_bytes,
    }


def _last_error(contact: store_contacts.Contact, peer: Peer | None) -> str | None:
    stands = obstacle(contact)
    if contact.state == "removed" and stands is not None:
        return stands.why
    return (peer.last_error if peer is not None else None) or contact.why


class _Remove(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    forget: bool = False


class _Edit(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    rename: str | None = None
    note: str | None = None
    addresses: list[str] | None = None
    accept: Bytes | str | None = None
    """Bytes, `ask`, `never`, or `default` for the general setting."""
    quota: Bytes | Literal["default"] | None = None
    tags: list[str] = []
    """To be added."""
    untag: list[str] = []


@whole
async def edit(opened: Opened, request: Request[_Edit]) -> dict[str, Any]:
    """Change our own settings of a contact."""
    params = request.params_as(_Edit)
    contact = await opened.store.read(store_contacts.find, params.name)
    accept = params.accept
    if isinstance(accept, str) and accept not in ("ask", "never", "default"):
        raise UsageError("accept is a number of bytes, ask, never or default")
    given = None if params.addresses is None else _given(contact, params.addresses)
    name = None if params.rename is None else contact_name(params.rename)
    add, drop = ([tag_name(tag) for tag in tags] for tags in (params.tags, params.untag))

    def work(db: apsw.Connection) -> store_contacts.Contact:
        if params.quota is not None:
            store_contacts.set_quota(
                db, contact.id, None if params.quota == "default" else params.quota
            )
        store_tags.change(db, contact.id, add=add, drop=drop)
        return store_contacts.edit(
            db,
            contact.id,
            name=name,
            note=params.note,
            accept=None if accept is None else str(accept),
            addresses=given,
        )

    changed = await opened.store.write(work)
    peer = opened.network.update(changed)
    if peer is not None:
        peer.dial_now()
    if params.accept is not None or params.quota is not None:
        # Offers of the contact that wait may be acceptable now.
        opened.transfers.offered(changed.id)
    return {"id": changed.id, "name": changed.name, "state": changed.state}


def _given(contact: store_contacts.Contact, texts: list[str]) -> tuple[str, ...]:
    """Return addresses in their stored form. Raises BadInputError for one that names another peer id."""
    parsed = [addresses.parse(text) for text in texts]
    known = peer_ids(contact)
    for address in parsed:
        if address.peer_id is not None and address.peer_id not in known:
            raise BadInputError(
                f"{address.peer_id} is not {contact.name}, who answers as {' or '.join(known)}",
                hint="leave out /p2p/PEER_ID, or give that of this contact",
            )
    return tuple(address.text for address in parsed)


@whole
async def remove(opened: Opened, request: Request[_Remove]) -> dict[str, Any]:
    """Remove a contact and what was queued for it. What it sent stays in the inbox, except with `forget`.

    With `forget`, the contact may have been removed before.
    """
    params = request.params_as(_Remove)
    read = opened.store.read
    if params.forget:
        contact_id = await read(store_contacts.id_of, params.name)
        name = opened.network.name_of(contact_id) or params.name
    else:
        contact = await read(store_contacts.find, params.name)
        contact_id, name = contact.id, contact.name
    if contact_id in opened.network.peers:
        await opened.network.remove(contact_id)
    if params.forget:
        await opened.network.forget(contact_id)
    return {"id": contact_id, "name": name}
