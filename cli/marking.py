"""Marks a message as read, after it was shown or saved."""

from __future__ import annotations

from peerpost.errors import PeerpostError

from .app import App

__all__ = ["mark_read"]


def mark_read(app: App, id_: str) -> None:
    """Mark a message as read. If that cannot be stored, it stays unread and stderr says so."""
    try:
        app.call("inbox.mark", {"ids": [id_], "unread": False})
    except PeerpostError as error:
        app.terminal.note(f"{id_} stays unread: {error.message}")
