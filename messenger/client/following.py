"""The inbox as a stream, whatever becomes of the node: what is not acknowledged, then each message as it comes.

Where the node ends, the next one is asked for what follows the last message that was handed out, and started if need
be. Where somebody locks the home, this waits until it is unlocked: whoever locked it did not ask the reader.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from peerpost.errors import (
    AlreadyRunningError,
    LockedError,
    PeerpostError,
    TransientError,
    UnavailableError,
)

from .ask import connect
from .connection import NodeConnection, OnWait, UnansweredError, UnreadError, dial

__all__ = ["DEFAULT_READER", "UNLOCKED_S", "Following", "is_open"]

DEFAULT_READER = "default"
"""The reader of whoever gives no name."""
_TRIES = 4
"""How often it is tried before it has ever begun, where a node leaves at that moment."""
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 2.0
"""How long to pause between two tries to get at a node; twice as long each time."""
_TOLD_AFTER_S = 3.0
"""After so long without a node, this is said."""
UNLOCKED_S = 1.0
"""How often to look whether the home was unlocked."""


class Following:
    """The messages for one reader. Iterate over it; it ends only by `close`, or by an error."""

    def __init__(
        self,
        home: str | os.PathLike[str],
        reader: str = DEFAULT_READER,
        *,
        after: str | None = None,
        spawn: bool = True,
        node_args: Sequence[str] = (),
        on_wait: OnWait | None = None,
        on_start: Callable[[], None] | None = None,
        on_locked: Callable[[NodeConnection], bool] | None = None,
        on_deleted: Callable[[int], object] = lambda _: None,
        note: Callable[[str], object] = lambda _: None,
        before_wait: Callable[[int], object] = lambda _: None,
    ) -> None:
        """Begin after a cursor, or without one after what the reader has acknowledged.

        `on_deleted` is told how many messages were deleted before they could be handed out, `note` why there is
        nothing to be had for now; `before_wait` is `NodeConnection.wait_quietly`'s, the others are those of `call`.
        """
        self._home = home
        self._reader = reader
        self._after = after
        self._spawn = spawn
        self._node_args = node_args
        self._on_wait = on_wait
        self._on_start = on_start
        self._on_locked = on_locked
        self._on_deleted = on_deleted
        self._note = note
        self._before_wait = before_wait
        self._begun = False
        """Whether a node has ever begun to answer: from then on only a failure that stays is raised."""
        self._failures = 0
        """How often it was tried in vain since a node has answered last."""
        self._failing_s = 0.0
        self._told = False
        self._node: NodeConnection | None = None
        self._closed = threading.Event()

    def close(self) -> None:
        """End the iteration, also from another thread."""
        self._closed.set()
        if (node := self._node) is not None:
            node.interrupt()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield each message, as `inbox list` describes it and with `body` and `error`.

        Raises what keeps the first node from answering (as `call` does), and later what no waiting can mend:
        NoIdentityError, ConfigError, DamagedError.
        """
        while not self._closed.is_set():
            try:
                yield from self._of_one_node()
            except LockedError:
                if not self._begun:
                    raise
                self._wait_until_unlocked()
            except (UnavailableError, TransientError, AlreadyRunningError) as error:
                if self._closed.is_set():
                    return
                self._failures += 1
                left = isinstance(error, UnreadError | UnansweredError)
                if not self._begun and not (left and self._failures < _TRIES):
                    raise
                self._pause(error)

    def _of_one_node(self) -> Iterator[dict[str, Any]]:
        connected = connect(
            self._home,
            spawn=self._spawn,
            node_args=self._node_args,
            on_wait=self._on_wait,
            on_start=self._on_start,
        )
        with connected as node:
            self._node = node
            try:
                if self._closed.is_set():
                    return
                for row in self._rows(self._events(node)):
                    yield row
                    self._after = row["cursor"]
            finally:
                self._node = None

    def _events(self, node: NodeConnection) -> Iterator[dict[str, Any]]:
        """Yield what one node tells, after the home was unlocked if that is necessary and possible."""
        params = {"reader": self._reader}
        if self._after is not None:
            params["after"] = self._after
        wanted, heard, may_unlock = node.begin("inbox.watch", params), False, True
        for id_, kind, value in node.answers():
            if id_ != wanted:
                continue
            if kind == "event":
                heard = True
                yield value
                continue
            error = node.error(value) if kind == "error" else _ended()
            if not isinstance(error, LockedError) or heard or not may_unlock:
                raise error
            may_unlock = False
            if self._on_locked is None or not self._on_locked(node):
                raise error
            wanted = node.begin("inbox.watch", params)

    def _rows(self, events: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Put together what the events tell."""
        long: dict[str, Any] = {}
        parts: list[str] = []
        for event in events:
            if "after" in event:
                self._has_begun(event["after"])
            elif "deleted" in event:
                self._on_deleted(event["deleted"])
            elif "item" in event:
                yield event["item"]
            elif "long" in event:
                long, parts = event["long"], [event["text"]]
            elif "text" in event:
                parts.append(event["text"])
            elif "end" in event:
                yield long | {"body": "".join(parts)}
                long, parts = {}, []

    def _has_begun(self, after: str) -> None:
        self._after = after
        self._begun = True
        self._failures = 0
        self._told = False
        if (node := self._node) is not None:
            node.wait_quietly(self._before_wait)

    def _pause(self, error: PeerpostError) -> None:
        now_s = time.monotonic()
        if self._failures == 1:
            self._failing_s = now_s
        if not self._told and now_s - self._failing_s >= _TOLD_AFTER_S:
            self._told = True
            self._note(f"There is no node ({error.message}); trying again until there is one.")
        self._closed.wait(min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2 ** min(self._failures, 10)))

    def _wait_until_unlocked(self) -> None:
        """Wait for somebody to unlock the home."""
        self._note("The home is locked; this goes on once it is unlocked: peerpost identity unlock")
        while not self._closed.wait(UNLOCKED_S):
            if is_open(self._home):
                return


def is_open(home: str | os.PathLike[str]) -> bool:
    """Return whether a node has the home open. This starts none, and keeps none from leaving."""
    try:
        node = dial(home, patience_s=UNLOCKED_S)
        if node is None:
            return False
        with node:
            node.give_up_after(UNLOCKED_S)
            state = node.call("node.status")["state"]
    except (UnavailableError, TransientError):
        return False
    return state not in ("locking", "locked", "encrypting")


def _ended() -> UnavailableError:
    return UnavailableError("the node has ended the stream", hint="try again")
