"""The words for a file that waits for its receiver to accept: on the wire, a Pause whose reason begins `asking:`."""

from __future__ import annotations

from peerpost.store.tables import transfers as rows

__all__ = ["asked_here", "asks_there", "waits", "waits_in_words"]

_ASKING = "asking:"
_RECEIVER = "the receiver"
"""What the receiver calls itself; the sender replaces it by the name of the contact."""


def asks_there(row: rows.Transfer) -> str:
    """Return what the sender reads about a file that our user is asked about: which command to run, and where."""
    return f"{_ASKING} {_RECEIVER} has to accept it first, and runs: peerpost transfers accept {row.id}"


def asked_here(row: rows.Transfer) -> str:
    """Return what our user reads about it."""
    cause = row.error or "larger than what is taken without asking"
    return f"{cause}: peerpost transfers accept {row.id} (or reject)"


def waits(reason: str) -> str:
    """Return the state of a file that the receiver has paused for a reason: `asking` or `paused`."""
    return "asking" if reason.startswith(_ASKING) else "paused"


def waits_in_words(reason: str, contact: str | None) -> str:
    """Return why a contact has paused a file, as `last_error` says it."""
    if waits(reason) == "asking":
        return reason.replace(_RECEIVER, contact or _RECEIVER, 1)
    return f"paused: {reason or 'by the other side'}"
