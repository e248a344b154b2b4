"""A file that goes out, with a real store, real threads and a real source."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import errno
import json
import os
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest

from peerpost import system
from peerpost.node import services as services_module
from peerpost.node.files import upload as upload_module
from peerpost.node.files.spool import Spool
from peerpost.node.files.transfers import Transfers
from peerpost.node.files.upload import Upload
from peerpost.store import disk
from peerpost.store.db.engine import Store
from peerpost.store.files.reference import ReferenceSource, describe
from peerpost.store.files.resealed import Piece
from peerpost.store.tables import transfers
from peerpost.wire import inner as wire
from tests.messenger.protocol.test_receiving import CHUNK, LOG2
from tests.support.network_rig import until
from tests.support.spool_writer import services_of
from tests.support.store_rig import KEY, NOW_MS, Rig

FILE_ID = bytes([7]) * 16
SIZE = 20 * CHUNK
TOLD = wire.Pause(file_id=FILE_ID, paused=True, reason=upload_module.TOLD)
GOES_ON = wire.Pause(file_id=FILE_ID, paused=False)


class Receiver:
    """The session of a receiver: it keeps what it is told."""

    segment_bytes = 4096

    def __init__(self) -> None:
        self.told: list[wire.Inner] = []

    def send(self, _lane: wire.Lane, inner: bytes) -> None:
        self.told.append(wire.decode(inner))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return a home from which a file is to go to a contact, read where it lies."""
    source = tmp_path / "source"
    source.write_bytes(bytes(SIZE))
    with source.open("rb") as file:
        reference = describe(file.fileno(), str(source))
    with Rig(tmp_path) as rig:
        rig.make_identity()
        rig.write(
            transfers.add_outgoing,
            contact_id=rig.make_contact("bob").id,
            file_id=FILE_ID,
            key=bytes(32),
            chunk_log2=LOG2,
            name="a",
            as_text=False,
            size=SIZE,
            finish=None,
            source=json.dumps(dataclasses.asdict(reference)),
            now_ms=NOW_MS,
        )
    return tmp_path


def ask_leaves() -> wire.Pull:
    return wire.Pull(file_id=FILE_ID, leaves_first=0, leaves_count=2, ranges=())


class Answering:
    """The files of a home, for one receiver who asks for the leaves of one file."""

    def __init__(self, store: Store, files: Transfers, contact_id: str) -> None:
        self._store, self._files, self._contact_id = store, files, contact_id
        self._session = cast("Any", Receiver())
        files.session_up(contact_id, self._session)

    async def ask(self, pull: wire.Pull | None = None) -> None:
        await self._files.on_control(self._contact_id, self._session, pull or ask_leaves())

    @property
    def upload(self) -> object:
        return self._files.driven(self._contact_id, FILE_ID, incoming=False)

    def told(self, kind: type[wire.Inner]) -> list[wire.Inner]:
        return [message for message in self._session.told if isinstance(message, kind)]

    async def over(self) -> bool:
        return not await self._store.read(transfers.list_open)


@contextlib.asynccontextmanager
async def answering(
    home: Path, reading: threading.Event
) -> AsyncIterator[tuple[Answering, Upload]]:
    """Open a home, have its file asked for, and wait until it is being read."""
    loop = asyncio.get_running_loop()
    store = await Store.open(home / "store.db", KEY, loop=loop, ballast_bytes=0)
    services = services_of(home, store)
    (row,) = await store.read(transfers.list_open)
    transfers_of = Transfers(services)
    files = Answering(store, transfers_of, row.contact_id)
    await files.ask()
    upload = files.upload
    assert isinstance(upload, Upload)
    assert await asyncio.to_thread(reading.wait, 10)
    yield files, upload
    await transfers_of.stop()
    services.threads.shutdown()
    await store.close()


def test_after_an_error_of_ours_it_is_suspended_and_then_answers_again(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, read, done = threading.Event(), threading.Event(), list[str]()
    real_close = ReferenceSource.close

    def read_leaves(_source: ReferenceSource, _first: int, _count: int) -> bytes:
        if not reading.is_set():
            reading.set()
            assert read.wait(10)
            done.append("failed")
            raise RuntimeError("a mistake")
        return bytes(64)

    def close(source: ReferenceSource) -> None:
        done.append("closed")
        real_close(source)

    monkeypatch.setattr(ReferenceSource, "read_leaves", read_leaves)
    monkeypatch.setattr(ReferenceSource, "close", close)

    async def work() -> None:
        async with answering(home, reading) as (files, upload), asyncio.timeout(10):
            read.set()
            await until(lambda: upload.trouble)
            assert upload.trouble is not None
            assert "a mistake" in upload.trouble.cause
            await until(lambda: files.told(wire.Pause)[-1:] == [TOLD])
            await until(lambda: done == ["failed", "closed"])
            upload.retry_now()
            await until(lambda: files.told(wire.Pause)[-1:] == [GOES_ON])
            assert upload.trouble is None
            await files.ask()
            await until(lambda: files.told(wire.Leaves))
            assert files.upload is upload

    asyncio.run(work())


def test_the_end_of_a_source_is_looked_for_once_in_each_try(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, looks = threading.Event(), list[str]()

    def read_leaves(_source: ReferenceSource, _first: int, _count: int) -> bytes:
        reading.set()
        return bytes(64)

    def find_end(_source: ReferenceSource) -> None:
        looks.append("looked")
        raise RuntimeError("a mistake")

    monkeypatch.setattr(ReferenceSource, "read_leaves", read_leaves)
    monkeypatch.setattr(ReferenceSource, "find_end", find_end)

    async def work() -> None:
        async with answering(home, reading) as (files, upload), asyncio.timeout(10):
            await files.ask(wire.Pull(file_id=FILE_ID, leaves_first=0, leaves_count=0, ranges=()))
            for tries in (1, 2):
                await until(lambda: upload.trouble)
                await asyncio.sleep(0.1)
                assert len(looks) == tries
                upload.retry_now()
                await until(lambda: upload.trouble is None or len(looks) > tries)  # noqa: B023

    asyncio.run(work())


FOR_NOW = [errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM]


@pytest.mark.parametrize("where", ["open", "read"])
@pytest.mark.parametrize("number", FOR_NOW, ids=lambda number: errno.errorcode[number])
def test_a_source_that_cannot_be_read_for_now_is_tried_again(
    home: Path, monkeypatch: pytest.MonkeyPatch, number: int, where: str
) -> None:
    name = {"open": "open_source", "read": "read_at"}[where]
    real, failing, met = getattr(disk, name), True, threading.Event()

    def call(*arguments: Any) -> Any:
        met.set()
        if failing:
            raise OSError(number, os.strerror(number))
        return real(*arguments)

    monkeypatch.setattr(disk, name, call)

    async def work() -> None:
        nonlocal failing
        async with answering(home, met) as (files, upload), asyncio.timeout(20):
            await until(lambda: upload.trouble)
            assert upload.trouble is not None
            assert os.strerror(number) in upload.trouble.cause
            assert not await files.over()
            failing = False
            await until(lambda: files.told(wire.Pause)[-1:] == [GOES_ON])
            await files.ask()
            await until(lambda: files.told(wire.Leaves))
            assert not files.told(wire.Cancel)

    asyncio.run(work())


def test_a_source_that_is_gone_ends_the_transfer(home: Path) -> None:
    (home / "source").unlink()

    async def work() -> None:
        met = threading.Event()
        met.set()
        async with answering(home, met) as (files, _), asyncio.timeout(20):
            await until(files.over)
            assert files.told(wire.Cancel)
            assert not files.told(wire.Pause)

    asyncio.run(work())


def test_what_the_user_has_paused_stays_so_after_a_failure(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    met = threading.Event()

    def read_leaves(_source: ReferenceSource, _first: int, _count: int) -> bytes:
        met.set()
        raise OSError(errno.EIO, "EIO")

    monkeypatch.setattr(ReferenceSource, "read_leaves", read_leaves)

    async def work() -> None:
        async with answering(home, met) as (files, upload), asyncio.timeout(20):
            await until(lambda: upload.trouble)
            upload.pause("by the user")
            upload.retry_now()
            await until(lambda: upload.trouble is None)
            paused = wire.Pause(file_id=FILE_ID, paused=True, reason="by the user")
            await until(lambda: files.told(wire.Pause)[-1:] == [paused])
            upload.resume()
            await until(lambda: files.told(wire.Pause)[-1:] == [GOES_ON])

    asyncio.run(work())


def test_a_file_is_closed_only_when_nothing_reads_it_any_more(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, read, done = threading.Event(), threading.Event(), list[str]()

    def read_leaves(_source: ReferenceSource, _first: int, _count: int) -> bytes:
        reading.set()
        assert read.wait(10)
        done.append("read")
        return bytes(64)

    monkeypatch.setattr(ReferenceSource, "read_leaves", read_leaves)
    monkeypatch.setattr(ReferenceSource, "close", lambda _source: done.append("closed"))

    async def work() -> None:
        async with answering(home, reading) as (files, upload), asyncio.timeout(10):
            (row,) = await files._store.read(transfers.list_open)
            end = (row.contact_id, row.file_id, "cancelled", "not that one")
            await files._store.write(transfers.end_outgoing, *end)
            upload.cancel("not that one")
            await until(files.over)
            await asyncio.sleep(0.05)
            assert done == []
            read.set()
            await upload.ended.wait()
            assert done[:2] == ["read", "closed"]

    asyncio.run(work())


@pytest.mark.parametrize("in_memory", [0, 2, 6, 8])
def test_what_the_system_has_in_memory_is_sealed_once_and_the_rest_read_in_a_thread(
    home: Path, monkeypatch: pytest.MonkeyPatch, in_memory: int
) -> None:
    sealed: list[tuple[int, int]] = []
    seal = ReferenceSource.seal

    def noted_seal(source: ReferenceSource, first: int, plain: memoryview) -> Piece:
        sealed.append((first, len(plain) // CHUNK))
        return seal(source, first, plain)

    def pread_cached(fd: int, buffer: memoryview, offset: int) -> int:
        return os.preadv(fd, [buffer], offset) if offset < in_memory * CHUNK else 0

    monkeypatch.setattr(services_module, "PROCESSORS", 2)
    monkeypatch.setattr(services_module, "COMPUTED_BYTES", 2 * CHUNK)
    monkeypatch.setattr(system, "pread_cached", pread_cached)

    async def work() -> None:
        store = await Store.open(
            home / "store.db", KEY, loop=asyncio.get_running_loop(), ballast_bytes=0
        )
        services = services_of(home, store)
        (row,) = await store.read(transfers.list_open)
        (home / "spool").mkdir()
        upload = Upload(services, row, Spool(services, home / "spool"))
        usual = await upload._reading.opened()
        expected = await services.in_thread(usual.read, 0, 8)
        monkeypatch.setattr(ReferenceSource, "seal", noted_seal)
        piece = await upload._reading.chunks(0, 8)
        assert (piece.first, piece.leaves) == (0, expected.leaves)
        assert list(map(bytes, piece.sealed)) == list(map(bytes, expected.sealed))
        assert sealed == [(0, 2), (2, 2), (4, 2), (6, 2)]
        await upload.close()
        services.threads.shutdown()
        await store.close()

    asyncio.run(work())


def test_an_upload_that_ends_late_leaves_its_successor_in_its_place(home: Path) -> None:
    async def work() -> None:
        loop = asyncio.get_running_loop()
        store = await Store.open(home / "store.db", KEY, loop=loop, ballast_bytes=0)
        services = services_of(home, store)
        (row,) = await store.read(transfers.list_open)
        files = Transfers(services)
        first = await files._drivers.upload(row)
        second = files._drivers.uploads[row.contact_id, FILE_ID] = Upload(
            services, row, Spool(services, home / "spool")
        )
        first._on_end()
        assert files.driven(row.contact_id, FILE_ID, incoming=False) is second
        await first.close()
        await files.stop()
        services.threads.shutdown()
        await store.close()

    asyncio.run(work())
