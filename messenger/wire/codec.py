"""Typed msgpack that leaves nothing to the sender (PROTOCOL.md, "Structures").

Arrays are exact, fields bounded, and there is one error. Every structure is a msgpack array of a
fixed number of fields; the last is `ext`, a bounded map for later fields. What was received is what
is signed and hashed, so no canonical form is needed and none is checked.
"""

from __future__ import annotations

from typing import Annotated, Final, Generic, TypeVar

import msgspec
from msgspec import Meta

from peerpost.errors import ProtocolError

from . import limits

__all__ = ["B8", "B16", "B32", "B64", "Codec", "Ext", "Reason", "Seq", "TimeMs", "TimeS"]

B8 = Annotated[bytes, Meta(min_length=8, max_length=8)]
B16 = Annotated[bytes, Meta(min_length=16, max_length=16)]
B32 = Annotated[bytes, Meta(min_length=32, max_length=32)]
B64 = Annotated[bytes, Meta(min_length=64, max_length=64)]
Seq = Annotated[int, Meta(ge=1, le=limits.MAX_SEQ)]
TimeMs = Annotated[int, Meta(ge=0, le=limits.MAX_TIME_MS)]
TimeS = Annotated[int, Meta(ge=0, le=limits.MAX_TIME_S)]
Reason = Annotated[str, Meta(max_length=limits.MAX_REASON_CHARS)]
Ext = Annotated[
    dict[
        Annotated[str, Meta(min_length=1, max_length=limits.MAX_EXT_KEY_CHARS)],
        Annotated[bytes, Meta(max_length=limits.MAX_EXT_VALUE_BYTES)],
    ],
    Meta(max_length=limits.MAX_EXT_ENTRIES),
]

_FIXARRAY: Final = 0x90
_FIXARRAY_MAX: Final = 15

T = TypeVar("T", bound=msgspec.Struct)


class Codec(Generic[T]):
    """Encoder and strict decoder of one structure."""

    __slots__ = ("_decoder", "_encoder", "_first", "_kind")

    def __init__(self, kind: type[T]) -> None:
        fields = len(msgspec.structs.fields(kind))
        if fields > _FIXARRAY_MAX:
            raise ValueError("a structure has at most 15 fields")
        self._kind = kind
        self._first = _FIXARRAY | fields
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder: msgspec.msgpack.Decoder[T] = msgspec.msgpack.Decoder(kind)

    def encode(self, value: T) -> bytes:
        """Return the msgpack array."""
        return self._encoder.encode(value)

    def decode(self, data: bytes | memoryview) -> T:
        """Parse exactly one array of exactly the structure's fields. Raises ProtocolError."""
        # msgspec lets trailing fields with defaults be absent; the wire does not.
        if not data or data[0] != self._first:
            raise ProtocolError(f"malformed {self._kind.__name__}")
        try:
            return self._decoder.decode(data)
        except (msgspec.MsgspecError, RecursionError, ValueError, OverflowError):
            raise ProtocolError(f"malformed {self._kind.__name__}") from None
