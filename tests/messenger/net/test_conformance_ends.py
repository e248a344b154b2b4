"""How streams and connections end, on every transport: over loopback, in memory, and with stock on one side."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from peerpost.net.interface import (
    Connection,
    ConnectionLostError,
    Stream,
    StreamResetError,
)
from tests.support.link import BACK
from tests.support.net_rig import (
    CHAT,
    FILE,
    HELLO,
    Kind,
    on_loop,
    pair,
    pattern,
    read_all,
    read_exactly,
    settle,
)

# -- ends


@on_loop
async def test_half_close_leaves_the_other_half(kind: Kind) -> None:
    async with pair(kind) as net:
        near, far = await net.streams()
        await near.write(b"question")
        await near.close_write()
        assert await read_all(far) == b"question"
        assert await far.read() == b""

        async def answer() -> None:
            await far.write(pattern(3_000_000))
            await far.close()

        data, _ = await asyncio.gather(read_all(near), answer())
        assert data == pattern(3_000_000)
        with pytest.raises(StreamResetError):
            await near.write(b"too late")


@pytest.mark.parametrize("read_first", [True, False])
@on_loop
async def test_reset_is_told_from_the_end(kind: Kind, read_first: bool) -> None:
    async with pair(kind) as net:
        near, far = await net.streams()
        await near.write(b"beginning of something")
        if read_first:
            assert await far.read() == b"beginning of something"
        near.reset()
        await settle(100)
        for end, stream in ((net.near, near), (net.far, far)):
            for _ in range(2):
                with net.at(end), pytest.raises(StreamResetError):
                    await stream.read()
            with net.at(end), pytest.raises(StreamResetError):
                await stream.write(b"x")
        await net.streams()  # The connection does not mind.


async def until_error(stream: Stream) -> None:
    """Read until the stream says why it is over; a clean end is none."""
    while await stream.read():
        pass
    pytest.fail("a truncated stream looks like a clean end")


@on_loop
async def test_what_ended_cleanly_can_be_read_whatever_comes_then(kind: Kind) -> None:
    async with pair(kind) as net:
        near, far = await net.streams()
        await near.write(b"whole")
        await near.close_write()
        await settle(100)
        near.reset()
        await settle(100)
        with net.at(net.far):
            assert await read_all(far) == b"whole"
        # But not what was broken off here.
        near, far = await net.streams()
        await near.write(b"whole")
        await near.close_write()
        await settle(100)
        far.reset()
        with net.at(net.far), pytest.raises(StreamResetError):
            await far.read()
        near, far = await net.streams()
        await near.write(b"whole")
        await near.close_write()
        await settle(100)
        net.near.abort()
        await net.far.wait_closed()
        with net.at(net.far):
            assert await read_all(far) == b"whole"


@on_loop
async def test_closed_here_is_no_clean_end_either(kind: Kind) -> None:
    async with pair(kind) as net:
        near, far = await net.streams()
        await far.write(b"never read")
        reading = asyncio.gather(read_all(near), return_exceptions=True)
        await asyncio.sleep(0)
        await near.close()
        await near.close()
        with pytest.raises(StreamResetError):
            await near.read()
        [result] = await reading
        assert result == b"never read" or isinstance(result, StreamResetError)


@on_loop
async def test_unread_stream_that_was_closed_does_not_hold_up_its_peer(kind: Kind) -> None:
    async with pair(kind) as net:
        near, far = await net.streams()
        await near.write(pattern(250_000))
        await settle(100)
        await far.close()
        for _ in range(40):
            await near.write(pattern(100_000))
        await near.close()


@on_loop
async def test_close_of_a_connection_flushes(kind: Kind) -> None:
    async with pair(kind) as net:
        near, far = await net.streams(FILE)
        await far.write(pattern(200_000))  # Unread when it ends: that must not cost the other half.
        await near.write(pattern(1_000_000))
        await near.close_write()

        async def read_later() -> bytes:
            await asyncio.sleep(0.2)
            with net.at(net.far):
                return await read_all(far)

        data, _ = await asyncio.gather(read_later(), net.near.close())
        with net.at(net.far):
            assert data == pattern(1_000_000)
        await net.far.wait_closed()


@on_loop
async def test_close_of_a_stream_waits_for_a_slow_reader(
    kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The test is the clock: however slow the machine is, a stream is looked at just when it is said here.
    monkeypatch.setattr("peerpost.net.mux.stream.LINGER_S", 3600)

    def look_at(stream: Any) -> None:
        if stream._linger is not None:  # Nothing is waited for where it has ended.
            stream._linger.cancel()
            stream._still_waiting()

    def queued_bytes(stream: Any) -> int:
        return int(stream._connection.stream_queued_bytes(stream))

    async with pair(kind) as net:
        near, far = await net.streams(FILE)
        await near.write(pattern(2_000_000))
        await near.close()
        got, looked = b"", 0
        while len(got) < 2_000_000:
            got += await read_exactly(far, 100_000)
            await settle()
            if 0 < queued_bytes(near) < near._lingering_bytes:
                look_at(near)
                looked += 1
        assert got == pattern(2_000_000)
        assert await far.read() == b""
        assert looked or kind.network is not None, "only in memory may all of it be under way"
        # And whoever neither reads nor ends does not hold a closed stream for ever.
        near, far = await net.streams(FILE)
        await near.write(pattern(5_000_000))
        await near.close()
        # Stock tells a reset from the end only of a stream of which something has come.
        await read_exactly(far, 100_000)
        # What has left since it was closed counts, but only once.
        look_at(near)
        look_at(near)
        try:
            assert len(await read_all(far)) == 4_900_000
            assert kind.network is not None, "only in memory may all of it be under way"
        except StreamResetError:
            assert kind.network is None


@on_loop
async def test_protocol_that_the_peer_does_not_speak(kind: Kind) -> None:
    async with pair(kind) as net:
        with pytest.raises(StreamResetError, match="/test/none/1"):
            await net.near.open_stream("/test/none/1")
        near, far = await net.streams(HELLO)
        assert near.protocol == far.protocol == HELLO


@on_loop
async def test_loss_of_the_connection_reaches_everybody(kind: Kind) -> None:
    async with pair(kind) as net:
        near, far = await net.streams()
        writing, _ = await net.streams(FILE)
        await near.write(b"half of it")
        assert await far.read() == b"half of it"

        async def fill() -> None:
            while True:
                await writing.write(pattern(100_000))

        waiting = {
            net.near: [asyncio.ensure_future(work) for work in (near.read(), fill())],
            net.far: [
                asyncio.ensure_future(work) for work in (far.read(), net.far.accept_stream())
            ],
        }
        await asyncio.sleep(0.1)
        net.far.abort()
        await asyncio.gather(net.near.wait_closed(), net.far.wait_closed())
        ends = [(net.near, [near, writing]), (net.far, [far])]
        # Ours first: behind what stock does wrong nothing is tried any more.
        for end, streams in ends if BACK in kind.to_ours else reversed(ends):
            with net.at(end):
                for error in await asyncio.gather(*waiting[end], return_exceptions=True):
                    assert isinstance(error, ConnectionLostError)
                    assert not isinstance(error, StreamResetError)
                await check_lost(end, streams)


async def check_lost(end: Connection, streams: list[Stream]) -> None:
    """Hold what an end says whose connection is gone, however often it is asked."""
    with pytest.raises(ConnectionLostError):
        await end.open_stream(CHAT)
    for _ in range(2):
        with pytest.raises(ConnectionLostError):
            await end.accept_stream()
    await end.close()
    end.abort()
    for stream in streams:
        with pytest.raises(ConnectionLostError):
            await stream.read()
        with pytest.raises(ConnectionLostError):
            await stream.write(b"x")
        await stream.close_write()
        await stream.close()
        stream.reset()
