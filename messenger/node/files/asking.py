"""The words for a file that waits for its receiver to accept: on the wire, a Pause whose reason begins `asking:`."""

from __future__ import annotations

from peerpost.store.tables import transfers as rows

__all__ = ["asked_here", "asks_there", "waits", "waits_in_words"]

_ASKING = "asking:"


def asks_there(row: rows.Transfer) -> str:
    """Return what the sender reads about a file that our user is asked about: which command to run, and where."""
    return f"{_ASKING} it waits to be taken by the receiver; to run there: peerpost transfers accept {row.id}"


def asked_here(row: rows.Transfer) -> str:
    """Return what our user reads about it."""
    cause = row.error or "larger than what is taken without asking"
    return f"{cause}: peerpost transfers accept {row.id} (or reject)"


def waits(reason: str) -> str:
    """Return the state of a file that the receiver has paused for a reason: `asking` or `paused`."""
    return "asking" if reason.startswith(_ASKING) else "paused"


def waits_in_words(reason: str) -> str:
    """Return why the receiver has paused a file, as `last_error` says it."""
    if waits(reason) == "asking":
        return reason
    return f"paused: {reason or 'by the other side'}"
