"""A message of the inbox, as the command line, a bot and a hook are given it."""

from __future__ import annotations

from typing import Any

from peerpost.store.tables.inbox import Item

from .clock import rfc3339
from .cursors import cursor_of

__all__ = ["described"]


def described(item: Item, contact: str | None) -> dict[str, Any]:
    """Return the row of `inbox list`. The contact's name is its present or former one; without one it is the id."""
    return {
        "id": item.id,
        "contact": contact or item.contact_id,
        "kind": item.kind,
        "size": item.size,
        "received_at": rfc3339(item.received_ms),
        "sent_at": rfc3339(item.sent_ms),
        "unread": item.unread,
        "gap": item.gap,
        "preview": item.preview,
        "name": item.name,
        "directory": item.files is not None,
        "files": item.files,
        "path": item.plain_path,
        "imported": item.imported,
        "cursor": cursor_of(item.row_id),
    }
