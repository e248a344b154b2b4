"""Which transfers the user may still decide on, and the message that one was given up."""

from __future__ import annotations

from peerpost.errors import UsageError
from peerpost.protocol.transfer import clip_reason
from peerpost.store.tables import transfers as rows
from peerpost.wire import inner as wire

__all__ = ["cancel_of", "require_asking", "require_open"]


def cancel_of(file_id: bytes, reason: str) -> bytes:
    """Return the message that a file was given up."""
    return wire.encode(wire.Cancel(file_id=file_id, reason=clip_reason(reason)))


def require_open(row: rows.Transfer) -> None:
    """Raise UsageError if a transfer has ended."""
    if row.state not in rows.OPEN_STATES:
        raise UsageError(
            f"transfer {row.id} is {row.state} already", hint="see: peerpost transfers list"
        )


def require_asking(row: rows.Transfer) -> None:
    """Raise UsageError if there is nothing to accept."""
    if not row.incoming or row.state not in ("offered", "asking"):
        raise UsageError(
            f"transfer {row.id} is {row.state}: there is nothing to decide",
            hint="see: peerpost transfers list",
        )
