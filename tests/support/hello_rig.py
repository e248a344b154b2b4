"""People with all keys, and both ends of HELLO between them."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from peerpost.crypto import invite, statement
from peerpost.crypto.keys import Ed25519KeyPair, X25519KeyPair
from peerpost.protocol.hello import (
    Cause,
    Hello,
    HelloPolicy,
    HelloRefusedError,
    HelloResult,
    HelloUntrustedError,
    LocalParty,
    Role,
    Watermark,
)
from peerpost.wire import hello as wire
from peerpost.wire.statement import KeyStatement, TransportKey, encode_statement

SECRET = b"s" * 16


@dataclass
class Party:
    """Someone with all keys."""

    name: str
    flags: int = 0

    def __post_init__(self) -> None:
        def seed(what: str) -> bytes:
            return f"{self.name} {what}".encode().ljust(32)

        self.id = Ed25519KeyPair.from_seed(seed("id"))
        self.ik = X25519KeyPair.from_seed(seed("ik"))
        self.tk = Ed25519KeyPair.from_seed(seed("tk"))
        self.epk = X25519KeyPair.from_seed(seed("epk"))
        self.nonce = seed("nonce")
        self.local = LocalParty(
            identity=self.id, statement=self.state(self.tk.public), transport_public=self.tk.public
        )

    def state(self, tk: bytes) -> statement.Signed:
        body = encode_statement(
            KeyStatement(
                id_public=self.id.public,
                seq=1,
                prev=bytes(32),
                ik=self.ik.public,
                tk=(TransportKey(tk, 0, ()),),
                flags=self.flags,
                created_s=0,
            )
        )
        return statement.sign(body, self.id)


class Terms(HelloPolicy):
    """A policy of known identities and live invitations."""

    def __init__(
        self,
        *known: Party,
        expected: Party | None = None,
        secret: bytes | None = None,
        live: tuple[bytes, ...] = (),
        have: tuple[Watermark, ...] = (),
    ) -> None:
        self._known = {party.id.public for party in known}
        self.expected_id = expected.id.public if expected else None
        self.ticket_secret = secret
        self._live = {invite.invite_id(secret): secret for secret in live}
        self._have = have

    def known(self, id_public: bytes) -> bool:
        return id_public in self._known

    def invite(self, invite_id: bytes) -> bytes | None:
        return self._live.get(invite_id)

    def have(self, id_public: bytes) -> tuple[Watermark, ...]:
        return self._have


class Willing(Hello):
    """One end that serves whoever has proved itself."""

    def receive(self, payload: bytes) -> bytes:
        reply = super().receive(payload)
        return self.answer() if self.asked is not None else reply


ALICE, BOB, EVE = Party("alice"), Party("bob"), Party("eve")


def end(role: Role, who: Party, peer: Party, policy: HelloPolicy, /, **changes: object) -> Hello:
    fields: dict[str, object] = {
        "role": role,
        "me": who.local,
        "peer_transport_public": peer.tk.public,
        "nonce": who.nonce,
        "epk": who.epk,
        "policy": policy,
    }
    return Willing(**{**fields, **changes})  # type: ignore[arg-type]


def dialer(policy: HelloPolicy | None = None, who: Party = BOB, **changes: object) -> Hello:
    return end(Role.DIALER, who, ALICE, policy or Terms(expected=ALICE), **changes)


def responder(policy: HelloPolicy | None = None, peer: Party = BOB, **changes: object) -> Hello:
    hello = end(Role.RESPONDER, ALICE, peer, policy or Terms(BOB), **changes)
    assert hello.start() == b""
    return hello


def meet(a: Hello, b: Hello) -> list[bytes]:
    """Run HELLO between a dialer and a responder; return the four flights."""
    flights = [a.start()]
    flights.append(b.receive(flights[0]))
    flights.append(a.receive(flights[1]))
    flights.append(b.receive(flights[2]))
    assert a.receive(flights[3]) == b""
    return flights


def results(a: Hello, b: Hello) -> tuple[HelloResult, HelloResult]:
    assert a.done is not None
    assert b.done is not None
    return a.done, b.done


def refused_at_second(a: Hello, b: Hello) -> Cause:
    """Return why the responder refused the dialer's second flight; it is told nothing else."""
    second = a.receive(b.receive(a.start()))
    with pytest.raises(HelloUntrustedError) as caught:
        b.receive(second)
    assert b.done is None
    assert b.farewell == wire.REFUSED
    with pytest.raises(HelloRefusedError):
        a.receive(b.farewell)
    assert a.done is None
    return caught.value.cause
