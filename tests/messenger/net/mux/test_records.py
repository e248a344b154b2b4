"""Noise records: the framing and the nonces, against the specification and against py-libp2p's own."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from hypothesis import given
from hypothesis import strategies as st

from peerpost.errors import ProtocolError
from peerpost.net.mux.records import (
    MAX_NONCE,
    MAX_WIRE_BYTES,
    REUSED_BYTES,
    Inbound,
    RecordOpener,
    RecordSealer,
)

KEY = bytes(range(32))


class Arriving:
    """The other end of a wire."""

    def __init__(self, key: bytes = KEY, counter: int = 0) -> None:
        self._inbound = Inbound(RecordOpener(key, counter))

    def take(self, data: bytes) -> bytes:
        """Return what the records say that are whole now. Raises ProtocolError."""
        said, view = b"", memoryview(data)
        while view:
            room = self._inbound.room()
            size = min(len(room), len(view))
            room[:size] = view[:size]
            plaintext, wrong = self._inbound.received(size)
            said += plaintext
            if wrong is not None:
                raise ProtocolError(wrong)
            view = view[size:]
        return said


def test_record_is_that_of_the_noise_specification() -> None:
    [plaintext, counter] = [b"hello", 0x0102030405]
    nonce = bytes(4) + counter.to_bytes(8, "little")
    sealed = ChaCha20Poly1305(KEY).encrypt(nonce, plaintext, None)
    wire = len(sealed).to_bytes(2, "big") + sealed
    assert RecordSealer(KEY, counter).seal([plaintext]) == wire
    assert RecordOpener(KEY, counter).open(memoryview(sealed)) == plaintext
    assert Arriving(KEY, counter).take(wire) == plaintext


@given(
    st.lists(st.binary(max_size=300), max_size=8),
    st.integers(0, MAX_NONCE - 8),
    st.lists(st.integers(1, 400), min_size=1),
)
def test_records_survive_any_cutting(
    plaintexts: list[bytes], counter: int, cuts: list[int]
) -> None:
    sealer, arriving = RecordSealer(KEY, counter), Arriving(KEY, counter)
    half = len(plaintexts) // 2
    wire = sealer.seal(plaintexts[:half]) + sealer.seal(plaintexts[half:])
    found, at, turn = b"", 0, 0
    while at < len(wire):
        size = cuts[turn % len(cuts)]
        found += arriving.take(wire[at : at + size])
        at, turn = at + size, turn + 1
    assert found == b"".join(plaintexts)


def test_largest_record_is_as_large_as_promised() -> None:
    wire = RecordSealer(KEY, 0).seal([bytes(65535 - 16)])
    assert len(wire) == MAX_WIRE_BYTES
    arriving = Arriving()
    assert arriving.take(wire[:-1]) == b""
    assert arriving.take(wire[-1:]) == bytes(65535 - 16)


@given(st.integers(0, 26), st.integers(1, 255))
def test_no_changed_bit_is_accepted(position: int, mask: int) -> None:
    wire = bytearray(RecordSealer(KEY, 5).seal([b"something"]))
    wire[position % len(wire)] ^= mask
    try:
        opened = Arriving(KEY, 5).take(bytes(wire))
    except ProtocolError:
        return
    assert opened == b"", "only a length that grew leaves it waiting"


def test_order_and_repetition_are_noticed() -> None:
    sealer = RecordSealer(KEY, 0)
    first, second = sealer.seal([b"first"]), sealer.seal([b"second"])
    for wrong in (second, first + first, first + b"\x00\x00", first + b"\x00\x05short"):
        with pytest.raises(ProtocolError, match="authentic"):
            Arriving().take(wrong)
    with pytest.raises(ProtocolError):
        Arriving(bytes(32)).take(first)


def test_what_comes_before_a_wrong_record_counts() -> None:
    sealer, inbound = RecordSealer(KEY, 0), Inbound(RecordOpener(KEY, 0))
    wire = sealer.seal([b"one", b"two"]) + sealer.seal([b"three"])[:-1] + b"?"
    inbound.room()[: len(wire)] = wire
    plaintext, wrong = inbound.received(len(wire))
    assert bytes(plaintext) == b"onetwo"
    assert wrong is not None


def test_nonces_are_never_used_again() -> None:
    sealer = RecordSealer(KEY, MAX_NONCE)
    assert sealer.seal([b"last"])
    with pytest.raises(ProtocolError, match="nonces"):
        sealer.seal([b"one too many"])


def test_a_buffer_is_used_again_only_once_it_was_given_back() -> None:
    sealer, arriving = RecordSealer(KEY, 0), Arriving()
    large = [bytes(REUSED_BYTES // 2)] * 2
    kept, other = sealer.batch(large), sealer.batch(large)
    sealer.recycle()
    small = sealer.batch([b"small"])
    sealer.recycle()
    again = sealer.batch(large)
    assert again.obj is other.obj
    assert len({id(batch.obj) for batch in (kept, other, small)}) == 3
    assert arriving.take(bytes(kept)) == bytes(REUSED_BYTES)
    sealer.recycle()
    assert sealer.batch([*large, b"more"]).obj is not other.obj
