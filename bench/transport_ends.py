"""The two ends that bench_transport.py measures: ours on uvloop, and py-libp2p's own host on trio, behind one face."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import logging
import os
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

ECHO = "/bench/echo/1"
SINK = "/bench/sink/1"
TINY = "/bench/tiny/1"
READ_BYTES = 1 << 20
Take = Callable[[Sequence[bytes | memoryview]], None]
LOOPBACK = "/ip4/127.0.0.1/tcp/0"


class Stream(Protocol):
    async def read(self, size: int) -> bytes: ...
    async def receive(self, take: Take, size: int) -> None: ...
    async def write(self, data: bytes) -> None: ...
    async def close_write(self) -> None: ...
    async def close(self) -> None: ...


class Net(Protocol):
    """What a client has of its connection."""

    async def open(self, protocol: str) -> Stream: ...
    async def sleep(self, seconds: float) -> None: ...
    def spawn(self, work: Callable[[], Awaitable[None]]) -> None: ...


def say(what: Any) -> None:
    print(json.dumps(what), flush=True)


# --- what a server does, whichever it is -------------------------------------------------------


async def echo(stream: Stream, size: int = 65536) -> None:
    while data := await stream.read(size):
        await stream.write(data)
    await stream.close()


async def tiny(stream: Stream) -> None:
    """Echo 1 KiB at a time.

    Stock takes some 170 us to read a frame, so with 1 KiB in each it cannot exceed 6 MB/s on any line. What is written
    in the same turn of the loop must therefore share a frame.
    """
    await echo(stream, 1024)


async def sink(stream: Stream) -> None:
    """Read to the end, and answer with the CPU time that it took."""
    started_s = time.process_time()
    size = 0

    def count(pieces: Sequence[bytes | memoryview]) -> None:
        nonlocal size
        size += sum(map(len, pieces))

    await stream.receive(count, READ_BYTES)
    used_s = time.process_time() - started_s
    await stream.write(json.dumps([size, used_s]).encode())
    await stream.close()


HANDLERS = {ECHO: echo, SINK: sink, TINY: tiny}

# --- ours --------------------------------------------------------------------------------------


class Ours:
    """A connection of LibP2PTransport."""

    def __init__(self, connection: Any, group: asyncio.TaskGroup) -> None:
        self._connection, self._group = connection, group

    async def open(self, protocol: str) -> Stream:
        stream: Stream = await self._connection.open_stream(protocol)
        return stream

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def spawn(self, work: Callable[[], Awaitable[None]]) -> None:
        async def run() -> None:
            await work()

        self._group.create_task(run())


def ours(main: Callable[..., Awaitable[None]], *arguments: Any) -> None:
    """Run main with a started transport."""
    from peerpost.net.interface import Admission, Priority
    from peerpost.net.tcp.transport import LibP2PTransport

    async def run() -> None:
        transport = LibP2PTransport(
            os.urandom(32),
            [LOOPBACK],
            lambda _: Admission.KNOWN,
            {ECHO: Priority.URGENT, SINK: Priority.BULK, TINY: Priority.URGENT},
        )
        await transport.start()
        await main(transport, *arguments)
        await transport.stop()

    factory: Any = None
    if sys.platform != "win32":
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(run())


async def serve_ours(transport: Any) -> None:
    say([transport.peer_id, *transport.addresses])
    connection = await transport.accept()
    with contextlib.suppress(Exception):
        async with asyncio.TaskGroup() as group:
            while True:
                stream = await connection.accept_stream()
                group.create_task(HANDLERS[stream.protocol](stream))


async def use_ours(
    transport: Any, peer_id: str, address: str, measure: Callable[[Net], Awaitable[Any]]
) -> None:
    connection = await transport.dial(peer_id, [address])
    async with asyncio.TaskGroup() as group:
        say(await measure(Ours(connection, group)))


# --- stock -------------------------------------------------------------------------------------


class StockStream:
    """Their stream, whose end is an exception."""

    def __init__(self, stream: Any) -> None:
        from libp2p.network.stream.exceptions import StreamEOF

        self._stream, self._end = stream, StreamEOF
        self.write = stream.write
        self.close_write = stream.close_write
        self.close = stream.close

    async def read(self, size: int) -> bytes:
        try:
            data: bytes = await self._stream.read(size)
        except self._end:
            return b""
        return data

    async def receive(self, take: Take, size: int) -> None:
        while data := await self.read(size):
            take((data,))


class Stock:
    """A connection of the library's own host."""

    def __init__(self, host: Any, peer_id: Any, nursery: Any) -> None:
        self._host, self._peer_id, self._nursery = host, peer_id, nursery

    async def open(self, protocol: str) -> Stream:
        return StockStream(await self._host.new_stream(self._peer_id, [protocol]))

    async def sleep(self, seconds: float) -> None:
        import trio

        await trio.sleep(seconds)

    def spawn(self, work: Callable[[], Awaitable[None]]) -> None:
        self._nursery.start_soon(work)


def stock(main: Callable[..., Awaitable[None]], *arguments: Any) -> None:
    """Run main with a started host in its default form, except that it speaks Noise only."""
    import multiaddr
    import trio
    from libp2p import new_host
    from libp2p.crypto.ed25519 import create_new_key_pair
    from libp2p.crypto.x25519 import create_new_key_pair as create_noise_key_pair
    from libp2p.security.noise.transport import PROTOCOL_ID, Transport

    logging.getLogger("libp2p").setLevel(logging.CRITICAL)
    keys = create_new_key_pair()
    noise = Transport(keys, noise_privkey=create_noise_key_pair().private_key)
    host = new_host(key_pair=keys, sec_opt={PROTOCOL_ID: noise})

    async def run() -> None:
        async with host.run(listen_addrs=[multiaddr.Multiaddr(LOOPBACK)]):
            await main(host, *arguments)
            os._exit(0)

    trio.run(run)


async def serve_stock(host: Any) -> None:
    import trio

    async def handle(handler: Callable[[Stream], Awaitable[None]], stream: Any) -> None:
        # An exception in a handler would end the whole host.
        with contextlib.suppress(Exception):
            await handler(StockStream(stream))

    for name, handler in HANDLERS.items():
        host.set_stream_handler(name, functools.partial(handle, handler))
    say([str(host.get_id()), str(host.get_addrs()[0]).partition("/p2p/")[0]])
    await trio.sleep_forever()


async def use_stock(
    host: Any, peer_id: str, address: str, measure: Callable[[Net], Awaitable[Any]]
) -> None:
    import multiaddr
    import trio
    from libp2p.peer.peerinfo import info_from_p2p_addr

    info = info_from_p2p_addr(multiaddr.Multiaddr(f"{address}/p2p/{peer_id}"))
    await host.connect(info)
    async with trio.open_nursery() as nursery:
        say(await measure(Stock(host, info.peer_id, nursery)))
        nursery.cancel_scope.cancel()


KINDS = {"ours": (ours, serve_ours, use_ours), "stock": (stock, serve_stock, use_stock)}
