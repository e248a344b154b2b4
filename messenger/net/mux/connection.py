"""A connection on the loop: a socket whose Noise handshake is done, its records, and the streams of one Yamux.

The loop's own transport moves the bytes, so nothing crosses into trio after the handshake. Data is sealed only when the
socket takes it, and the socket is allowed little (`flight`): sealed records keep their order, so an urgent frame must
not find many of them before it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import cast

from peerpost.errors import ProtocolError
from peerpost.net.interface import Admission, ConnectionLostError, Priority, StreamResetError
from peerpost.wire.address import Address

from . import multistream
from .arrivals import STRANGER_STREAMS, Arrivals
from .events import Data, Ended, Event, GoneAway, Pong, Reset, StreamOpened
from .keepalive import MARK, Keepalive, Pulse
from .pace import Pace
from .records import Inbound, RecordOpener, RecordSealer
from .stream import MuxedStream
from .yamux import Yamux, YamuxLimits

__all__ = ["MuxedConnection"]

log = logging.getLogger(__name__)

BATCH_BYTES = 256 * 1024
"""Sealed and handed to the socket in one go."""
FLUSH_TIMEOUT_S = 1.0
STRANGER_BYTES = 4096 + 512
"""All that a stranger may send before `admit`: a HELLO, and what it takes to agree on its stream's protocol."""


class MuxedConnection(asyncio.BufferedProtocol):
    """One authenticated connection (`interface.Connection`)."""

    def __init__(
        self,
        *,
        peer_id: str,
        inbound: bool,
        remote: Address,
        admission: Admission,
        sealer: RecordSealer,
        opener: RecordOpener,
        protocols: Mapping[str, Priority],
        early: bytes = b"",
        limits: YamuxLimits | None = None,
        keepalive: Keepalive | None = None,
    ) -> None:
        self.peer_id = peer_id
        self.inbound = inbound
        self.remote_address = remote.text
        self.remote_host = remote.host
        self.transport = remote.transport
        self.opened_s = time.monotonic()
        self.admission = admission
        self.spoken = False
        """Whether anything has come on a stream."""
        self._loop = asyncio.get_running_loop()
        self._sealer = sealer
        self._protocols = protocols
        self._full_streams = (limits or YamuxLimits()).streams
        self._yamux = Yamux(client=not inbound, limits=limits)
        self._allowance_bytes = STRANGER_BYTES
        if admission is Admission.STRANGER:
            self._yamux.limits.streams = STRANGER_STREAMS
        self._arrivals = Arrivals(
            protocols,
            self._full_streams,
            self._agreed,
            admitted=admission is not Admission.STRANGER,
        )
        self._early = early
        self._socket: asyncio.Transport | None = None
        self._paused = False
        self._flushing = False
        self._hurried = False
        """Whether urgent data was already sent in this turn of the loop, and the turn's flush is still to come."""
        self._inbound = Inbound(opener)
        self._streams: dict[int, MuxedStream] = {}
        self._lost: ConnectionLostError | None = None
        self._closed = asyncio.Event()
        self._writable: set[MuxedStream] = set()
        self._finishing: set[MuxedStream] = set()
        self._pulse = Pulse(keepalive or Keepalive(), time.monotonic())
        self._pace = Pace(self._yamux)
        self._timer: asyncio.TimerHandle | None = None
        self._grace: asyncio.TimerHandle | None = None
        """Ends a connection that we broke off and whose peer does not read the rest."""

    # -- the loop's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin: the socket is ours."""
        # uvloop's transports do not inherit from asyncio's.
        self._socket = cast("asyncio.Transport", transport)
        self._pace.begin(self._socket, self._flush_soon)
        self._ask()
        self._tick()
        if self._early:
            self._guarded(self._early)

    def get_buffer(self, _sizehint: int) -> memoryview:
        """Offer room for at least one record."""
        return self._inbound.room()

    def buffer_updated(self, nbytes: int) -> None:
        """Open what has arrived whole."""
        if self._lost is not None:
            return
        self._pulse.heard()
        plaintext, wrong = self._inbound.received(nbytes)
        if plaintext:
            self._guarded(plaintext)
        if self._lost is not None:
            return
        if wrong is not None:
            self._break(wrong)
        self._flush_soon()

    def pause_writing(self) -> None:
        """Stop sealing: the socket is full."""
        self._paused = True

    def resume_writing(self) -> None:
        """Go on sealing."""
        self._paused = False
        self._flush_soon()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wake everybody: the connection is gone."""
        self._lose("the connection broke" if exc is not None else "the connection closed", exc)
        self._let_go()
        self._closed.set()

    def _let_go(self) -> None:
        """Drop all references back to this object, so that the connection is freed when its last user goes.

        Otherwise only the garbage collector frees it, perhaps after hours, and its buffers are a third of a megabyte.
        """
        self._socket = None
        self._pace.end()
        self._inbound.close()
        if self._grace is not None:
            self._grace.cancel()
            self._grace = None

    # -- receiving

    def _guarded(self, plaintext: bytes | memoryview) -> None:
        try:
            self._receive(plaintext)
        except ProtocolError as error:
            self._break(error.message)

    def _receive(self, plaintext: bytes | memoryview) -> None:
        if not self._arrivals.admitted:
            self._allowance_bytes -= len(plaintext)
            if self._allowance_bytes < 0:
                raise ProtocolError("a stranger sent more than a greeting")
        events: list[Event] = []
        fed: dict[MuxedStream, None] = {}
        try:
            self._yamux.receive(plaintext, time.monotonic(), events)
        finally:
            for event in events:
                self._handle(event, fed)
            for stream in fed:
                stream.deliver()

    def _handle(self, event: Event, fed: dict[MuxedStream, None]) -> None:
        if isinstance(event, Data):
            self.spoken = True
            stream = self._streams.get(event.stream_id)
            if stream is not None:
                stream.feed(event.data)
                fed[stream] = None
        elif isinstance(event, StreamOpened):
            self._arrivals.opened(self._add(event.stream_id), self.peer_id)
        elif isinstance(event, Ended):
            stream = self._streams.get(event.stream_id)
            if stream is not None:
                stream.feed_end()
        elif isinstance(event, Reset):
            stream = self._streams.get(event.stream_id)
            if stream is not None:
                self._forget(stream)
                stream.fail(StreamResetError("the peer reset the stream"))
        elif isinstance(event, Pong):
            if event.value & MARK:
                self._pace.answered(event.value, time.monotonic())
            else:
                if self._pulse.answered(event.value, time.monotonic()):
                    self._ask()
                self._pace.pinged(self._pulse.last_s)
            self._yamux.rtt_s = self._pulse.rtt_s
        elif isinstance(event, GoneAway):
            self._lose("the peer closed the connection", None)
            if self._socket is not None:
                self._socket.close()

    def _add(self, stream_id: int) -> MuxedStream:
        stream = MuxedStream(self, stream_id)
        self._streams[stream_id] = stream
        return stream

    def _agreed(self, stream: MuxedStream, protocol: str) -> None:
        stream.protocol = protocol
        self._yamux.set_priority(stream.id, self._protocols.get(protocol, Priority.BULK))

    # -- sending

    def _flush_soon(self) -> None:
        if not self._flushing and not self._paused and self._yamux.has_output:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = self._hurried = False
        while self._write_next(self._pace.room_bytes(), self._mark):
            pass
        for stream in list(self._writable):
            if stream.tell_writable():
                self._writable.discard(stream)
        for stream in list(self._finishing):
            self.stream_over(stream)

    def _hurry(self) -> None:
        """Send urgent data now, because the rest of this turn of the loop may take milliseconds.

        Only once in a turn: what is written later in it is sent with the rest, in one record.
        """
        if not (self._hurried or self._paused):
            self._hurried = True
            self._write_next(0)
            if not self._flushing:
                self._flushing = True
                self._loop.call_soon(self._flush)

    def _write_next(self, bulk_bytes: int, then: Callable[[], object] = lambda: None) -> bool:
        """Seal the next data and hand it to the socket; return False if there is no data, or no socket."""
        if (
            self._paused
            or self._socket is None
            or self._lost is not None
            or self._socket.is_closing()
        ):
            return False
        records = self._yamux.next_records(BATCH_BYTES, bulk_bytes, then)
        if records:
            self._socket.write(self._sealer.batch(records))
            if not self._socket.get_write_buffer_size():
                self._sealer.recycle()
        return bool(records)

    def _mark(self) -> None:
        self._pace.mark(time.monotonic())

    # -- what streams ask

    def stream_write(self, stream: MuxedStream, parts: Sequence[bytes | memoryview]) -> None:
        """Queue data of a stream."""
        self._yamux.write(stream.id, *parts)
        if self._yamux.has_urgent:
            self._hurry()
        self._flush_soon()

    def stream_queued_bytes(self, stream: MuxedStream) -> int:
        """Return what a stream has queued."""
        return self._yamux.queued_bytes(stream.id)

    def stream_waits(self, stream: MuxedStream) -> None:
        """Remember to tell a stream when it has room."""
        self._writable.add(stream)

    def stream_consumed(self, stream: MuxedStream, frames: int, size: int) -> None:
        """Give the peer credit for what was read."""
        self._yamux.consumed(stream.id, frames, size, time.monotonic())
        if stream in self._finishing:
            self.stream_over(stream)
        self._flush_soon()

    def stream_end(self, stream: MuxedStream) -> None:
        """End a stream's writing direction."""
        self._yamux.end(stream.id)
        self._flush_soon()

    def stream_reset(self, stream: MuxedStream) -> None:
        """Break a stream."""
        self._yamux.reset(stream.id)
        self._forget(stream)
        self._flush_soon()

    def stream_over(self, stream: MuxedStream) -> None:
        """Forget a stream that has ended both ways, once its last byte has left and was read."""
        if self._yamux.is_open(stream.id):
            self._finishing.add(stream)
        else:
            self._forget(stream)
            stream.tell_over()

    def _forget(self, stream: MuxedStream) -> None:
        self._streams.pop(stream.id, None)
        self._writable.discard(stream)
        self._finishing.discard(stream)

    # -- the node's side

    def admit(self) -> None:
        """Lift the limits of a stranger."""
        self.admission = Admission.KNOWN
        self._yamux.limits.streams = self._full_streams
        self._arrivals.admit()

    @property
    def bulk_write_bytes(self) -> int:
        """How much to write at once on a bulk stream (`interface.Connection`)."""
        return self._pace.write_bytes

    @property
    def rtt_s(self) -> float | None:
        """The shortest round trip seen (`interface.Connection`)."""
        return self._pulse.rtt_s

    async def open_stream(self, protocol: str, *, timeout_s: float = 10.0) -> MuxedStream:
        """Open a stream (`interface.Connection`)."""
        if self._lost is not None:
            raise self._lost.again()
        try:
            stream_id = self._yamux.open(Priority.URGENT, time.monotonic())
        except ProtocolError as error:
            raise ConnectionLostError(error.message) from None
        stream = self._add(stream_id)
        self._flush_soon()
        try:
            async with asyncio.timeout(timeout_s):
                await multistream.propose(stream.read, stream.write, protocol)
        except TimeoutError:
            stream.reset()
            raise StreamResetError(f"the peer did not agree on {protocol} in time") from None
        except ProtocolError as error:
            stream.reset()
            raise StreamResetError(error.message) from None
        except BaseException:
            stream.reset()
            raise
        self._agreed(stream, protocol)
        return stream

    async def accept_stream(self) -> MuxedStream:
        """Wait for the peer's next stream (`interface.Connection`)."""
        stream = await self._arrivals.accept()
        if stream is None:
            raise (self._lost or ConnectionLostError("the connection closed")).again()
        return stream

    async def wait_closed(self) -> None:
        """Return when the connection is gone."""
        await self._closed.wait()

    async def close(self) -> None:
        """Flush for at most `FLUSH_TIMEOUT_S`, say goodbye, and end."""
        if self._socket is None:
            self.abort()
            return
        try:
            async with asyncio.timeout(FLUSH_TIMEOUT_S):
                while self._lost is None and (self._yamux.has_output or self._yamux.unsent_bytes):
                    self._flush_soon()
                    await asyncio.sleep(0.005)
                self._say_goodbye()
                await self._closed.wait()
        except TimeoutError:
            log.debug("%s does not take what is left", self.peer_id)
        finally:
            self.abort()
        await self._closed.wait()

    def _say_goodbye(self) -> None:
        """End our direction only. If we closed with data unread, the kernel would drop what it still has to send."""
        if self._socket is None or self._lost is not None:
            return
        self._yamux.go_away()
        self._paused = False
        self._flush()
        self._lose("the connection was closed here", None)
        # It may be gone, and not have told us yet.
        with contextlib.suppress(OSError, RuntimeError):
            self._socket.write_eof()

    def abort(self) -> None:
        """Drop the connection now."""
        self._lose("the connection was closed here", None)
        self._arrivals.clear()
        if self._socket is not None:
            self._socket.abort()

    # -- ending

    def _break(self, why: str) -> None:
        """End the connection because of what the peer did, and tell the peer if that is possible."""
        log.info("closing the connection to %s: %s", self.peer_id, why)
        if self._socket is not None and self._lost is None and not self._socket.is_closing():
            self._yamux.go_away(1)
            self._socket.write(self._sealer.seal(self._yamux.next_records(0)))
        self._lose(why, None)
        if self._socket is not None:
            self._socket.close()
            self._grace = self._loop.call_later(FLUSH_TIMEOUT_S, self.abort)

    def _lose(self, why: str, cause: Exception | None) -> None:
        if self._lost is not None:
            return
        self._lost = ConnectionLostError(why)
        self._lost.__cause__ = cause
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for stream in list(self._streams.values()):
            stream.fail(self._lost)
        self._streams.clear()
        self._writable.clear()
        self._finishing.clear()
        self._arrivals.end()

    # -- a sign of life

    def _ask(self) -> None:
        self._yamux.ping(self._pulse.ask(time.monotonic()))
        self._flush_soon()

    def _tick(self) -> None:
        now_s = time.monotonic()
        if self._pulse.is_dead(now_s):
            log.info("%s has stopped answering", self.peer_id)
            self._lose("the peer has stopped answering", None)
            if self._socket is not None:
                self._socket.abort()
            return
        if self._pulse.is_due(now_s):
            self._ask()
        self._timer = self._loop.call_later(self._pulse.wait_s(now_s), self._tick)
