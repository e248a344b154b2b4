"""The progress of a command that writes or reads a file itself: to a person or a program, and not in a log."""

from __future__ import annotations

from typing import Self

from .progress import Progress
from .terminal import Terminal

__all__ = ["Counting"]


class Counting:
    """How many bytes are done."""

    def __init__(self, terminal: Terminal, what: str, name: str, total: int | None = None) -> None:
        """Count from 0; `total` is how many it will be, None if nobody knows."""
        self._progress = Progress(terminal)
        self._shows = terminal.can_draw() or terminal.json
        self._what = what
        self._name = name
        self.total = total
        self._done = 0

    def __enter__(self) -> Self:
        self._progress.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._progress.__exit__(*error)

    def more(self, count: int) -> None:
        """Note that so many more are done."""
        self._done += count
        if self._shows:
            self._progress.update(
                {
                    "id": self._what,
                    "name": self._name,
                    "state": "active",
                    "size": self.total,
                    "done_bytes": self._done,
                    "progress": self._done / self.total if self.total else 0.0,
                }
            )
