"""What is searched of a message: its text, or the name of the file."""

from __future__ import annotations

from typing import Final, Literal

from peerpost.errors import ProtocolError
from peerpost.wire import inner as wire

__all__ = ["HEAD_BYTES", "Side", "of_entry", "of_item"]

Side = Literal["inbox", "outbox"]

HEAD_BYTES: Final = 64 << 10
"""How much of a text is searched, from its beginning: all of one that came as one message, and of a longer one, which
came as a file, so much."""


def of_item(
    kind: str, foreign_kind: int | None, name: str | None, body: bytes | None, head: bytes | None
) -> str | None:
    """Return what is searched of a message that was received; None if there is nothing.

    `head` is the beginning of a text that came as a file, None until it was read.
    """
    if foreign_kind is not None:
        return None
    if kind == "file":
        return name or None
    text = head if body is None else body
    return text.decode(errors="replace") if text else None


def of_entry(kind: str, name: str | None, inner: bytes) -> str | None:
    """Return what is searched of a message that was sent; None if there is nothing.

    There is nothing of a text that was sent as a file, which is not kept once it is delivered, nor of one that was
    taken back.
    """
    if kind == "file":
        return name or None
    try:
        message = wire.decode(inner)
    except ProtocolError:
        return None
    if not isinstance(message, wire.Message) or message.kind != wire.Kind.TEXT:
        return None
    return message.body.decode(errors="replace") or None
