from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peerpost.errors import ProtocolError
from peerpost.wire import limits
from peerpost.wire.frame import FrameReader, frame

payloads = st.lists(st.binary(min_size=1, max_size=300), max_size=8)


@given(payloads, st.lists(st.integers(0, 3000), max_size=12))
def test_any_cut_gives_the_same_payloads(sent: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(map(frame, sent))
    edges = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    reader = FrameReader(300)
    got: list[bytes] = []
    for begin, end in pairwise(edges):
        got += reader.feed(stream[begin:end])
    assert got == sent
    assert len(reader._buffer) == 0


def test_byte_by_byte() -> None:
    reader = FrameReader(10)
    stream = frame(b"abc") + frame(b"d")
    got = [payload for byte in stream for payload in reader.feed(bytes([byte]))]
    assert got == [b"abc", b"d"]


@pytest.mark.parametrize("length", [0, 11, 2**31, 2**32 - 1])
def test_a_length_out_of_bounds_is_refused_before_its_payload(length: int) -> None:
    for header in (length.to_bytes(4, "big"), frame(b"x") + length.to_bytes(4, "big")):
        with pytest.raises(ProtocolError):
            FrameReader(10).feed(header)
    reader = FrameReader(10)
    reader.feed(length.to_bytes(4, "big")[:3])
    with pytest.raises(ProtocolError):
        reader.feed(length.to_bytes(4, "big")[3:])


def test_the_longest_payload_passes() -> None:
    payload = bytes(limits.MAX_FRAME_BYTES)
    assert FrameReader(limits.MAX_FRAME_BYTES).feed(frame(payload)) == [payload]


def test_what_is_held_is_one_incomplete_frame() -> None:
    reader = FrameReader(1000)
    assert reader.feed(frame(bytes(1000)) * 3 + frame(bytes(900))[:-1]) == [bytes(1000)] * 3
    assert len(reader._buffer) == 903


@pytest.mark.parametrize("payload", [b"", bytes(limits.MAX_FRAME_BYTES + 1)])
def test_a_payload_that_no_frame_holds_is_not_sent(payload: bytes) -> None:
    with pytest.raises(ValueError, match="payload"):
        frame(payload)
