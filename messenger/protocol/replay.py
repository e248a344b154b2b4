"""Refuse envelopes that come twice over one stream (PROTOCOL.md, "Replay within a connection").

A stream delivers in order and a sender numbers the envelopes of an epoch upwards, so an honest stream never
shows a number again nor returns to an epoch that it left. A hostile transport that replays breaks that rule.
Replays across connections fail earlier: the recipient's key of a connection lives only as long as it does.
"""

from __future__ import annotations

from peerpost.errors import ProtocolError

__all__ = ["MAX_EPOCHS", "ReplayGuard"]

MAX_EPOCHS = 1024
"""Epochs one stream may open: at one an hour this is six weeks of one connection."""


class ReplayGuard:
    """The epochs and the last number seen on one stream."""

    __slots__ = ("_epoch", "_last", "_seen")

    def __init__(self) -> None:
        self._epoch: bytes | None = None
        self._last = -1
        self._seen: set[bytes] = set()

    def accept(self, epoch: bytes, n: int) -> None:
        """Note envelope n of epoch. Raises ProtocolError if it came before."""
        if epoch == self._epoch:
            if n <= self._last:
                raise ProtocolError("an envelope came twice")
        elif epoch in self._seen or len(self._seen) >= MAX_EPOCHS:
            raise ProtocolError("an epoch came back, or too many were opened")
        else:
            self._seen.add(epoch)
            self._epoch = epoch
        self._last = n
