"""That a message was read: noted once it is shown or saved, and not before."""

from __future__ import annotations

from peerpost.errors import PeerpostError

from .app import App

__all__ = ["mark_read"]


def mark_read(app: App, id_: str) -> None:
    """Note that a message was read. Where that cannot be kept it stays unread, and stderr says so."""
    try:
        app.call("inbox.mark", {"ids": [id_], "unread": False})
    except PeerpostError as error:
        app.terminal.note(f"{id_} stays unread: {error.message}")
