"""What the outbox needs of a numbered message: its link, and the tombstone that replaces it."""

from __future__ import annotations

from peerpost.wire import inner as wire
from peerpost.wire import limits

from .preview import beginning

__all__ = ["link_of", "preview_of", "skip_of", "text_of"]


def link_of(inner: bytes) -> bytes:
    """Return the link of a message by its inner bytes. Raises ValueError for what cannot be queued."""
    if len(inner) > limits.MAX_INNER_BYTES:
        raise ValueError("an inner message has at most MAX_INNER_BYTES bytes")
    message = wire.decode(inner)
    if not isinstance(message, wire.Message):
        raise ValueError("only numbered messages are queued")  # noqa: TRY004
    return wire.link(inner, message)


def preview_of(inner: bytes) -> str | None:
    """Return the beginning of the text that a message carries; None if it carries none, as an offer does."""
    body = _body_of(inner)
    return None if body is None else beginning(body)


def text_of(inner: bytes) -> str | None:
    """Return the whole of that text; None as above."""
    body = _body_of(inner)
    return None if body is None else body.decode()


def _body_of(inner: bytes) -> bytes | None:
    message = wire.decode(inner)
    if not isinstance(message, wire.Message) or message.kind != wire.Kind.TEXT:
        return None
    return message.body


def skip_of(inner: bytes) -> bytes | None:
    """Return the SKIP of a message, which has its number and carries its link; None if it is one already."""
    message = wire.decode(inner)
    if not isinstance(message, wire.Message) or message.kind == wire.Kind.SKIP:
        return None
    skip = wire.Message(
        kind=wire.Kind.SKIP,
        outbox_id=message.outbox_id,
        lane=message.lane,
        seq=message.seq,
        prev=message.prev,
        sent_at_ms=message.sent_at_ms,
        body=wire.link(inner, message),
    )
    return wire.encode(skip)
