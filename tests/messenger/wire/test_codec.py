from __future__ import annotations

import msgspec
import pytest

from peerpost.errors import ProtocolError
from peerpost.wire.codec import B8, Codec, Ext


class Pair(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    value: B8
    ext: Ext = {}


CODEC = Codec(Pair)


def test_a_field_with_a_default_is_not_optional_on_the_wire() -> None:
    full = CODEC.encode(Pair(bytes(8)))
    assert CODEC.decode(full) == Pair(bytes(8))
    with pytest.raises(ProtocolError):
        CODEC.decode(b"\x91" + full[1:-1])


@pytest.mark.parametrize(
    "data",
    [b"", b"\x92", b"\xc1", b"\x92\xc4\x08" + bytes(8) + b"\x81\xa1\xff\xc4\x00", b"\x92" * 3000],
)
def test_every_failure_is_a_protocol_error(data: bytes) -> None:
    with pytest.raises(ProtocolError, match="malformed Pair") as caught:
        CODEC.decode(data)
    assert caught.value.__cause__ is None


def test_more_than_fifteen_fields_are_a_mistake_of_ours() -> None:
    wide = msgspec.defstruct("Wide", [(f"f{n}", int) for n in range(16)], array_like=True)
    with pytest.raises(ValueError, match="15"):
        Codec(wide)
