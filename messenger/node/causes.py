"""The words for a failure, wherever somebody reads why something has ended or waits."""

from __future__ import annotations

from peerpost.errors import PeerpostError

__all__ = ["cause_of"]


def cause_of(error: BaseException) -> str:
    """Return the message of an error of ours; of any other error, its type and text."""
    return error.message if isinstance(error, PeerpostError) else f"internal error: {error!r}"
