"""HELLO: two ends of a connection prove who they are (PROTOCOL.md, "HELLO"). Sans-IO, both roles.

    dialer    -> Hello1  versions, nonce, key of this connection
    responder <- Hello1  the same
    dialer    -> Hello2  key statement, invitation, watermarks, signature
    responder <- Hello2  key statement, watermarks, signature        or a refusal
    dialer    -> nothing, and goes on                                or a refusal

The dialer proves itself first, and the responder shows its statement only to an identity that it
knows or that holds a live invitation. Refusals of anybody else look alike, and come after the
signature was checked: so only those whom we know can learn that we know them. A peer that has proved
to be a contact or a guest is told the reason.

Whether to serve an identity that proved itself is not decided here: the machine stops with `asked`,
and goes on with `answer` or `refuse` once the decision is stored. The peer is told of success only
after that.

A signature covers the role, both nonces, both transport keys and everything that was said. So nothing
can be replayed, reflected or moved to another connection.
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from peerpost.crypto import invite, keys, labels
from peerpost.crypto import statement as statements
from peerpost.crypto.keys import X25519KeyPair
from peerpost.errors import ProtocolError, UntrustedError
from peerpost.wire import hello as wire
from peerpost.wire import history, limits
from peerpost.wire.life import LIFE, encode_life
from peerpost.wire.statement import FLAG_REVOKED, KeyStatement, Signed

from .parties import (
    Cause,
    HelloDeniedError,
    HelloPolicy,
    HelloProtocolError,
    HelloRefusedError,
    HelloResult,
    HelloUntrustedError,
    LocalParty,
    Role,
    Watermark,
)

__all__ = [
    "NEXT",
    "VERSION",
    "Cause",
    "Hello",
    "HelloDeniedError",
    "HelloPolicy",
    "HelloProtocolError",
    "HelloRefusedError",
    "HelloResult",
    "HelloState",
    "HelloUntrustedError",
    "LocalParty",
    "Role",
    "Watermark",
]

VERSION: Final = 1
"""The only version of the protocol behind HELLO so far."""

_SECRET_BYTES: Final = 16
_NO_COMMON_VERSION: Final = wire.Refusal(
    code=wire.RefusalCode.VERSION,
    reason=Cause.VERSION.value,
    ext={wire.VERSIONS: bytes([VERSION, VERSION])},
)


class HelloState(enum.Enum):
    """How far HELLO has got, on either side."""

    START = "start"
    AWAIT_FIRST = "await_first"
    """Our first flight has gone out, or will as the answer to the peer's."""
    AWAIT_SECOND = "await_second"
    ASKING = "asking"
    """A responder's: the peer has proved itself, and whether to serve it is not decided yet."""
    DONE = "done"
    FAILED = "failed"


NEXT: Final = {
    HelloState.START: frozenset({HelloState.AWAIT_FIRST, HelloState.FAILED}),
    HelloState.AWAIT_FIRST: frozenset({HelloState.AWAIT_SECOND, HelloState.FAILED}),
    HelloState.AWAIT_SECOND: frozenset({HelloState.ASKING, HelloState.DONE, HelloState.FAILED}),
    HelloState.ASKING: frozenset({HelloState.DONE, HelloState.FAILED}),
    HelloState.DONE: frozenset({HelloState.FAILED}),
    HelloState.FAILED: frozenset[HelloState](),
}
"""Which states may follow each; docs/architecture.md draws this table."""


@dataclass(slots=True)
class _Said:
    """What was said so far: its running hash, and the parts that are needed later."""

    transcript: bytes = bytes(32)
    my_first: bytes = b""
    peer_nonce: bytes = b""
    peer_epk: bytes = b""
    received_bytes: int = 0

    def add(self, *parts: bytes) -> bytes:
        hasher = hashlib.blake2b(self.transcript, digest_size=32, person=labels.PERSON_TRANSCRIPT)
        for part in parts:
            hasher.update(len(part).to_bytes(4, "big"))
            hasher.update(part)
        self.transcript = hasher.digest()
        return self.transcript


@dataclass(frozen=True, slots=True, kw_only=True)
class _Checked:
    """A second flight whose proof was correct."""

    statement: KeyStatement
    signed: Signed
    proof: wire.Proof
    invite_id: bytes | None


class Hello:
    """One HELLO, from one end.

    Driven by `start` and then by `receive` with each frame payload, until `done` holds the result
    or an error is raised; after an error, `farewell` is what to send before closing. Once `asked` is
    set, a responder has to call `answer` or `refuse`; a dialer may `refuse` when it is done.
    """

    def __init__(
        self,
        *,
        role: Role,
        me: LocalParty,
        peer_transport_public: bytes,
        nonce: bytes,
        epk: X25519KeyPair,
        policy: HelloPolicy,
        ext: Mapping[str, bytes] | None = None,
    ) -> None:
        """Take our end, and the transport key that the transport authenticated for the other.

        nonce (32 bytes) and epk must be fresh and used for this connection alone. Raises ValueError
        if a dialer has a ticket but not the identity that made it.
        """
        if policy.ticket_secret is not None and policy.expected_id is None:
            raise ValueError("a ticket says whom it is from")
        self._role = role
        self._me = me
        self._peer_tk = peer_transport_public
        self._nonce = nonce
        self._epk = epk
        self._policy = policy
        self._ext = dict(ext or {})
        self._said = _Said()
        self._after_first = b""
        self.state = HelloState.START
        """How far it has got."""
        self._asked: HelloResult | None = None
        self._done: HelloResult | None = None
        self._farewell = b""

    @property
    def asked(self) -> HelloResult | None:
        """The peer that has proved itself to a responder, until the responder answers it."""
        return self._asked if self.state is HelloState.ASKING else None

    @property
    def done(self) -> HelloResult | None:
        """The result, once there is one. What was returned with it is still to be sent."""
        return self._done

    @property
    def farewell(self) -> bytes:
        """The payload to send before closing after an error; b"" for none."""
        return self._farewell

    def start(self) -> bytes:
        """Return the payload to send first; b"" for the responder, who waits."""
        if self.state is not HelloState.START:
            raise ValueError("HELLO was started before")
        self._said.my_first = wire.encode_hello1(
            wire.Hello1(
                version_min=VERSION, version_max=VERSION, nonce=self._nonce, epk=self._epk.public
            )
        )
        self._enter(HelloState.AWAIT_FIRST)
        return self._said.my_first if self._role is Role.DIALER else b""

    def answer(self, have: Sequence[Watermark] | None = None) -> bytes:
        """Serve the peer that asked; return the payload to send, which tells it that everything is stored.

        `have` is how far we have got in what it sent, if the policy does not say.
        """
        asked = self.asked
        if asked is None:
            raise ValueError("nobody has asked")
        reply = self._second(asked.id_public, have)
        self._done = replace(asked, transcript=self._said.transcript)
        self._enter(HelloState.DONE)
        return reply

    def refuse(self, refusal: wire.Refusal | None) -> bytes:
        """Turn away a peer that has proved itself; return the payload to send.

        A refusal of None looks like the one that a stranger gets.
        """
        if self.state not in (HelloState.ASKING, HelloState.DONE):
            raise ValueError("nobody has proved itself")
        self._enter(HelloState.FAILED)
        self._done = None
        return wire.encode_refusal(refusal)

    def receive(self, payload: bytes) -> bytes:
        """Take a frame payload; return the one to send, or b"".

        Raises HelloProtocolError, HelloUntrustedError, HelloRefusedError; HELLO is over after any.
        """
        try:
            reply, after = self._judged(payload)
        except BaseException:
            self._enter(HelloState.FAILED)
            raise
        self._enter(after)
        return reply

    def _judged(self, payload: bytes) -> tuple[bytes, HelloState]:
        """Return what `_receive` does. Keep the farewell of an error; turn one about the format into one of HELLO."""
        try:
            return self._receive(self.state, payload)
        except HelloUntrustedError:
            if self._role is Role.RESPONDER:
                self._farewell = wire.REFUSED
            raise
        except HelloProtocolError as error:
            if self._role is Role.RESPONDER and error.cause is Cause.VERSION:
                self._farewell = wire.encode_refusal(_NO_COMMON_VERSION)
            raise
        except HelloRefusedError:
            self._done = None
            raise
        except ProtocolError:
            raise HelloProtocolError(Cause.MALFORMED) from None

    def _receive(self, state: HelloState, payload: bytes) -> tuple[bytes, HelloState]:
        self._said.received_bytes += limits.FRAME_HEADER_BYTES + len(payload)
        if self._said.received_bytes > limits.MAX_HELLO_BYTES:
            raise HelloProtocolError(Cause.TOO_LONG)
        dialer = self._role is Role.DIALER
        if wire.is_refusal(payload) and dialer is not (state is HelloState.DONE):
            raise HelloRefusedError(wire.decode_refusal(payload))
        if state is HelloState.AWAIT_FIRST:
            self._take_first(payload)
            reply = self._second(self._policy.expected_id) if dialer else self._said.my_first
            return reply, HelloState.AWAIT_SECOND
        if state is not HelloState.AWAIT_SECOND:
            raise HelloProtocolError(Cause.OUT_OF_TURN)
        checked = self._take_second(payload)
        result = self._result(checked)
        if not dialer:
            self._asked = result
            return b"", HelloState.ASKING
        self._done = result
        return b"", HelloState.DONE

    def _enter(self, state: HelloState) -> None:
        if state is not self.state and state not in NEXT[self.state]:
            raise RuntimeError(f"HELLO cannot go from {self.state.value} to {state.value}")
        self.state = state

    # -- first flight

    def _take_first(self, payload: bytes) -> None:
        first = wire.decode_hello1(payload)
        if not first.version_min <= VERSION <= first.version_max:
            raise HelloProtocolError(Cause.VERSION)
        if first.nonce == self._nonce or first.epk == self._epk.public:
            raise HelloProtocolError(Cause.REFLECTION)
        _check_key(first.epk)
        said = self._said
        said.peer_nonce, said.peer_epk = first.nonce, first.epk
        dialer = self._role is Role.DIALER
        flights = (said.my_first, payload) if dialer else (payload, said.my_first)
        self._after_first = said.add(*flights)

    # -- second flight, ours

    def _second(self, peer_id: bytes | None, have: Sequence[Watermark] | None = None) -> bytes:
        proof = wire.encode_proof(self._proof(peer_id, have))
        message = _signed_message(
            role=self._role,
            nonce=self._said.peer_nonce,
            signer_tk=self._me.transport_public,
            other_tk=self._peer_tk,
            epk=self._epk.public,
            transcript=self._said.add(proof),
        )
        sig = self._me.identity.sign(labels.SIGN_HELLO, message)
        self._said.add(sig)
        return wire.encode_hello2(wire.Hello2(proof=proof, sig=sig))

    def _proof(self, peer_id: bytes | None, have: Sequence[Watermark] | None) -> wire.Proof:
        secret = self._policy.ticket_secret if self._role is Role.DIALER else None
        invite_id = mac = None
        if secret is not None and peer_id is not None:
            invite_id = invite.invite_id(secret)
            mac = invite.mac(secret, self._after_first, self._me.id_public, peer_id)
        if have is None:
            have = self._policy.have(peer_id) if peer_id is not None else ()
        tops = self._policy.tops(peer_id) if peer_id is not None else None
        life = self._policy.life(peer_id) if peer_id is not None else None
        ext = dict(self._ext)
        if tops is not None:
            ext[history.TOPS] = history.encode_tops(tops[: limits.MAX_HAVE])
        if life is not None:
            ext[LIFE] = encode_life(life)
        return wire.Proof(
            statement=self._me.statement.body,
            statement_sig=self._me.statement.sig,
            invite_id=invite_id,
            invite_mac=mac,
            have=tuple(wire.Have(*mark) for mark in have[: limits.MAX_HAVE]),
            ext=ext,
        )

    # -- second flight, the peer's; the order of the checks is part of PROTOCOL.md

    def _take_second(self, payload: bytes) -> _Checked:
        flight = wire.decode_hello2(payload)
        proof = wire.decode_proof(flight.proof)
        if self._role is Role.DIALER and proof.invite_id is not None:
            raise HelloProtocolError(Cause.MALFORMED)
        signed = Signed(body=proof.statement, sig=proof.statement_sig)
        statement = self._check_statement(signed)
        self._check_signature(statement.id_public, flight)
        if statement.id_public == self._me.id_public:
            raise HelloUntrustedError(Cause.SELF)
        if statement.flags & FLAG_REVOKED:
            raise HelloUntrustedError(Cause.REVOKED)
        invite_id = self._check_identity(statement.id_public, proof)
        return _Checked(statement=statement, signed=signed, proof=proof, invite_id=invite_id)

    def _check_statement(self, signed: Signed) -> KeyStatement:
        try:
            statement = statements.verify(signed)
        except UntrustedError:
            raise HelloUntrustedError(Cause.STATEMENT) from None
        by_ticket = self._role is Role.DIALER and self._peer_tk == self._policy.ticket_transport
        if self._peer_tk not in statement.transport_publics and not by_ticket:
            raise HelloUntrustedError(Cause.TRANSPORT_KEY)
        return statement

    def _check_signature(self, id_public: bytes, flight: wire.Hello2) -> None:
        message = _signed_message(
            role=self._role.other,
            nonce=self._nonce,
            signer_tk=self._peer_tk,
            other_tk=self._me.transport_public,
            epk=self._said.peer_epk,
            transcript=self._said.add(flight.proof),
        )
        if not keys.verify(id_public, labels.SIGN_HELLO, message, flight.sig):
            raise HelloUntrustedError(Cause.SIGNATURE)
        self._said.add(flight.sig)

    def _check_identity(self, id_public: bytes, proof: wire.Proof) -> bytes | None:
        """Return the invitation that the peer redeemed, if any. Raises HelloUntrustedError."""
        if self._role is Role.DIALER:
            expected = self._policy.expected_id
            if expected is not None and id_public != expected:
                raise HelloUntrustedError(Cause.IDENTITY)
            if expected is None and not self._policy.known(id_public):
                raise HelloUntrustedError(Cause.STRANGER)
            return None
        redeemed = self._redeemed(id_public, proof)
        if redeemed is None and not self._policy.known(id_public):
            raise HelloUntrustedError(
                Cause.STRANGER if proof.invite_id is None else Cause.INVITATION
            )
        return redeemed

    def _redeemed(self, id_public: bytes, proof: wire.Proof) -> bytes | None:
        if proof.invite_id is None or proof.invite_mac is None:
            return None
        secret = self._policy.invite(proof.invite_id)
        valid = invite.check_mac(
            # Without such an invitation the same work is done, so that the time it takes reveals nothing.
            bytes(_SECRET_BYTES) if secret is None else secret,
            self._after_first,
            id_public,
            self._me.id_public,
            proof.invite_mac,
        )
        return proof.invite_id if valid and secret is not None else None

    def _result(self, checked: _Checked) -> HelloResult:
        return HelloResult(
            id_public=checked.statement.id_public,
            statement=checked.statement,
            signed=checked.signed,
            epk=self._said.peer_epk,
            epk_id=keys.prekey_id(self._said.peer_epk),
            invite_id=checked.invite_id,
            have=tuple((mark.outbox_id, mark.lane, mark.watermark) for mark in checked.proof.have),
            ext=checked.proof.ext,
            transcript=self._said.transcript,
        )


def _check_key(public: bytes) -> None:
    try:
        keys.check_x25519(public)
    except ProtocolError:
        raise HelloProtocolError(Cause.WEAK_KEY) from None


def _signed_message(
    *, role: Role, nonce: bytes, signer_tk: bytes, other_tk: bytes, epk: bytes, transcript: bytes
) -> bytes:
    """Return what an identity signs: its role, the peer's nonce, both ends' keys, everything said so far."""
    return bytes([role]) + nonce + signer_tk + other_tk + epk + transcript
