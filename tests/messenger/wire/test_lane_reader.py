from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peerpost.errors import ProtocolError
from peerpost.wire import limits
from peerpost.wire.frame import frame
from peerpost.wire.lane_reader import LaneReader
from peerpost.wire.segment import Segment

envelopes = st.binary(max_size=300).map(lambda body: b"\x01" + body)
segments = st.builds(
    Segment,
    st.binary(min_size=16, max_size=16),
    st.integers(0, limits.MAX_CHUNKS - 1),
    st.integers(0, 1000),
    st.binary(min_size=1, max_size=300),
)


def read(stream: bytes, cuts: list[int]) -> list[bytes | Segment]:
    """Read a stream cut there; put together the pieces of each segment."""
    edges = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    reader = LaneReader()
    got: list[bytes | Segment] = []
    for begin, end in pairwise(edges):
        for found in reader.feed(stream[begin:end]):
            if not isinstance(found, Segment):
                got.append(bytes(found))
                continue
            last = got[-1] if got else None
            data = bytes(found.data)
            if isinstance(last, Segment) and last.offset + len(last.data) == found.offset:
                got[-1] = Segment(last.file_id, last.index, last.offset, bytes(last.data) + data)
            else:
                got.append(Segment(found.file_id, found.index, found.offset, data))
    return got


@given(st.lists(envelopes | segments, max_size=8), st.lists(st.integers(0, 3000), max_size=12))
def test_any_cut_gives_the_same(sent: list[bytes | Segment], cuts: list[int]) -> None:
    stream = b"".join(frame(s.encode() if isinstance(s, Segment) else s) for s in sent)
    joined = read(stream, [])
    assert read(stream, cuts) == joined
    whole = [s for s in joined if not isinstance(s, Segment)]
    assert whole == [s for s in sent if not isinstance(s, Segment)]
    data = b"".join(s.data for s in joined if isinstance(s, Segment))
    assert data == b"".join(s.data for s in sent if isinstance(s, Segment))


def test_byte_by_byte() -> None:
    segment = Segment(bytes(16), 5, 7, b"sealed")
    stream = frame(b"\x01one") + frame(segment.encode()) + frame(b"\x01two")
    assert read(stream, list(range(len(stream)))) == [b"\x01one", segment, b"\x01two"]


def test_what_has_come_of_a_segment_is_there_at_once() -> None:
    stream = frame(Segment(bytes(16), 5, 100, bytes(1000)).encode())
    reader = LaneReader()
    assert reader.feed(stream[:33]) == []
    assert reader.feed(stream[33:433]) == [Segment(bytes(16), 5, 100, bytes(400))]
    assert reader.feed(stream[433:]) == [Segment(bytes(16), 5, 500, bytes(600))]


def header(length: int, kind: int) -> bytes:
    return length.to_bytes(4, "big") + bytes([kind])


OUT_OF_BOUNDS = [
    bytes(4),
    b"\xff" * 4,
    header(0, 1),
    header(limits.MAX_ENVELOPE_BYTES + 1, 1),
    header(limits.MAX_ENVELOPE_BYTES + 1, 3),
    header(limits.MAX_FRAME_BYTES + 1, 2),
    header(2**32 - 1, 2),
    frame(b"\x02" + bytes(16) + limits.MAX_CHUNKS.to_bytes(8, "big") + bytes(4) + b"x"),
    frame(b"\x02" + bytes(24) + (1 << 20).to_bytes(4, "big") + bytes(17)),
    header(limits.SEGMENT_HEADER_BYTES, 2),
    header(9, 2),
]


@pytest.mark.parametrize("wrong", OUT_OF_BOUNDS)
@pytest.mark.parametrize("cut", [0, 3, 5])
def test_a_frame_out_of_bounds_is_refused(wrong: bytes, cut: int) -> None:
    with pytest.raises(ProtocolError):
        read(frame(b"\x01before") + wrong, [12 + cut])


def test_the_longest_of_each_is_taken() -> None:
    envelope = b"\x01" + bytes(limits.MAX_ENVELOPE_BYTES - 1)
    segment = Segment(bytes(16), 0, 0, bytes(limits.MAX_SEGMENT_DATA_BYTES))
    assert read(frame(envelope) + frame(segment.encode()), [70_000]) == [envelope, segment]
