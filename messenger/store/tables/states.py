"""The states of a message that we send and of a transfer: which may follow which, and which have not ended.

docs/architecture.md draws both tables. The indexes of the schema have the conditions of the open states word for word,
because SQLite uses an index only where it finds the same condition.
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "ENTRY_NEXT",
    "ENTRY_OPEN",
    "OPEN_STATES",
    "TRANSFER_BEFORE",
    "TRANSFER_NEXT",
    "TRANSFER_OPEN",
]

_UNDELIVERED: Final = ("cancelled", "refused", "expired")
ENTRY_NEXT: Final[dict[str, tuple[str, ...]]] = {
    "queued": ("sent", "delivered", *_UNDELIVERED),
    "sent": ("delivered", *_UNDELIVERED),
    "delivered": (),
    "cancelled": (),
    "refused": (),
    "expired": (),
}
"""Of an entry of the outbox, while we have its contact. After that, only its number counts: it is `cancelled`."""

_ENDS: Final = ("done", "failed", "cancelled")
TRANSFER_NEXT: Final[dict[str, tuple[str, ...]]] = {
    "offered": ("asking", "active", "paused", *_ENDS),
    "asking": ("offered", "active", "failed", "cancelled"),
    "active": ("asking", "paused", *_ENDS),
    "paused": ("offered", "asking", "active", *_ENDS),
    "done": (),
    "failed": (),
    "cancelled": (),
}
"""Of a transfer, in either direction: `asking` is only incoming, and only outgoing is it paused before it began."""

OPEN_STATES: Final = tuple(state for state, following in TRANSFER_NEXT.items() if following)
"""Of a transfer."""
TRANSFER_OPEN: Final = f"state IN {OPEN_STATES}"
_OPEN_ENTRIES: Final = tuple(state for state, following in ENTRY_NEXT.items() if following)
ENTRY_OPEN: Final = f"state IN {_OPEN_ENTRIES}"


def _before(state: str) -> str:
    sources = [s for s in OPEN_STATES if s == state or state in TRANSFER_NEXT[s]]
    return f"state IN {tuple(sources)}"


TRANSFER_BEFORE: Final = {state: _before(state) for state in TRANSFER_NEXT}
"""The condition that a transfer may go to a state: it is in one before it, or in an open one that is the same."""
