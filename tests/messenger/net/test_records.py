"""Noise records: the framing and the nonces, against the specification and against py-libp2p's own."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from hypothesis import given
from hypothesis import strategies as st

from peerpost.errors import ProtocolError
from peerpost.net.records import MAX_NONCE, MAX_WIRE_BYTES, Opener, Sealer

KEY = bytes(range(32))


def open_all(opener: Opener, data: bytes) -> tuple[list[bytes], bytes]:
    """Return the plaintexts, and what is left."""
    view, found = memoryview(data), []
    while (record := opener.next(view)) is not None:
        found.append(record[0])
        view = view[record[1] :]
    return found, bytes(view)


def test_record_is_that_of_the_noise_specification() -> None:
    [plaintext, counter] = [b"hello", 0x0102030405]
    nonce = bytes(4) + counter.to_bytes(8, "little")
    sealed = ChaCha20Poly1305(KEY).encrypt(nonce, plaintext, None)
    wire = len(sealed).to_bytes(2, "big") + sealed
    assert Sealer(KEY, counter).seal([plaintext]) == wire
    assert Opener(KEY, counter).next(memoryview(wire)) == (plaintext, len(wire))


@given(
    st.lists(st.binary(max_size=300), max_size=8),
    st.integers(0, MAX_NONCE - 8),
    st.lists(st.integers(1, 400), min_size=1),
)
def test_records_survive_any_cutting(
    plaintexts: list[bytes], counter: int, cuts: list[int]
) -> None:
    sealer, opener = Sealer(KEY, counter), Opener(KEY, counter)
    half = len(plaintexts) // 2
    wire = sealer.seal(plaintexts[:half]) + sealer.seal(plaintexts[half:])
    found, rest, at, turn = [], b"", 0, 0
    while at < len(wire):
        size = cuts[turn % len(cuts)]
        more, rest = open_all(opener, rest + wire[at : at + size])
        found += more
        at, turn = at + size, turn + 1
    assert (found, rest) == (plaintexts, b"")


def test_largest_record_is_as_large_as_promised() -> None:
    wire = Sealer(KEY, 0).seal([bytes(65535 - 16)])
    assert len(wire) == MAX_WIRE_BYTES
    assert Opener(KEY, 0).next(memoryview(wire)[:-1]) is None
    assert Opener(KEY, 0).next(memoryview(wire)) == (bytes(65535 - 16), MAX_WIRE_BYTES)


@given(st.integers(0, 26), st.integers(1, 255))
def test_no_changed_bit_is_accepted(position: int, mask: int) -> None:
    wire = bytearray(Sealer(KEY, 5).seal([b"something"]))
    wire[position % len(wire)] ^= mask
    try:
        opened = Opener(KEY, 5).next(memoryview(wire))
    except ProtocolError:
        return
    assert opened is None, "only a length that grew leaves it waiting"


def test_order_and_repetition_are_noticed() -> None:
    sealer = Sealer(KEY, 0)
    first, second = sealer.seal([b"first"]), sealer.seal([b"second"])
    for wrong in (second, first + first, first + b"\x00\x00", first + b"\x00\x05short"):
        with pytest.raises(ProtocolError, match="authentic"):
            open_all(Opener(KEY, 0), wrong)
    with pytest.raises(ProtocolError):
        Opener(bytes(32), 0).next(memoryview(first))


def test_nonces_are_never_used_again() -> None:
    sealer = Sealer(KEY, MAX_NONCE)
    assert sealer.seal([b"last"])
    with pytest.raises(ProtocolError, match="nonces"):
        sealer.seal([b"one too many"])
