"""Who asks and leaves takes the files along that came with the request, and no thread goes on with their numbers."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import traceback
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from peerpost.client.rpc import Request
from peerpost.errors import UnavailableError
from peerpost.node.control.methods import inbox as commands
from peerpost.node.control.methods.send import send_net
from peerpost.store.tables import contents
from tests.messenger.node.files.test_deletion import SIZE, listed, send_file
from tests.support.network_rig import acquainted, until

pytestmark = pytest.mark.asyncio

LARGE = 64_000_000
"""Decrypted in some 100 ms."""


async def test_what_is_saved_goes_into_no_other_file(tmp_path: Path) -> None:
    """The reader of a pipe is slow, and leaves; its number is another file's by the time the thread goes on."""
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        await send_file(alice, tmp_path, os.urandom(SIZE))
        (row,) = await listed(bob)
        slow, out = os.pipe()
        request = Request("inbox.save", {"id": row["id"]}, fds=[out])
        saving = asyncio.ensure_future(commands.save(bob.home, request))
        first = await asyncio.to_thread(os.read, slow, 1)
        assert first
        saving.cancel()
        await asyncio.gather(saving, return_exceptions=True)
        with (tmp_path / "another").open("xb") as other:
            request.close()
            os.dup2(other.fileno(), out)
            read = 1
            while some := await asyncio.to_thread(os.read, slow, 1 << 20):
                read += len(some)
            os.close(slow)
            assert os.fstat(other.fileno()).st_size == 0
            os.close(out)
        await until(lambda: bob.peer.online)


async def test_what_is_sent_comes_from_no_other_file(tmp_path: Path) -> None:
    """As above, the other way: `send-net --spool -` was interrupted, and the pipe goes on."""
    async with acquainted(tmp_path, "alice", "bob") as (alice, _bob):
        source, feed = os.pipe()
        stream = {"name": "stdin", "fd_index": 0}
        params = {"contact": "bob", "stream": stream, "spool": True}
        request = Request("send-net", params, fds=[source])
        sending = asyncio.ensure_future(send_net(alice.home, request))
        os.write(feed, b"the beginning")
        await until(lambda: list((tmp_path / "alice" / "spool").iterdir()))
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        (tmp_path / "another").write_bytes(b"secret" * 1000)
        with (tmp_path / "another").open("rb", buffering=0) as other:
            request.close()
            os.dup2(other.fileno(), source)
            with pytest.raises(BrokenPipeError):  # Nobody reads on.
                os.write(feed, b"and on")
            os.close(feed)
            await alice.home.services.in_thread(int)
            assert other.tell() == 0
            os.close(source)


@pytest.mark.parametrize("kind", ["stream", "file"])
async def test_nothing_is_read_on_for_who_has_left(tmp_path: Path, kind: str) -> None:
    """A source without an end would fill the disk."""
    async with acquainted(tmp_path, "alice", "bob") as (alice, _bob):
        spool = tmp_path / "alice" / "spool"
        with open("/dev/zero", "rb", buffering=0) as zero:  # noqa: ASYNC230, PTH123
            params = {"contact": "bob", kind: {"name": "zero", "fd_index": 0}, "spool": True}
            request = Request("send-net", params, fds=[os.dup(zero.fileno())])
            sending = asyncio.ensure_future(send_net(alice.home, request))
            await until(lambda: list(spool.iterdir()))
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            request.close()
        assert not list(spool.iterdir())
        assert not [t for t in threading.enumerate() if t.name.startswith("stream")]


def working(function: str) -> bool:
    """Tell whether a thread is in a function now."""
    frames = list(sys._current_frames().values())
    return any(
        frame.f_code.co_name == function
        for first in frames
        for frame, _ in traceback.walk_stack(first)
    )


async def leave_in(function: str, asked: Coroutine[Any, Any, object]) -> None:
    """Ask for something, leave while a thread is in a function for it, and see that no thread is any more."""
    asking = asyncio.ensure_future(asked)
    await until(lambda: working(function))
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    assert asking.cancelled()
    assert not working(function)


@pytest.mark.slow
@pytest.mark.parametrize("what", [commands.save, commands.show])
async def test_nothing_is_decrypted_on_for_who_has_left(tmp_path: Path, what: Any) -> None:
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        await send_file(alice, tmp_path, bytes(LARGE))
        (row,) = await listed(bob)
        with (tmp_path / "out").open("xb") as out:
            request = Request("inbox", {"id": row["id"]}, fds=[os.dup(out.fileno())])
            await leave_in("read_out", what(bob.home, request))
            request.close()
        assert (tmp_path / "out").stat().st_size < LARGE


async def test_nothing_is_hashed_on_for_who_has_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file of a size that the spool has is read first: maybe it is the same."""
    monkeypatch.setattr(contents, "has_size", lambda _db, _size: True)
    async with acquainted(tmp_path, "alice", "bob") as (alice, _bob):
        with (tmp_path / "long").open("xb") as long:
            long.truncate(1 << 36)
        with (tmp_path / "long").open("rb") as long:
            params = {"contact": "bob", "file": {"name": "long", "fd_index": 0}, "spool": True}
            request = Request("send-net", params, fds=[os.dup(long.fileno())])
            await leave_in("digest_of", send_net(alice.home, request))
            request.close()


async def test_who_does_not_read_holds_up_neither_files_nor_the_end(tmp_path: Path) -> None:
    """As `inbox save ID --out - | less`, in many windows."""
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        data = os.urandom(SIZE)
        await send_file(alice, tmp_path, data)
        (row,) = await listed(bob)
        pipes = [os.pipe() for _ in range(8)]
        requests = [Request("inbox.save", {"id": row["id"]}, fds=[out]) for _, out in pipes]
        saving = [asyncio.ensure_future(commands.save(bob.home, one)) for one in requests]
        for slow, _ in pipes:
            assert await asyncio.to_thread(os.read, slow, 1)
        await send_file(alice, tmp_path, data[::-1], "second.bin")
        await listed(bob, 2)
        # One reads on, and gets all of it; the others learn that the node stops.
        read = 1
        while read < SIZE:
            read += len(await asyncio.to_thread(os.read, pipes[0][0], 1 << 20))
        assert (await saving[0])["size"] == SIZE
        await bob.home.transfers.arrived.stop()
        ended = await asyncio.gather(*saving[1:], return_exceptions=True)
        assert [type(one) for one in ended] == [UnavailableError] * 7
        for (slow, _), request in zip(pipes, requests, strict=True):
            request.close()
            os.close(slow)
