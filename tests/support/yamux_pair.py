"""Two Yamux machines joined by byte streams that the test cuts as it likes, with a model of what must arrive."""

from __future__ import annotations

import struct
from typing import NamedTuple

from peerpost.net.interface import Priority
from peerpost.net.mux.events import Data, Ended, Event, Reset, StreamOpened
from peerpost.net.mux.yamux import FRAME_COST_BYTES, MAX_RECORD_BYTES, Yamux, YamuxLimits

DATA, WINDOW, PING, GO_AWAY = range(4)
SYN, ACK, FIN, RST = 1, 2, 4, 8
HEADER = struct.Struct("!BBHII")


class Frame(NamedTuple):
    kind: int
    flags: int
    stream_id: int
    length: int
    data: bytes


def frame(kind: int, flags: int, stream_id: int, length: int | bytes) -> bytes:
    """Return one frame; of data where `length` is bytes."""
    if isinstance(length, bytes):
        return HEADER.pack(0, kind, flags, stream_id, len(length)) + length
    return HEADER.pack(0, kind, flags, stream_id, length)


def parse(*records: bytes | memoryview) -> list[Frame]:
    """Take records apart; no frame of ours is cut off behind the last."""
    record = b"".join(records)
    found, at = [], 0
    while at < len(record):
        version, kind, flags, stream_id, length = HEADER.unpack_from(record, at)
        assert version == 0
        at += HEADER.size
        size = length if kind == DATA else 0
        assert at + size <= len(record)
        found.append(Frame(kind, flags, stream_id, length, record[at : at + size]))
        at += size
    return found


class End:
    """What one side knows of a stream."""

    def __init__(self) -> None:
        self.written = bytearray()
        self.read = bytearray()
        self.unread: list[bytes] = []
        self.ended_here = self.ended_there = self.broken = False


class Pair:
    """`a` dialled `b`. `wire[n]` is under way to side n."""

    def __init__(self, *, rtt_s: float | None = None) -> None:
        self.a, self.b = self.sides = Yamux(client=True), Yamux(client=False)
        self.wire = (bytearray(), bytearray())
        self.events: tuple[list[Event], list[Event]] = ([], [])
        self.ends: tuple[dict[int, End], dict[int, End]] = ({}, {})
        self._now = 0.0
        self._byte = 0
        for side in self.sides:
            side.rtt_s = rtt_s

    # -- moving

    def send(self, side: int, budget: int) -> None:
        """Put what a side has to say on the wire."""
        records = self.sides[side].next_records(budget)
        parse(*records)
        for record in records:
            assert 0 < len(record) <= MAX_RECORD_BYTES
            self.wire[1 - side].extend(record)

    def deliver(self, side: int, size: int) -> None:
        """Let up to `size` bytes arrive at a side."""
        data = bytes(self.wire[side][:size])
        del self.wire[side][:size]
        for event in self.sides[side].receive(data, self._now):
            self.events[side].append(event)
            self._take(side, event)

    def _take(self, side: int, event: Event) -> None:
        ends = self.ends[side]
        if isinstance(event, StreamOpened):
            assert event.stream_id not in ends
            ends[event.stream_id] = End()
        elif isinstance(event, Data):
            assert not ends[event.stream_id].ended_there
            assert not ends[event.stream_id].broken
            ends[event.stream_id].unread.append(bytes(event.data))
        elif isinstance(event, Ended):
            assert not ends[event.stream_id].ended_there
            ends[event.stream_id].ended_there = True
        elif isinstance(event, Reset):
            ends[event.stream_id].broken = True

    def run(self) -> None:
        """Move everything, until nobody has anything to say."""
        while any(side.has_output for side in self.sides) or any(self.wire):
            for side in (0, 1):
                self.send(side, 1 << 20)
            for side in (0, 1):
                self.deliver(side, 1 << 30)

    # -- steps of a property

    def apply(self, name: str, side: int, *arguments: int) -> None:
        """Do one step on a side, where it makes sense."""
        self._now += 0.01
        yamux, ends = self.sides[side], self.ends[side]
        if name == "open":
            ends[yamux.open(Priority(arguments[0]), self._now)] = End()
        elif name == "send":
            self.send(side, arguments[0])
        elif name == "deliver":
            self.deliver(side, arguments[0])
        elif name == "ping":
            yamux.ping(arguments[0])
        elif ends:
            number = sorted(ends)[arguments[0] % len(ends)]
            self._apply(name, side, number, arguments[-1])

    def _apply(self, name: str, side: int, number: int, argument: int) -> None:
        yamux, end = self.sides[side], self.ends[side][number]
        if name == "priority":
            yamux.set_priority(number, Priority(argument))
        elif name == "read":
            self.read(side, number, argument)
        elif name == "reset" and yamux.is_open(number):
            yamux.reset(number)
            end.broken = True
        elif not end.ended_here and not end.broken:
            if name == "write":
                self._byte = (self._byte + 1) % 251
                data = bytes((self._byte + n) % 256 for n in range(256)) * (argument // 256 + 1)
                yamux.write(number, data[:argument])
                end.written += data[:argument]
            elif name == "end":
                yamux.end(number)
                end.ended_here = True

    def read(self, side: int, number: int, pieces: int) -> None:
        """Read what has come on a stream."""
        end = self.ends[side][number]
        taken, end.unread = end.unread[:pieces], end.unread[pieces:]
        if taken:
            data = b"".join(taken)
            end.read += data
            self.sides[side].consumed(number, len(taken), len(data), self._now)

    # -- what must hold

    def check(self) -> None:
        """Check what must be true at any moment."""
        for side, (yamux, ends) in enumerate(zip(self.sides, self.ends, strict=True)):
            cost = sum(
                len(piece) + FRAME_COST_BYTES
                for end in ends.values()
                if not end.broken
                for piece in end.unread
            )
            assert yamux._buffered_bytes == cost
            assert yamux.unsent_bytes == sum(map(yamux.queued_bytes, ends))
            for number, end in ends.items():
                other = self.ends[1 - side].get(number)
                came = bytes(end.read) + b"".join(end.unread)
                assert other is not None or not came
                assert other is None or bytes(other.written).startswith(came)

    def finish(self) -> None:
        """End every stream, and read until all is over."""
        for side, ends in enumerate(self.ends):
            for number in ends:
                self._apply("end", side, number, 0)
        for _ in range(1000):
            self.run()
            for side, ends in enumerate(self.ends):
                for number, end in ends.items():
                    if end.unread and not end.broken:
                        self.read(side, number, 10**6)
            # Streams of which the other side heard only now are ended as well.
            for side, ends in enumerate(self.ends):
                for number in ends:
                    self._apply("end", side, number, 0)
            if not any(s.has_output for s in self.sides) and not any(self.wire):
                return
        raise AssertionError("two machines never come to rest")

    def check_all_arrived(self) -> None:
        """Check that everything arrived that was not reset, and that nothing is left of it."""
        for side, ends in enumerate(self.ends):
            for number, end in ends.items():
                other = self.ends[1 - side].get(number)
                if other is None or end.broken or other.broken:
                    continue
                assert bytes(end.written) == bytes(other.read)
                assert end.ended_there
                assert other.ended_there
        for yamux in self.sides:
            assert not yamux._streams
            assert yamux._buffered_bytes == yamux._queued_bytes == yamux._grown_bytes == 0
            assert yamux._remote_open == 0


def opened(limits: YamuxLimits | None = None) -> Yamux:
    """Return a server with stream 1 open."""
    yamux = Yamux(client=False, limits=limits)
    assert yamux.receive(frame(WINDOW, SYN, 1, 0), 0.0) == [StreamOpened(1)]
    yamux.next_records(0)
    return yamux
