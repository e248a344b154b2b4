"""A derivation that nobody waits for writes nothing; one that writes is waited for."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path

import pytest

from peerpost.crypto.passphrase import Cost
from peerpost.errors import UnavailableError
from peerpost.node.deriving import Deriving, MayWrite
from peerpost.store import keyfile

CHEAP = Cost(64, 1, 1)


async def given_up(deriving: Deriving, running: asyncio.Future[object], how: str) -> None:
    """End a derivation by the node that leaves, or by the caller who does."""
    if how == "the node":
        deriving.give_up()
    else:
        running.cancel()
    await asyncio.wait([running], timeout=5)


@pytest.mark.asyncio
@pytest.mark.parametrize("how", ["the node", "the caller"])
async def test_what_derives_is_left_behind_and_then_writes_nothing(how: str) -> None:
    deriving, goes_on, told = Deriving(), threading.Event(), threading.Event()
    wrote = []

    def work(may_write: MayWrite) -> None:
        goes_on.wait(20)
        try:
            may_write()
            wrote.append(1)
        finally:
            told.set()

    running = asyncio.ensure_future(deriving.run(work))
    await asyncio.sleep(0.05)
    began_s = time.monotonic()
    await given_up(deriving, running, how)
    assert time.monotonic() - began_s < 2
    error = UnavailableError if how == "the node" else asyncio.CancelledError
    with pytest.raises(error):
        await running
    goes_on.set()
    assert await asyncio.to_thread(told.wait, 10)
    assert wrote == []
    if how == "the node":
        with pytest.raises(UnavailableError, match="nothing was changed"):
            await deriving.run(lambda _: None)


@pytest.mark.asyncio
@pytest.mark.parametrize("how", ["the node", "the caller"])
async def test_what_writes_is_waited_for(how: str) -> None:
    deriving, goes_on, writes = Deriving(), threading.Event(), threading.Event()
    wrote = []

    def work(may_write: MayWrite) -> str:
        may_write()
        writes.set()
        goes_on.wait(20)
        wrote.append(1)
        return "written"

    running = asyncio.ensure_future(deriving.run(work))
    assert await asyncio.to_thread(writes.wait, 10)
    asyncio.get_running_loop().call_later(0.3, goes_on.set)
    await given_up(deriving, running, how)
    assert wrote == [1]
    if how == "the node":
        assert await running == "written"
    else:
        with pytest.raises(asyncio.CancelledError):
            await running


@pytest.mark.asyncio
async def test_what_is_raised_there_is_raised_here() -> None:
    def fails(_: MayWrite) -> None:
        raise ValueError("as it is")

    with pytest.raises(ValueError, match="as it is"):
        await Deriving().run(fails)


class LeftError(Exception):
    """Nobody waits any more."""


def leaves() -> None:
    raise LeftError


def test_a_keyfile_asks_before_it_is_written(tmp_path: Path) -> None:
    with pytest.raises(LeftError):
        keyfile.create(tmp_path, passphrase=b"one", cost=CHEAP, may_write=leaves)
    assert list(tmp_path.iterdir()) == []
    keyfile.create(tmp_path, passphrase=b"one", cost=CHEAP)
    before = (tmp_path / "keyfile").read_bytes()
    with pytest.raises(LeftError):
        keyfile.replace_slots(
            tmp_path, b"one", {"passphrase": b"two"}, cost=CHEAP, may_write=leaves
        )
    with pytest.raises(LeftError):
        keyfile.unlock(tmp_path, b"one", cost=Cost(128, 1, 1), may_write=leaves)
    assert [path.name for path in tmp_path.iterdir()] == ["keyfile"]
    assert (tmp_path / "keyfile").read_bytes() == before
