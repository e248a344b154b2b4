"""What comes by itself, each stream in a thread of its own: messages, and what changes besides.

Both go on over restarts of the node. A message is never missed, because the next node is asked for what follows the
last one that came; changes are not kept by the node, so after each beginning all that is shown is asked for again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

from peerpost.client.connection import NodeConnection
from peerpost.client.following import UNLOCKED_S, Following, is_open
from peerpost.errors import LockedError, PeerpostError, UnavailableError

from .calls import Calls
from .events import ChatEvent, ContactsCame, Linked, LookAgain, MessageCame, SentCame, TransferCame

__all__ = ["Feeds"]

READER = "chat"
"""The name to follow the inbox by. It acknowledges nothing, so it changes no reader's place."""
_PAUSES_S = (0.1, 0.2, 0.5, 1.0, 2.0)
"""How long to pause before the next try to reach a node, and then the last of these each time."""
_LOCKED = "The home is locked; this goes on once it is unlocked: peerpost identity unlock"


class Feeds:
    """Hands what comes over to `post`, which is called in threads."""

    def __init__(self, calls: Calls, post: Callable[[ChatEvent], object]) -> None:
        self._calls = calls
        self._post = post
        self._closed = threading.Event()
        self._following: Following | None = None
        self._node: NodeConnection | None = None

    def start(self) -> None:
        """Begin."""
        for work in (self._messages, self._changes):
            threading.Thread(target=work, name=f"chat-{work.__name__}", daemon=True).start()

    def close(self) -> None:
        """End both streams."""
        self._closed.set()
        if (following := self._following) is not None:
            following.close()
        if (node := self._node) is not None:
            node.interrupt()

    def _messages(self) -> None:
        after: str | None = None
        tries = 0
        while not self._closed.is_set():
            try:
                if after is None:
                    after = self._calls.newest_place()
                    # What came before it, and after the first pages were asked for, is in none of both.
                    self._post(LookAgain())
                app = self._calls.app
                self._following = following = Following(
                    app.home,
                    READER,
                    after=after,
                    spawn=app.spawn,
                    node_args=app.node_args(),
                )
                for row in following:
                    after, tries = row["cursor"], 0
                    self._post(MessageCame(row))
            except LockedError:
                self._wait_until_open()
            except PeerpostError:
                # The other stream tells what is the matter.
                self._pause(tries)
                tries += 1

    def _changes(self) -> None:
        tries = 0
        while not self._closed.is_set():
            try:
                self._of_one_node()
            except LockedError:
                self._post(Linked(_LOCKED))
                self._wait_until_open()
            except PeerpostError as error:
                if self._closed.is_set():
                    return
                tries = 0 if self._has_begun else tries + 1
                if tries:
                    self._post(Linked(f"There is no node: {error.message}; trying again"))
                self._pause(tries)

    _has_begun = False

    def _of_one_node(self) -> None:
        self._has_begun = False
        with self._calls.connect() as node:
            self._node = node
            try:
                if self._closed.is_set():
                    return
                wanted = node.begin("view.watch")
                for id_, kind, value in node.answers():
                    if id_ != wanted:
                        continue
                    if kind == "error":
                        raise node.error(value)
                    if kind == "result":
                        raise UnavailableError("the node has ended the stream")
                    if not self._has_begun:
                        self._has_begun = True
                        node.wait_quietly(lambda _: None)
                        self._post(Linked(""))
                        self._post(LookAgain())
                    self._tell(value)
            finally:
                self._node = None

    def _tell(self, value: Mapping[str, Any]) -> None:
        if "contacts" in value:
            self._post(ContactsCame(value["contacts"]))
        elif "sent" in value:
            self._post(SentCame(value["sent"]))
        elif "transfer" in value:
            self._post(TransferCame(value["transfer"]))
        elif "look" in value:
            self._post(LookAgain())

    def _wait_until_open(self) -> None:
        """Wait for somebody to unlock the home; keep its node neither from leaving nor from locking it."""
        while not self._closed.wait(UNLOCKED_S) and not is_open(self._calls.app.home):
            pass

    def _pause(self, tries: int) -> None:
        self._closed.wait(_PAUSES_S[min(tries, len(_PAUSES_S) - 1)])
