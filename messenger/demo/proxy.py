"""A faulty link: a TCP forwarder on loopback that slows, counts, corrupts or cuts what it carries.

The demonstration and the end-to-end tests put it between two nodes. So there is a middle of a transfer in which a node
can be killed, and somebody other than the two nodes counts what crosses the wire.
"""

from __future__ import annotations

import asyncio
import random  # noqa: TID251 - faults are drawn, not secret
from dataclasses import dataclass, field

__all__ = ["Faults", "Link"]

_READ_BYTES = 16 << 10


@dataclass(slots=True, kw_only=True)
class Faults:
    """What the link does to the bytes. It may be changed while the link runs."""

    rate_bytes_s: int | None = None
    """Pace of each direction, or None for as fast as it goes."""
    flip_every_bytes: int | None = None
    """Flip one bit about once in so many bytes."""
    drop_every_bytes: int | None = None
    """Cut the connection about once in so many bytes."""
    random: random.Random = field(default_factory=random.Random)


class Link:
    """Forwards 127.0.0.1:port to 127.0.0.1:target_port."""

    def __init__(self, target_port: int, faults: Faults | None = None) -> None:
        self.target_port = target_port
        self.faults = faults or Faults()
        self.forwarded_bytes = 0
        """Towards the target."""
        self.returned_bytes = 0
        """Back from the target."""
        self.connections = 0
        self.flips = 0
        self.cuts = 0
        self.port = 0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen on a free port of loopback."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Cut every connection and stop listening."""
        if self._server is not None:
            self._server.close()
        self.cut()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=2)
        if self._server is not None:
            await self._server.wait_closed()
            self._server = None

    def cut(self) -> None:
        """Cut every connection; new ones are accepted."""
        for task in self._tasks:
            task.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None:
            return
        self._tasks.add(task)
        self.connections += 1
        far_writer: asyncio.StreamWriter | None = None
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target_port)
            async with asyncio.TaskGroup() as group:  # noqa: TID251 - the demonstration ends soon
                group.create_task(self._carry(reader, far_writer, towards=True))
                group.create_task(self._carry(far_reader, writer, towards=False))
        except* (OSError, _CutError):
            pass
        except* asyncio.CancelledError:
            pass
        finally:
            self._tasks.discard(task)
            for end in (writer, far_writer):
                if end is not None:
                    end.transport.abort()

    async def _carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, towards: bool
    ) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while data := await reader.read(_READ_BYTES):
            data = self._spoil(data)
            if towards:
                self.forwarded_bytes += len(data)
            else:
                self.returned_bytes += len(data)
            if self.faults.rate_bytes_s:
                due = max(due, loop.time()) + len(data) / self.faults.rate_bytes_s
                await asyncio.sleep(due - loop.time())
            writer.write(data)
            await writer.drain()
        raise _CutError

    def _spoil(self, data: bytes) -> bytes:
        faults = self.faults
        if self._strikes(faults.drop_every_bytes, len(data)):
            self.cuts += 1
            raise _CutError
        if self._strikes(faults.flip_every_bytes, len(data)):
            self.flips += 1
            spoiled = bytearray(data)
            spoiled[faults.random.randrange(len(spoiled))] ^= 1 << faults.random.randrange(8)
            return bytes(spoiled)
        return data

    def _strikes(self, every_bytes: int | None, size: int) -> bool:
        return bool(every_bytes) and self.faults.random.random() < size / (every_bytes or 1)


class _CutError(Exception):
    """One side went away, or the link's temper did it."""
