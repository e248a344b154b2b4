"""A host of either make in a process of its own, so that the same is done to both: py-libp2p as it comes, or ours.

Two roles. `serve`: CHAT echoes, HELLO answers with the peer id of whoever asks, FILE is taken and never read. `use`:
it does what it is asked, one command after another.

Options: `all`, with which stock offers every security protocol that it has by itself; `slots=N`, so that only so many
connections find a place; `hasty`, to give a silent peer up after a second, which stock never does. To ours, whoever is
called "stranger 0" to "stranger 11" is a stranger, and everybody else a contact.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import multiprocessing
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from multiprocessing.connection import Connection as Pipe
from typing import Any, Protocol

import trio
from libp2p.network.stream.exceptions import StreamEOF
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import PeerInfo
from multiaddr import Multiaddr

from peerpost.net.interface import Admission
from peerpost.net.mux.keepalive import Keepalive
from peerpost.net.tcp import transport as libp2p
from peerpost.net.tcp.transport import LibP2PTransport
from peerpost.net.tcp.upgrade import Upgrade
from tests.support import stock_peer
from tests.support.net_rig import (
    CHAT,
    FILE,
    HELLO,
    LOOPBACK,
    PROTOCOLS,
    echo,
    new_loop,
    quietly,
    seed,
)

STOCK, OURS = MAKES = ("stock", "ours")
PIECE = bytes(4_000_000)

# Such a process is forked from one that has imported all this already: that takes a second each time.
processes = multiprocessing.get_context("forkserver" if hasattr(os, "fork") else "spawn")
processes.set_forkserver_preload([__name__])

# -- in the test's process


class Subject:
    """Such a process, as a test has it."""

    def __init__(self, process: Any, pipe: Pipe) -> None:
        self.process = process
        self._pipe = pipe
        self.peer_id = ""
        self.addresses: list[str] = []

    async def ask(self, command: str, *arguments: Any) -> Any:
        """Give a command, and return its answer."""
        self.tell(command, *arguments)
        return await self.answer()

    def tell(self, command: str, *arguments: Any) -> None:
        """Give a command."""
        self._pipe.send((command, *arguments))

    async def answer(self) -> Any:
        """Return the answer to a command."""
        assert await asyncio.to_thread(self._pipe.poll, 100), "no answer"
        return self._pipe.recv()


@contextlib.asynccontextmanager
async def subject(make: str, role: str, *options: str) -> AsyncIterator[Subject]:
    """Start a host in a process of its own."""
    here, there = processes.Pipe()
    process = processes.Process(target=run, args=(there, make, role, options), daemon=True)
    await asyncio.to_thread(process.start)
    there.close()
    try:
        started = Subject(process, here)
        started.peer_id, *started.addresses = await started.answer()
        yield started
    finally:
        process.kill()
        await asyncio.to_thread(process.join)
        process.close()
        here.close()


# -- in its own: what it does, whichever make it is


class Host(Protocol):
    """What both have. `within` returns None for what takes longer."""

    async def dial(self, peer_id: str, addresses: list[str]) -> None: ...
    async def open(self, protocol: str) -> Any: ...
    async def read(self, stream: Any) -> bytes: ...
    async def within(self, timeout_s: float, work: Callable[[], Awaitable[Any]]) -> Any: ...
    async def thread(self, work: Callable[[], Any]) -> Any: ...
    async def forever(self) -> None: ...


async def obey(host: Host, pipe: Pipe) -> None:
    """Do what the test says until it ends."""
    commands = {
        "dial": dial,
        "say": say_on_stream,
        "read": read_to_the_end,
        "cancel": cancel_write,
        "echo": time_echoes,
    }
    with contextlib.suppress(EOFError):
        while True:
            name, *arguments = await host.thread(pipe.recv)
            pipe.send(await commands[name](host, *arguments))


async def dial(host: Host, peer_id: str, addresses: list[str], timeout_s: float) -> list[Any]:
    """Return whether a peer can be reached, and in how many seconds that is known."""
    began_s = time.monotonic()

    async def work() -> bool:
        try:
            await host.dial(peer_id, addresses)
        except Exception:  # noqa: BLE001 - whatever it is that either raises
            return False
        return True

    return [bool(await host.within(timeout_s, work)), time.monotonic() - began_s]


async def say_on_stream(host: Host, protocol: str, text: str) -> bool:
    """Return whether a new stream takes some text within two seconds."""

    async def work() -> bool:
        try:
            await (await host.open(protocol)).write(text.encode())
        except Exception:  # noqa: BLE001
            return False
        return True

    return bool(await host.within(2, work))


async def read_to_the_end(host: Host, timeout_s: float) -> list[Any]:
    """Say `go` on a stream for CHAT, and tell what is read and how that ends: `end`, `error` or `nothing`."""
    stream = await host.open(CHAT)
    await stream.write(b"go")
    got = []

    async def work() -> str:
        try:
            while piece := await host.read(stream):
                got.append(piece.decode())
        except Exception:  # noqa: BLE001
            return "error"
        return "end"

    how = await host.within(timeout_s, work) or "nothing"
    return ["".join(got), how]


async def cancel_write(host: Host) -> bool:
    """Write to FILE until a write takes longer than 0.2 s, and give that one up."""
    stream = await host.open(FILE)

    async def work() -> bool:
        await stream.write(PIECE)
        return True

    for _ in range(20):
        if not await host.within(0.2, work):
            return True
    return False


async def time_echoes(host: Host, count: int, interval_s: float) -> list[float]:
    """Return how long so many small echoes took, over one stream, in seconds."""
    stream = await host.open(CHAT)
    took_s = []
    for _ in range(count):
        await host.within(interval_s, host.forever)
        began_s = time.monotonic()
        await stream.write(b"x" * 64)
        left = 64
        while left:
            left -= len(await host.read(stream))
        took_s.append(time.monotonic() - began_s)
    return took_s


# -- ours


class Ours:
    def __init__(self, transport: LibP2PTransport) -> None:
        self._transport = transport
        self._connection: Any = None

    async def dial(self, peer_id: str, addresses: list[str]) -> None:
        self._connection = await self._transport.dial(peer_id, addresses)

    async def open(self, protocol: str) -> Any:
        return await self._connection.open_stream(protocol)

    async def read(self, stream: Any) -> bytes:
        return await stream.read()

    async def within(self, timeout_s: float, work: Callable[[], Awaitable[Any]]) -> Any:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                return await work()

    async def thread(self, work: Callable[[], Any]) -> Any:
        return await asyncio.to_thread(work)

    async def forever(self) -> None:
        await asyncio.Event().wait()


async def serve_ours(transport: LibP2PTransport) -> None:
    held = []
    async with asyncio.TaskGroup() as group:

        async def answer(stream: Any, peer_id: str) -> None:
            if stream.protocol == HELLO:
                await stream.write(peer_id.encode())
                await stream.close()
            elif stream.protocol == CHAT:
                await echo(stream)
            else:
                held.append(stream)

        async def serve(connection: Any) -> None:
            while True:
                stream = await connection.accept_stream()
                group.create_task(quietly(answer(stream, connection.peer_id)))

        while True:
            group.create_task(quietly(serve(await transport.accept())))


async def run_ours(pipe: Pipe, role: str, options: Sequence[str]) -> None:
    keepalive = Keepalive()
    if "hasty" in options:
        keepalive, libp2p.HANDSHAKE_TIMEOUT_S = Keepalive(0.3, 1.2), 1
    libp2p.CONNECTIONS = slots(options) or libp2p.CONNECTIONS
    strangers = {Upgrade(seed(f"stranger {n}"), bool).peer_id for n in range(12)}

    def gate(peer_id: str) -> Admission:
        return Admission.STRANGER if peer_id in strangers else Admission.KNOWN

    transport = LibP2PTransport(seed(role), [LOOPBACK], gate, PROTOCOLS, keepalive=keepalive)
    await transport.start()
    pipe.send([transport.peer_id, *transport.addresses])
    serving = asyncio.ensure_future(serve_ours(transport)) if role == "serve" else None
    await obey(Ours(transport), pipe)
    if serving is not None:
        serving.cancel()
    await transport.stop()


# -- stock


class Stock:
    def __init__(self, host: Any) -> None:
        self._host = host
        self._peer_id: Any = None

    async def dial(self, peer_id: str, addresses: list[str]) -> None:
        self._peer_id = ID.from_string(peer_id)
        await self._host.connect(PeerInfo(self._peer_id, [Multiaddr(a) for a in addresses]))

    async def open(self, protocol: str) -> Any:
        return await self._host.new_stream(self._peer_id, [protocol])

    async def read(self, stream: Any) -> bytes:
        try:
            data: bytes = await stream.read(65536)
        except StreamEOF:
            return b""
        return data

    async def within(self, timeout_s: float, work: Callable[[], Awaitable[Any]]) -> Any:
        with trio.move_on_after(timeout_s):
            return await work()

    async def thread(self, work: Callable[[], Any]) -> Any:
        return await trio.to_thread.run_sync(work, abandon_on_cancel=True)

    async def forever(self) -> None:
        await trio.sleep_forever()


def serve_stock(host: Any) -> None:
    async def chat(stream: Any) -> None:
        with contextlib.suppress(StreamEOF):
            while data := await stream.read(262144):
                await stream.write(data)
        await stream.close()

    async def hello(stream: Any) -> None:
        await stream.write(str(stream.muxed_conn.peer_id).encode())
        await stream.close()

    async def hold(_stream: Any) -> None:
        await trio.sleep_forever()

    async def handle(handler: Callable[[Any], Awaitable[None]], stream: Any) -> None:
        # An exception in a handler ends the whole host; that would be a fault of this file.
        with contextlib.suppress(Exception):
            await handler(stream)

    for protocol, handler in ((CHAT, chat), (HELLO, hello), (FILE, hold)):
        host.set_stream_handler(protocol, functools.partial(handle, handler))


async def run_stock(pipe: Pipe, role: str, options: Sequence[str]) -> None:
    host = stock_peer.host(default="all" in options, slots=slots(options))
    async with host.run(listen_addrs=[Multiaddr(LOOPBACK)]):
        if role == "serve":
            serve_stock(host)
        pipe.send([str(host.get_id()), str(host.get_addrs()[0]).partition("/p2p/")[0]])
        await obey(Stock(host), pipe)
        os._exit(0)


# -- either


def slots(options: Sequence[str]) -> int:
    """Return for how many connections there is room, 0 where nothing is said."""
    return next((int(o.removeprefix("slots=")) for o in options if o.startswith("slots=")), 0)


def run(pipe: Pipe, make: str, role: str, options: Sequence[str]) -> None:
    """Be such a host until the other end of the pipe is closed."""
    # Stock is loud about what is done to it.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    if make == STOCK:
        trio.run(run_stock, pipe, role, options)
    else:
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(run_ours(pipe, role, options))
