"""What the node writes to for a command: pipes that wait for nobody, are slow, or are left."""

from __future__ import annotations

import os
import socket
import threading
import time

import pytest

from peerpost.errors import ReaderLeftError, StorageError, StoreFullError
from peerpost.node.files.sink import Sink

DATA = os.urandom(1 << 20)


def ends(kind: str) -> tuple[int, int]:
    if kind == "pipe":
        return os.pipe()
    one, other = socket.socketpair()
    return one.detach(), other.detach()


@pytest.mark.parametrize("kind", ["pipe", "socket"])
@pytest.mark.parametrize("blocking", [True, False])
def test_all_of_it_arrives_at_a_slow_reader(kind: str, blocking: bool) -> None:
    read_end, write_end = ends(kind)
    os.set_blocking(write_end, blocking)
    sink = Sink(write_end)

    def write() -> None:
        sink.write(memoryview(DATA))
        sink.close()
        os.close(write_end)

    writer = threading.Thread(target=write)
    writer.start()
    time.sleep(0.2)
    with os.fdopen(read_end, "rb") as reader:
        assert reader.read() == DATA
    writer.join()


@pytest.mark.parametrize("kind", ["pipe", "socket"])
@pytest.mark.parametrize("blocking", [True, False])
def test_a_reader_who_leaves(kind: str, blocking: bool) -> None:
    read_end, write_end = ends(kind)
    os.set_blocking(write_end, blocking)
    sink = Sink(write_end)
    threading.Timer(0.2, os.close, (read_end,)).start()
    with pytest.raises(ReaderLeftError):
        sink.write(memoryview(DATA))
    sink.close()
    os.close(write_end)


def test_what_cannot_be_written_to() -> None:
    for path, flags, error in (
        ("/dev/full", os.O_WRONLY, StoreFullError),
        ("/dev/null", os.O_RDONLY, StorageError),
    ):
        fd = os.open(path, flags)
        sink = Sink(fd)
        with pytest.raises(error):
            sink.write(memoryview(b"x"))
        sink.close()
        os.close(fd)
