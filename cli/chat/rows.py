"""What is shown: messages, contacts and files under way, made of the rows that the node gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["KEPT_CHARS", "OPEN_STATES", "WAITING", "ChatContact", "ChatFile", "ChatMessage"]

KEPT_CHARS = 4096
"""How much of a text is kept for its conversation. The rest is asked for when somebody wants to read it."""
WAITING = frozenset({"queued", "sent"})
"""The states of a message that is not delivered yet."""
OPEN_STATES = frozenset({"offered", "asking", "active", "paused"})
"""The states of a file that is under way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatMessage:
    """One message of a conversation. Its texts may be a peer's: nothing of it is safe for a terminal yet."""

    id: str
    contact: str
    """The name of the contact, as the row has it."""
    incoming: bool
    kind: str
    """text, file, or unknown: what a later version can show."""
    at: str
    """When it came, or was queued: RFC 3339."""
    place: int
    """Its place in the inbox or the outbox: later messages have higher ones."""
    text: str = ""
    is_cut: bool = False
    """Whether there is more of the text."""
    name: str = ""
    size: int | None = None
    files: int | None = None
    """Of a folder: how many files are in it."""
    unread: bool = False
    gap: bool = False
    state: str = ""
    """Of what was sent: docs/cli.md, "States"."""
    why: str = ""
    """Why it waits, or has failed."""
    done_bytes: int | None = None

    @classmethod
    def received(cls, row: Mapping[str, Any]) -> ChatMessage:
        """Return a row of the inbox, with `body` if that was asked for."""
        text, is_cut = _beginning(row)
        return cls(
            id=str(row["id"]),
            contact=str(row["contact"]),
            incoming=True,
            kind=str(row["kind"]),
            at=str(row["received_at"]),
            place=int(row["cursor"]),
            text=text,
            is_cut=is_cut,
            name=str(row.get("name") or ""),
            size=row.get("size"),
            files=(row.get("files") or 0) if row.get("directory") else None,
            unread=bool(row.get("unread")),
            gap=bool(row.get("gap")),
            why=str(row.get("error") or ""),
        )

    @classmethod
    def sent(cls, row: Mapping[str, Any]) -> ChatMessage:
        """Return a row of what was sent, with `body` if that was asked for."""
        text, is_cut = _beginning(row)
        return cls(
            id=str(row["id"]),
            contact=str(row["contact"]),
            incoming=False,
            kind=str(row["kind"]),
            at=str(row["created"]),
            place=int(row["cursor"]),
            text=text,
            is_cut=is_cut,
            name=str(row.get("name") or ""),
            size=row.get("size"),
            state=str(row["state"]),
            why=str(row.get("last_error") or ""),
            done_bytes=row.get("done_bytes"),
        )


def _beginning(row: Mapping[str, Any]) -> tuple[str, bool]:
    """Return what is kept of a text, and whether there is more."""
    if row["kind"] != "text":
        return "", False
    body = row.get("body")
    if isinstance(body, str):
        return body[:KEPT_CHARS], len(body) > KEPT_CHARS
    # Its beginning on one line, which may differ from what stands there.
    preview = str(row.get("preview") or "")
    return preview, bool(preview)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatContact:
    """One contact."""

    id: str
    name: str
    state: str
    online: bool = False
    last_seen: str | None = None
    verified: bool = False
    unread: int = 0
    queued: int = 0
    hint: str = ""
    """What somebody has to do before it can get anything."""

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> ChatContact:
        """Return a row of `contacts list`."""
        return cls(
            id=str(row["id"]),
            name=str(row["name"]),
            state=str(row["state"]),
            online=bool(row.get("online")),
            last_seen=row.get("last_seen"),
            verified=bool(row.get("verified")),
            unread=int(row.get("unread") or 0),
            queued=int(row.get("queued") or 0),
            hint=str(row.get("hint") or ""),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatFile:
    """One file under way, or one that has just ended."""

    id: str
    contact: str
    incoming: bool
    message: str | None
    """Of one that goes out: the id of the message that sends it."""
    name: str
    state: str
    row: Mapping[str, Any]

    @property
    def is_open(self) -> bool:
        """Whether it has not ended."""
        return self.state in OPEN_STATES

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> ChatFile:
        """Return a row of `transfers list`."""
        return cls(
            id=str(row["id"]),
            contact=str(row.get("contact") or ""),
            incoming=row["direction"] == "in",
            message=row.get("message"),
            name=str(row.get("name") or "a text"),
            state=str(row["state"]),
            row=dict(row),
        )
