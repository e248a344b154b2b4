"""A TCP link that a test can make slow, ragged, silent or short."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

from peerpost.wire.address import parse

THERE, BACK = 0, 1
"""The two directions: from the side that dials, and to it."""


class Link:
    """Carries connections to another address.

    `pieces_bytes` is the most that is passed on at once, in each direction; `bytes_per_s` how fast. `counts` says how
    many bytes have come, in each direction.
    """

    def __init__(self, target: str) -> None:
        where = parse(target)
        self._host, self._port = where.host, where.port
        self.address = ""
        self.pieces_bytes = [65536, 65536]
        self.bytes_per_s = 0.0
        self.counts = [0, 0]
        self.flip_at: dict[int, int] = {}
        self.cut_at: dict[int, int] = {}
        self.gently = False
        self._open = asyncio.Event()
        self._open.set()
        self._writers: set[asyncio.StreamWriter] = set()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Link]:
        """Listen."""
        server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        self.address = f"/ip4/127.0.0.1/tcp/{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            self.cut()
            self.thaw()
            server.close()
            await server.wait_closed()
            while self._writers:  # noqa: ASYNC110
                await asyncio.sleep(0.001)

    def freeze(self) -> None:
        """Pass nothing on any more, and close nothing."""
        self._open.clear()

    def thaw(self) -> None:
        """Go on."""
        self._open.set()

    def cut(self) -> None:
        """Break what is open: `gently` by an end, or by a reset."""
        for writer in self._writers:
            if self.gently:
                writer.close()
            else:
                writer.transport.abort()

    async def _carry(self, near: asyncio.StreamReader, to_near: asyncio.StreamWriter) -> None:
        far, to_far = await asyncio.open_connection(self._host, self._port)
        self._writers |= {to_near, to_far}
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(near, to_far, THERE))
                group.create_task(self._pump(far, to_near, BACK))
        finally:
            for writer in (to_near, to_far):
                writer.close()
                self._writers.discard(writer)

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: int
    ) -> None:
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(ConnectionError, RuntimeError):
            while data := await reader.read(self.pieces_bytes[way]):
                await self._open.wait()
                writer.write(self._spoil(data, way))
                await writer.drain()
                if self.pieces_bytes[way] < 100:
                    # Without this, many pieces would be sent as one.
                    await asyncio.sleep(0)
                    await asyncio.sleep(0)
                if self.bytes_per_s:
                    await asyncio.sleep(len(data) / self.bytes_per_s)
            # An end of one direction only is passed on as such.
            if writer.can_write_eof():
                writer.write_eof()

    def _spoil(self, data: bytes, way: int) -> bytes:
        begin = self.counts[way]
        self.counts[way] += len(data)
        flip, cut = self.flip_at.get(way), self.cut_at.get(way)
        if flip is not None and begin <= flip < begin + len(data):
            spoilt = bytearray(data)
            spoilt[flip - begin] ^= 0x40
            data = bytes(spoilt)
        if cut is not None and cut < begin + len(data):
            asyncio.get_running_loop().call_soon(self.cut)
            data = data[: max(0, cut - begin)]
        return data
