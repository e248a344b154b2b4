"""Which node holds a home, for a command that finds no control socket there."""

from __future__ import annotations

import os
from dataclasses import dataclass

from peerpost.system import is_locked, open_plain
from peerpost.system.processes import ProcessMark

from .paths import HomePaths

__all__ = ["Holder", "holder_of"]

_READ_BYTES = 512


@dataclass(frozen=True, slots=True)
class Holder:
    """The node that runs on a home."""

    mark: ProcessMark
    is_here: bool
    """Whether it is a process of this machine and this container, so that it may be named and signalled."""

    @property
    def pid(self) -> int | None:
        """Its process id, if that means the same process here."""
        return self.mark.pid if self.is_here else None


def holder_of(home: str | os.PathLike[str]) -> Holder | None:
    """Return the node that holds a home, from what it wrote into the lock; None if none does or it is not known."""
    try:
        with open_plain(HomePaths(home).lock) as lock:
            mark = ProcessMark.parse(lock.read(_READ_BYTES).decode(errors="replace"))
            if mark is None:
                return None
            if mark.runs:
                return Holder(mark, is_here=True)
            # For a process of another machine or container, only the lock itself tells whether it still runs.
            return (
                Holder(mark, is_here=False)
                if not mark.is_here and is_locked(lock.fileno())
                else None
            )
    except OSError:
        return None
