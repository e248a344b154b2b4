"""A disk that has no room for what comes of a file: it waits, its sender reads why, and room is all it takes."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from peerpost import system
from peerpost.errors import StoreFullError
from peerpost.node.files import room
from peerpost.store.files.sealed import SealedFile
from peerpost.store.tables import inbox
from peerpost.wire import inner as wire
from tests.messenger.protocol.test_receiving import CHUNK, Content
from tests.support.incoming import CHUNKS, Sender, accepted, incoming


@pytest.fixture
def content() -> Content:
    return Content(CHUNKS * CHUNK - 5)


@pytest.fixture
def home(tmp_path: Path, content: Content, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a home with a contact whose file has been accepted."""
    monkeypatch.setattr(room, "RETRY_S", (0.05, 0.05))
    return accepted(tmp_path, content)


class FullDisk:
    """A disk that takes no chunk and has no room until it is told otherwise, and counts who asks."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.full, self.looks = True, 0
        self._pwritev, self._usage = system.pwritev, shutil.disk_usage
        monkeypatch.setattr(system, "pwritev", self._write)
        monkeypatch.setattr(shutil, "disk_usage", self._free)

    def _write(self, fd: int, buffers: Sequence[memoryview], offset: int) -> int:
        if self.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self._pwritev(fd, buffers, offset)

    def _free(self, path: Any) -> Any:
        self.looks += 1
        usage = self._usage(path)
        return usage._replace(free=0 if self.full else usage.total)


def test_a_file_waits_for_room_and_its_sender_reads_why(
    home: Path, content: Content, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = FullDisk(monkeypatch)

    async def work() -> None:
        sender = Sender(content)
        async with incoming(home, sender) as file:
            file.start()
            await file.until(lambda: sender.tells(wire.Pause))
            (pause, *_) = [said for said in sender.told if isinstance(said, wire.Pause)]
            assert (pause.paused, pause.reason) == (True, "the receiver's disk is full")
            await file.until(lambda: disk.looks > 0)
            pulls, looks = sum(isinstance(s, wire.Pull) for s in sender.told), disk.looks
            await file.until(lambda: disk.looks > looks + 3)
            # In vain it asks for nothing: each time a window would be sent that has no place.
            assert sum(isinstance(said, wire.Pull) for said in sender.told) == pulls
            row = await file.now()
            assert (row.state, "No space left" in (row.error or "")) == ("active", True)
            disk.full = False
            await asyncio.wait_for(file.download.ended.wait(), 10)
            row = await file.now()
            assert (row.state, row.error) == ("done", None)

    asyncio.run(work())


@pytest.mark.parametrize("how", ["the store is full", "the disk is full"])
def test_a_file_that_is_whole_waits_for_room_and_its_sender_reads_why(
    home: Path, content: Content, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    complete, finish = inbox.complete_incoming, SealedFile.finish
    full = threading.Event()
    full.set()

    def fails_to_record(*arguments: Any) -> Any:
        if full.is_set():
            raise StoreFullError("the disk is full")
        return complete(*arguments)

    def fails_to_finish(*arguments: Any) -> None:
        if full.is_set():
            raise StoreFullError("cannot finish a received file: No space left on device")
        finish(*arguments)

    if how == "the store is full":
        monkeypatch.setattr(inbox, "complete_incoming", fails_to_record)
    else:
        monkeypatch.setattr(SealedFile, "finish", fails_to_finish)

    async def work() -> None:
        sender = Sender(content)
        async with incoming(home, sender) as file:
            file.start()
            await file.until(lambda: sender.tells(wire.Pause))
            assert not sender.tells(wire.Complete)
            full.clear()
            await asyncio.wait_for(file.download.ended.wait(), 10)
            assert (await file.now()).state == "done"
            assert sender.tells(wire.Complete)

    asyncio.run(work())
