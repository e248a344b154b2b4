"""Yamux (`/yamux/1.0.0`) as a machine without I/O: bytes in, events out; writes in, records to seal out.

Source: the yamux specification of libp2p. Small frames share a Noise record, a large one of a bulk stream is cut
into records without being copied, and urgent streams go first. Every limit is enforced here, so a hostile peer costs
at most what `YamuxLimits` says.
"""

from __future__ import annotations

import enum
import struct
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from peerpost.errors import ProtocolError
from peerpost.net.interface import Priority

from .events import Data, Ended, Event, GoneAway, Pong, Reset, StreamOpened
from .plaintexts import MAX_RECORD_BYTES, Plaintexts
from .receive_window import INITIAL_WINDOW_BYTES, ReceiveWindow

__all__ = ["INITIAL_WINDOW_BYTES", "MAX_RECORD_BYTES", "Yamux", "YamuxError", "YamuxLimits"]

HEADER = struct.Struct("!BBHII")
MAX_CONTROL_BYTES = 64 * 1024
"""Control frames that wait to be sent: a peer that makes us answer and does not read cannot cause more than this."""
FRAME_COST_BYTES = 64
"""Added to the size of each buffered frame when memory is counted, so that frames of one byte are not free."""
MAX_STREAM_ID = 2**32 - 1


class YamuxError(ProtocolError):
    """The peer broke the specification or a limit; the connection cannot go on."""


class _Type(enum.IntEnum):
    DATA = 0
    WINDOW = 1
    PING = 2
    GO_AWAY = 3


SYN, ACK, FIN, RST = 1, 2, 4, 8


@dataclass(slots=True)
class YamuxLimits:
    """What one connection may cost. Changing a field takes effect at once."""

    streams: int = 1024
    """Streams that the peer may have open."""
    buffered_bytes: int = 32 * 1024 * 1024
    """Received and not yet read, over all streams, with FRAME_COST_BYTES for each frame.
    All windows together grow by half of it, so a peer that respects the windows of a few streams respects this too."""
    window_bytes: int = 4 * 1024 * 1024
    """The largest window of a stream."""
    frame_bytes: int = MAX_RECORD_BYTES - HEADER.size
    """Largest payload that we put in one frame of an urgent stream, and of any that has little window."""
    bulk_frame_bytes: int = 320 * 1024
    """The same for a bulk stream that has window for two such frames."""


@dataclass(slots=True, eq=False)
class _Stream:
    id: int
    priority: Priority
    window: ReceiveWindow
    # what we send
    send_window: int = INITIAL_WINDOW_BYTES
    out: deque[bytes | memoryview] = field(default_factory=deque)
    out_sizes: deque[int] = field(default_factory=deque)
    """The unsent size of each write whose buffers are in `out`."""
    out_bytes: int = 0
    fin_wanted: bool = False
    fin_sent: bool = False
    scheduled: bool = False
    # what we receive
    buffered: int = 0
    ended: bool = False

    def can_send(self) -> bool:
        """Return whether a frame could leave now."""
        if self.out_bytes:
            return self.send_window > 0
        return self.fin_wanted and not self.fin_sent


class Yamux:
    """One side of a connection.

    `client` is the side that dialled: its streams have odd numbers.
    """

    def __init__(self, *, client: bool, limits: YamuxLimits | None = None) -> None:
        self.limits = limits or YamuxLimits()
        self.bulk_sent_bytes = 0
        """Payload of bulk streams that has left."""
        self.rtt_s: float | None = None
        """Round trip measured by the owner. Windows grow by need once it is known, and not at all before."""
        self._streams: dict[int, _Stream] = {}
        self._next_id = 1 if client else 2
        self._highest_remote = 0
        self._remote_open = 0
        self._buffered_bytes = 0
        self._grown_bytes = 0
        self._queued_bytes = 0
        self._control = bytearray()
        self._ready: tuple[deque[_Stream], deque[_Stream]] = (deque(), deque())
        self._partial = bytearray()
        self._payload_left = 0
        self._payload_flags = 0
        self._payload_stream: _Stream | None = None
        self._gone_away = False

    # -- what the owner wants

    def open(self, priority: Priority, now_s: float) -> int:
        """Open a stream and return its number. Raises YamuxError if no number is left."""
        if self._gone_away or self._next_id > MAX_STREAM_ID:
            raise YamuxError("the connection takes no more streams")
        stream_id, self._next_id = self._next_id, self._next_id + 2
        self._streams[stream_id] = _Stream(stream_id, priority, ReceiveWindow(now_s))
        self._put(_Type.WINDOW, SYN, stream_id, 0)
        return stream_id

    def set_priority(self, stream_id: int, priority: Priority) -> None:
        """Let the stream's writes go first, or last."""
        stream = self._streams.get(stream_id)
        if stream is not None:
            stream.priority = priority

    def write(self, stream_id: int, *parts: bytes | memoryview) -> None:
        """Queue data, of any size; the buffers must not change any more.

        What is written in one call is sent in one frame if it fits, so that the reader gets it whole.
        """
        stream = self._streams[stream_id]
        size = sum(map(len, parts))
        if size:
            stream.out.extend(parts)
            stream.out_sizes.append(size)
            stream.out_bytes += size
            self._queued_bytes += size
            self._schedule(stream)

    def is_open(self, stream_id: int) -> bool:
        """Return whether anything of a stream is left to send, to receive or to be read."""
        return stream_id in self._streams

    def queued_bytes(self, stream_id: int) -> int:
        """Return how much of what was written is not sent yet; 0 for a stream that is gone."""
        stream = self._streams.get(stream_id)
        return 0 if stream is None else stream.out_bytes

    def end(self, stream_id: int) -> None:
        """End our direction cleanly behind what is queued."""
        stream = self._streams.get(stream_id)
        if stream is not None:
            stream.fin_wanted = True
            self._schedule(stream)

    def reset(self, stream_id: int) -> None:
        """Break the stream in both directions."""
        stream = self._streams.get(stream_id)
        if stream is not None:
            self._put(_Type.WINDOW, RST, stream_id, 0)
            self._forget(stream)

    def consumed(self, stream_id: int, frames: int, size: int, now_s: float) -> None:
        """Note that `size` bytes in `frames` events were read, and give the peer new credit."""
        stream = self._streams.get(stream_id)
        if stream is None:
            return
        cost = size + frames * FRAME_COST_BYTES
        stream.buffered -= cost
        self._buffered_bytes -= cost
        window = stream.window
        if stream.ended:
            self._forget_if_over(stream)
        elif window.read(size):
            left = self.limits.buffered_bytes // 2 - self._grown_bytes
            most = min(self.limits.window_bytes - window.size_bytes, left)
            self._grown_bytes -= window.grown_bytes
            credit = window.announce(stream.priority, most, self.rtt_s, now_s)
            self._grown_bytes += window.grown_bytes
            self._put(_Type.WINDOW, 0, stream_id, credit)

    def ping(self, value: int) -> None:
        """Ask the peer for a sign of life."""
        self._put(_Type.PING, SYN, 0, value)

    def go_away(self, code: int = 0) -> None:
        """Tell the peer that we go: 0 normally, 1 for a protocol error, 2 for a fault of ours."""
        self._gone_away = True
        self._put(_Type.GO_AWAY, 0, 0, code)

    # -- what leaves

    @property
    def has_urgent(self) -> bool:
        """Whether something of an urgent stream may leave."""
        return bool(self._ready[0])

    @property
    def has_output(self) -> bool:
        """Whether `next_records` would return something."""
        return bool(self._control or self._ready[0] or self._ready[1])

    @property
    def unsent_bytes(self) -> int:
        """Bytes that were written and not sent yet, including those that a window keeps back."""
        return self._queued_bytes

    def next_records(
        self,
        budget_bytes: int,
        bulk_bytes: int = MAX_STREAM_ID,
        then: Callable[[], object] = lambda: None,
    ) -> list[bytes | memoryview]:
        """Return up to about budget_bytes as plaintexts of Noise records, urgent streams first.

        At most bulk_bytes come from bulk streams; `bulk_sent_bytes` counts them. Control frames go before data and are
        never held back. `then` is called after everything was counted; control frames that it queues go after the data.
        """
        gathered = Plaintexts(self._control)
        self._control.clear()
        while budget_bytes > 0:
            ready = self._ready[0] or self._ready[1]
            if not ready or (ready is self._ready[1] and bulk_bytes <= 0):
                break
            stream = ready.popleft()
            stream.scheduled = False
            if self._streams.get(stream.id) is not stream or not stream.can_send():
                continue
            bulk = stream.priority is Priority.BULK
            take = self._fitting(stream, bulk_bytes if bulk else MAX_STREAM_ID)
            if bulk:
                bulk_bytes -= take
                self.bulk_sent_bytes += take
            gathered.add(self._cut_frame(stream, take), HEADER.size + take)
            budget_bytes -= HEADER.size + take
            self._schedule(stream)
            self._forget_if_over(stream)
        then()
        if self._control:
            gathered.add([bytes(self._control)], len(self._control))
            self._control.clear()
        return gathered.records()

    def _fitting(self, stream: _Stream, most_bytes: int) -> int:
        """Return how much of a stream goes into the next frame: whole writes, if one fits."""
        frame_bytes = self.limits.frame_bytes
        if stream.priority is Priority.BULK:
            # Never use the whole window for one frame: this end would wait for credit, the other for data.
            half = stream.send_window // 2
            frame_bytes = max(frame_bytes, min(self.limits.bulk_frame_bytes, half))
        most_bytes = min(stream.send_window, frame_bytes, most_bytes)
        if stream.out_bytes <= most_bytes:
            return stream.out_bytes
        size = 0
        for write in stream.out_sizes:
            if size + write > most_bytes:
                # A write that is too large for any frame fills this one; another that does not fit waits for the next.
                return most_bytes if write > frame_bytes else size or most_bytes
            size += write
        return size

    def _cut_frame(self, stream: _Stream, take: int) -> list[bytes | memoryview]:
        """Return one data frame of `take` bytes, or one that ends the stream if `take` is 0."""
        if not take:
            # The end is a frame of its own, as in Go's implementation: js-libp2p would act on an end before it reads
            # the bytes that come in the same frame.
            stream.fin_sent = True
            return [HEADER.pack(0, _Type.WINDOW, FIN, stream.id, 0)]
        stream.send_window -= take
        stream.out_bytes -= take
        self._queued_bytes -= take
        parts: list[bytes | memoryview] = [HEADER.pack(0, _Type.DATA, 0, stream.id, take)]
        out, sizes = stream.out, stream.out_sizes
        left = take
        while left:
            piece = out[0]
            if len(piece) <= left:
                parts.append(out.popleft())
                left -= len(piece)
            else:
                view = memoryview(piece)
                parts.append(view[:left])
                out[0] = view[left:]
                break
        while take and sizes[0] <= take:
            take -= sizes.popleft()
        if take:
            sizes[0] -= take
        return parts

    def _schedule(self, stream: _Stream) -> None:
        if not stream.scheduled and stream.can_send():
            stream.scheduled = True
            self._ready[stream.priority].append(stream)

    def _put(self, kind: _Type, flags: int, stream_id: int, length: int) -> None:
        self._control += HEADER.pack(0, kind, flags, stream_id, length)

    # -- what arrives

    def receive(
        self, data: bytes | memoryview, now_s: float, events: list[Event] | None = None
    ) -> list[Event]:
        """Take the plaintext of records and return what happened, appended to events if given.

        Raises YamuxError; what happened before is in the given events.
        """
        if events is None:
            events = []
        view = memoryview(data)
        at, end, held = 0, len(view), memoryview(view.obj).nbytes
        while at < end:
            if self._payload_left:
                take = min(self._payload_left, end - at)
                # A small piece is copied: a view of it would keep the whole buffer of `data` in memory.
                piece = view[at : at + take]
                self._payload(piece if 2 * take >= held else memoryview(bytes(piece)), events)
                at += take
            elif self._partial or end - at < HEADER.size:
                missing = view[at : at + HEADER.size - len(self._partial)]
                self._partial += missing
                at += len(missing)
                if len(self._partial) == HEADER.size:
                    header = HEADER.unpack(self._partial)
                    self._partial.clear()
                    self._frame(header, now_s, events)
            else:
                self._frame(HEADER.unpack_from(view, at), now_s, events)
                at += HEADER.size
        if len(self._control) > MAX_CONTROL_BYTES:
            raise YamuxError("the peer asks more than it reads answers")
        return events

    def _frame(self, header: Sequence[int], now_s: float, events: list[Event]) -> None:
        version, kind, flags, stream_id, length = header
        if version:
            raise YamuxError(f"yamux version {version}")
        if kind in (_Type.DATA, _Type.WINDOW):
            stream = self._stream_of(flags, stream_id, now_s, events)
            if kind == _Type.DATA:
                self._begin_payload(stream, flags, length, now_s, events)
            else:
                self._window(stream, length)
                self._flags(stream, flags, events)
        elif kind == _Type.PING:
            if flags & SYN:
                self._put(_Type.PING, ACK, 0, length)
            elif flags & ACK:
                events.append(Pong(length))
        elif kind == _Type.GO_AWAY:
            self._gone_away = True
            events.append(GoneAway(length))
        else:
            raise YamuxError(f"yamux frame type {kind}")

    def _stream_of(
        self, flags: int, stream_id: int, now_s: float, events: list[Event]
    ) -> _Stream | None:
        """Find the stream of a frame, or make it; None for one that is over."""
        ours = stream_id % 2 == self._next_id % 2
        if flags & SYN:
            if ours or stream_id <= self._highest_remote:
                raise YamuxError("a stream number is used again")
            self._highest_remote = stream_id
            if self._remote_open >= self.limits.streams or self._gone_away:
                self._put(_Type.WINDOW, RST, stream_id, 0)
                return None
            stream = _Stream(stream_id, Priority.BULK, ReceiveWindow(now_s))
            self._streams[stream_id] = stream
            self._remote_open += 1
            self._put(_Type.WINDOW, ACK, stream_id, 0)
            events.append(StreamOpened(stream_id))
            return stream
        known = stream_id < self._next_id if ours else stream_id <= self._highest_remote
        if not stream_id or not known:
            raise YamuxError("a frame for a stream that was never opened")
        return self._streams.get(stream_id)

    def _begin_payload(
        self, stream: _Stream | None, flags: int, length: int, now_s: float, events: list[Event]
    ) -> None:
        if stream is not None:
            if length > stream.window.credit_bytes or (length and stream.ended):
                raise YamuxError("the peer sent more than its window")
            stream.window.use(length, now_s)
        elif length > max(self.limits.window_bytes, INITIAL_WINDOW_BYTES):
            raise YamuxError("a frame larger than any window")
        if not length:
            self._flags(stream, flags, events)
            return
        self._payload_left, self._payload_flags = length, flags
        self._payload_stream = stream

    def _payload(self, piece: memoryview, events: list[Event]) -> None:
        self._payload_left -= len(piece)
        stream = self._payload_stream
        if stream is not None and self._streams.get(stream.id) is stream:
            cost = len(piece) + FRAME_COST_BYTES
            stream.buffered += cost
            self._buffered_bytes += cost
            if self._buffered_bytes > self.limits.buffered_bytes:
                raise YamuxError("the peer fills more streams than anybody reads")
            events.append(Data(stream.id, piece))
        if not self._payload_left:
            self._payload_stream = None
            self._flags(stream, self._payload_flags, events)

    def _window(self, stream: _Stream | None, length: int) -> None:
        if stream is not None and length:
            if stream.send_window + length > MAX_STREAM_ID:
                raise YamuxError("a window beyond 32 bits")
            stream.send_window += length
            self._schedule(stream)

    def _flags(self, stream: _Stream | None, flags: int, events: list[Event]) -> None:
        if stream is None or self._streams.get(stream.id) is not stream:
            return
        if flags & RST:
            self._forget(stream)
            events.append(Reset(stream.id))
        elif flags & FIN and not stream.ended:
            stream.ended = True
            events.append(Ended(stream.id))
            self._forget_if_over(stream)

    def _forget_if_over(self, stream: _Stream) -> None:
        # Bytes not read yet still count: a stream that ended both ways still takes our memory.
        if stream.fin_sent and stream.ended and not stream.buffered:
            self._forget(stream)

    def _forget(self, stream: _Stream) -> None:
        del self._streams[stream.id]
        self._buffered_bytes -= stream.buffered
        self._queued_bytes -= stream.out_bytes
        self._grown_bytes -= stream.window.grown_bytes
        stream.out.clear()
        stream.out_sizes.clear()
        stream.out_bytes = 0
        if stream.id % 2 != self._next_id % 2:
            self._remote_open -= 1
