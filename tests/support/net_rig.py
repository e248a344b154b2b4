"""What the tests of net/ share: a loop as the node has it, and pairs of transports of either kind."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import importlib
import os
import sys
import threading
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from peerpost.net.interface import (
    Admission,
    Connection,
    ConnectionLostError,
    Gate,
    Priority,
    Stream,
    Transport,
)
from peerpost.net.tcp import guest
from peerpost.net.tcp.transport import LibP2PTransport
from tests.support.link import BACK, THERE
from tests.support.memory_net import MemoryNetwork

HELLO = "/test/hello/1"
CHAT = "/test/chat/1"
FILE = "/test/file/1"
PROTOCOLS = {HELLO: Priority.URGENT, CHAT: Priority.URGENT, FILE: Priority.BULK}
LOOPBACK = "/ip4/127.0.0.1/tcp/0"
DEADLINE_S = float(os.environ.get("PEERPOST_DEADLINE_S", "60"))
"""For one test; the long forms need more, and `--timeout` too."""


def new_loop() -> asyncio.AbstractEventLoop:
    """Return a loop as the node has it."""
    if sys.platform == "win32":
        return asyncio.new_event_loop()
    return importlib.import_module("uvloop").new_event_loop()


def on_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a test on a loop of its own; it must leave no task, and no error that nobody looked at."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        unseen: list[dict[str, Any]] = []

        async def main() -> None:
            loop = asyncio.get_running_loop()
            loop.set_exception_handler(lambda _, context: unseen.append(context))
            try:
                async with asyncio.timeout(DEADLINE_S):
                    await test(*args, **kwargs)
            except BaseException:
                # A failed test must not make those fail that come after it.
                if (left := getattr(guest._here, "guest", None)) is not None:
                    left._users = 1
                    await left.release()
                raise
            await settle()
            left = asyncio.all_tasks() - {asyncio.current_task()}
            assert not left, left

        threads = threading.active_count()
        with asyncio.Runner(loop_factory=new_loop) as runner:
            try:
                runner.run(main())
            except BaseException:
                # uvloop warns of what a failed test left open, and where that is an error never has it closed.
                warnings.simplefilter("ignore", ResourceWarning)
                raise
        assert not unseen, unseen
        # Trio keeps a worker or two for names and files; they end by themselves.
        assert threading.active_count() <= threads + 4

    return run


async def settle(turns: int = 20) -> None:
    """Let what is due happen."""
    for _ in range(turns):
        await asyncio.sleep(0)


async def until(
    condition: Callable[[], bool], timeout_s: float = 10.0, *, what: str = "nothing happened"
) -> None:
    """Wait for something of which no event tells."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            while not condition():  # noqa: ASYNC110
                await asyncio.sleep(0.005)
    assert condition(), what


def seed(name: str | int) -> bytes:
    """Return the key of somebody."""
    return hashlib.sha256(str(name).encode()).digest()


def everybody(_peer_id: str) -> Admission:
    """Let all in."""
    return Admission.KNOWN


def pattern(size: int) -> bytes:
    """Return bytes that repeat only after a prime number, so that lost or doubled bytes are noticed."""
    unit = bytes(range(251)) * 17
    return (unit * (size // len(unit) + 1))[:size]


@dataclass
class Kind:
    """One implementation of the interface."""

    name: str
    make: Callable[..., Transport]
    network: MemoryNetwork | None = None
    streams: int = 1000
    """How many are tried at once."""
    held_bytes: int = 2_000_000
    """The most that a writer can write while nobody reads."""
    tries: int = 1
    """How often to dial, because a peer may still count connections that are gone."""
    to_ours: tuple[int, ...] = (THERE, BACK)
    """The directions that end at a transport of ours."""

    def new(
        self,
        name: str | int,
        gate: Gate = everybody,
        listen: Iterable[str] = (LOOPBACK,),
        **options: Any,
    ) -> Transport:
        """Return a transport that has not started."""
        return self.make(seed(name), list(listen), gate, PROTOCOLS, **options)


def kinds() -> dict[str, Callable[[], Kind]]:
    """Return how to make each kind; in memory, each test has a network of its own."""

    def memory() -> Kind:
        network = MemoryNetwork()
        return Kind("memory", network.transport, network)

    return {"libp2p": lambda: Kind("libp2p", LibP2PTransport), "memory": memory}


class StockDefectError(Exception):
    """Something is wrong at the end of stock py-libp2p, as opposed to ours."""


@dataclass
class Pair:
    """Two transports and a connection, seen from both ends."""

    kind: Kind
    alice: Transport
    bob: Transport
    near: Connection
    """Alice's end; she dialled."""
    far: Connection
    tasks: list[asyncio.Task[Any]] = field(default_factory=list)

    async def streams(self, protocol: str = CHAT) -> tuple[Stream, Stream]:
        """Return the two ends of a new stream, the dialler's first."""
        near, far = await asyncio.gather(self.near.open_stream(protocol), self.far.accept_stream())
        return near, far

    @contextlib.contextmanager
    def at(self, end: Connection) -> Iterator[None]:
        """Ask something of an end. At a stock end, any failure except a timeout becomes a StockDefectError."""
        try:
            yield
        except (AssertionError, pytest.fail.Exception, ConnectionLostError) as error:
            if (THERE if end is self.far else BACK) in self.kind.to_ours:
                raise
            raise StockDefectError(str(error)) from error


@contextlib.asynccontextmanager
async def running(*transports: Transport) -> AsyncIterator[None]:
    """Start transports, and stop them in the end."""
    started: list[Transport] = []
    try:
        for transport in transports:
            await transport.start()
            started.append(transport)
        yield
    finally:
        for transport in started:
            await transport.stop()


@contextlib.asynccontextmanager
async def pair(kind: Kind, **options: Any) -> AsyncIterator[Pair]:
    """Connect Alice to Bob; `options` are for the transports."""
    make = functools.partial(kind.make, **options) if options else kind.make
    alice = make(seed("alice"), [LOOPBACK], everybody, PROTOCOLS)
    bob = make(seed("bob"), [LOOPBACK], everybody, PROTOCOLS)
    async with running(alice, bob):
        near, far = await asyncio.gather(alice.dial(bob.peer_id, bob.addresses), bob.accept())
        yield Pair(kind, alice, bob, near, far)


async def read_all(stream: Stream, size: int = 65536) -> bytes:
    """Read to the clean end."""
    parts = []
    while piece := await stream.read(size):
        parts.append(piece)
    return b"".join(parts)


async def read_exactly(stream: Stream, size: int) -> bytes:
    """Read so many bytes."""
    data = b""
    while len(data) < size:
        piece = await stream.read(size - len(data))
        assert piece, f"the stream ended after {len(data)} of {size} bytes"
        data += piece
    return data


async def echo(stream: Stream) -> None:
    """Send back what comes, and end when the peer ends."""
    while piece := await stream.read(262144):
        await stream.write(piece)
    await stream.close()


async def serve_echo(connection: Connection) -> None:
    """Echo on every stream until the connection ends."""
    async with asyncio.TaskGroup() as group:
        with contextlib.suppress(ConnectionLostError):
            while True:
                group.create_task(quietly(echo(await connection.accept_stream())))


async def quietly(work: Awaitable[None]) -> None:
    """Do something that may fail because its connection ends."""
    with contextlib.suppress(ConnectionLostError):
        await work
