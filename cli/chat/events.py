"""What happens to a chat: each is told to the model, which is all that knows what follows from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = [
    "ChatEvent",
    "ContactsCame",
    "Linked",
    "LookAgain",
    "MarkedRead",
    "MessageCame",
    "NotSent",
    "Noticed",
    "PageCame",
    "Queued",
    "ReadCame",
    "SearchCame",
    "SentCame",
    "TransferCame",
    "TurnedTo",
    "Typed",
]


@dataclass(frozen=True, slots=True)
class ChatEvent:
    """Something that happened."""


@dataclass(frozen=True, slots=True)
class ContactsCame(ChatEvent):
    """All contacts, as they are now."""

    rows: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class TurnedTo(ChatEvent):
    """Somebody turned to a contact."""

    contact_id: str


@dataclass(frozen=True, slots=True)
class Typed(ChatEvent):
    """The draft for a contact is now this."""

    contact_id: str
    text: str


@dataclass(frozen=True, slots=True)
class PageCame(ChatEvent):
    """A page of one side, newest first: the newest page (`after` is None), or what follows a place."""

    contact_id: str
    incoming: bool
    rows: Sequence[Mapping[str, Any]]
    after: int | None
    is_last: bool


@dataclass(frozen=True, slots=True)
class MessageCame(ChatEvent):
    """A message was received."""

    row: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class SentCame(ChatEvent):
    """Something was sent from this home, by whatever command, or has another state now."""

    row: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class TransferCame(ChatEvent):
    """A file is under way, or has ended."""

    row: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class LookAgain(ChatEvent):
    """Messages, or changes of them, were missed: the pages that are shown are to be asked for again."""


@dataclass(frozen=True, slots=True)
class Linked(ChatEvent):
    """How it stands with the node: `why` is empty when its changes begin to come, and else says what is the matter."""

    why: str


@dataclass(frozen=True, slots=True)
class Queued(ChatEvent):
    """What was to be sent is on the disk."""

    contact_id: str
    key: str
    row: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class NotSent(ChatEvent):
    """What was to be sent is not: it goes back to where it was typed."""

    contact_id: str
    key: str
    why: str
    exit_code: int = 1


@dataclass(frozen=True, slots=True)
class MarkedRead(ChatEvent):
    """Messages were marked as read."""

    ids: Sequence[str]


@dataclass(frozen=True, slots=True)
class Noticed(ChatEvent):
    """There is something to tell whoever sits there."""

    text: str
    is_error: bool = False


@dataclass(frozen=True, slots=True)
class SearchCame(ChatEvent):
    """What a search has found, newest first."""

    term: str
    rows: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class ReadCame(ChatEvent):
    """A text to be read as a whole, or something else that takes a page of its own."""

    title: str
    text: str
    left: str = field(default="")
    """What is not shown of it, and how to get it."""
