"""A pipe that keeps its reader waiting can be given up."""

from __future__ import annotations

import os
import threading

import pytest

from peerpost.errors import NoInputError
from peerpost.store.files.source import Source


def test_it_reads_to_the_end() -> None:
    ours, theirs = os.pipe()
    os.set_blocking(ours, False)
    source = Source(ours)
    threading.Timer(0.05, lambda: (os.write(theirs, b"late"), os.close(theirs))).start()
    room = memoryview(bytearray(10))
    assert source.readinto(room) == 4
    assert bytes(room[:4]) == b"late"
    assert source.readinto(room) == 0
    source.close()


def test_a_reader_that_waits_is_stopped() -> None:
    ours, theirs = os.pipe()
    source = Source(ours)
    threading.Timer(0.05, source.stop).start()
    with pytest.raises(NoInputError, match="given up"):
        source.readinto(memoryview(bytearray(10)))
    source.stop()
    source.close()
    os.close(theirs)


def test_what_cannot_be_read() -> None:
    source = Source(os.open("/", os.O_RDONLY))
    with pytest.raises(NoInputError, match="cannot read the input"):
        source.readinto(memoryview(bytearray(10)))
    source.close()
