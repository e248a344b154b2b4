"""What two homes say in `ext` about the past of a lane, when one of them may have been put back to an older state.

A link covers its message and all before it in the lane. So one number with its link shows whether two homes
remember the same (PROTOCOL.md, "A home that was put back").
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from . import limits
from .inner import LINK_BYTES

__all__ = [
    "AGAIN",
    "BACK",
    "CONFLICT",
    "EVEN",
    "HEARD",
    "MOST_EARLIER",
    "RENEWED",
    "TOPS",
    "WAS",
    "Earlier",
    "decode_tops",
    "decode_was",
    "encode_tops",
    "encode_was",
]

TOPS: Final = "tops"
"""Entry of a Proof's `ext`: of each lane in `have`, the highest number held (u64) and its link."""
WAS: Final = "was"
"""Entry of a Message's `ext`: the numbers under which it may have been received before it got this one."""
CONFLICT: Final = "conflict"
"""Entry of a Receipt's `ext`, from the receiver: a number came again with another message."""
RENEWED: Final = "renewed"
"""The same, from the sender: it goes on under a new outbox id, because its home was put back."""
AGAIN: Final = "again"
"""The same, from the sender: you acknowledged up to this Receipt's watermark; I send again what you lack."""
BACK: Final = "back"
"""The answer to that, if the receiver has found its home put back."""
EVEN: Final = "even"
"""The answer to `again` if nothing is missing, or nothing any longer."""
HEARD: Final = "heard"
"""The answer to `renewed`."""
MOST_EARLIER: Final = 3
"""The most numbers in a `was`, newest first: so many fit into the space reserved beside the longest text."""
_TOP_BYTES: Final = 8 + LINK_BYTES
_EARLIER_BYTES: Final = 16 + 1 + 8 + LINK_BYTES


class Earlier(NamedTuple):
    """A number that a message had."""

    outbox_id: bytes
    lane: int
    seq: int
    link: bytes


def encode_tops(tops: Sequence[tuple[int, bytes]]) -> bytes:
    """Return the entry for (highest number held, its link) of each lane, in the order of `have`."""
    return b"".join(seq.to_bytes(8, "big") + link for seq, link in tops)


def decode_tops(data: bytes, count: int) -> list[tuple[int, bytes]] | None:
    """Return what `encode_tops` was given for so many lanes; None if it is not that."""
    if len(data) != count * _TOP_BYTES:
        return None
    parts = [data[at : at + _TOP_BYTES] for at in range(0, len(data), _TOP_BYTES)]
    tops = [(int.from_bytes(part[:8], "big"), part[8:]) for part in parts]
    return tops if all(seq <= limits.MAX_SEQ for seq, _ in tops) else None


def encode_was(earlier: Sequence[Earlier]) -> bytes:
    """Return the entry for the numbers that a message had, the newest first."""
    return b"".join(
        bytes((*e.outbox_id, e.lane, *e.seq.to_bytes(8, "big"), *e.link))
        for e in earlier[:MOST_EARLIER]
    )


def decode_was(data: bytes) -> list[Earlier]:
    """Return the numbers that a message had; none if the entry is not one of ours."""
    if len(data) % _EARLIER_BYTES or len(data) > MOST_EARLIER * _EARLIER_BYTES:
        return []
    parts = [data[at : at + _EARLIER_BYTES] for at in range(0, len(data), _EARLIER_BYTES)]
    earlier = [Earlier(p[:16], p[16], int.from_bytes(p[17:25], "big"), p[25:]) for p in parts]
    return [e for e in earlier if e.lane <= 1 and e.seq <= limits.MAX_SEQ]
