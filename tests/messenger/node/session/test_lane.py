"""The outgoing side of a lane: every frame asks the scheduler, also the one that leaves when it is put."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from peerpost.crypto.keys import X25519KeyPair
from peerpost.net.interface import ConnectionLostError
from peerpost.node.session.keys import Keys
from peerpost.node.session.lane import LaneWriter
from peerpost.node.session.turns import Dispatcher
from peerpost.protocol.scheduler import Flow, Scheduler
from peerpost.wire.inner import Lane


class Counting(Scheduler):
    """The real scheduler, which counts the turns that it gives."""

    def __init__(self) -> None:
        super().__init__()
        self.turns = 0

    def next(self, now_ns: int) -> Flow | None:
        flow = super().next(now_ns)
        self.turns += flow is not None
        return flow


class Sink:
    """A stream that takes everything, until it is told not to."""

    protocol = ""

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.writable = True
        self.broken = False

    def put(self, *parts: bytes | memoryview) -> None:
        if self.broken:
            raise ConnectionLostError("gone")
        self.frames.append(b"".join(parts))

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        while not self.writable:  # noqa: ASYNC110
            await asyncio.sleep(0.001)


def keys() -> Keys:
    pair = X25519KeyPair.from_seed(bytes(range(32)))
    return Keys(
        my_id=bytes(32),
        my_encryption=pair,
        my_epk=pair,
        my_epk_id=bytes(8),
        peer_id_public=bytes(32),
        peer_encryption_public=pair.public,
        peer_epk_id=bytes(8),
        peer_epk_public=pair.public,
    )


@asynccontextmanager
async def writer(sink: Sink, scheduler: Scheduler) -> AsyncIterator[LaneWriter]:
    made = LaneWriter(Lane.URGENT, sink, keys(), None, Dispatcher(scheduler), None)  # type: ignore[arg-type]
    running = asyncio.create_task(made.run())
    await asyncio.sleep(0)
    yield made
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


async def sent(sink: Sink, count: int) -> None:
    async with asyncio.timeout(10):
        while len(sink.frames) < count:  # noqa: ASYNC110
            await asyncio.sleep(0)


def test_each_frame_takes_a_turn_of_its_own() -> None:
    async def main() -> None:
        sink, scheduler = Sink(), Counting()
        async with writer(sink, scheduler) as lane:
            lane.put(b"opens the epoch")
            await sent(sink, 1)
            for count in range(2, 20):
                await asyncio.sleep(0)
                lane.put(b"alone")
                await sent(sink, count)
            for _ in range(20):
                lane.put(b"many")
            await sent(sink, 39)
        assert scheduler.turns == len(sink.frames) == 39

    asyncio.run(main())


def test_a_lone_frame_leaves_at_once_unless_somebody_waits_before_it() -> None:
    async def main() -> None:
        sink, scheduler = Sink(), Counting()
        async with writer(sink, scheduler) as lane:
            lane.put(b"opens the epoch")
            await sent(sink, 1)
            await asyncio.sleep(0)
            lane.put(b"alone")
            assert len(sink.frames) == 2
            sink.writable = False
            lane.put(b"a")
            lane.put(b"bb")
            assert len(sink.frames) == 2
            await asyncio.sleep(0.01)
            assert len(sink.frames) == 2
            sink.writable = True
            await sent(sink, 4)
            # In the order in which they were put: the second is longer by a byte.
            assert len(sink.frames[3]) - len(sink.frames[2]) == 1

    asyncio.run(main())


def test_a_connection_that_is_gone_raises_into_nobody_who_puts() -> None:
    async def main() -> None:
        sink, scheduler = Sink(), Counting()
        async with writer(sink, scheduler) as lane:
            lane.put(b"opens the epoch")
            await sent(sink, 1)
            await asyncio.sleep(0)
            sink.broken = True
            lane.put(b"alone")
        assert len(sink.frames) == 1

    asyncio.run(main())


def test_what_waits_on_the_lane_has_not_left() -> None:
    async def main() -> None:
        sink, scheduler = Sink(), Counting()
        left: list[str] = []
        async with writer(sink, scheduler) as lane:
            lane.put(b"opens the epoch")
            await sent(sink, 1)
            sink.writable = False
            lane.put_frame((b"beginning",))
            lane.put_frame((b"end",), lambda: left.append("the chunk"))
            await asyncio.sleep(0.01)
            assert left == []
            sink.writable = True
            await sent(sink, 3)
            assert left == ["the chunk"]
            sink.writable = False
            lane.put_frame((b"never",), lambda: left.append("of a session that has ended"))
        assert left == ["the chunk"]

    asyncio.run(main())
