"""Stock py-libp2p behind our interface, so that what every transport must do is tried with ours on one side only.

The host runs in a process of its own (`stock_process`), and everything here is a message to it: nothing is added but
names for its errors. It has no gate and no priorities, so those are not asked about.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import os
import pickle
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, TypeVar

from peerpost.errors import UnavailableError
from peerpost.net.interface import (
    Admission,
    ConnectionLostError,
    DialError,
    Gate,
    Priority,
    StreamResetError,
)
from peerpost.net.tcp.transport import LibP2PTransport
from tests.support import net_peer, stock_process
from tests.support.link import BACK, THERE
from tests.support.net_rig import LOOPBACK, PROTOCOLS, Kind, everybody, seed
from tests.support.subject import processes

T = TypeVar("T")

ANSWERS = {seed("bob"), seed("carol")}
"""Who is dialled in the tests; everybody else dials."""


class StockProcess:
    """A process for any number of hosts."""

    def __init__(self) -> None:
        here, there = processes.Pipe()
        self._process = processes.Process(target=stock_process.run, args=(there,), daemon=True)
        self._process.start()
        there.close()
        self._pipe = here
        assert here.poll(60), "the process of stock hosts does not start"
        self.port = here.recv()

    def is_alive(self) -> bool:
        return self._process.is_alive()

    def send_signal(self, number: int) -> None:
        os.kill(self._process.pid, number)

    def kill(self) -> None:
        self._process.kill()

    def end(self) -> None:
        self._process.kill()
        self._process.join()
        self._pipe.close()


@functools.cache
def shared() -> StockProcess:
    """Return the process for all tests that do it no harm; it ends with the one that runs them."""
    return StockProcess()


class Line:
    """The socket to the process: calls and their answers, and what happens meanwhile."""

    def __init__(self, transport: StockTransport) -> None:
        self._transport = transport
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._lost = False

    async def open(self, port: int) -> None:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", port)
        self._listening = asyncio.ensure_future(self._listen())

    def begin(self, verb: str, *arguments: Any) -> tuple[int, asyncio.Future[Any]]:
        number = next(self._numbers)
        future = self._waiting[number] = asyncio.get_running_loop().create_future()
        # Whether anybody waits for it is the caller's affair.
        future.add_done_callback(lambda done: done.cancelled() or done.exception())
        if self._lost:
            future.set_exception(ConnectionLostError("the stock host is gone"))
        else:
            self._writer.write(stock_process.packed((number, verb, *arguments)))
        return number, future

    async def call(self, verb: str, *arguments: Any) -> Any:
        number, future = self.begin(verb, *arguments)
        try:
            return await future
        except asyncio.CancelledError:
            self._writer.write(stock_process.packed((number, "give up")))
            raise

    async def _listen(self) -> None:
        length = stock_process.LENGTH
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                (size,) = length.unpack(await self._reader.readexactly(length.size))
                number, *message = pickle.loads(await self._reader.readexactly(size))
                if number == 0:
                    self._transport.happened(*message)
                    continue
                future = self._waiting.pop(number)
                if not future.done():
                    self._settle(future, *message)
        self._lost = True
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(ConnectionLostError("the stock host is gone"))
        self._transport.gone()

    def _settle(self, future: asyncio.Future[Any], how: str, value: Any) -> None:
        if how == "ok":
            future.set_result(value)
        else:
            error = StreamResetError if how == "reset" else ConnectionLostError
            future.set_exception(error(value))

    async def close(self) -> None:
        """Stop the host, and wait until it has."""
        with contextlib.suppress(OSError, RuntimeError):
            self._writer.write_eof()
        await self._listening
        self._writer.close()


class StockStream:
    def __init__(self, line: Line, number: int, protocol: str) -> None:
        self.protocol = protocol
        self._line = line
        self._number = number
        self._reading: asyncio.Future[bytes] | None = None
        self._resetting: asyncio.Future[None] | None = None
        self._writes = 0

    async def read(self, max_bytes: int = 65536) -> bytes:
        # A read that is given up keeps its answer for the next read, so stock never has to cancel one.
        await self._reset_done()
        if self._reading is None:
            _, self._reading = self._line.begin("read", self._number, max_bytes)
        data = await asyncio.shield(self._reading)
        self._reading = None
        return data

    async def receive(
        self, take: Callable[[list[memoryview]], T | None], max_bytes: int = 65536
    ) -> T | None:
        while data := await self.read(max_bytes):
            if (found := take([memoryview(data)])) is not None:
                return found
        return None

    @property
    def writable(self) -> bool:
        """Whether none of its writes is running: stock cannot say more."""
        return not self._writes

    def put(self, *_parts: bytes | memoryview) -> None:
        raise NotImplementedError("stock cannot write at once")

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        self._writes += 1
        try:
            await self._reset_done()
            await self._line.call("write", self._number, bytes(data))
        finally:
            self._writes -= 1

    async def close_write(self) -> None:
        with contextlib.suppress(ConnectionLostError):
            await self._line.call("close_write", self._number)

    async def close(self) -> None:
        with contextlib.suppress(ConnectionLostError):
            await self._line.call("close", self._number)

    def reset(self) -> None:
        _, self._resetting = self._line.begin("reset", self._number)

    async def _reset_done(self) -> None:
        # Requests in two messages may be carried out in any order.
        if self._resetting is not None:
            await asyncio.shield(self._resetting)


class StockConnection:
    admission = Admission.KNOWN
    bulk_write_bytes = 65536
    transport = "tcp"

    def __init__(self, line: Line, number: int, peer_id: str, address: str, inbound: bool) -> None:
        self.peer_id = peer_id
        self.remote_address = address
        self.inbound = inbound
        self.streams: asyncio.Queue[StockStream | None] = asyncio.Queue()
        self.closed = asyncio.Event()
        self.line = line
        self._number = number

    async def open_stream(self, protocol: str, *, timeout_s: float = 10.0) -> StockStream:
        async with asyncio.timeout(timeout_s):
            number = await self.line.call("open", self._number, protocol)
        return StockStream(self.line, number, protocol)

    async def accept_stream(self) -> StockStream:
        stream = await self.streams.get()
        if stream is None:
            self.streams.put_nowait(None)
            raise ConnectionLostError("the connection closed")
        return stream

    def over(self) -> None:
        self.closed.set()
        self.streams.put_nowait(None)

    async def wait_closed(self) -> None:
        await self.closed.wait()

    async def close(self) -> None:
        with contextlib.suppress(ConnectionLostError):
            await self.line.call("close", self._number)

    def abort(self) -> None:
        self.line.begin("abort", self._number)


class StockTransport:
    def __init__(
        self,
        seed: bytes,
        listen: Sequence[str],
        _gate: Gate,
        protocols: Mapping[str, Priority],
        *,
        process: StockProcess | None = None,
    ) -> None:
        self._asked = (seed, list(protocols), next(iter(listen), ""))
        self._process = process
        self.peer_id = LibP2PTransport(*(seed, [], _gate, {})).peer_id
        self.addresses: list[str] = []
        self._connections: dict[int, StockConnection] = {}
        self._incoming: asyncio.Queue[StockConnection | None] = asyncio.Queue()
        self._line: Line | None = None

    async def start(self) -> None:
        self._incoming = asyncio.Queue()
        self._line = Line(self)
        await self._line.open((self._process or shared()).port)
        try:
            peer_id, self.addresses = await self._line.call("start", *self._asked)
        except ConnectionLostError:
            raise UnavailableError("a stock host does not start") from None
        assert peer_id == self.peer_id

    async def stop(self) -> None:
        line, self._line, self.addresses = self._line, None, []
        if line is not None:
            await line.close()

    # -- what happens in the process

    def happened(self, what: str, number: int, *more: Any) -> None:
        if what == "connection":
            assert self._line is not None
            made = self._connections[number] = StockConnection(self._line, number, *more)
            if made.inbound:
                self._incoming.put_nowait(made)
        elif what == "stream":
            assert self._line is not None
            self._connections[number].streams.put_nowait(StockStream(self._line, *more))
        else:
            self._connections[number].over()

    def gone(self) -> None:
        self._incoming.put_nowait(None)
        for connection in self._connections.values():
            connection.over()

    # -- what is asked

    async def dial(
        self, peer_id: str, addresses: Sequence[str], *, timeout_s: float = 10.0
    ) -> StockConnection:
        if self._line is None:
            raise DialError("the transport is not running")
        try:
            async with asyncio.timeout(timeout_s):
                number = await self._line.call("dial", peer_id, addresses[0])
        except (ConnectionLostError, TimeoutError) as error:
            raise DialError(str(error)) from error
        return self._connections[number]

    async def accept(self) -> StockConnection:
        connection = await self._incoming.get()
        if connection is None:
            self._incoming.put_nowait(None)
            raise ConnectionLostError("the transport has stopped")
        return connection


def mixed(*, stock_dials: bool) -> Kind:
    """Return ours on one side and stock on the other."""

    def make(key: bytes, *arguments: Any, **options: Any) -> Any:
        is_stock = (key not in ANSWERS) is stock_dials
        return (
            StockTransport(key, *arguments)
            if is_stock
            else LibP2PTransport(key, *arguments, **options)
        )

    return Kind(
        "stock-ours" if stock_dials else "ours-stock",
        make,
        streams=200,  # each costs stock some milliseconds
        held_bytes=2_000_000 if stock_dials else 17_000_000,  # stock's window, which grows unread
        tries=20,  # defect T2
        to_ours=(THERE,) if stock_dials else (BACK,),
    )


@contextlib.asynccontextmanager
async def process(name: str) -> AsyncIterator[tuple[StockProcess, str, Sequence[str]]]:
    """Start a host in a process of its own, that may come to harm, as `net_peer.process` does."""
    hosting = await asyncio.to_thread(StockProcess)
    transport = StockTransport(seed(name), [LOOPBACK], everybody, PROTOCOLS, process=hosting)
    serving: asyncio.Future[None] | None = None
    try:
        await transport.start()
        serving = asyncio.ensure_future(net_peer.serve_all(transport))
        yield hosting, transport.peer_id, transport.addresses
    finally:
        await asyncio.to_thread(hosting.end)
        await transport.stop()
        if serving is not None:
            await serving
