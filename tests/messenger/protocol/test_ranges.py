"""Runs of chunk numbers against the same operations on a plain set."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from peerpost.protocol.ranges import RangeSet

_NUMBER = st.integers(0, 70)
_STEP = st.tuples(st.sampled_from(["add", "remove"]), _NUMBER, _NUMBER)


@given(st.lists(_STEP, max_size=30), st.integers(0, 9), st.one_of(st.none(), _NUMBER))
def test_behaves_like_a_set(
    steps: list[tuple[str, int, int]], limit: int, below: int | None
) -> None:
    ranges, oracle = RangeSet(), set[int]()
    for step, first, stop in steps:
        if step == "add":
            ranges.add(first, stop)
            oracle |= set(range(first, stop))
        else:
            ranges.remove(first, stop)
            oracle -= set(range(first, stop))
        runs = list(ranges.runs())
        assert {n for a, b in runs for n in range(a, b)} == oracle
        assert all(a < b for a, b in runs)
        assert all(runs[i][1] < runs[i + 1][0] for i in range(len(runs) - 1))
        assert len(ranges) == len(oracle)
        assert ranges.stop == max(oracle, default=-1) + 1
    assert all((n in ranges) == (n in oracle) for n in range(80))
    assert {
        n for a, b in RangeSet.from_bitmap(ranges.to_bitmap(71)).runs() for n in range(a, b)
    } == oracle
    popped = ranges.pop_run(limit, below)
    if popped is not None:
        first, count = popped
        assert first == min(oracle)
        assert 0 < count <= limit
        assert set(range(first, first + count)) <= oracle
        assert below is None or first + count <= below
        assert len(ranges) == len(oracle) - count


@given(st.binary(max_size=40))
def test_bitmap_round_trip(bitmap: bytes) -> None:
    assert RangeSet.from_bitmap(bitmap).to_bitmap(8 * len(bitmap)) == bitmap


def test_a_long_file_is_one_run() -> None:
    ranges = RangeSet.from_bitmap(b"\xff" * (1 << 19))
    assert ranges.fragments == 1
    assert len(ranges) == 1 << 22
    ranges.clear()
    assert len(ranges) == 0
    assert ranges.fragments == 0
    assert repr(RangeSet([(1, 3)])) == "RangeSet([(1, 3)])"
