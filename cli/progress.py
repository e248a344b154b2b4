"""How far a transfer is, drawn on stderr for a person; nothing anywhere else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

from .terminal import Terminal, safe

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

__all__ = ["Progress"]

WORTH_DRAWING_BYTES = 1 << 20
"""Less than this is over before a bar is read, and Rich takes 80 ms to load."""


class Progress:
    """A bar for all of a command's files together."""

    def __init__(self, terminal: Terminal, total_bytes: int) -> None:
        self._total = total_bytes
        self._done: dict[str, int] = {}
        self._bar: Bar | None = None
        self._task: TaskID | None = None
        self._wanted = terminal.can_draw() and total_bytes >= WORTH_DRAWING_BYTES

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def update(self, row: dict[str, Any]) -> None:
        """Take a queue entry: draw how much of it the other side has."""
        if not self._wanted:
            return
        size = int(row.get("size") or 0)
        share = row.get("progress")
        done = size if row.get("state") == "delivered" else int(size * float(share or 0))
        self._done[str(row["id"])] = done
        bar, task = self._drawn(str(row.get("name") or row["id"]))
        bar.update(task, completed=sum(self._done.values()))

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Print something else meanwhile."""
        if self._bar is None:
            yield
            return
        self._bar.stop()
        yield
        self._bar.start()

    def _drawn(self, label: str) -> tuple[Bar, TaskID]:
        if self._bar is None or self._task is None:
            from rich.console import Console
            from rich.markup import escape
            from rich.progress import (
                BarColumn,
                DownloadColumn,
                Progress,
                TextColumn,
                TimeRemainingColumn,
                TransferSpeedColumn,
            )

            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                DownloadColumn(),
                TransferSpeedColumn(),
                TimeRemainingColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._task = self._bar.add_task(escape(safe(label)[:40]), total=self._total)
            self._bar.start()
        return self._bar, self._task
