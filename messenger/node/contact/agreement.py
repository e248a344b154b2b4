"""What both homes remember of the lanes between them: compared when a session begins, kept right while it lasts.

store.agreement decides what to do, in one transaction before anything is sent; this module tells both sides.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from peerpost.errors import StoreFullError
from peerpost.node.causes import cause_of
from peerpost.store.tables import agreement, lives
from peerpost.wire import history, limits
from peerpost.wire import inner as wire
from peerpost.wire.life import COPIED, Life

if TYPE_CHECKING:
    from peerpost.node.services import Services
    from peerpost.node.session.session import Session
    from peerpost.store.tables.outbox import Entry

__all__ = ["LaneMemory"]

log = logging.getLogger(__name__)

_ANSWERS = frozenset({history.BACK, history.EVEN, history.HEARD})
_SAYS = _ANSWERS | {history.CONFLICT, history.RENEWED, history.AGAIN, COPIED}


class LaneMemory:
    """What one session says about messages of earlier sessions."""

    def __init__(
        self,
        services: Services,
        contact_id: str,
        session: Session,
        on_copied: Callable[[str], object] = lambda _: None,
    ) -> None:
        """Speak for one session. `on_copied` is called with `ours` or `theirs` when two copies of a home are found."""
        self._on_copied = on_copied
        self._services = services
        self._contact_id = contact_id
        self._session = session
        self._heard: set[str] = set()
        self._refused: set[tuple[bytes, int]] = set()

    async def agree(
        self,
        have: Iterable[tuple[bytes, int, int]],
        tops: bytes | None,
        life: Life | None,
        *,
        retry_s: float,
    ) -> list[Entry]:
        """Compare with what the peer's HELLO said; return the entries that this settles. Call it before sending.

        While the disk is full, it is tried again every `retry_s`.

        Raises ProtocolError if the peer doubts our numbers again and again.
        """
        told = list(have)
        held = None if tops is None else history.decode_tops(tops, len(told))
        agreed: agreement.Agreement | None = None
        while agreed is None:
            try:
                agreed = await self._services.store.write_lazily(
                    agreement.agree,
                    self._contact_id,
                    told,
                    held,
                    complete=held is not None and len(told) < limits.MAX_HAVE,
                    now_ms=self._services.clock.now_ms(),
                    life=life,
                )
            except StoreFullError as error:
                # Nothing may be sent before the numbers are known to be right.
                log.warning("cannot note what %s has received: %s", self._contact_id, error.message)
                await asyncio.sleep(retry_s)
        if agreed.ours:
            log.warning(
                "this home is older than what %s remembers of it: it was put back; what waits goes under new numbers",
                self._contact_id,
            )
        if agreed.copied:
            self._on_copied("ours")
            log.warning(
                "%s has met another home of this identity while this one ran: two copies run",
                self._contact_id,
            )
        if agreed.theirs is not None:
            self._on_copied("theirs")
            log.warning("two copies of the home of %s run", self._contact_id)
            self._say(wire.Lane.URGENT, agreed.theirs, 0, 0, COPIED)
        for say in agreed.unheard:
            # This is said before anything is sent again on that lane, and in every session until it was answered in
            # one.
            self._say(wire.Lane(say.lane), say.outbox_id, say.lane, say.watermark, say.what)
        return agreed.settled

    def _say(self, via: wire.Lane, outbox_id: bytes, lane: int, watermark: int, what: str) -> None:
        receipt = wire.Receipt(outbox_id=outbox_id, lane=lane, watermark=watermark, ext={what: b""})
        self._session.send(via, wire.encode(receipt))

    # -- what comes

    def heard(self, receipt: wire.Receipt) -> bool:
        """Take a receipt about earlier sessions; return False if it is a plain one."""
        if not receipt.ext or not (says := _SAYS & receipt.ext.keys()):
            return False
        for what in says:
            # Accepted once in a session for each, and for a few lanes only: an honest peer has no more to say.
            key = f"{what} {receipt.outbox_id.hex()} {receipt.lane}"
            if key not in self._heard and len(self._heard) < limits.MAX_HAVE:
                self._heard.add(key)
                self._hear(what, receipt)
        return True

    def _hear(self, what: str, receipt: wire.Receipt) -> None:
        submit = functools.partial(self._services.store.submit, on_failure=self._fail)
        contact_id, at_ms = self._contact_id, self._services.clock.now_ms()
        if what == history.CONFLICT:
            renew = functools.partial(
                agreement.doubted,
                contact_id=contact_id,
                outbox_id=receipt.outbox_id,
                now_ms=at_ms,
            )
            submit(self._renewed, renew)
        elif what == history.AGAIN:
            note = functools.partial(
                agreement.note_if_behind,
                contact_id=contact_id,
                outbox_id=receipt.outbox_id,
                lane=receipt.lane,
                acknowledged=receipt.watermark,
                now_ms=at_ms,
            )
            submit(functools.partial(self._behind, receipt), note)
        elif what == COPIED:
            self._on_copied("ours")
            log.warning("%s has met two copies of this home that run", contact_id)
            note_copy = functools.partial(lives.copied_here, contact_id=contact_id, now_ms=at_ms)
            submit(functools.partial(self._told, receipt), note_copy)
        elif what in _ANSWERS:
            if what == history.BACK:
                log.warning("the home of %s was put back to an older state", contact_id)
            take = functools.partial(
                agreement.heard,
                contact_id=contact_id,
                outbox_id=receipt.outbox_id,
                lane=receipt.lane,
                answer=what,
                now_ms=at_ms,
            )
            submit(self._noted, take, lazy=True)
        else:
            log.warning("the home of %s was put back to an older state", contact_id)
            note_theirs = functools.partial(
                agreement.put_back, contact_id=contact_id, side="theirs", now_ms=at_ms
            )
            submit(functools.partial(self._told, receipt), note_theirs)

    def _renewed(self, renewed: bool, error: BaseException | None) -> None:
        if renewed or error is not None:
            log.warning("%s has other messages under our numbers", self._contact_id)
            self._session.abort("numbered anew: the peer had other messages under our numbers")

    def _behind(self, receipt: wire.Receipt, behind: bool, error: BaseException | None) -> None:
        if error is not None:
            self._noted(None, error)
            return
        if behind:
            log.warning(
                "this home is older than what %s remembers of it: it was put back; what it lacks comes again",
                self._contact_id,
            )
        answer = history.BACK if behind else history.EVEN
        self._say(wire.Lane.URGENT, receipt.outbox_id, receipt.lane, 0, answer)

    def _told(self, receipt: wire.Receipt, _result: object, error: BaseException | None) -> None:
        """Answer once it is on the disk."""
        self._noted(None, error)
        if error is None:
            self._say(wire.Lane.URGENT, receipt.outbox_id, receipt.lane, 0, history.HEARD)

    def _noted(self, _result: object, error: BaseException | None) -> None:
        if error is not None:
            log.warning("cannot note what %s says of its home or ours: %r", self._contact_id, error)

    def _fail(self, error: BaseException) -> None:
        # What should have been said was not; the next session asks again.
        self._session.abort(cause_of(error))

    # -- what goes

    def refuse(self, lanes: Iterable[tuple[bytes, int]]) -> None:
        """Tell the peer that a number came again, with another message than before."""
        for outbox_id, lane in lanes:
            if (outbox_id, lane) not in self._refused and len(self._refused) < limits.MAX_HAVE:
                self._refused.add((outbox_id, lane))
                log.warning("%s gave a number to two messages", self._contact_id)
                self._say(wire.Lane.URGENT, outbox_id, lane, 0, history.CONFLICT)

    def acknowledges(self, outbox_id: bytes, lane: int) -> bool:
        """Return whether a lane may still be acknowledged: not if that would cover a message that we do not have."""
        return (outbox_id, lane) not in self._refused
