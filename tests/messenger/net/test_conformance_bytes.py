"""How streams move bytes, on every transport: over loopback, in memory, and with stock on one side."""

from __future__ import annotations

import asyncio
import hashlib
import random

import pytest

from peerpost.net.interface import (
    Stream,
    StreamResetError,
)
from tests.support.net_rig import (
    CHAT,
    FILE,
    Kind,
    on_loop,
    pair,
    pattern,
    read_all,
    read_exactly,
    serve_echo,
    settle,
    until,
)

# -- moving bytes


@on_loop
async def test_writer_waits_for_the_reader(kind: Kind) -> None:
    async with pair(kind) as net:
        near, far = await net.streams(FILE)
        written = 0

        async def fill() -> None:
            nonlocal written
            while True:
                await near.write(bytes(50_000))
                written += 50_000

        filling = asyncio.ensure_future(fill())
        await asyncio.sleep(0.3)
        stuck = written
        await asyncio.sleep(0.1)
        assert written == stuck, "the writer was never made to wait"
        assert stuck <= kind.held_bytes
        assert not near.writable
        assert far.writable
        # Another stream does not wait behind it.
        chat, answer = await net.streams(CHAT)
        await chat.write(b"past it")
        assert await read_exactly(answer, 7) == b"past it"
        await read_exactly(far, stuck)
        await until(lambda: written > stuck, what="the writer was not woken")
        filling.cancel()
        await asyncio.gather(filling, return_exceptions=True)
        near.reset()
        assert near.writable, "it need not wait to be told"


@on_loop
async def test_order_holds_in_both_directions_at_once(kind: Kind) -> None:
    draw = random.Random(1)
    sizes = [draw.choice([1, 7, 1000, 65519, 65520, 300_000]) for _ in range(60)]
    data = pattern(sum(sizes))

    async def send(stream: Stream) -> None:
        at = 0
        for size in sizes:
            await stream.write(memoryview(data)[at : at + size])
            at += size
        await stream.close_write()

    async with pair(kind) as net:
        near, far = await net.streams(FILE)
        results = await asyncio.gather(send(near), send(far), read_all(near), read_all(far, 999))
        assert results[2] == results[3] == data


@on_loop
async def test_caller_may_reuse_its_buffer(kind: Kind) -> None:
    async with pair(kind) as net:
        near, far = await net.streams()
        buffer = bytearray(b"first")
        await near.write(buffer)
        buffer[:] = b"other"
        assert await read_exactly(far, 5) == b"first"


@on_loop
async def test_large_and_tiny_writes(kind: Kind) -> None:
    large = pattern(20_000_000)
    async with pair(kind) as net:
        near, far = await net.streams(FILE)

        async def send() -> None:
            await near.write(large)
            for at in range(3000):
                await near.write(large[at : at + 1])
                if at % 50 == 0:
                    await asyncio.sleep(0)
            await near.write(b"")
            await near.close_write()

        data, _ = await asyncio.gather(read_all(far, 1 << 20), send())
        assert hashlib.sha256(data).digest() == hashlib.sha256(large + large[:3000]).digest()


@on_loop
async def test_many_streams_at_once(kind: Kind) -> None:
    async with pair(kind) as net:
        serving = asyncio.ensure_future(serve_echo(net.far))

        async def talk(number: int) -> None:
            stream = await net.near.open_stream(CHAT, timeout_s=30)
            opened.append(number)
            await everyone.wait()
            await stream.write(f"number {number}".encode())
            await stream.close_write()
            assert await read_all(stream) == f"number {number}".encode()
            await stream.close()

        opened: list[int] = []
        everyone = asyncio.Event()
        talks = asyncio.gather(*(talk(n) for n in range(kind.streams)))
        await until(lambda: len(opened) == kind.streams, 30)
        everyone.set()
        await talks
        # They are over: there is room for as many again.
        again = await asyncio.gather(*(net.near.open_stream(CHAT) for _ in range(kind.streams)))
        assert len(again) == kind.streams
        net.near.abort()
        await serving


# -- cancellation


@on_loop
async def test_cancelled_reads_lose_nothing(kind: Kind) -> None:
    draw = random.Random(2)
    data = pattern(400_000)
    async with pair(kind) as net:
        near, far = await net.streams(FILE)

        async def send() -> None:
            for at in range(0, len(data), 1000):
                await near.write(data[at : at + 1000])
                await settle(draw.randrange(8))
            await near.close_write()

        sending = asyncio.ensure_future(send())
        got, cancelled = b"", 0
        while True:
            reading = asyncio.ensure_future(far.read(draw.choice([1, 500, 100_000])))
            await settle(draw.randrange(3))
            reading.cancel()
            try:
                piece = await reading
            except asyncio.CancelledError:
                cancelled += 1
                continue
            if not piece:
                break
            got += piece
        await sending
        assert got == data
        assert cancelled > 20, "nothing was cancelled in its middle"


@on_loop
async def test_all_that_comes_is_taken_until_the_taker_has_what_it_wants(kind: Kind) -> None:
    data = pattern(300_000)
    wanted = [100_000, 100_001, 250_000, len(data) + 1]
    async with pair(kind) as net:
        near, far = await net.streams(FILE)

        async def send() -> None:
            for at in range(0, len(data), 7000):
                await near.write(data[at : at + 7000])
                await settle(at % 3)
            await near.close_write()

        sending = asyncio.ensure_future(send())
        got = b""

        def take(pieces: list[memoryview]) -> int | None:
            nonlocal got
            assert 0 < sum(map(len, pieces)) <= 50_000
            got += b"".join(pieces)
            return len(got) if len(got) >= wanted[0] else None

        while (size := await far.receive(take, 50_000)) is not None:
            assert size == len(got)
            assert wanted.pop(0) <= size
        await sending
        assert got == data, "all, and then the clean end"
        assert await far.receive(take) is None


@on_loop
async def test_what_a_taker_raises_is_raised_and_costs_only_what_it_took(kind: Kind) -> None:
    def refuse(pieces: list[memoryview]) -> None:
        raise ValueError(bytes(pieces[0]))

    async with pair(kind) as net:
        near, far = await net.streams()
        for late in (False, True):
            if not late:
                await near.write(b"bad")
                await settle(100)
            taking = asyncio.ensure_future(far.receive(refuse))
            await settle(10)
            if late:
                await near.write(b"bad")
            with pytest.raises(ValueError, match="bad"):
                await taking
        given_up = asyncio.ensure_future(far.receive(refuse))
        await settle(10)
        given_up.cancel()
        await asyncio.gather(given_up, return_exceptions=True)
        await near.write(b"good")
        assert await read_exactly(far, 4) == b"good"


@on_loop
async def test_cancelled_write_is_whole_or_nothing_and_hurts_no_other(kind: Kind) -> None:
    draw = random.Random(3)
    blocks = 300
    async with pair(kind) as net:
        near, far = await net.streams(FILE)
        chat, answers = await net.streams(CHAT)
        echoing = asyncio.ensure_future(serve_one_echo(answers))
        written: list[int] = []

        async def send() -> None:
            for number in range(blocks):
                writing = asyncio.ensure_future(near.write(number.to_bytes(4, "big") * 10_000))
                await settle(draw.randrange(1, 3))
                writing.cancel()
                try:
                    await writing
                    written.append(number)
                except asyncio.CancelledError:
                    await chat.write(b"ping")
                    assert await read_exactly(chat, 4) == b"ping"
            await near.close_write()

        async def receive() -> list[int]:
            found = []
            while first := await far.read(1):
                block = first + await read_exactly(far, 39_999)
                assert block == block[:4] * 10_000
                found.append(int.from_bytes(block[:4], "big"))
                await settle(draw.randrange(6))
            return found

        received, _ = await asyncio.gather(receive(), send())
        assert received == written
        assert len(written) < blocks, "nothing was cancelled in its middle"
        await chat.close()
        await echoing


async def serve_one_echo(stream: Stream) -> None:
    while piece := await stream.read():
        await stream.write(piece)
    await stream.close()


@on_loop
async def test_cancelled_waiting_takes_nothing_away(kind: Kind) -> None:
    async with pair(kind) as net:
        for turns in range(12):
            for wait in (net.far.accept_stream(), net.bob.accept()):
                waiting = asyncio.ensure_future(wait)
                await settle(turns % 4)
                waiting.cancel()
                # A stream that was opened and given up may come; it is of no more use.
                await asyncio.gather(waiting, return_exceptions=True)
            opening = asyncio.ensure_future(net.near.open_stream(CHAT))
            await settle(turns)
            opening.cancel()
            [stream] = await asyncio.gather(opening, return_exceptions=True)
            if not isinstance(stream, BaseException):
                stream.reset()
        # What was opened and given up is told from what is good: by a reset, never by silence.
        good = await net.near.open_stream(CHAT)
        await good.write(b"good")
        await good.close_write()
        found = []
        while b"good" not in found:
            try:
                found.append(await read_all(await net.far.accept_stream()))
            except StreamResetError:
                continue
        assert set(found) <= {b"good"}
