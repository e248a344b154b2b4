"""In which states a transfer and an entry of the outbox have not ended, for Python and for SQL.

The indexes of the schema have the same conditions word for word: SQLite uses one only where it finds its own.
"""

from __future__ import annotations

from typing import Final

__all__ = ["ENTRY_OPEN", "OPEN_STATES", "TRANSFER_OPEN"]

OPEN_STATES: Final = ("offered", "asking", "active", "paused")
"""Of a transfer."""
TRANSFER_OPEN: Final = f"state IN {OPEN_STATES}"
ENTRY_OPEN: Final = "state IN ('queued', 'sent')"
