"""The progress of files on stderr, in a form that suits the reader.

On a terminal it is a bar for each file; in a pipe or a log, a line now and then; with --json, an object; with --quiet,
nothing. The figures come from the node, which knows the rate over the last seconds even if the command has just begun.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

from .bar import BarPart, line
from .safe import safe
from .terminal import Terminal

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

    from .app import App

__all__ = ["Progress", "in_words", "say_asking", "waits_for_somebody"]

WORTH_DRAWING_BYTES = 1 << 20
"""A smaller file has arrived before anybody could read a bar, and loading Rich takes 80 ms."""
LINE_S = 5.0
"""The time between two plain lines about a file, and before the first one."""
OBJECT_S = 1.0
"""The same for objects."""
LABEL_CHARS = 28
_KEYS = (
    *("id", "name", "state", "size", "done_bytes", "progress", "rate_bytes_s", "eta_s"),
    *("error", "last_error"),
)
_MOVING = frozenset({"queued", "sent", "offered", "asking", "active", "paused"})


class Progress:
    """Reports the progress of the files of one command."""

    def __init__(self, terminal: Terminal, *, now_s: Callable[[], float] = time.monotonic) -> None:
        self._terminal = terminal
        self._now_s = now_s
        self._began_s = now_s()
        self._said_s: dict[str, float] = {}
        self._bars: Bars | None = None
        self._tasks: dict[str, TaskID] = {}
        self._asking: set[str] = set()
        """The files of which it was already said that they wait to be accepted."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bars is not None:
            self._bars.stop()

    def update(self, row: Mapping[str, Any]) -> None:
        """Take a row of `send-net`, `queue` or `transfers`."""
        if row.get("kind") == "text" or self._terminal.quiet:
            return
        self.tell_asking(row)
        if self._terminal.can_draw():
            self._draw(row)
        elif row.get("state") in _MOVING:
            self._say(row)

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Print something else meanwhile."""
        if self._bars is None:
            yield
            return
        bars, self._bars = self._bars, None
        bars.stop()
        try:
            yield
        finally:
            # The old bars, if started again, would move up as many lines as they had, over what was just printed.
            self._bars = _new_bars(self._terminal)
            self._tasks = {
                id_: self._bars.add_task(task.description, **task.fields)
                for id_, task_id in self._tasks.items()
                for task in bars.tasks
                if task.id == task_id
            }
            self._bars.start()

    def tell_asking(self, row: Mapping[str, Any]) -> None:
        """Say at once that a file waits to be accepted: until somebody does that, nothing moves."""
        id_ = str(row["id"])
        if not _asks(row):
            self._asking.discard(id_)
        elif id_ not in self._asking:
            self._asking.add(id_)
            with self.aside():
                if self._terminal.json:
                    found = {key: row[key] for key in _KEYS if key in row}
                    self._terminal.event({"event": "asking", **found})
                else:
                    self._terminal.note(f"{_label(row)}: {_why(row)}")

    # Lines and objects

    def _say(self, row: Mapping[str, Any]) -> None:
        as_json = self._terminal.json
        now_s, id_ = self._now_s(), str(row["id"])
        if now_s - self._said_s.get(id_, self._began_s) < (OBJECT_S if as_json else LINE_S):
            return
        self._said_s[id_] = now_s
        if as_json:
            found = {key: row[key] for key in _KEYS if key in row}
            self._terminal.event({"event": "progress", **found})
        else:
            self._terminal.note(f"{_label(row)}: {in_words(row)}")

    # Bars

    def _draw(self, row: Mapping[str, Any]) -> None:
        id_ = str(row["id"])
        size = row.get("size")
        if id_ not in self._tasks:
            moving = row.get("state") in _MOVING
            if not moving or (size is not None and size < WORTH_DRAWING_BYTES):
                return
            self._bars = self._bars or _new_bars(self._terminal)
            self._tasks[id_] = self._bars.add_task(safe(_label(row)), share=None, parts=())
            self._bars.start()
        if self._bars is not None:
            # The command to run was printed beside the bars, where it is not cut.
            parts = [BarPart("asking")] if _asks(row) else _parts(row)
            self._bars.update(
                self._tasks[id_],
                share=_share(row),
                parts=[BarPart(safe(text), dispensable) for text, dispensable in parts],
            )


def _share(row: Mapping[str, Any]) -> float | None:
    """Return how much of a file is there: 1 only if it is whole, None if its size is not known."""
    if row.get("state") in ("done", "delivered"):
        return 1.0
    share = row.get("progress")
    # An empty file has a progress of 1 from the start, but the bar must not be full before it has arrived.
    return None if share is None or not row.get("size") else float(share)


def in_words(row: Mapping[str, Any]) -> str:
    """Return how far a file is: share, amount, rate and time left, or why it does not move."""
    return ", ".join(part.text for part in _parts(row))


def _parts(row: Mapping[str, Any]) -> list[BarPart]:
    from peerpost.client.units import format_duration, format_size

    state, size, done = str(row.get("state")), row.get("size"), row.get("done_bytes")
    if state in _MOVING and done is None and row.get("read_bytes"):
        return [BarPart(state), BarPart(f"{format_size(row['read_bytes'])} read", 1)]
    if state not in _MOVING or done is None:
        why = _why(row)
        return [BarPart(state), *([BarPart(why)] if state in _MOVING and why else [])]
    parts = []
    if row.get("progress") is not None:
        parts.append(BarPart(f"{int(100 * row['progress'])} %"))
    amount = format_size(done)
    # If the share is known, the amount adds little.
    parts.append(
        BarPart(amount) if size is None else BarPart(f"{amount} of {format_size(size)}", 3)
    )
    if state in ("paused", "asking") or waits_for_somebody(row):
        parts.append(BarPart(_why(row) or state))
    elif row.get("rate_bytes_s"):
        parts.append(BarPart(f"{format_size(row['rate_bytes_s'])}/s", 2))
        if row.get("eta_s"):
            parts.append(BarPart(f"{format_duration(row['eta_s'])} left", 1))
    return parts


def _why(row: Mapping[str, Any]) -> str:
    """Return why a file does not move, as far as that is known."""
    return str(row.get("error") or row.get("last_error") or "")


def waits_for_somebody(row: Mapping[str, Any]) -> bool:
    """Return whether the row of a message says that its file waits for somebody."""
    return str(row.get("last_error")).startswith(("paused:", "asking:"))


def _asks(row: Mapping[str, Any]) -> bool:
    return row.get("state") == "asking" or str(row.get("last_error")).startswith("asking:")


def say_asking(app: App, contact: str | None) -> None:
    """Say below the inbox which files wait to be accepted, as notes or as events."""
    from peerpost.client.units import format_size

    if app.terminal.quiet:
        return
    for row in app.call("transfers.asking", {} if contact is None else {"contact": contact}):
        if app.terminal.json:
            app.terminal.event({"event": "asking", **row})
        else:
            size = "a stream" if row["size"] is None else format_size(row["size"])
            what = f"{row['name'] or 'a text'} ({size}) from {row['contact'] or 'somebody'}"
            app.terminal.note(
                f"{what} waits for you to accept it: peerpost transfers accept {row['id']}"
            )


def _label(row: Mapping[str, Any]) -> str:
    label = str(row.get("name") or row["id"])
    return label if len(label) <= LABEL_CHARS else f"{label[: LABEL_CHARS - 1]}…"


def _new_bars(terminal: Terminal) -> Bars:
    import sys

    from rich.console import Console
    from rich.progress import Progress, ProgressColumn, Task
    from rich.text import Text

    console = Console(stderr=True, no_color=not terminal.colored(sys.stderr), highlight=False)

    class Line(ProgressColumn):
        """The whole line in one column, because Rich would share out the width by position and not by importance."""

        def render(self, task: Task) -> Text:
            fields, ascii_only = task.fields, not console.encoding.startswith("utf")
            shown = line(
                task.description,
                fields["share"],
                fields["parts"],
                console.width,
                ascii_only=ascii_only,
            )
            return Text(shown, no_wrap=True, overflow="crop")

    return Progress(Line(), console=console, expand=True, transient=True)
