"""This node's own identity: the keys that prove it, and the key statement that tells contacts where it is."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from peerpost.crypto import statement as statements
from peerpost.crypto.keys import Ed25519KeyPair, X25519KeyPair, peer_id
from peerpost.errors import RemoteError
from peerpost.protocol.hello import LocalParty
from peerpost.store.db.engine import Store
from peerpost.store.tables import identity, lives
from peerpost.wire import limits
from peerpost.wire.life import Run
from peerpost.wire.statement import (
    KeyStatement,
    Signed,
    TransportKey,
    decode_statement,
    encode_statement,
)

from .clock import SYSTEM, Clock

__all__ = ["Me", "load"]

log = logging.getLogger(__name__)

OVERTAKE_EVERY_S = 60.0
"""Two homes with the same identity would answer each other with newer statements for ever. This limits how often."""


class Me:
    """The identity in use."""

    def __init__(self, row: identity.Identity, signed: Signed, run: Run, clock: Clock) -> None:
        self.row = row
        self.run = run
        """This start of the node on this home, by which contacts tell a copy of the home from the home."""
        self.signing = Ed25519KeyPair.from_seed(row.id_seed)
        self.encryption = X25519KeyPair.from_seed(row.ik_seed)
        self.transport = Ed25519KeyPair.from_seed(row.tk_seed)
        self.signed = signed
        self._clock = clock
        self._signing = asyncio.Lock()
        """One statement is made at a time, because two of the same number would count as equivocation."""
        self._overtook_s: float | None = None

    @property
    def name(self) -> str:
        """What the owner calls this identity."""
        return self.row.name

    @property
    def id_public(self) -> bytes:
        """The identity key: what contacts pin."""
        return self.signing.public

    @property
    def peer_id(self) -> str:
        """The libp2p peer id."""
        return peer_id(self.transport.public)

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where the newest statement says that we answer."""
        return decode_statement(self.signed.body).tk[0].addresses

    @property
    def party(self) -> LocalParty:
        """Our end of a HELLO."""
        return LocalParty(
            identity=self.signing, statement=self.signed, transport_public=self.transport.public
        )

    async def announce(self, store: Store, addresses: Sequence[str]) -> None:
        """Sign and store a new key statement if the addresses have changed."""
        wanted = tuple(addresses[: limits.MAX_ADDRESSES])
        async with self._signing:
            if wanted != self.addresses:
                await self._follow(store, self.signed, wanted)

    def overtakes_in_s(self) -> float:
        """Return how long it takes until a statement may be overtaken again, in seconds; 0 if one may be now."""
        if self._overtook_s is None:
            return 0.0
        return max(0.0, self._overtook_s + OVERTAKE_EVERY_S - self._clock.monotonic_s())

    async def overtake(self, store: Store, kept: Signed) -> bool:
        """Publish a statement newer than one of ours that a contact has and this home does not know.

        This home was put back from an older copy, or another home has the same identity. Returns whether there is a
        new statement to show now.
        """
        try:
            statement = statements.verify(kept)
        except RemoteError:
            return False
        async with self._signing:
            own = decode_statement(self.signed.body)
            if statement.id_public != self.id_public or statement.seq >= limits.MAX_SEQ - 1:
                return False
            if own.seq > statement.seq or kept.body == self.signed.body:
                return True
            if self.overtakes_in_s() > 0:
                return False
            self._overtook_s = self._clock.monotonic_s()
            log.warning(
                "a contact has key statement %d of this identity, and this home knows only %d: it was put back"
                " from an older copy, or another home uses the same identity; going on after that",
                statement.seq,
                own.seq,
            )
            await self._follow(store, kept, self.addresses)
        return True

    async def _follow(self, store: Store, before: Signed, addresses: tuple[str, ...]) -> None:
        """Sign and store the statement that follows another; it is shown only when it is on the disk."""
        known = decode_statement(before.body).seq
        # The number is the time, so that a statement signed later by an older copy of this home has another number.
        now_ms = self._clock.now_ms()
        seq = max(known + 2, now_ms) if known < limits.MAX_SEQ - 1 else known + 1
        signed = _sign(
            self.row,
            seq=seq,
            prev=statements.digest(before.body),
            addresses=addresses,
            now_ms=now_ms,
        )
        await store.write(identity.save_statement, signed)
        self.signed = signed
        log.info("key statement %d: reachable at %s", seq, ", ".join(addresses) or "nowhere")


async def load(store: Store, clock: Clock = SYSTEM) -> Me:
    """Load the identity and begin a run of it; sign its first key statement if there is none."""
    row = await store.read(identity.load)
    signed = row.statement
    if signed is None:
        signed = _sign(row, seq=1, prev=bytes(32), addresses=(), now_ms=clock.now_ms())
        await store.write(identity.save_statement, signed)
    # It is on the disk before anybody is told of it: every copy that is made from now on has it.
    return Me(row, signed, await store.write(lives.begin, clock.now_ms()), clock)


def _sign(
    row: identity.Identity, *, seq: int, prev: bytes, addresses: tuple[str, ...], now_ms: int
) -> Signed:
    signing = Ed25519KeyPair.from_seed(row.id_seed)
    statement = KeyStatement(
        id_public=signing.public,
        seq=seq,
        prev=prev,
        ik=X25519KeyPair.from_seed(row.ik_seed).public,
        tk=(
            TransportKey(
                public=Ed25519KeyPair.from_seed(row.tk_seed).public,
                not_after_s=0,
                addresses=addresses,
            ),
        ),
        created_s=now_ms // 1000,
    )
    return statements.sign(encode_statement(statement), signing)
