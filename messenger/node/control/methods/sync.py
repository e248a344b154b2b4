"""`node sync`: every contact is dialled, what can be delivered is, and what they hold is fetched.

A contact sends what it has as soon as it is reached, but does not say that this was all. So it counts as done when
nothing is left to do for it and nothing has passed for a moment.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import apsw
import msgspec

from peerpost.client.rpc import Answer, Request
from peerpost.client.rpc import Final as Result
from peerpost.node.contact.standing import obstacle
from peerpost.store.tables import contacts, counts, entries, transfers

from .invites import READY_WAIT_S
from .numbers import Wait

if TYPE_CHECKING:
    from peerpost.node.contact.peer import Peer
    from peerpost.node.host import Host
    from peerpost.node.opened import Opened

__all__ = ["sync"]

QUIET_S: Final = 1.5
"""Nothing has passed for this long: what the contact had for us is here. It sends that as soon as it is reached."""
STUCK_S: Final = 30.0
"""Something is left to do, and nothing has passed for this long: it is given up, as a timeout."""
DIALS: Final = 3
"""How often a contact whose session breaks off is dialled again."""
REACH_S: Final = 90.0
"""A dial takes 10 s at most, and a thousand contacts are dialled within half a minute. Somebody who is blocked or
removed meanwhile is not dialled at all."""
LOOK_S: Final = 0.2
_NO_ADDRESS = "no address of it is known"


class _Sync(msgspec.Struct, forbid_unknown_fields=True):
    timeout_s: Wait | None = None
    leaves: bool = False
    """Whether the node leaves afterwards, unless it is to stay or somebody else needs it."""


@dataclass(slots=True, kw_only=True)
class _Work:
    """What is left to do for a contact."""

    queued: int
    """Messages that are not delivered yet."""
    held: int
    """Those of them that wait for a person or for room over there."""
    coming: int
    """Files that come in, and do not wait for anything."""

    @property
    def left(self) -> bool:
        return self.queued > self.held or self.coming > 0


async def sync(host: Host, request: Request[_Sync]) -> Answer:
    """Yield a row for each contact as it is done, and at last {timed_out, leaving}."""
    params = request.params_as(_Sync)
    return _sync(host, host.opened(), params)


async def _sync(host: Host, opened: Opened, params: _Sync) -> AsyncIterator[object]:
    timed_out, leaving, leaves = False, False, params.leaves
    left: dict[str, int] = {}
    try:
        await opened.network.wait_ready(READY_WAIT_S)
        found = sorted(await opened.store.read(contacts.list_all), key=lambda contact: contact.name)
        peers = [peer for one in found if (peer := opened.network.peers.get(one.id)) is not None]
        loop = asyncio.get_running_loop()
        deadline_s = None if params.timeout_s is None else loop.time() + params.timeout_s
        since_ms = opened.clock.now_ms()
        if params.leaves:
            # A node that was started for this has begun before it was asked.
            since_ms -= int(host.status()["uptime_s"] * 1000)
        tasks = [loop.create_task(_one(opened, peer, deadline_s, since_ms)) for peer in peers]
        try:
            # In the order of the names, so that the rows of two runs can be compared.
            for task in tasks:
                row, in_time = await task
                timed_out = timed_out or not in_time
                left[row["id"]] = row["queued"]
                yield {"row": row}
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        # What somebody has queued since its contact was done is sent first, as if this command had not been.
        depths = await opened.store.read(entries.depths)
        leaves = leaves and all(depth <= left.get(id_, 0) for id_, depth in depths.items())
    finally:
        # Also if the command that asked is gone.
        if leaves:
            leaving = host.leave_unless_needed()
    yield Result({"timed_out": timed_out, "leaving": leaving})


async def _one(
    opened: Opened, peer: Peer, deadline_s: float | None, since_ms: int
) -> tuple[dict[str, Any], bool]:
    """Do all that can be done for a contact. Return its row, and whether that was in time."""
    run = _Run(opened, peer)
    in_time = True
    try:
        async with asyncio.timeout_at(deadline_s):
            in_time = await run.to_its_end()
    except TimeoutError:
        in_time = False
    work = await run.look()
    passed = await opened.store.read(counts.since, peer.contact.id, since_ms)
    error = run.error
    if not in_time and error is None:
        error = "not done in time"
    row = {
        "id": peer.contact.id,
        "name": peer.contact.name,
        "reached": run.reached,
        "delivered": passed.sent,
        "received": passed.received,
        "queued": work.queued,
        "error": error,
    }
    return row, in_time


class _Run:
    """One contact."""

    def __init__(self, opened: Opened, peer: Peer) -> None:
        self._opened = opened
        self._peer = peer
        self.reached = peer.online
        self.error: str | None = None

    async def to_its_end(self) -> bool:
        """Return True once nothing more can be done, False if it is stuck."""
        for _ in range(DIALS):
            if not await self._reach():
                return True
            ended = await self._until_quiet()
            if ended is not None:
                return ended
        self.error = self._peer.last_error or "the connection breaks off again and again"
        return True

    async def _reach(self) -> bool:
        peer = self._peer
        if not peer.online:
            if not peer.can_be_dialled:
                stands = obstacle(peer.contact)
                self.error = _NO_ADDRESS if stands is None else stands.why
                return False
            await peer.dialled_again(REACH_S)
        self.reached = self.reached or peer.online
        if not peer.online:
            self.error = peer.last_error
        return peer.online

    async def _until_quiet(self) -> bool | None:
        """Wait until all is done (True) or stuck (False); return None if the session ends before."""
        loop = asyncio.get_running_loop()
        moved_s, passed = loop.time(), self._passed()
        while self._peer.online:
            work = await self.look()
            if self._passed() != passed:
                moved_s, passed = loop.time(), self._passed()
            quiet_s = loop.time() - moved_s
            if not work.left and quiet_s >= QUIET_S:
                # A contact that takes nothing for now says so.
                self.error = self._peer.last_error if work.queued else None
                return True
            if quiet_s >= STUCK_S:
                self.error = self._peer.last_error or f"nothing has passed for {STUCK_S:g} s"
                return False
            await asyncio.sleep(LOOK_S)
        return None

    def _passed(self) -> tuple[int, int]:
        return self._opened.services.limits.passed_bytes(self._peer.contact.id)

    async def look(self) -> _Work:
        """Return what is left to do."""
        id_ = self._peer.contact.id

        def read(db: apsw.Connection) -> _Work:
            queued = entries.depths(db).get(id_, 0)
            files = transfers.of_contact(db, id_)
            held = sum(
                not one.incoming and (one.state == "paused" or one.peer_pause is not None)
                for one in files
            )
            coming = sum(
                one.incoming and one.error is None and one.state in ("active", "offered")
                for one in files
            )
            return _Work(queued=queued, held=held, coming=coming)

        work = await self._opened.store.read(read)
        if self._peer.is_busy:
            work.held = work.queued
        return work
