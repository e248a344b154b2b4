"""Ours against py-libp2p as it comes: its host, its multistream, its Noise, its yamux."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from pathlib import Path

import pytest

from peerpost.net.interface import StreamResetError
from peerpost.net.tcp.transport import LibP2PTransport
from tests.support.net_rig import (
    CHAT,
    FILE,
    LOOPBACK,
    PROTOCOLS,
    everybody,
    on_loop,
    pattern,
    read_all,
    read_exactly,
    running,
    seed,
    serve_echo,
)
from tests.support.peer_process import peer_process, said
from tests.support.subject import STOCK, subject

ROOT = Path(__file__).parents[2]
SIZE = 10_000_000


def transport(name: str) -> LibP2PTransport:
    return LibP2PTransport(seed(name), [LOOPBACK], everybody, PROTOCOLS)


def talker(
    *arguments: str,
) -> contextlib.AbstractAsyncContextManager[asyncio.subprocess.Process]:
    command = (sys.executable, "-m", "tests.support.stock_peer", *arguments)
    return peer_process(*command, cwd=ROOT, quiet=True)


@on_loop
async def test_ours_dials_stock() -> None:
    ours = transport("ours")
    async with subject(STOCK, "serve") as peer, running(ours):
        connection = await ours.dial(peer.peer_id, peer.addresses)
        data = pattern(SIZE)
        stream = await connection.open_stream(CHAT)

        async def send() -> None:
            for at in range(0, SIZE, 100_000):
                await stream.write(data[at : at + 100_000])
            await stream.close_write()

        echoed, _ = await asyncio.gather(read_all(stream), send())
        assert echoed == data
        await stream.close()
        # Many at once; one that is reset; a protocol it does not speak; and it still answers.
        streams = await asyncio.gather(*(connection.open_stream(CHAT) for _ in range(30)))
        for number, each in enumerate(streams):
            await each.write(f"stream {number}".encode())
        streams[0].reset()
        with pytest.raises(StreamResetError):
            await connection.open_stream("/test/none/1")
        for number, each in list(enumerate(streams))[1:]:
            wanted = f"stream {number}".encode()
            assert await read_exactly(each, len(wanted)) == wanted
            await each.close_write()
            assert await each.read() == b""
        await connection.close()


@pytest.mark.parametrize(("size", "streams"), [(SIZE, 1), (200_000, 20)])
@on_loop
async def test_stock_dials_ours(size: int, streams: int) -> None:
    ours = transport("ours")
    async with (
        running(ours),
        talker(ours.peer_id, ours.addresses[0], str(size), str(streams)) as peer,
    ):
        connection = await ours.accept()
        serving = asyncio.ensure_future(serve_echo(connection))
        assert await said(peer) == [True] * streams
        connection.abort()
        await serving


@on_loop
async def test_tiny_pieces_share_frames() -> None:
    """What is echoed 1 KiB at a time comes back in larger pieces.

    A frame costs stock some 170 us to read, whatever is in it: with 1 KiB in each an echo runs at 6 MB/s, which is what
    a prototype did that gave each write a frame of its own, and what stock does with stock.
    """
    size = 2_000_000
    ours = transport("ours")
    async with (
        running(ours),
        talker(ours.peer_id, ours.addresses[0], str(size), "1") as peer,
    ):
        connection = await ours.accept()
        stream = await connection.accept_stream()
        while piece := await stream.read(1024):
            await stream.write(piece)
        await stream.close()
        assert await said(peer) == [True]
        assert await said(peer) < size // 8192
        connection.abort()


@on_loop
async def test_stock_with_all_its_protocols_gets_noise() -> None:
    """The library's default host offers plaintext and SECIO too; ours asks for none of them."""
    ours = transport("ours")
    async with subject(STOCK, "serve", "all") as peer, running(ours):
        connection = await ours.dial(peer.peer_id, peer.addresses)
        stream = await connection.open_stream(CHAT)
        await stream.write(b"hello")
        assert await read_exactly(stream, 5) == b"hello"


@on_loop
async def test_stock_that_does_not_read_holds_up_nobody_else() -> None:
    """The writer waits at the window, other streams pass it, and many of them find room."""
    ours = transport("ours")
    async with subject(STOCK, "serve") as peer, running(ours):
        connection = await ours.dial(peer.peer_id, peer.addresses)
        full = await connection.open_stream(FILE)
        written = 0

        async def fill() -> None:
            nonlocal written
            while True:
                await full.write(bytes(65536))
                written += 65536

        filling = asyncio.ensure_future(fill())
        await asyncio.sleep(0.3)
        stuck = written
        chat = await connection.open_stream(CHAT)
        await chat.write(b"past it")
        assert await read_exactly(chat, 7) == b"past it"
        assert written == stuck < 20_000_000, "the writer was never made to wait"
        streams = [await connection.open_stream(CHAT) for _ in range(200)]
        for stream in streams:
            await stream.write(b"x")
        for stream in streams:
            assert await read_exactly(stream, 1) == b"x"
        filling.cancel()
        await asyncio.gather(filling, return_exceptions=True)
