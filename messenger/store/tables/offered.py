"""How many files a contact is offered at once. The others wait in our outbox, where they are safe."""

from __future__ import annotations

from typing import Final, Protocol, TypeVar

import apsw

from .states import ENTRY_OPEN

__all__ = ["MAX_OFFERED", "paced"]

MAX_OFFERED: Final = 256
"""How many files may be offered to a contact without having ended. A receiver takes four times as many offers."""


class _Entry(Protocol):
    @property
    def file_id(self) -> bytes | None: ...

    @property
    def state(self) -> str: ...


E = TypeVar("E", bound=_Entry)


def paced(db: apsw.Connection, contact_id: str, after_row_id: int, entries: list[E]) -> list[E]:
    """Return the entries before the first one that would offer one file too many.

    An entry that was sent before is sent again in any case, because it is counted already.
    """
    if not any(entry.file_id is not None and entry.state == "queued" for entry in entries):
        return entries
    query = (
        "SELECT count(*) FROM outbox WHERE contact_id = ? AND file_id IS NOT NULL"  # noqa: S608
        f" AND {ENTRY_OPEN} AND (state = 'sent' OR row_id <= ?)"
    )
    offered: int = db.execute(query, (contact_id, after_row_id)).get
    for at, entry in enumerate(entries):
        if entry.file_id is not None and entry.state == "queued":
            offered += 1
            if offered > MAX_OFFERED:
                return entries[:at]
    return entries
