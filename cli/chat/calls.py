"""What a chat asks the node: each a call that waits for its answer, for a thread that may wait."""

from __future__ import annotations

import stat
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from peerpost.client.ask import call, connect
from peerpost.client.connection import UnansweredError, UnreadError
from peerpost.errors import NoInputError, UsageError

from ..app import App
from ..outgoing import at_hand, file_to_send
from ..safe import SafeText
from ..saving import Saving
from ..terminal import Terminal
from .conversation import PAGE_ROWS

if TYPE_CHECKING:
    from collections.abc import Callable

    from peerpost.client.connection import NodeConnection

__all__ = ["NO_ANSWER", "Calls", "SilentApp"]

T = TypeVar("T")

_SHORT_BYTES = 60 << 10
"""A text up to this size is asked for with its page; a longer one once somebody wants to read it."""
NO_ANSWER = "The node is stopped, or too busy to answer; waiting for it"
READ_CHARS = 256 << 10
"""How much of a long text is shown at once."""
_TRIES, _PAUSE_S = 4, 0.2
_FOUND = 200
"""How many hits of a search are shown."""


class _Gathering(Terminal):
    """What would be printed, as lines: the screen, or what reads the lines aloud, belongs to somebody else."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def _data(self, *parts: SafeText) -> None:
        self.lines.append("".join(parts))

    _say = _data

    def can_ask(self) -> bool:
        return False

    def can_draw(self) -> bool:
        return False


class SilentApp(App):
    """The options of the command that has begun the chat, for calls that neither print nor ask."""

    def __init__(self, app: App, on_wait: Callable[[], object]) -> None:
        super().__init__()
        self.terminal: _Gathering = _Gathering()
        self.given_home, self.spawn = app.given_home, app.spawn
        self.verbose, self.log_level, self.log_format = app.verbose, app.log_level, app.log_format
        self._on_wait = on_wait

    def unlocks(self, node: NodeConnection) -> bool:  # noqa: ARG002 - App's
        """Leave the home locked: whoever locked it did not ask the chat."""
        return False

    def waits(self, pid: int | None) -> None:  # noqa: ARG002 - App's
        """Tell that the node does not answer."""
        self._on_wait()

    def said(self) -> str:
        """Return what was printed since, as one text."""
        lines, self.terminal.lines = self.terminal.lines, []
        return "\n".join(lines)


def _as_often_as_needed(work: Callable[[], T]) -> T:
    """Do something that may be repeated, again where a node ends meanwhile."""
    for tried in range(_TRIES):
        try:
            return work()
        except (UnreadError, UnansweredError):
            if tried == _TRIES - 1:
                raise
            time.sleep(_PAUSE_S)
    raise AssertionError("the last try returns or raises")


class Calls:
    """The node of a home. Every call raises the PeerpostError that keeps it from being done."""

    def __init__(self, app: App, on_wait: Callable[[], object] = lambda: None) -> None:
        """Take the options in force, and what to tell when the node does not answer at all."""
        self.app = SilentApp(app, on_wait)

    def ask(self, method: str, **params: Any) -> Any:
        """Ask, leaving out what is None."""
        return self.app.call(method, {k: v for k, v in params.items() if v is not None})

    def connect(self) -> NodeConnection:
        """Return a connection to the node, which is started where none runs."""
        return connect(self.app.home, spawn=self.app.spawn, node_args=self.app.node_args())

    # Conversations

    def page(
        self, contact_id: str, *, incoming: bool, after: int | None, count: int = PAGE_ROWS
    ) -> tuple[list[dict[str, Any]], bool]:
        """Return the next rows of one side, newest first, with the bodies of texts; and whether they are the last."""
        method = "inbox.list" if incoming else "sent.list"
        place = None if after is None else str(after)
        rows: list[dict[str, Any]] = self.ask(method, contact=contact_id, limit=count, after=place)
        shown = _as_often_as_needed(lambda: self._with_bodies(rows, incoming=incoming))
        return shown, len(rows) < count

    def newest_place(self) -> str:
        """Return the place of the newest message in the inbox."""
        rows = self.ask("inbox.list", limit=1)
        return str(rows[0]["cursor"]) if rows else "0"

    def _with_bodies(
        self, rows: Sequence[dict[str, Any]], *, incoming: bool
    ) -> list[dict[str, Any]]:
        """Ask for the texts all at once, over one connection."""
        wanted = [
            row for row in rows if row["kind"] == "text" and (row["size"] or 0) <= _SHORT_BYTES
        ]
        if not wanted:
            return list(rows)
        method = "inbox.show" if incoming else "sent.show"
        bodies: dict[str, dict[str, Any]] = {}
        for at in range(0, len(wanted), PAGE_ROWS):
            with self.connect() as node:
                asked = {
                    node.begin(
                        method, {"id": row["id"]} | ({"peek": True} if incoming else {})
                    ): row
                    for row in wanted[at : at + PAGE_ROWS]
                }
                for number, kind, value in node.answers():
                    row = asked.pop(number)
                    if kind == "result":
                        bodies[row["id"]] = {"body": value.get("body")}
                    elif kind == "error":
                        # Deleted meanwhile, or damaged: the row itself still has its beginning.
                        bodies[row["id"]] = {"error": node.error(value).message}
                    if not asked:
                        break
        return [row | bodies.get(row["id"], {}) for row in rows]

    def send_text(self, contact_id: str, text: str, key: str) -> dict[str, Any]:
        """Queue a text, once under this key. Return its row when it is on the disk."""
        row: dict[str, Any] = self.ask("send-net", contact=contact_id, text=text, once=key)
        return row

    def send_file(self, contact_id: str, path: str) -> dict[str, Any]:
        """Queue a file or a folder. Return its row when it is on the disk."""
        given = str(Path(path).expanduser())
        try:
            mode = Path(given).stat().st_mode
        except (OSError, ValueError):
            mode = stat.S_IFREG  # what opens it says what is wrong
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            raise NoInputError(
                f"{given} is neither a file nor a folder",
                hint="what comes through a pipe is sent with: peerpost send --contact NAME --name NAME -",
            )
        item = file_to_send(given)
        with at_hand(item) as fds:
            row: dict[str, Any] = call(
                self.app.home,
                "send-net",
                {"contact": contact_id, **item.params},
                fds=fds,
                spawn=self.app.spawn,
                node_args=self.app.node_args(),
            )
        return row

    # Single messages

    def read(self, id_: str, *, incoming: bool) -> tuple[dict[str, Any], str, bool]:
        """Return a message, its text as far as it is shown at once, and whether there is more. Leave it unread."""
        if not incoming:
            row = self.ask("sent.show", id=id_)
            text = str(row.get("body") or "")
            return row, text[:READ_CHARS], len(text) > READ_CHARS
        pieces: list[str] = []
        items: list[dict[str, Any]] = []

        def on_event(event: Mapping[str, Any]) -> None:
            if "item" in event:
                items.append(event["item"])
            elif sum(map(len, pieces)) <= READ_CHARS:
                pieces.append(event["text"])

        def ask() -> dict[str, Any]:
            pieces.clear()
            items.clear()
            params = {"id": id_, "peek": True}
            found: dict[str, Any] = self.app.call("inbox.read", params, on_event=on_event)
            return found

        answer = _as_often_as_needed(ask)
        row = items[0] if items else answer
        text = "".join(pieces) if items else str(row.get("body") or "")
        if row["kind"] != "text":
            raise UsageError("this is no text", hint="save it: /save ID")
        return row, text[:READ_CHARS], len(text) > READ_CHARS

    def save(self, id_: str, path: str) -> str:
        """Save a message, as `inbox save` does: nothing is overwritten. Return what to say of it."""
        out = str(Path(path).expanduser()) + ("/" if path.endswith("/") else "") if path else None
        Saving(app=self.app, out=out, force=False, move=False).save([id_])
        return self.app.said()

    def mark_read(self, ids: Sequence[str]) -> None:
        """Mark messages as read. To do it twice changes nothing more."""
        _as_often_as_needed(lambda: self.ask("inbox.mark", ids=list(ids), unread=False))

    def search(self, term: str) -> list[dict[str, Any]]:
        """Return what has a term, newest first, in both directions."""
        found: list[dict[str, Any]] = self.ask("inbox.search", term=term, sent=True, limit=_FOUND)
        return found
