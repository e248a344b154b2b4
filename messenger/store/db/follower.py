"""Reads from the journal what each commit has changed, for whoever follows it, and keeps the journal short.

This adds statements to transactions that take place anyway. Each statement makes the writer wait for the interpreter,
so if nobody follows, a commit has no such statement, except that every sixteenth prunes the journal.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import apsw

from . import journal
from .journal import Transition

__all__ = ["Follower"]

PRUNE_COMMITS = 16
"""One commit in so many prunes the journal."""
TOLD_ROWS = 1024
"""The most changes of one commit that are passed on one by one. If there are more, the listener looks at everything."""


def _nobody(_: Sequence[Transition] | None) -> None:
    """Take no changes."""


class Follower:
    """Reads the changes of each transaction of the writer; `begin`, `read` and `committed` are called on its thread."""

    def __init__(self) -> None:
        self.followed: Callable[[], bool] = lambda: False
        """Returns whether anybody follows; called from any thread."""
        self.tell: Callable[[Sequence[Transition] | None], None] = _nobody
        """Called on the loop after the results of each commit, with the changes since the last call. None means that
        anything may have changed: nobody followed when the commit began, or there are too many changes."""
        self.changes: list[Transition] | None = None
        """The argument of `tell` for the last transaction, once that is committed."""
        self._following = False
        self._cursor: int | None = None
        """The number of the last change that was passed on, if that is known."""
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
        """Note that the changes that were read will be passed on."""
        if self.changes:
            self._cursor = self.changes[-1].id
