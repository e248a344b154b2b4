"""A file that comes in, driven with a real store, real threads and a real part on the disk."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from peerpost import system
from peerpost.errors import StoreFullError
from peerpost.node.files import driver, part, room
from peerpost.node.files.transfers import Transfers
from peerpost.protocol.receiving import Receiving
from peerpost.store.files.chunks import Sealer
from peerpost.store.files.sealed import End, SealedFile
from peerpost.store.tables import transfers
from peerpost.wire import inner as wire
from tests.messenger.protocol.test_receiving import CHUNK, LOG2, Content
from tests.support.incoming import CHUNKS, Sender, accepted, incoming, part_of


@pytest.fixture
def content() -> Content:
    return Content(CHUNKS * CHUNK - 5)


@pytest.fixture
def home(tmp_path: Path, content: Content, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a home with a contact whose file has been accepted; it is flushed after each few chunks."""
    monkeypatch.setattr(part, "FLUSH_BYTES", 4 * CHUNK)
    monkeypatch.setattr(room, "RETRY_S", (0.05, 0.05))
    return accepted(tmp_path, content)


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(work)


class Gate:
    """Where threads wait while it is shut."""

    def __init__(self) -> None:
        self.entered, self._open = threading.Event(), threading.Event()
        self.open = self._open.set
        self.shut = self._open.clear
        self.open()

    def pass_(self) -> None:
        self.entered.set()
        assert self._open.wait(10)


class Disk:
    """The system's writes and flushes: slow, if need be, and one flush may tell, once, that a write is lost."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._fdatasync, self._pread, self._pwritev = system.fdatasync, system.pread, system.pwritev
        monkeypatch.setattr(system, "fdatasync", self._flush)
        monkeypatch.setattr(system, "pread", self._read)
        monkeypatch.setattr(system, "pwritev", self._write)
        self.reads, self.writes, self.flushes = Gate(), Gate(), Gate()
        self.wrong: list[OSError] = []
        """Uses of what was closed."""
        self._loses: Callable[[], bool] | None = None
        self._lock = threading.Lock()
        self.told = 0

    def lose(self, path: Path, when: Callable[[], bool]) -> None:
        """Lose the first chunk of a file as soon as that holds, and tell whoever flushes it next."""
        self._path, self._loses = path, when

    def _read(self, fd: int, size_bytes: int, offset: int) -> bytes:
        self.reads.pass_()
        try:
            return self._pread(fd, size_bytes, offset)
        except OSError as error:
            self.wrong.append(error)
            raise

    def _write(self, fd: int, buffers: Sequence[memoryview], offset: int) -> int:
        self.writes.pass_()
        return self._pwritev(fd, buffers, offset)

    def _flush(self, fd: int) -> None:
        self.flushes.pass_()
        try:
            self._fdatasync(fd)
            with self._lock:
                if self._loses is None or not os.path.samestat(os.fstat(fd), self._path.stat()):
                    return
                if not self._loses():
                    return
                self._loses, self.told = None, self.told + 1
        except OSError as error:
            self.wrong.append(error)
            raise
        with self._path.open("r+b") as file:
            file.write(bytes(4096))
        raise OSError(errno.EIO, os.strerror(errno.EIO))


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


def test_a_file_comes_in(home: Path, content: Content) -> None:
    async def work() -> None:
        async with incoming(home, Sender(content)) as file:
            file.start()
            await asyncio.wait_for(file.download.ended.wait(), 10)
            assert (await file.now()).state == "done"
            assert file.sender.tells(wire.Complete)
            assert file.ends == 1

    run(work())


@pytest.mark.parametrize("how", ["cancelled", "closed"])
def test_the_file_stays_open_for_a_flush_under_way(
    home: Path, content: Content, disk: Disk, how: str
) -> None:
    async def work() -> None:
        async with incoming(home, Sender(content, withheld=CHUNKS // 2)) as file:
            disk.writes.shut()
            disk.flushes.shut()
            file.start()
            await file.until(disk.writes.entered.is_set)
            download = file.download
            end = asyncio.ensure_future(
                download.cancel("enough") if how == "cancelled" else download.close()
            )
            await asyncio.sleep(0.02)
            # What is checked and written only now is enough to be flushed.
            disk.writes.open()
            await file.until(disk.flushes.entered.is_set)
            await asyncio.sleep(0.02)
            ended_early = end.done()
            disk.flushes.open()
            await asyncio.wait_for(end, 10)
            assert disk.wrong == []
            assert not ended_early

    run(work())


def test_the_file_stays_open_while_what_is_there_is_checked(
    home: Path, content: Content, disk: Disk
) -> None:
    async def work() -> None:
        async with incoming(home, Sender(content, withheld=1)) as file:
            file.start()
            await file.until(lambda: file.download.progress_bytes >= (CHUNKS - 2) * CHUNK)
        async with incoming(home, Sender(content)) as file:
            disk.reads.shut()
            file.start()
            await file.until(disk.reads.entered.is_set)
            end = asyncio.ensure_future(file.download.close())
            await asyncio.sleep(0.02)
            ended_early = end.done()
            disk.reads.open()
            await asyncio.wait_for(end, 10)
            file.services.threads.shutdown()
            assert disk.wrong == []
            assert not ended_early

    run(work())


@pytest.mark.parametrize("when", ["it comes", "it is whole"])
def test_nothing_is_believed_of_a_file_whose_flush_has_failed(
    home: Path, content: Content, disk: Disk, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """The system says so once: the next flush of the same file succeeds. Then the file comes whole all the same."""
    path = part_of(home)
    causes: list[str | None] = []

    async def work() -> None:
        async with incoming(home, Sender(content)) as file:
            if when == "it is whole":
                monkeypatch.setattr(part, "FLUSH_BYTES", 1 << 30)
            disk.lose(path, lambda: True)
            file.start()
            async with asyncio.timeout(10):
                while not file.download.ended.is_set():
                    causes.append((await file.now()).error)
                    await asyncio.sleep(0.005)
            row = await file.now()
            assert (row.state, row.error) == ("done", None)
            assert disk.told == 1
            assert "cannot flush a sealed file: Input/output error" in causes
            assert file.ends == 1
            finish = content.finish()
            end = End(size=finish.size, count=finish.count, root=finish.root)
            keys = Sealer(file_id=content.file_id, key=content.key, chunk_log2=LOG2)
            with SealedFile.open(path.with_suffix(".sealed"), keys) as whole:
                assert sum(len(piece) for piece in whole.plain(end)) == content.size

    run(work())


def test_an_error_of_the_store_leaves_one_download_that_goes_on_by_itself(
    home: Path, content: Content, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is told to the sender, and no second one writes into its part."""
    full = threading.Event()
    full.set()
    checkpoint = transfers.checkpoint

    def fails(*arguments: Any) -> None:
        if full.is_set():
            raise StoreFullError("the disk is full")
        checkpoint(*arguments)

    monkeypatch.setattr(transfers, "checkpoint", fails)

    async def work() -> None:
        sender = Sender(content, withheld=1)
        async with incoming(home, sender) as file:
            file.start()

            async def says_why() -> bool:
                return (await file.now()).error == "the disk is full"

            await file.until(says_why)
            assert (file.ends, file.download.ended.is_set()) == (0, False)
            full.clear()
            sender.withheld = 0
            await asyncio.wait_for(file.download.ended.wait(), 10)
            assert (await file.now()).state == "done"
            assert not sender.tells(wire.Cancel)

    run(work())


def test_who_rejects_a_file_while_it_rests_does_not_wait(
    home: Path, content: Content, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = part_of(home)
    monkeypatch.setattr(room, "RETRY_S", (3600, 3600))

    async def work() -> None:
        sender = Sender(content, withheld=1)
        async with incoming(home, sender) as file:
            disk.lose(path, lambda: True)
            file.start()

            async def rests() -> bool:
                return (await file.now()).error is not None

            await file.until(rests)
            await asyncio.wait_for(file.download.cancel("enough"), 10)
            assert (await file.now()).state == "cancelled"
            assert sender.tells(wire.Cancel)
            assert list((home / "blobs").iterdir()) == []

    run(work())


def test_who_comes_back_while_a_file_rests_reads_why(
    home: Path, content: Content, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "RETRY_S", (3600, 3600))

    async def work() -> None:
        sender, again = Sender(content, withheld=1), Sender(content)
        async with incoming(home, sender) as file:
            disk.lose(part_of(home), lambda: True)
            file.start()
            await file.until(lambda: sender.tells(wire.Pause))
            file.download.session_down()
            file.download.session_up(cast("Any", again))
            await file.until(lambda: bool(again.told))
            (pause,) = again.told
            assert isinstance(pause, wire.Pause)
            assert pause.reason == "the receiver's disk does not take it for now"

    run(work())


def test_a_file_whose_part_cannot_be_opened_can_be_rejected(home: Path, content: Content) -> None:
    part_of(home).symlink_to(home / "elsewhere")
    (home / "elsewhere").touch()

    async def work() -> None:
        async with incoming(home, Sender(content)) as file:
            (home / "spool").mkdir()
            files = Transfers(file.services)
            files.session_up(file.row.contact_id, cast("Any", file.sender))

            async def says_why() -> bool:
                return (await file.now()).error is not None

            await file.until(says_why)
            row = await asyncio.wait_for(files.reject(file.row.id), 10)
            assert row.state == "cancelled"
            assert file.sender.tells(wire.Refuse)
            assert list((home / "blobs").iterdir()) == []
            await files.stop()

    run(work())


@pytest.mark.parametrize("who", ["the sender", "the user"])
def test_a_file_that_is_given_up_while_it_is_being_opened_ends(
    home: Path, content: Content, disk: Disk, who: str
) -> None:
    async def work() -> None:
        async with incoming(home, Sender(content, withheld=1)) as file:
            file.start()
            await file.until(lambda: file.download.progress_bytes >= (CHUNKS - 2) * CHUNK)
        async with incoming(home, Sender(content)) as file:
            disk.reads.shut()
            file.start()
            await file.until(disk.reads.entered.is_set)
            if who == "the sender":
                file.download.on_cancel("not any more")
            else:
                rejecting = asyncio.ensure_future(file.download.cancel("not any more"))
                await file.until(lambda: file.sender.tells(wire.Refuse))
            disk.reads.open()
            await asyncio.wait_for(file.download.ended.wait(), 10)
            if who == "the user":
                await rejecting
            row = await file.now()
            assert (row.state, row.error) == ("cancelled", "not any more")
            assert list((home / "blobs").iterdir()) == []
            assert (file.ends, disk.wrong) == (1, [])

    run(work())


@pytest.mark.parametrize("gives_up", [False, True])
def test_how_it_ended_is_recorded_once_the_store_takes_it(
    home: Path, content: Content, monkeypatch: pytest.MonkeyPatch, gives_up: bool
) -> None:
    """The sender is told once, and is asked for nothing meanwhile; the user who gives it up does not wait."""
    monkeypatch.setattr(driver, "RETRY_S", (3600, 3600) if gives_up else (0.05, 0.05))
    tries, really = list[str](), transfers.end

    def end(*arguments: Any, **more: Any) -> Any:
        tries.append("end")
        if gives_up or len(tries) < 3:
            raise StoreFullError("the disk is full")
        return really(*arguments, **more)

    monkeypatch.setattr(transfers, "end", end)

    async def work() -> None:
        sender = Sender(content, withheld=CHUNKS)
        async with incoming(home, sender) as file:
            file.start()
            await file.until(lambda: sender.tells(wire.Pull))
            file.download.on_control(content.finish(size=1))
            await file.until(lambda: bool(tries))
            told = len(sender.told)
            if gives_up:
                await asyncio.wait_for(file.download.cancel("enough"), 10)
            else:
                await asyncio.wait_for(file.download.ended.wait(), 10)
            row = await file.now()
            assert row.state == ("active" if gives_up else "failed")
            assert sum(isinstance(said, wire.Cancel) for said in sender.told) == 1
            assert len(sender.told) == told
            assert file.ends == 1

    run(work())


def test_an_error_when_a_timer_is_due_begins_it_anew(
    home: Path, content: Content, monkeypatch: pytest.MonkeyPatch
) -> None:
    sender, failed = Sender(content, withheld=5), list[float]()
    real = Receiving.on_timer

    def on_timer(machine: Receiving, now_s: float) -> None:
        if not failed:
            failed.append(now_s)
            sender.withheld = 0
            raise RuntimeError("a mistake")
        real(machine, now_s)

    monkeypatch.setattr(Receiving, "on_timer", on_timer)

    async def work() -> None:
        async with incoming(home, sender) as file, asyncio.timeout(30):
            file.start()
            await file.download.ended.wait()
            assert failed
            assert (await file.now()).state == "done"

    asyncio.run(work())
