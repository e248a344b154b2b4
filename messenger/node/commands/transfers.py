"""`transfers list|show|accept|reject`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from peerpost.store import transfers as rows

from ..clock import rfc3339
from ..rpc import Request

if TYPE_CHECKING:
    from ..node import Node, Opened

__all__ = ["accept", "list_", "reject", "show"]


class _List(msgspec.Struct, forbid_unknown_fields=True):
    limit: int = 1000


class _Id(msgspec.Struct, forbid_unknown_fields=True):
    id: str


async def list_(node: Node, request: Request) -> list[dict[str, Any]]:
    """List files on their way and arrived, newest first."""
    opened = node.opened()
    found = await opened.store.read(rows.list_transfers, request.params_as(_List).limit)
    return [_describe(opened, row) for row in found]


async def show(node: Node, request: Request) -> dict[str, Any]:
    """Describe one transfer by id or its beginning."""
    opened = node.opened()
    row = await opened.store.read(rows.find, request.params_as(_Id).id)
    return _describe(opened, row)


async def accept(node: Node, request: Request) -> dict[str, Any]:
    """Accept a file that was too large to be taken without asking."""
    opened = node.opened()
    return _describe(opened, await opened.transfers.accept(request.params_as(_Id).id))


async def reject(node: Node, request: Request) -> dict[str, Any]:
    """Refuse a file, or give up one that is coming in."""
    opened = node.opened()
    return _describe(opened, await opened.transfers.reject(request.params_as(_Id).id))


def _describe(opened: Opened, row: rows.Transfer) -> dict[str, Any]:
    peer = opened.network.peers.get(row.contact_id)
    done_bytes = opened.transfers.received_bytes(row) if row.incoming else None
    progress = opened.transfers.progress(row.contact_id, row.file_id)
    if done_bytes is not None and row.size:
        progress = done_bytes / row.size
    return {
        "id": row.id,
        "contact": peer.contact.name if peer is not None else None,
        "direction": "in" if row.incoming else "out",
        "name": row.name,
        "size": row.size if row.finish is None else row.finish.size,
        "state": row.state,
        "progress": 1.0 if row.state == "done" else progress,
        "error": row.error,
        "created": rfc3339(row.created_ms),
    }
