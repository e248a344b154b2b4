"""A node without lanes (`python -m tests.support.fifo_node run ...`): one queue and one stream, first in, first out.

Compared with it, one sees what the lanes are for. Both ends must be of this kind, because text comes on the stream of
the files.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any, cast

from peerpost.node.contact import peer
from peerpost.node.daemon import main
from peerpost.node.session.lane import LaneWriter
from peerpost.node.session.session import Later, Received, Receiver, Session
from peerpost.wire import inner as wire
from peerpost.wire.segment import Segment


class _Behind:
    """A lane without a queue of its own: everything goes to the end of the other lane's queue."""

    queued_bytes = 0
    owes_answers = False

    def __init__(self, queue: LaneWriter) -> None:
        self.put = queue.put

    async def run(self) -> None:
        await asyncio.Event().wait()

    async def answered(self) -> None:
        pass

    def close(self) -> None:
        pass


class _Sorting:
    """Gives the receiver the lane on which a message was queued, not that of the stream on which it came."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver

    def on_inner(self, session: Session, lane: wire.Lane, batch: list[Received]) -> Later:
        waits: list[Later] = []
        for one in batch:
            own = wire.Lane(one.message.lane) if isinstance(one.message, wire.Message) else lane
            if (later := self._receiver.on_inner(session, own, [one])) is not None:
                waits.append(later)

        async def all_later() -> None:
            for later in waits:
                await later()

        return all_later

    def on_segments(self, session: Session, segments: list[Segment]) -> None:
        self._receiver.on_segments(session, segments)


class FifoSession(Session):
    """A session whose lanes are one."""

    def __init__(self, *, receiver: Receiver, **rest: Any) -> None:
        super().__init__(receiver=_Sorting(receiver), **rest)
        queue = self._writers[wire.Lane.BULK]
        self._writers[wire.Lane.URGENT] = cast("LaneWriter", _Behind(queue))


if __name__ == "__main__":
    peer.Session = FifoSession  # type: ignore[misc]
    sys.exit(main(sys.argv[1:]))
