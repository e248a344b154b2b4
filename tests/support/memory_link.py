"""Connections in memory, and the conditions they run under."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence

from peerpost.net.interface import Admission, ConnectionLostError, Priority, StreamResetError
from peerpost.net.mux.stream import MuxedStream
from peerpost.wire.address import parse

__all__ = ["DEAD_AFTER_S", "Conditions", "MemoryConnection"]

STREAMS = 1024
"""Streams that a peer may have open on a connection."""
STRANGER_BYTES = 4096
DEAD_AFTER_S = 9.0
"""How long a partition lasts before the connections across it are given up."""
CLOSE_TIMEOUT_S = 1.0
BULK_WRITE_BYTES = 65536


class Conditions:
    """Who can reach whom, and how long it takes.

    `latency_s` is one way and may be changed at any time. `loss` is the chance, drawn from `draw`, that a
    connection breaks with a message on it.
    """

    def __init__(
        self,
        *,
        latency_s: float,
        loss: float,
        draw: Callable[[], float],
        dead_after_s: float,
    ) -> None:
        self.latency_s = latency_s
        self.loss = loss
        self.draw = draw
        self.dead_after_s = dead_after_s
        self._groups: list[frozenset[str]] = []
        self._connections: set[MemoryConnection] = set()
        self._changed = asyncio.Event()

    # -- what a test does to it

    def partition(self, *groups: Iterable[str]) -> None:
        """Let peer ids of different groups not hear each other; who is in no group hears everybody."""
        self._groups = [frozenset(group) for group in groups]
        self._tell()

    def heal(self) -> None:
        """End the partition: what was under way arrives, where nobody has given up yet."""
        self.partition()

    def cut(self, one: str | None = None, other: str | None = None) -> int:
        """Break the connections between two peer ids, or of one, or all; return how many there were."""
        wanted = {peer for peer in (one, other) if peer is not None}
        found = [c for c in self._connections if wanted <= {c.peer_id, c.local_id}]
        for connection in found:
            connection.lose("the connection broke")
        return len({frozenset((id(c), id(c.other))) for c in found})

    # -- what its parts ask

    def connected(self, one: str, other: str) -> bool:
        """Return whether two peer ids hear each other."""
        sides = [{i for i, group in enumerate(self._groups) if p in group} for p in (one, other)]
        return not sides[0] or not sides[1] or bool(sides[0] & sides[1])

    async def wait_connected(self, one: str, other: str) -> None:
        """Return when two peer ids hear each other."""
        while not self.connected(one, other):
            await self._changed.wait()

    def add(self, connection: MemoryConnection) -> None:
        """Note a connection's end."""
        self._connections.add(connection)

    def discard(self, connection: MemoryConnection) -> None:
        """Forget a connection's end."""
        self._connections.discard(connection)

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
        for connection in list(self._connections):
            connection.network_changed()


class MemoryConnection:
    """One end of a connection (`interface.Connection`). Its maker sets `other`, which is the other end."""

    def __init__(
        self,
        network: Conditions,
        *,
        local_id: str,
        peer_id: str,
        remote_address: str,
        inbound: bool,
        admission: Admission,
        protocols: Mapping[str, Priority],
        on_closed: Callable[[MemoryConnection], None],
    ) -> None:
        self.peer_id = peer_id
        self.local_id = local_id
        self.inbound = inbound
        remote = parse(remote_address)
        self.remote_address = remote_address
        self.remote_host = remote.host
        self.transport = remote.transport
        self.admission = admission
        self.spoken = False
        self.other: MemoryConnection
        self._network = network
        self._on_closed = on_closed
        self._protocols = protocols
        self._loop = asyncio.get_running_loop()
        self._under_way: deque[tuple[float, Callable[..., None], tuple[object, ...]]] = deque()
        self._timer: asyncio.Handle | None = None
        self._dead: asyncio.TimerHandle | None = None
        self._lost: ConnectionLostError | None = None
        self._closed = asyncio.Event()
        self._accepted: asyncio.Queue[MuxedStream | None] = asyncio.Queue()
        self._next_id = 2 if inbound else 1
        self._streams: dict[int, MuxedStream] = {}
        self._outstanding: dict[int, int] = {}
        self._remote_open: set[int] = set()
        self._opening: dict[int, asyncio.Future[None]] = {}
        self._waiting: list[tuple[int, str]] = []
        self._antechamber: int | None = None
        self._allowance_bytes = STRANGER_BYTES
        network.add(self)

    @property
    def closed(self) -> bool:
        """Whether this end is gone."""
        return self._closed.is_set()

    # -- the wire from here to the other end

    def _send(self, deliver: Callable[..., None], *what: object) -> None:
        """Let something happen at the other end, in order, after the latency."""
        if self._lost is None:
            if self._network.loss and self._network.draw() < self._network.loss:
                self.lose("the connection broke")
                return
            self._under_way.append((self._loop.time() + self._network.latency_s, deliver, what))
            self._deliver_later()

    def _deliver_later(self) -> None:
        if self._timer is None and self._under_way and self._hears():
            self._timer = self._loop.call_at(self._under_way[0][0], self._deliver)

    def _deliver(self) -> None:
        self._timer = None
        now = self._loop.time()
        while self._under_way and self._under_way[0][0] <= now and self._hears():
            _, deliver, what = self._under_way.popleft()
            deliver(self.other, *what)
        self._deliver_later()

    def _hears(self) -> bool:
        return self._network.connected(self.local_id, self.peer_id)

    def network_changed(self) -> None:
        """Go on, or begin to count how long nothing has come."""
        if self._hears():
            if self._dead is not None:
                self._dead.cancel()
                self._dead = None
            if self.other.closed:
                self.lose_here("the connection broke")
            self._deliver_later()
        elif self._dead is None:
            self._dead = self._loop.call_later(
                self._network.dead_after_s, self.lose_here, "the peer has stopped answering"
            )

    # -- what the other end did

    def _on_open(self, stream_id: int, protocol: str) -> None:
        if (
            self.admission is Admission.STRANGER
            and self._antechamber is not None
            and protocol in self._protocols
        ):
            # A stranger has HELLO alone; what it opens behind it waits until it is admitted.
            self._waiting.append((stream_id, protocol))
            return
        full = len(self._remote_open) >= STREAMS
        if full or protocol not in self._protocols:
            why = (
                "the peer takes no more streams" if full else f"the peer does not speak {protocol}"
            )
            self._send(MemoryConnection._on_refused, stream_id, why)
            return
        stream = self._add(stream_id, protocol)
        self._remote_open.add(stream_id)
        self._antechamber = self._antechamber or stream_id
        self._accepted.put_nowait(stream)
        self._send(MemoryConnection._on_agreed, stream_id)

    def _on_agreed(self, stream_id: int) -> None:
        opening = self._opening.get(stream_id)
        if opening is not None and not opening.done():
            opening.set_result(None)

    def _on_refused(self, stream_id: int, why: str) -> None:
        opening = self._opening.get(stream_id)
        if opening is not None and not opening.done():
            opening.set_exception(StreamResetError(why))

    def _on_data(self, stream_id: int, data: bytes) -> None:
        if self.admission is Admission.STRANGER:
            self._allowance_bytes -= len(data)
            if self._allowance_bytes < 0:
                self.lose("a stranger sent more than a HELLO")
                return
        stream = self._streams.get(stream_id)
        if stream is not None:
            self.spoken = True
            stream.feed(memoryview(data))
            stream.deliver()

    def _on_end(self, stream_id: int) -> None:
        stream = self._streams.get(stream_id)
        if stream is not None:
            stream.feed_end()

    def _on_reset(self, stream_id: int) -> None:
        self._waiting = [w for w in self._waiting if w[0] != stream_id]
        stream = self._streams.get(stream_id)
        if stream is not None:
            self._forget(stream)
            stream.fail(StreamResetError("the peer reset the stream"))

    def _on_credit(self, stream_id: int, size: int) -> None:
        stream = self._streams.get(stream_id)
        if stream is not None:
            self._outstanding[stream_id] -= size
            stream.tell_writable()

    # -- what streams ask (`stream.Carrier`)

    def _add(self, stream_id: int, protocol: str) -> MuxedStream:
        stream = MuxedStream(self, stream_id)
        stream.protocol = protocol
        self._streams[stream_id] = stream
        self._outstanding[stream_id] = 0
        return stream

    def _forget(self, stream: MuxedStream) -> None:
        self._streams.pop(stream.id, None)
        self._outstanding.pop(stream.id, None)
        self._remote_open.discard(stream.id)

    def stream_write(self, stream: MuxedStream, parts: Sequence[bytes | memoryview]) -> None:
        """Send data at once; it counts until it is read."""
        data = b"".join(parts)
        if data and stream.id in self._outstanding:
            self._outstanding[stream.id] += len(data)
            self._send(MemoryConnection._on_data, stream.id, data)

    def stream_queued_bytes(self, stream: MuxedStream) -> int:
        """Return what the other end has not read."""
        return self._outstanding.get(stream.id, 0)

    def stream_waits(self, stream: MuxedStream) -> None:
        """Do nothing: every credit is told to its stream."""

    def stream_consumed(self, stream: MuxedStream, frames: int, size: int) -> None:
        """Give credit for what was read."""
        del frames
        if size:
            self._send(MemoryConnection._on_credit, stream.id, size)

    def stream_end(self, stream: MuxedStream) -> None:
        """Send the clean end."""
        self._send(MemoryConnection._on_end, stream.id)

    def stream_reset(self, stream: MuxedStream) -> None:
        """Break the stream."""
        self._forget(stream)
        self._send(MemoryConnection._on_reset, stream.id)

    def stream_over(self, stream: MuxedStream) -> None:
        """Forget a stream that has ended both ways."""
        self._forget(stream)
        stream.tell_over()

    # -- the node's side

    def admit(self) -> None:
        """Lift the limits of a stranger."""
        self.admission = Admission.KNOWN
        waiting, self._waiting = self._waiting, []
        for stream_id, protocol in waiting:
            self._on_open(stream_id, protocol)

    @property
    def bulk_write_bytes(self) -> int:
        """How much to write at once on a bulk stream (`interface.Connection`)."""
        return BULK_WRITE_BYTES

    @property
    def rtt_s(self) -> float | None:
        """The shortest round trip seen (`interface.Connection`): nothing asks for it here."""
        return None

    async def open_stream(self, protocol: str, *, timeout_s: float = 10.0) -> MuxedStream:
        """Open a stream (`interface.Connection`)."""
        if self._lost is not None:
            raise self._lost.again()
        stream_id, self._next_id = self._next_id, self._next_id + 2
        stream = self._add(stream_id, protocol)
        agreed = self._opening[stream_id] = self._loop.create_future()
        self._send(MemoryConnection._on_open, stream_id, protocol)
        try:
            async with asyncio.timeout(timeout_s):
                await agreed
        except TimeoutError:
            stream.reset()
            raise StreamResetError(f"the peer did not agree on {protocol} in time") from None
        except BaseException:
            stream.reset()
            raise
        finally:
            del self._opening[stream_id]
        return stream

    async def accept_stream(self) -> MuxedStream:
        """Wait for the peer's next stream (`interface.Connection`)."""
        stream = await self._accepted.get()
        if stream is None:
            self._accepted.put_nowait(None)
            raise (self._lost or ConnectionLostError("the connection closed")).again()
        return stream

    async def wait_closed(self) -> None:
        """Return when the connection is gone."""
        await self._closed.wait()

    async def close(self) -> None:
        """Let what is under way arrive, for at most `CLOSE_TIMEOUT_S`, and end."""

        def leave(other: MemoryConnection) -> None:
            other.lose_here("the peer closed the connection")
            self.abort()

        if self._lost is None:
            self._send(leave)
            self._end("the connection was closed here")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._closed.wait(), CLOSE_TIMEOUT_S)
        self.abort()

    def abort(self) -> None:
        """Drop the connection now; the other end hears of it after the latency, if it can hear."""
        self._end("the connection was closed here")
        self._under_way.clear()
        if not self._closed.is_set():
            self._finish()
            if self._hears():
                self._loop.call_later(
                    self._network.latency_s, self.other.lose_here, "the connection broke"
                )

    # -- ending

    def lose(self, why: str) -> None:
        """Break both ends now."""
        self.other.lose_here(why)
        self.lose_here(why)

    def lose_here(self, why: str) -> None:
        """Break this end."""
        self._end(why)
        self._under_way.clear()
        self._finish()

    def _end(self, why: str) -> None:
        """Tell everybody at this end; what is under way may still arrive."""
        if self._lost is not None:
            return
        self._lost = ConnectionLostError(why)
        for stream in list(self._streams.values()):
            stream.fail(self._lost)
        for opening in self._opening.values():
            if not opening.done():
                opening.set_exception(self._lost)
        self._streams.clear()
        self._outstanding.clear()
        self._accepted.put_nowait(None)

    def _finish(self) -> None:
        for handle in (self._timer, self._dead):
            if handle is not None:
                handle.cancel()
        self._network.discard(self)
        self._closed.set()
        self._on_closed(self)
