"""What HELLO says of the runs of two homes: it shows a home that was put back or copied (PROTOCOL.md, "Runs").

Each start of a node is a *run* of its home, with a number and an id drawn at random. A copy of a home has the runs that
the home had by then, and none of those that came later; so each knows which runs are its own.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from . import limits

__all__ = ["COPIED", "LIFE", "Life", "Run", "decode_life", "encode_life"]

LIFE: Final = "life"
"""Entry of a Proof's `ext`: the run of the sender's home, and the last run of the receiver's home that it knows."""
COPIED: Final = "copied"
"""Entry of a Receipt's `ext`: a run of your home has come back after the one that this Receipt names as outbox id."""
ID_BYTES: Final = 16
_RUN_BYTES: Final = 8 + ID_BYTES


class Run(NamedTuple):
    """One start of a node on a home."""

    number: int
    """From 1 upward."""
    id: bytes
    """16 random bytes."""

    def encode(self) -> bytes:
        """Return the run as it is sent and stored."""
        return self.number.to_bytes(8, "big") + self.id

    @classmethod
    def decode(cls, data: bytes) -> Run:
        """Take apart what `encode` has made."""
        return cls(int.from_bytes(data[:8], "big"), data[8:])


class Life(NamedTuple):
    """What one side says."""

    run: Run
    """The run that speaks."""
    yours: Run | None
    """The last run of the other side's home in a session with this one."""


def encode_life(life: Life) -> bytes:
    """Return the entry."""
    yours = bytes(_RUN_BYTES) if life.yours is None else life.yours.encode()
    return life.run.encode() + yours


def decode_life(data: bytes | None) -> Life | None:
    """Return what an entry says; None if there is none, or it is none of ours."""
    if data is None or len(data) != 2 * _RUN_BYTES:
        return None
    run, yours = Run.decode(data[:_RUN_BYTES]), Run.decode(data[_RUN_BYTES:])
    if not 0 < run.number <= limits.MAX_SEQ or yours.number > limits.MAX_SEQ:
        return None
    return Life(run, yours if yours.number else None)
