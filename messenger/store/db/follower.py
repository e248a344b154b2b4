"""What each commit has changed, read from the journal for whoever follows it; and the journal kept short meanwhile.

All of it happens in transactions that are under way anyway. Each statement costs the writer a wait for the interpreter,
so a commit that nobody follows has none of these, but for pruning now and then.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import apsw

from . import journal
from .journal import Transition

__all__ = ["Follower"]

PRUNE_COMMITS = 16
"""After how many commits one prunes the journal."""
TOLD_ROWS = 1024
"""The most changes that are told one by one; if there are more, whoever follows looks at everything."""


def _nobody(_: Sequence[Transition] | None) -> None:
    """Take no changes."""


class Follower:
    """Reads the changes of each transaction of the writer; `begin`, `read` and `committed` are called on its thread."""

    def __init__(self) -> None:
        self.followed: Callable[[], bool] = lambda: False
        """Returns whether anybody wants to be told, from any thread."""
        self.tell: Callable[[Sequence[Transition] | None], None] = _nobody
        """Takes the changes since those that it took last, on the loop, after the results of each commit. None stands
        for any: nobody followed when the commit began, or there are too many."""
        self.changes: list[Transition] | None = None
        """What is to be told of the last transaction, once it is committed."""
        self._following = False
        self._cursor: int | None = None
        """The number of the last change that was told, if that is known."""
        self._commits = 0

    def begin(self, db: apsw.Connection) -> None:
        """Note where the journal ends before the work of a transaction, and prune it if it is due."""
        if self._commits % PRUNE_COMMITS == 0:
            journal.prune(db, time.time_ns() // 1_000_000)
        self._commits += 1
        self._following = self.followed()
        if self._following and self._cursor is None:
            self._cursor = journal.newest(db)

    def read(self, db: apsw.Connection) -> None:
        """Read what the work of a transaction has changed, before it is committed."""
        self.changes = None
        if self._following and self._cursor is not None:
            changes = journal.after(db, self._cursor, TOLD_ROWS + 1)
            if len(changes) <= TOLD_ROWS:
                self.changes = changes
            else:
                self._cursor = None

    def committed(self) -> None:
        """Note that what was read is told now."""
        if self.changes:
            self._cursor = self.changes[-1].id
