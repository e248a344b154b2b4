"""`limits show|set|test`: rate limits, changed while the node runs."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import msgspec

from peerpost.client.rpc import Request
from peerpost.errors import UnavailableError, UsageError
from peerpost.node.session.filler import fill
from peerpost.store.tables import contacts as store_contacts
from peerpost.store.tables import limits as store_limits

from .numbers import Bytes, Duration, Rate
from .whole import whole

if TYPE_CHECKING:
    from peerpost.node.opened import Opened

__all__ = ["describe", "set_", "show", "test"]

MAX_TEST_S = 60
_UNSET = msgspec.UNSET
_Number = Rate | None | msgspec.UnsetType


class _Show(msgspec.Struct, forbid_unknown_fields=True):
    contact: str | None = None


class _Set(msgspec.Struct, forbid_unknown_fields=True):
    """A number sets a limit, null removes it, and a limit that is not named stays."""

    contact: str | None = None
    up_bytes_s: _Number = _UNSET
    down_bytes_s: _Number = _UNSET
    messages_s: _Number = _UNSET
    burst_bytes: _Number = _UNSET


class _Test(msgspec.Struct, forbid_unknown_fields=True):
    size: Bytes | None = None
    contact: str | None = None
    seconds: Duration = 5.0


async def show(opened: Opened, request: Request[_Show]) -> list[dict[str, Any]]:
    """List the limits in force, everybody's first; or those of one contact."""
    name = request.params_as(_Show).contact
    if name is not None:
        contact_id = await _contact_id(opened, name)
        return [_shown(opened, await opened.store.read(store_limits.get, contact_id), name)]
    names = {
        contact.id: contact.name for contact in await opened.store.read(store_contacts.list_all)
    }
    table = await opened.store.read(store_limits.list_all)
    if not any(row.contact_id is None for row in table):
        table.insert(0, store_limits.RateLimit())
    return [_shown(opened, row, names.get(row.contact_id or "")) for row in table]


@whole
async def set_(opened: Opened, request: Request[_Set]) -> dict[str, Any]:
    """Change limits from now on. Raises UsageError for what is no rate."""
    params = request.params_as(_Set)
    changes = {
        name: value
        for name in ("up_bytes_s", "down_bytes_s", "messages_s", "burst_bytes")
        if (value := getattr(params, name)) is not _UNSET
    }
    contact_id = await _contact_id(opened, params.contact)
    row = await opened.store.read(store_limits.get, contact_id)
    row = dataclasses.replace(row, **changes)
    await opened.store.write(store_limits.put, row)
    opened.services.limits.change(row)
    return _shown(opened, row, params.contact)


async def test(opened: Opened, request: Request[_Test]) -> dict[str, Any]:
    """Return how long a number of bytes takes under the limits in force; or measure what a contact really gets.

    Raises UsageError if neither is asked for, UnavailableError if the contact is away.
    """
    params = request.params_as(_Test)
    contact_id = await _contact_id(opened, params.contact)
    table = [opened.services.limits.everybody]
    if contact_id is not None:
        table.append(await opened.store.read(store_limits.get, contact_id))
    up, down = (_least(table, name) for name in ("up_bytes_s", "down_bytes_s"))
    if params.size is not None:
        return {
            "contact": params.contact,
            "size": params.size,
            "up_s": None if up is None else round(params.size / up, 3),
            "down_s": None if down is None else round(params.size / down, 3),
        }
    if contact_id is None or not 0 < params.seconds <= MAX_TEST_S:
        raise UsageError(
            f"name a size, or a contact and up to {MAX_TEST_S} seconds",
            hint="peerpost limits test --size 1GB, or peerpost limits test --contact NAME",
        )
    peer = opened.network.peers[contact_id]
    if peer.session is None:
        raise UnavailableError(f"{params.contact} is not online", hint="peerpost contacts list")
    limit = opened.services.limits.traffic(contact_id).up
    sent, seconds = await fill(peer.session, limit, up, params.seconds)
    return {
        "contact": params.contact,
        "seconds": round(seconds, 3),
        "sent_bytes": sent,
        "measured_bytes_s": round(sent / seconds),
        "limit_bytes_s": up,
    }


def describe(row: store_limits.RateLimit) -> dict[str, Any]:
    """Return the limits of a row; null means no limit."""
    return {
        "up_bytes_s": row.up_bytes_s,
        "down_bytes_s": row.down_bytes_s,
        "messages_s": row.messages_s,
        "burst_bytes": row.burst_bytes,
    }


def _named(row: store_limits.RateLimit, name: str | None) -> dict[str, Any]:
    """Return a row with the name of its contact; null in the row for everybody."""
    return {"contact": name, **describe(row)}


def _shown(opened: Opened, row: store_limits.RateLimit, name: str | None) -> dict[str, Any]:
    """Return a row and what has passed under it since the node started."""
    limits = opened.services.limits
    window = None
    if row.contact_id is None:
        row, window = limits.everybody, limits.window
    up, down = limits.passed_bytes(row.contact_id)
    return {
        **_named(row, name),
        "schedule": None if window is None else window.text,
        "up_bytes": up,
        "down_bytes": down,
    }


def _least(table: list[store_limits.RateLimit], name: str) -> int | None:
    return min((rate for row in table if (rate := getattr(row, name)) is not None), default=None)


async def _contact_id(opened: Opened, name: str | None) -> str | None:
    if name is None:
        return None
    return (await opened.store.read(store_contacts.find, name)).id
