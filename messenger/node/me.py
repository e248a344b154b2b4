"""This node's own identity, loaded: what proves it, and the key statement that tells contacts where it is."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from peerpost.crypto import statement as statements
from peerpost.crypto.keys import Ed25519KeyPair, X25519KeyPair, peer_id
from peerpost.protocol.hello import LocalParty
from peerpost.store import identity
from peerpost.store.engine import Store
from peerpost.wire import limits
from peerpost.wire.statement import (
    KeyStatement,
    Signed,
    TransportKey,
    decode_statement,
    encode_statement,
)

from .clock import now_ms

__all__ = ["Me", "load"]

log = logging.getLogger(__name__)


class Me:
    """The identity in use."""

    def __init__(self, row: identity.Identity, signed: Signed) -> None:
        self.row = row
        self.signing = Ed25519KeyPair.from_seed(row.id_seed)
        self.encryption = X25519KeyPair.from_seed(row.ik_seed)
        self.transport = Ed25519KeyPair.from_seed(row.tk_seed)
        self.signed = signed

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
        """Sign and keep a new key statement where the addresses are others than before."""
        wanted = tuple(addresses[: limits.MAX_ADDRESSES])
        if wanted == self.addresses:
            return
        before = decode_statement(self.signed.body)
        self.signed = _sign(
            self.row, seq=before.seq + 1, prev=statements.digest(self.signed.body), addresses=wanted
        )
        await store.write(identity.save_statement, self.signed)
        log.info(
            "key statement %d: reachable at %s", before.seq + 1, ", ".join(wanted) or "nowhere"
        )


async def load(store: Store) -> Me:
    """Load the identity; sign its first key statement where there is none."""
    row = await store.read(identity.load)
    signed = row.statement
    if signed is None:
        signed = _sign(row, seq=1, prev=bytes(32), addresses=())
        await store.write(identity.save_statement, signed)
    return Me(row, signed)


def _sign(row: identity.Identity, *, seq: int, prev: bytes, addresses: tuple[str, ...]) -> Signed:
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
        created_s=now_ms() // 1000,
    )
    return statements.sign(encode_statement(statement), signing)
