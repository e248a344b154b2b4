from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peerpost.errors import ProtocolError
from peerpost.wire import limits
from peerpost.wire.frame import FrameReader
from peerpost.wire.segment import Segment

segments = st.builds(
    Segment,
    file_id=st.binary(min_size=16, max_size=16),
    index=st.integers(0, limits.MAX_CHUNKS - 1),
    offset=st.integers(0, (1 << 20) - 100),
    data=st.binary(min_size=1, max_size=100),
)


@given(segments)
def test_round_trip(segment: Segment) -> None:
    assert Segment.decode(segment.encode()) == segment


@given(st.binary(max_size=100))
def test_garbage_raises_one_error(data: bytes) -> None:
    try:
        segment = Segment.decode(data)
    except ProtocolError:
        return
    assert segment.encode() == data


def test_bounds_of_the_data() -> None:
    header = Segment(file_id=bytes(16), index=0, offset=0, data=b"x").encode()[:-1]
    assert len(header) == limits.SEGMENT_HEADER_BYTES
    longest = header + bytes(limits.MAX_SEGMENT_DATA_BYTES)
    assert len(Segment.decode(longest).data) == limits.MAX_SEGMENT_DATA_BYTES
    assert len(longest) == limits.MAX_FRAME_BYTES
    for size in (0, limits.MAX_SEGMENT_DATA_BYTES + 1):
        with pytest.raises(ProtocolError):
            Segment.decode(header + bytes(size))


@pytest.mark.parametrize(
    "change", [{"file_id": b"x"}, {"index": -1}, {"index": 2**64}, {"offset": 2**32}, {"data": b""}]
)
def test_fields_out_of_bounds_are_not_sent(change: dict[str, object]) -> None:
    fields: dict[str, object] = {"file_id": bytes(16), "index": 0, "offset": 0, "data": b"x"}
    with pytest.raises(ValueError, match="segment"):
        Segment(**{**fields, **change}).encode()  # type: ignore[arg-type]


def test_frames_are_the_chunk_in_order() -> None:
    sealed = bytes(range(256)) * 40
    frames = Segment.frames(bytes(16), 7, memoryview(sealed), 1000)
    payloads = FrameReader(2000).feed(b"".join(part for frame in frames for part in frame))
    pieces = [Segment.decode(payload) for payload in payloads]
    assert b"".join(piece.data for piece in pieces) == sealed
    assert [piece.offset for piece in pieces] == list(range(0, len(sealed), 1000))
    assert {(piece.file_id, piece.index) for piece in pieces} == {(bytes(16), 7)}
