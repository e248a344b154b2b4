"""Who takes part in HELLO and on what terms: roles, our end, the node's policy, the outcome.

The machine is protocol.hello, which hands all of these on.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from peerpost.crypto.keys import Ed25519KeyPair
from peerpost.errors import ProtocolError, RefusedError, RemoteError, UntrustedError
from peerpost.wire.hello import Refusal, RefusalCode
from peerpost.wire.life import Life
from peerpost.wire.statement import KeyStatement, Signed

__all__ = [
    "Cause",
    "HelloDeniedError",
    "HelloPolicy",
    "HelloProtocolError",
    "HelloRefusedError",
    "HelloResult",
    "HelloUntrustedError",
    "LocalParty",
    "Role",
    "Watermark",
]

Watermark: TypeAlias = tuple[bytes, int, int]
"""Outbox id, lane, and the number up to which all is durable."""


class Role(enum.IntEnum):
    """Which end of the connection; the number is signed."""

    DIALER = 1
    RESPONDER = 2

    @property
    def other(self) -> Role:
        """The role of the peer."""
        return Role.RESPONDER if self is Role.DIALER else Role.DIALER


class Cause(enum.Enum):
    """Why HELLO failed; the peer is told the reason only if it is VERSION."""

    MALFORMED = "a malformed flight"
    TOO_LONG = "more bytes than it may have"
    OUT_OF_TURN = "a flight out of turn"
    VERSION = "no common version"
    REFLECTION = "our own values sent back"
    WEAK_KEY = "a key that protects nothing"
    STATEMENT = "a key statement with a wrong signature"
    TRANSPORT_KEY = "a key statement without the transport key of the connection"
    SIGNATURE = "a wrong signature"
    REVOKED = "an identity that was revoked"
    SELF = "our own identity"
    IDENTITY = "another identity than the one expected"
    STRANGER = "an unknown identity"
    INVITATION = "an invitation that is unknown, used or expired"
    REFUSED = "the contact does not take us for a contact: it has removed or blocked us, or a ticket is not used yet"


class HelloProtocolError(ProtocolError):
    """HELLO broke PROTOCOL.md."""

    def __init__(self, cause: Cause) -> None:
        super().__init__(f"the greeting failed: {cause.value}")
        self.cause = cause


class HelloUntrustedError(UntrustedError):
    """The peer did not prove that it is somebody whom we serve."""

    def __init__(self, cause: Cause) -> None:
        super().__init__(f"the greeting failed: {cause.value}")
        self.cause = cause


class HelloRefusedError(RefusedError):
    """The peer does not serve us; the error has the reason that it gave."""

    def __init__(self, refusal: Refusal | None = None) -> None:
        said = f": {refusal.reason}" if refusal is not None and refusal.reason else ""
        super().__init__(f"{Cause.REFUSED.value}{said}")
        self.cause = Cause.REFUSED
        self.refusal = refusal

    @property
    def is_final(self) -> bool:
        """Whether trying again would be in vain unless something changes."""
        return self.refusal is None or self.refusal.code in (
            RefusalCode.TICKET,
            RefusalCode.REVOKED,
        )


class HelloDeniedError(RemoteError):
    """We do not serve the peer, although it has proved who it is; `refusal` is what it is told, None for nothing."""

    code = "untrusted"

    def __init__(self, message: str, refusal: Refusal | None = None) -> None:
        super().__init__(message)
        self.refusal = refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalParty:
    """Our end."""

    identity: Ed25519KeyPair
    statement: Signed
    """Must list transport_public."""
    transport_public: bytes
    """The transport key under which this connection was made."""

    @property
    def id_public(self) -> bytes:
        """Our identity key."""
        return self.identity.public


class HelloPolicy:
    """Whom to serve. The node overrides the methods; these here know nobody."""

    expected_id: bytes | None = None
    """The identity that a dialer wants to reach."""
    ticket_secret: bytes | None = None
    """The secret of the ticket that a dialer redeems."""
    ticket_transport: bytes | None = None
    """The transport key in that ticket: it is proof enough, even if the statement no longer lists it."""

    def known(self, id_public: bytes) -> bool:  # noqa: ARG002 - for who overrides it
        """Return whether this identity is pinned and may be served."""
        return False

    def invite(self, invite_id: bytes) -> bytes | None:  # noqa: ARG002
        """Return the 16-byte secret of a live invitation; None: unknown, used or expired."""
        return None

    def have(self, id_public: bytes) -> Sequence[Watermark]:  # noqa: ARG002
        """Return how far we have got in what it sent us; at most limits.MAX_HAVE of these are sent."""
        return ()

    def tops(self, id_public: bytes) -> Sequence[tuple[int, bytes]] | None:  # noqa: ARG002
        """Return the highest number held of each lane in `have`, with its link; None if that was not looked up."""
        return None

    def life(self, id_public: bytes) -> Life | None:  # noqa: ARG002
        """Return our run, and the last run of its home that we know; None if that was not looked up."""
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class HelloResult:
    """What the peer proved and said."""

    id_public: bytes
    statement: KeyStatement
    signed: Signed
    """The statement as it was signed, to be compared with the one kept
    (crypto.statement.follow)."""
    epk: bytes
    """X25519 key of the peer for this connection: what we send is sealed to it."""
    epk_id: bytes
    invite_id: bytes | None
    """The invitation that the peer redeems: burn it in the transaction that stores the contact, and only then
    answer."""
    have: tuple[Watermark, ...]
    """How far the peer has got in what we sent it."""
    ext: Mapping[str, bytes]
    transcript: bytes
    """32 bytes that are the same on both sides once HELLO is done, and different on every other connection."""
