"""What is written with its zeros left out reads as if they had been written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from peerpost.holes import SparseWriter

pieces = st.lists(
    st.one_of(
        st.binary(max_size=30),
        st.sampled_from([1, 4095, 4096, 65535, 65536, 70_000, 300_000]).map(bytes),
        st.sampled_from([1, 4095, 4096, 70_000]).map(lambda size: b"x" * size),
    ),
    max_size=12,
)


@pytest.mark.slow
@given(pieces, st.integers(1, 100_000))
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_it_reads_as_it_was_written(tmp_path: Path, parts: list[bytes], step: int) -> None:
    whole = memoryview(b"".join(parts))
    for before in (b"", b"before"):
        path = tmp_path / "file"
        path.write_bytes(before)
        fd = os.open(path, os.O_RDWR)
        os.lseek(fd, 0, os.SEEK_END)
        out = SparseWriter(fd)
        for at in range(0, len(whole), step):
            out.write(whole[at : at + step])
        out.end()
        assert os.lseek(fd, 0, os.SEEK_CUR) == len(before) + len(whole)
        os.close(fd)
        assert path.read_bytes() == before + whole


def test_a_long_run_takes_no_room_whatever_pieces_it_comes_in(tmp_path: Path) -> None:
    size = 32 << 20
    for step in (1 << 20, 65_536 - 512, 5000):
        path = tmp_path / str(step)
        fd = os.open(path, os.O_RDWR | os.O_CREAT)
        out = SparseWriter(fd)
        out.write(memoryview(b"x"))
        for at in range(0, size, step):
            out.write(memoryview(bytes(min(step, size - at))))
        out.end()
        os.close(fd)
        assert path.stat().st_size == size + 1
        assert path.stat().st_blocks * 512 <= 1 << 16
