"""Hosts of py-libp2p as it comes, in a process of their own, each led over a socket by `stock_net.StockTransport`.

A message is a pickled tuple behind its length in four bytes. To the process: a number, what to do, and with what; the
same number with "give up" cancels it. From it: the number, and how that ended: "ok" and the value, or "reset", "lost"
or "refused" and why; or 0 and what happened meanwhile: "connection", "stream", "closed".
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import pickle
import struct
from collections.abc import AsyncIterator
from multiprocessing.connection import Connection as Pipe
from typing import Any

import trio
from libp2p.abc import INotifee
from libp2p.network.stream.exceptions import StreamClosed, StreamEOF, StreamReset
from libp2p.peer.id import ID
from libp2p.protocol_muxer.exceptions import MultiselectClientError
from libp2p.protocol_muxer.multiselect_communicator import MultiselectCommunicator
from multiaddr import Multiaddr

from tests.support import stock_peer

LENGTH = struct.Struct("!I")
STOP_S = 2.0
"""How long a host may take to stop: with a writer that waits, it never stops (defect T8)."""


def packed(message: tuple[Any, ...]) -> bytes:
    body = pickle.dumps(message)
    return LENGTH.pack(len(body)) + body


class Noted(INotifee):  # type: ignore[misc]
    """Tells of connections."""

    def __init__(self, led: Led) -> None:
        self._led = led

    async def connected(self, _network: Any, connection: Any) -> None:
        self._led.number(connection)

    async def disconnected(self, _network: Any, connection: Any) -> None:
        self._led.say(0, "closed", self._led.number(connection))

    async def opened_stream(self, _network: Any, _stream: Any) -> None: ...
    async def closed_stream(self, _network: Any, _stream: Any) -> None: ...
    async def listen(self, _network: Any, _address: Any) -> None: ...
    async def listen_close(self, _network: Any, _address: Any) -> None: ...


class Led:
    """One host, and what the other end of the socket asks of it."""

    def __init__(self, link: trio.SocketStream) -> None:
        self._link = link
        self._numbers = itertools.count(1)
        self._things: dict[int, Any] = {}
        self._known: dict[int, int] = {}
        self._doing: dict[int, trio.CancelScope] = {}
        self._said, self._to_say = trio.open_memory_channel[bytes](1 << 20)[::-1]

    # -- the socket

    async def run(self) -> None:
        """Be led until the socket ends."""
        messages = self._messages()
        _, _, seed, protocols, address = await anext(messages)
        host = stock_peer.host(seed=seed)
        self._network = host.get_network()
        self._network.register_notifee(Noted(self))
        self._select = host.multiselect_client
        for protocol in protocols:
            host.set_stream_handler(protocol, functools.partial(self._opened, protocol))
        try:
            async with trio.open_nursery() as nursery:
                stop = nursery.cancel_scope
                nursery.start_soon(self._speak)
                async with host.run(listen_addrs=[Multiaddr(address)] if address else []):
                    bound = [str(a).partition("/p2p/")[0] for a in host.get_addrs()]
                    self.say(1, "ok", (str(host.get_id()), bound))
                    async for number, verb, *arguments in messages:
                        if verb == "give up":
                            if number in self._doing:
                                self._doing[number].cancel()
                        else:
                            # Already here: what gives it up may come before its task begins.
                            self._doing[number] = trio.CancelScope()
                            nursery.start_soon(self._do, number, verb, arguments)
                    stop.deadline = trio.current_time() + STOP_S
                    await self._close_sockets()
                stop.cancel()
        finally:
            with trio.CancelScope(shield=True):
                await self._link.aclose()

    async def _close_sockets(self) -> None:
        """Close the sockets, also of inbound connections, which the host would keep open while its process lives."""
        for thing in self._things.values():
            if (muxed := getattr(thing, "muxed_conn", None)) is not None:
                with contextlib.suppress(Exception):
                    await muxed.secured_conn.close()

    async def _messages(self) -> AsyncIterator[Any]:
        buffer = b""
        with contextlib.suppress(trio.BrokenResourceError):
            while piece := await self._link.receive_some(1 << 20):
                buffer += piece
                while len(buffer) >= LENGTH.size:
                    end = LENGTH.size + LENGTH.unpack_from(buffer)[0]
                    if len(buffer) < end:
                        break
                    yield pickle.loads(buffer[LENGTH.size : end])
                    buffer = buffer[end:]

    def say(self, *message: Any) -> None:
        self._to_say.send_nowait(packed(message))

    async def _speak(self) -> None:
        with contextlib.suppress(trio.BrokenResourceError):
            async for message in self._said:
                await self._link.send_all(message)

    # -- what happens

    def number(self, connection: Any) -> int:
        """Return the number of a connection, and tell of a new one."""
        key = id(connection.muxed_conn)
        if key not in self._known:
            self._known[key] = number = next(self._numbers)
            self._things[number] = connection
            muxed = connection.muxed_conn
            host, port = muxed.secured_conn.get_remote_address()
            inbound = not muxed.is_initiator_value
            where = f"/ip4/{host}/tcp/{port}"
            self.say(0, "connection", number, str(muxed.peer_id), where, inbound)
        return self._known[key]

    async def _opened(self, protocol: str, stream: Any) -> None:
        self._things[number := next(self._numbers)] = stream
        self.say(0, "stream", self.number(stream.swarm_conn), number, protocol)

    # -- what is asked

    async def _do(self, number: int, verb: str, arguments: list[Any]) -> None:
        with self._doing[number]:
            try:
                value = await getattr(self, verb)(*arguments)
            except (StreamReset, StreamClosed) as error:
                self.say(number, "reset", type(error).__name__)
            except MultiselectClientError as error:
                self.say(number, "reset", str(error))
            except Exception as error:  # noqa: BLE001 - whatever it is that stock raises
                self.say(number, "lost", repr(error))
            else:
                self.say(number, "ok", value)
        del self._doing[number]

    async def dial(self, peer_id: str, address: str) -> int:
        """Dial without the host, which would keep its first connection, and dials slowly (defect T9)."""
        made = await self._network.dial_addr(Multiaddr(address), ID.from_string(peer_id))
        return self.number(made)

    async def open(self, connection: int, protocol: str) -> int:
        stream = await self._things[connection].new_stream()
        try:
            await self._select.select_one_of([protocol], MultiselectCommunicator(stream))
        except BaseException:
            with trio.move_on_after(1, shield=True):
                await stream.reset()
            raise
        self._things[number := next(self._numbers)] = stream
        return number

    async def read(self, stream: int, size: int) -> bytes:
        try:
            data: bytes = await self._things[stream].read(size)
        except StreamEOF:
            return b""
        return data

    async def write(self, stream: int, data: bytes) -> None:
        await self._things[stream].write(data)

    async def close_write(self, stream: int) -> None:
        await self._things[stream].close_write()

    async def close(self, thing: int) -> None:
        await self._things[thing].close()

    async def reset(self, stream: int) -> None:
        await self._things[stream].reset()

    async def abort(self, connection: int) -> None:
        """Close the socket: there is no other way past a writer that waits (defect T8)."""
        await self._things[connection].muxed_conn.secured_conn.close()


async def serve(pipe: Pipe) -> None:
    async def one(link: trio.SocketStream) -> None:
        # What ends one host ends no other one, nor the process.
        with contextlib.suppress(Exception):
            await Led(link).run()

    async with trio.open_nursery() as nursery:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, one, [listener])
        pipe.send(listener.socket.getsockname()[1])
        with contextlib.suppress(EOFError):
            await trio.to_thread.run_sync(pipe.recv)
        # Some would never stop.
        os._exit(0)


def run(pipe: Pipe) -> None:
    """Serve until the other end of the pipe is closed."""
    # Stock is loud about what is done to it.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    trio.run(serve, pipe)
