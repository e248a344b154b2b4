"""One conversation: two lists of the node, what was received and what was sent, in one order, without a gap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from .rows import ChatMessage

__all__ = ["PAGE_ROWS", "Conversation", "Side", "Unqueued"]

PAGE_ROWS = 40
"""How many messages of a side are asked for at once: more than a screen shows."""


class Side:
    """What is known of one side: always an unbroken run up to its newest message."""

    def __init__(self) -> None:
        self._by_place: dict[int, ChatMessage] = {}
        self._newest_first: list[ChatMessage] | None = None
        self.is_loaded = False
        """Whether its newest page has come."""
        self.is_whole = False
        """Whether its first message is known."""

    @property
    def newest_first(self) -> list[ChatMessage]:
        """Return the messages."""
        if self._newest_first is None:
            places = sorted(self._by_place, reverse=True)
            self._newest_first = [self._by_place[place] for place in places]
        return self._newest_first

    @property
    def oldest_place(self) -> int | None:
        """Return where an older page goes on; None for the newest page."""
        return min(self._by_place) if self.is_loaded and self._by_place else None

    def put(self, message: ChatMessage) -> None:
        """Take a message that is new or has changed. One older than what is known comes with its page."""
        oldest = self.oldest_place
        if self.is_whole or not self.is_loaded or oldest is None or message.place >= oldest:
            self._by_place[message.place] = message
            self._newest_first = None

    def page(self, messages: Sequence[ChatMessage], *, after: int | None, is_last: bool) -> None:
        """Take a page: the newest (`after` is None), or what follows a place."""
        places = {message.place for message in messages}
        if after is None and self.is_loaded and not is_last and not places & self._by_place.keys():
            # So much was missed that this page does not reach what is known: what is older is asked for again.
            self._by_place = {p: m for p, m in self._by_place.items() if p > max(places, default=0)}
            self.is_whole = False
        self._by_place |= {message.place: message for message in messages}
        self.is_loaded = True
        self.is_whole = self.is_whole or is_last
        self._newest_first = None

    def find(self, id_: str) -> ChatMessage | None:
        """Return a message by its id."""
        return next((one for one in self._by_place.values() if one.id == id_), None)


@dataclass(slots=True, kw_only=True)
class Unqueued:
    """What was typed or chosen to be sent, and is not on the disk yet."""

    key: str
    text: str
    path: str = ""
    """Of a file."""
    number: int = 0
    """Its place among what was typed."""
    why: str = ""
    """Why it could not be sent; it is sent again before what is typed later."""
    id: str = ""
    """The id of its message, once it is on the disk: it is shown here until the node tells of that message."""


@dataclass(slots=True)
class Conversation:
    """All that is known of the messages with one contact."""

    received: Side = field(default_factory=Side)
    sent: Side = field(default_factory=Side)
    unqueued: list[Unqueued] = field(default_factory=list)
    draft: str = ""
    draft_key: str = ""
    """The key under which the draft was tried already: under it, it is never queued twice."""
    draft_number: int = 0
    tried: str = ""
    """What was tried under that key."""
    new_from: str = ""
    """The id of the first message that was not read when the conversation was opened."""

    @property
    def is_loaded(self) -> bool:
        """Whether the newest page of each side has come."""
        return self.received.is_loaded and self.sent.is_loaded

    @property
    def is_whole(self) -> bool:
        """Whether everything is known."""
        return self.received.is_whole and self.sent.is_whole

    def side(self, *, incoming: bool) -> Side:
        """Return one side."""
        return self.received if incoming else self.sent

    def messages(self) -> list[ChatMessage]:
        """Return the messages of both sides, the oldest first, as far back as nothing between them can be missing."""
        merged, _ = self._merged()
        return merged[::-1]

    def lacking(self) -> list[bool]:
        """Return the sides (whether incoming) of which older messages are to be asked for next."""
        if not self.is_loaded:
            return [
                incoming for incoming in (True, False) if not self.side(incoming=incoming).is_loaded
            ]
        _, left = self._merged()
        return [
            incoming
            for incoming in (True, False)
            if not self.side(incoming=incoming).is_whole and left[incoming] < PAGE_ROWS // 2
        ]

    def find(self, id_: str) -> ChatMessage | None:
        """Return a message by its id."""
        return self.received.find(id_) or self.sent.find(id_)

    @property
    def failed(self) -> list[Unqueued]:
        """Return what could not be sent and is not in the input."""
        return [one for one in self.unqueued if one.why]

    def drop_what_is_told(self) -> None:
        """Drop what was handed over, once the node has told of its message."""
        if self.unqueued:
            self.unqueued = [
                one for one in self.unqueued if not (one.id and self.sent.find(one.id))
            ]

    def _merged(self) -> tuple[list[ChatMessage], dict[bool, int]]:
        """Return the messages newest first, and how many of each side were left over."""
        received, sent = self.received.newest_first, self.sent.newest_first
        merged: list[ChatMessage] = []
        at = {True: 0, False: 0}
        while True:
            first = received[at[True]] if at[True] < len(received) else None
            second = sent[at[False]] if at[False] < len(sent) else None
            # What comes before the last known one of a side may be newer than what the other side has next.
            if first is None and (second is None or not self.received.is_whole):
                break
            if second is None and not self.sent.is_whole:
                break
            newer = second is None or (first is not None and first.at >= second.at)
            found = first if newer else second
            if found is None:
                break
            merged.append(found)
            at[newer] += 1
        return merged, {True: len(received) - at[True], False: len(sent) - at[False]}
