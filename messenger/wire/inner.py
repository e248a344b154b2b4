"""Inner messages: what an envelope carries (PROTOCOL.md, "Inner messages").

The first byte is the type, the rest one msgpack array. A `Message` is sequenced: it has a number in
the order of (outbox id, lane), is kept until acknowledged, and links to the one before it. All
others are control: unnumbered, idempotent, safe to lose with the connection.
"""

from __future__ import annotations

import enum
import hashlib
from typing import Annotated, Final, TypeAlias

import msgspec
from msgspec import Meta

from peerpost.errors import ProtocolError

from . import limits
from .codec import B16, B32, B64, Codec, Ext, Reason, Seq, TimeMs, TimeS

__all__ = [
    "FILES",
    "FIRST_LINK",
    "HAVE",
    "HAVE_BYTES",
    "LINK_BYTES",
    "LINK_PERSON",
    "MODE",
    "Accept",
    "Busy",
    "Cancel",
    "Complete",
    "Finish",
    "Goodbye",
    "Inner",
    "Kind",
    "Lane",
    "Leaves",
    "Message",
    "Offer",
    "Pause",
    "Pull",
    "Receipt",
    "Refuse",
    "Statement",
    "UnknownTypeError",
    "decode",
    "decode_offer",
    "encode",
    "encode_offer",
    "files_in",
    "had_bytes",
    "link",
    "mode_in",
    "mode_of",
]

LINK_PERSON: Final = b"peerpost/v1/link"
"""BLAKE2b person of a link."""
LINK_BYTES: Final = 16
FIRST_LINK: Final = bytes(LINK_BYTES)
"""`prev` of the first message of an outbox id and lane."""
HAVE: Final = "have"
"""Entry of a Pull's `ext`: how many bytes of the file the receiver has, u64; for people only."""
HAVE_BYTES: Final = 8
FILES: Final = "files"
"""Entry of an Offer's `ext`: it is a folder, as a tar archive, with so many files; u64."""
MODE: Final = "mode"
"""Entry of an Offer's `ext`: the POSIX permissions of the file, rwxrwxrwx; u16."""
MODE_BYTES: Final = 2
MODE_BITS: Final = 0o777
"""Neither setuid, setgid nor sticky: what those lend is the sender's."""


class UnknownTypeError(ProtocolError):
    """An inner message of a type that this version does not know; a reader goes on without it."""


class Lane(enum.IntEnum):
    """Messages keep their order within a lane, not across."""

    URGENT = 0
    BULK = 1


class Kind(enum.IntEnum):
    """What the body of a Message is."""

    TEXT = 1
    OFFER = 2
    SKIP = 3
    """Stands for a message that will not come; its body is the link of that message."""


_Lane = Annotated[int, Meta(ge=0, le=1)]
_Kind = Annotated[int, Meta(ge=1, le=255)]
_Index = Annotated[int, Meta(ge=0, lt=limits.MAX_CHUNKS)]
_Count = Annotated[int, Meta(ge=0, le=limits.MAX_CHUNKS)]
_Some = Annotated[int, Meta(ge=1, le=limits.MAX_CHUNKS)]
_Size = Annotated[int, Meta(ge=0, le=limits.MAX_FILE_BYTES)]


class _Array(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """Base of all structures here: msgpack arrays."""


class Message(_Array, frozen=True, kw_only=True):
    """One numbered message of an outbox (type 1)."""

    kind: _Kind
    """A `Kind`, or that of a later version: to be numbered and acknowledged like any other."""
    outbox_id: B16
    lane: _Lane
    seq: Seq
    """From 1, per outbox id, contact and lane."""
    prev: B16
    """`link` of number seq - 1, or FIRST_LINK."""
    sent_at_ms: TimeMs
    """The sender's wall clock, for display only."""
    reply_to: B16 | None = None
    """`link` of the message that this one answers."""
    body: Annotated[bytes, Meta(max_length=limits.MAX_INNER_BYTES)]
    ext: Ext = {}


class Receipt(_Array, frozen=True, kw_only=True):
    """All up to `watermark`, and those whose bit is set in `sack`, are durable at the receiver
    (type 16).
    """

    outbox_id: B16
    lane: _Lane
    watermark: Annotated[int, Meta(ge=0, le=limits.MAX_SEQ)]
    sack: Annotated[bytes, Meta(max_length=limits.MAX_SACK_BYTES)] = b""
    """Bit i of byte j (least significant first) is number watermark + 2 + 8 j + i: watermark + 1 is
    missing."""
    ext: Ext = {}


class Accept(_Array, frozen=True, kw_only=True):
    """The receiver wants the file (type 17)."""

    file_id: B16
    ext: Ext = {}


class Refuse(_Array, frozen=True, kw_only=True):
    """The receiver does not want the file (type 18)."""

    file_id: B16
    reason: Reason
    ext: Ext = {}


class Pull(_Array, frozen=True, kw_only=True):
    """Ask for leaves and chunks (type 19)."""

    file_id: B16
    leaves_first: _Count
    leaves_count: _Count
    """Zero asks for none."""
    ranges: Annotated[tuple[tuple[_Index, _Some], ...], Meta(max_length=limits.MAX_RANGES)] = ()
    """(first chunk, count), ascending and without overlap."""
    ext: Ext = {}


class Leaves(_Array, frozen=True, kw_only=True):
    """A page of the leaf list (type 20)."""

    file_id: B16
    first: _Index
    leaves: Annotated[
        bytes,
        Meta(min_length=limits.LEAF_BYTES, max_length=limits.LEAF_BYTES * limits.LEAVES_PER_PAGE),
    ]
    ext: Ext = {}


class Finish(_Array, frozen=True, kw_only=True):
    """The end of the file is known: its size, its chunks and the root over its leaves (type 21)."""

    file_id: B16
    size: _Size
    count: _Some
    root: B32
    ext: Ext = {}


class Complete(_Array, frozen=True, kw_only=True):
    """The receiver has the whole file on disk and verified (type 22)."""

    file_id: B16
    ext: Ext = {}


class Cancel(_Array, frozen=True, kw_only=True):
    """Either side gives the file up (type 23)."""

    file_id: B16
    reason: Reason
    ext: Ext = {}


class Statement(_Array, frozen=True, kw_only=True):
    """The sender's newest key statement, as it was signed (type 24)."""

    body: Annotated[bytes, Meta(min_length=1, max_length=limits.MAX_STATEMENT_BYTES)]
    sig: B64
    ext: Ext = {}


class Busy(_Array, frozen=True, kw_only=True):
    """The receiver cannot take messages now; nothing unacknowledged was taken (type 25)."""

    reason: Reason
    retry_ms: Annotated[int, Meta(ge=0, le=limits.MAX_RETRY_MS)]
    ext: Ext = {}


class Goodbye(_Array, frozen=True, kw_only=True):
    """The sender ends the session because of what the receiver did (type 27)."""

    reason: Reason
    ext: Ext = {}


class Pause(_Array, frozen=True, kw_only=True):
    """Either side has paused the file, or goes on with it (type 26)."""

    file_id: B16
    paused: bool
    reason: Reason = ""
    ext: Ext = {}


class Offer(_Array, frozen=True, kw_only=True):
    """Body of a Message of kind OFFER: a file that may be pulled."""

    file_id: B16
    key: B32
    chunk_log2: Annotated[int, Meta(ge=limits.MIN_CHUNK_LOG2, le=limits.MAX_CHUNK_LOG2)]
    size: _Size | None = None
    """In bytes; None while the source is still being read: Finish tells."""
    name: Annotated[str, Meta(max_length=limits.NAME_BYTES)]
    """Hostile until made safe; at most 180 bytes in UTF-8. May be empty."""
    as_text: bool = False
    """A long text: shown like a message, never asked about."""
    mtime_s: TimeS | None = None
    ext: Ext = {}


Inner: TypeAlias = (
    Message
    | Receipt
    | Accept
    | Refuse
    | Pull
    | Leaves
    | Finish
    | Complete
    | Cancel
    | Statement
    | Busy
    | Pause
    | Goodbye
)

_TYPES: Final[dict[int, type[msgspec.Struct]]] = {
    1: Message,
    16: Receipt,
    17: Accept,
    18: Refuse,
    19: Pull,
    20: Leaves,
    21: Finish,
    22: Complete,
    23: Cancel,
    24: Statement,
    25: Busy,
    26: Pause,
    27: Goodbye,
}
_CODECS: Final = {number: Codec(kind) for number, kind in _TYPES.items()}
_BY_CLASS: Final = {
    kind: (bytes([number]), _CODECS[number].encode) for number, kind in _TYPES.items()
}
_OFFER: Final = Codec(Offer)


def encode(message: Inner) -> bytes:
    """Return the inner bytes of a message.

    The fields are taken as they are: `decode` is what checks them.
    """
    first, encode_array = _BY_CLASS[type(message)]
    return first + encode_array(message)


def decode(data: bytes) -> Inner:
    """Parse and check inner bytes.

    Raises UnknownTypeError for a type that is not known, ProtocolError for anything else that is
    wrong.
    """
    if not 0 < len(data) <= limits.MAX_INNER_BYTES:
        raise ProtocolError("an inner message of a size that is not allowed")
    codec = _CODECS.get(data[0])
    if codec is None:
        raise UnknownTypeError("an inner message of an unknown type")
    message: Inner = codec.decode(memoryview(data)[1:])  # type: ignore[assignment]
    if isinstance(message, Message):
        _check_body(message)
    elif isinstance(message, Pull):
        _check_ranges(message)
    elif isinstance(message, Leaves):
        _check_leaves(message)
    return message


def encode_offer(offer: Offer) -> bytes:
    """Return the body of a Message of kind OFFER."""
    return _OFFER.encode(offer)


def decode_offer(body: bytes) -> Offer:
    """Parse and check the body of a Message of kind OFFER. Raises ProtocolError."""
    offer = _OFFER.decode(body)
    if len(offer.name.encode()) > limits.NAME_BYTES:
        raise ProtocolError("a file name that is too long")
    return offer


def had_bytes(pull: Pull) -> int | None:
    """Return how many bytes of the file the receiver says it has, or None if it does not."""
    value = pull.ext.get(HAVE, b"")
    return int.from_bytes(value, "big") if len(value) == HAVE_BYTES else None


def files_in(offer: Offer) -> int | None:
    """Return how many files are in the folder that is offered, or None of a plain file."""
    value = offer.ext.get(FILES)
    if value is None:
        return None
    return min(int.from_bytes(value[:8], "big"), limits.MAX_FILE_BYTES)


def mode_of(mode: int) -> bytes:
    """Return the entry that says who may do what with a file."""
    return (mode & MODE_BITS).to_bytes(MODE_BYTES, "big")


def mode_in(offer: Offer) -> int | None:
    """Return who may do what with the file that is offered, as its sender says; None if it does not."""
    value = offer.ext.get(MODE, b"")
    return int.from_bytes(value, "big") & MODE_BITS if len(value) == MODE_BYTES else None


def link(message_bytes: bytes, message: Message) -> bytes:
    """Return what the next message's `prev` must be: 16 bytes over the inner bytes, as received.

    A SKIP stands in the place of another message and has that one's link, which its body holds.
    """
    if message.kind == Kind.SKIP:
        return message.body
    return hashlib.blake2b(message_bytes, digest_size=LINK_BYTES, person=LINK_PERSON).digest()


def _check_body(message: Message) -> None:
    if message.kind == Kind.TEXT:
        try:
            message.body.decode()
        except UnicodeDecodeError:
            raise ProtocolError("a text that is not UTF-8") from None
    elif message.kind == Kind.SKIP:
        if len(message.body) != LINK_BYTES:
            raise ProtocolError("a tombstone without a link")
    elif message.kind == Kind.OFFER:
        decode_offer(message.body)


def _check_ranges(pull: Pull) -> None:
    if pull.leaves_first + pull.leaves_count > limits.MAX_CHUNKS:
        raise ProtocolError("leaves beyond the largest file")
    end = 0
    for first, count in pull.ranges:
        if first < end:
            raise ProtocolError("ranges that overlap or are out of order")
        end = first + count
    if end > limits.MAX_CHUNKS:
        raise ProtocolError("chunks beyond the largest file")


def _check_leaves(page: Leaves) -> None:
    count, rest = divmod(len(page.leaves), limits.LEAF_BYTES)
    if rest or page.first + count > limits.MAX_CHUNKS:
        raise ProtocolError("a leaf page that does not fit")
