"""The streams that a peer opens: each agrees on a protocol, then waits to be accepted. A stranger gets one only."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Callable, Collection

from peerpost.errors import ProtocolError
from peerpost.net.interface import ConnectionLostError

from . import multistream
from .stream import MuxedStream

__all__ = ["STRANGER_STREAMS", "Arrivals"]

log = logging.getLogger(__name__)

NEGOTIATE_TIMEOUT_S = 10.0
STRANGER_STREAMS = 4


class Arrivals:
    """The streams that the peer of one connection opened."""

    def __init__(
        self,
        protocols: Collection[str],
        most: int,
        agreed: Callable[[MuxedStream, str], None],
        *,
        admitted: bool,
    ) -> None:
        """`most` bounds the streams that agree or wait to be accepted; `agreed` is called for each that agreed."""
        self._protocols = protocols
        self._most = most
        self._agreed = agreed
        self._admitted = asyncio.Event()
        if admitted:
            self._admitted.set()
        self._antechamber: int | None = None
        """The one stream that a stranger has: the first that agrees on a protocol of ours."""
        self._accepted: asyncio.Queue[MuxedStream | None] = asyncio.Queue()
        self._negotiations: set[asyncio.Task[None]] = set()

    @property
    def admitted(self) -> bool:
        """Whether the peer is not, or no longer, a stranger."""
        return self._admitted.is_set()

    def admit(self) -> None:
        """Let the streams go on that the peer opened while it was a stranger."""
        self._admitted.set()

    def opened(self, stream: MuxedStream, peer_id: str) -> None:
        """Take a stream that the peer opened. Raises ProtocolError when there are too many."""
        if len(self._negotiations) >= max(self._most, STRANGER_STREAMS):
            raise ProtocolError("the peer opens streams faster than protocols can be agreed on")
        task = asyncio.get_running_loop().create_task(
            self._negotiate(stream, peer_id), name="negotiate"
        )
        self._negotiations.add(task)
        task.add_done_callback(self._negotiations.discard)

    async def _negotiate(self, stream: MuxedStream, peer_id: str) -> None:
        """Agree on the protocol of a stream, and offer it to `accept`."""
        try:
            if self._antechamber is not None:
                # A stranger gets the stream of HELLO only; any other that it opens waits until it is admitted.
                await self._admitted.wait()
            async with asyncio.timeout(NEGOTIATE_TIMEOUT_S):
                protocol = await multistream.answer(
                    stream.read,
                    stream.write,
                    self._protocols,
                    functools.partial(self._may_agree, stream),
                )
            if self._accepted.qsize() >= self._most:
                raise ProtocolError("too many streams wait to be accepted")
            self._agreed(stream, protocol)
            self._accepted.put_nowait(stream)
        except (ProtocolError, ConnectionLostError, TimeoutError) as error:
            log.debug("a stream of %s came to nothing: %s", peer_id, error)
            stream.reset()
        except Exception:
            # Nobody awaits this task: without a reset the peer would wait for its answer for ever.
            log.exception("agreeing on the protocol of a stream of %s failed", peer_id)
            stream.reset()

    async def _may_agree(self, stream: MuxedStream) -> None:
        """Return once a stream may have its protocol.

        A stranger's stream for another protocol (stock libp2p opens one for identify) is answered `na` and takes no
        place.
        """
        if self._antechamber is None:
            self._antechamber = stream.id
        else:
            await self._admitted.wait()

    async def accept(self) -> MuxedStream | None:
        """Wait for the next; None once the connection is gone."""
        stream = await self._accepted.get()
        if stream is None:
            self._accepted.put_nowait(None)
        return stream

    def end(self) -> None:
        """Tell whoever accepts that no more come."""
        for task in self._negotiations:
            task.cancel()
        # It refers to the connection, and would keep it in memory after its last user has gone.
        self._agreed = lambda _stream, _protocol: None
        self._accepted.put_nowait(None)

    def clear(self) -> None:
        """Drop the streams that wait: nobody accepts them any more."""
        while not self._accepted.empty():
            self._accepted.get_nowait()
        self._accepted.put_nowait(None)
