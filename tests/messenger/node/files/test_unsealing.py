"""A file is written to the folder of downloads once, wherever that is cut off, and never lost on the way."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest

from peerpost import system
from peerpost.client.rpc import Request
from peerpost.node.control.methods import inbox as commands
from peerpost.node.files.unsealing import Unsealing
from peerpost.store.tables import blobs, inbox, plain
from tests.messenger.node.files.test_deletion import send_file
from tests.support.network_rig import Somebody, acquainted, until

pytestmark = pytest.mark.asyncio

DATA = b"begin" + bytes(300_000) + os.urandom(300_000)


class CutOffError(Exception):
    """The node ends here."""


@asynccontextmanager
async def with_file(folder: Path, name: str = "a.bin") -> AsyncIterator[tuple[Somebody, Unsealing]]:
    """Have a file sealed with Bob that is due, and what is to write it to `folder`/down."""
    async with acquainted(folder, "alice", "bob") as (alice, bob):
        services = bob.home.services
        storage = msgspec.structs.replace(
            services.config.storage, downloads=str(folder / "down"), min_free=0
        )
        services.settings.now = msgspec.structs.replace(services.config, storage=storage)
        await send_file(alice, folder, DATA, name)

        async def there() -> bool:
            return len(await bob.received()) == 1

        await until(there)
        yield bob, Unsealing(services, bob.home.transfers.arrived)


async def run(unsealing: Unsealing) -> None:
    """Write what is due, as a node that begins does; it may be cut off."""
    task = asyncio.create_task(unsealing.follow())
    for _ in range(300):
        await asyncio.sleep(0.01)
        if task.done() or (await due(unsealing) == [] and not unsealing.busy):
            break
    task.cancel()
    with suppress(asyncio.CancelledError, CutOffError):
        await task


async def due(unsealing: Unsealing) -> list[plain.Due]:
    return await unsealing._services.store.read(plain.due)


def there(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "down").iterdir()}


def sealed(bob: Somebody) -> list[str]:
    return [path.name for path in (bob.home.services.home / "blobs").iterdir()]


CUTS: dict[str, tuple[Any, str]] = {
    "written": (Unsealing, "_make_draft"),
    "name noted": (plain, "begin"),
    "named": (Unsealing, "_link"),
    "flushed": (system, "fsync_dir"),
    "noted": (plain, "done"),
    "cleared": (Unsealing, "_clear"),
}


@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("cut", CUTS)
async def test_wherever_it_is_cut_off(tmp_path: Path, cut: str, after: bool, links: bool) -> None:
    """Before or after each step takes effect, on a disk with second names and on one without."""
    owner, name = CUTS[cut]
    async with with_file(tmp_path) as (bob, unsealing):
        with pytest.MonkeyPatch.context() as always:
            if not links:
                always.setattr("os.link", refuse_link)
            with pytest.MonkeyPatch.context() as patch:
                really = getattr(owner, name)

                def cut_off(*args: Any, **kwargs: Any) -> Any:
                    if after:
                        really(*args, **kwargs)
                    raise CutOffError

                patch.setattr(owner, name, cut_off)
                await run(unsealing)
            assert sealed(bob) or DATA in there(tmp_path).values()
            await run(Unsealing(bob.home.services, bob.home.transfers.arrived))
            # Once more, as at the next start.
            await run(Unsealing(bob.home.services, bob.home.transfers.arrived))
        assert there(tmp_path) == {"a.bin": DATA}
        (row,) = await commands.list_(bob.home, bob.request("inbox.list"))
        assert row["path"] == str(tmp_path / "down" / "a.bin")
        await bob.home.transfers.recover()
        assert sealed(bob) == []


def refuse_link(*_: object, **__: object) -> None:
    raise OSError(errno.EPERM, "Operation not permitted")


async def test_what_has_its_name_stays_and_holes_are_holes(tmp_path: Path) -> None:
    async with with_file(tmp_path, "../..//a.bin") as (_, unsealing):
        down = tmp_path / "down"
        down.mkdir()
        (down / "a.bin").symlink_to(tmp_path / "nowhere")
        (down / "a (1).bin").mkdir()
        await run(unsealing)
        assert (down / "a (2).bin").read_bytes() == DATA
        assert (down / "a (2).bin").stat().st_blocks * 512 < 400_000
        assert not (tmp_path / "nowhere").exists()


async def test_another_file_under_the_name_that_was_noted(tmp_path: Path) -> None:
    """The node ended before it gave the name, and by the next start somebody else has it."""
    async with with_file(tmp_path) as (bob, unsealing):
        with pytest.MonkeyPatch.context() as patch:

            def cut_off(*_: object) -> None:
                raise CutOffError

            patch.setattr(unsealing, "_link", cut_off)
            await run(unsealing)
        for path in (tmp_path / "down").iterdir():
            path.unlink()
        (tmp_path / "down" / "a.bin").write_bytes(DATA[::-1])
        await run(Unsealing(bob.home.services, bob.home.transfers.arrived))
        assert there(tmp_path) == {"a.bin": DATA[::-1], "a (1).bin": DATA}


async def test_a_message_that_is_deleted_meanwhile_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with with_file(tmp_path) as (bob, unsealing):
        (id_,) = (str(row[0]) for row in await bob.received())
        really = unsealing._give_name

        async def deleted_meanwhile(*args: Any) -> str:
            await bob.home.transfers.arrived.delete([id_], None)
            return await really(*args)

        monkeypatch.setattr(unsealing, "_give_name", deleted_meanwhile)
        await run(unsealing)
        assert there(tmp_path) == {}
        assert sealed(bob) == []


async def test_a_damaged_file_stays_sealed_and_holds_up_none(tmp_path: Path) -> None:
    async with with_file(tmp_path) as (bob, unsealing):
        (path,) = (bob.home.services.home / "blobs").glob("*.sealed")
        data = bytearray(path.read_bytes())
        data[1000] ^= 1
        path.write_bytes(data)
        await run(unsealing)
        assert await due(unsealing) == []
        assert there(tmp_path) == {}
        assert path.exists()


async def test_what_is_shown_while_its_sealed_copy_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who looked a moment before, and opens it a moment after, is led to the plain one."""
    async with with_file(tmp_path) as (bob, unsealing):
        (id_,) = (str(row[0]) for row in await bob.received())
        arrived, really, went = bob.home.transfers.arrived, blobs.path, []

        def gone_by_now(*args: Any) -> Path:
            if not went:
                went.append(True)
                asyncio.run_coroutine_threadsafe(run(unsealing), loop).result(10)
            return really(*args)

        loop = asyncio.get_running_loop()
        monkeypatch.setattr("peerpost.node.files.arrived.blobs.path", gone_by_now)
        # Not in a thread of those that write downloads: this one waits for them.
        read_end, write_end = os.pipe()
        with os.fdopen(read_end, "rb") as reader:
            reading = loop.run_in_executor(None, reader.read)
            try:
                request = Request("inbox.save", {"id": id_}, [write_end])
                saved = await commands.save(bob.home, request)
            finally:
                os.close(write_end)
            assert await reading == DATA
        assert went
        assert saved["size"] == len(DATA)
        assert sealed(bob) == []
        assert (await arrived.describe(await bob.store.read(inbox.find, id_)))["sealed"] is False
