from __future__ import annotations

import copy
from dataclasses import dataclass, replace

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peerpost.crypto import invite, keys, labels, statement
from peerpost.crypto.keys import Ed25519KeyPair, X25519KeyPair
from peerpost.protocol.hello import (
    Cause,
    Hello,
    HelloProtocolError,
    HelloRefusedError,
    HelloResult,
    HelloUntrustedError,
    LocalParty,
    Policy,
    Role,
    Watermark,
)
from peerpost.wire import hello as wire
from peerpost.wire import limits
from peerpost.wire.statement import FLAG_REVOKED, KeyStatement, TransportKey, encode_statement

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


class Terms(Policy):
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


ALICE, BOB, EVE = Party("alice"), Party("bob"), Party("eve")


def end(role: Role, who: Party, peer: Party, policy: Policy, /, **changes: object) -> Hello:
    fields: dict[str, object] = {
        "role": role,
        "me": who.local,
        "peer_transport_public": peer.tk.public,
        "nonce": who.nonce,
        "epk": who.epk,
        "policy": policy,
    }
    return Hello(**{**fields, **changes})  # type: ignore[arg-type]


def dialer(policy: Policy | None = None, who: Party = BOB, **changes: object) -> Hello:
    return end(Role.DIALER, who, ALICE, policy or Terms(expected=ALICE), **changes)


def responder(policy: Policy | None = None, peer: Party = BOB, **changes: object) -> Hello:
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


def test_two_who_know_each_other() -> None:
    mark, other = (b"o" * 16, 0, 7), (b"p" * 16, 1, 9)
    a = dialer(Terms(expected=ALICE, have=(mark,)), ext={"trace": b"1"})
    b = responder(Terms(BOB, have=(other, mark)))
    meet(a, b)
    at_bob, at_alice = results(a, b)
    assert (at_bob.id_public, at_alice.id_public) == (ALICE.id.public, BOB.id.public)
    assert (at_bob.signed, at_alice.signed) == (ALICE.local.statement, BOB.local.statement)
    assert (at_bob.epk, at_alice.epk) == (ALICE.epk.public, BOB.epk.public)
    assert at_bob.epk_id == keys.prekey_id(ALICE.epk.public)
    assert at_alice.statement.ik == BOB.ik.public
    assert at_bob.invite_id is at_alice.invite_id is None
    assert (at_bob.have, at_alice.have) == ((other, mark), (mark,))
    assert (at_bob.ext, at_alice.ext) == ({}, {"trace": b"1"})
    assert at_bob.transcript == at_alice.transcript


def test_an_invitation_is_redeemed() -> None:
    a = dialer(Terms(expected=ALICE, secret=SECRET))
    b = responder(Terms(live=(SECRET,)))
    meet(a, b)
    assert results(a, b)[1].invite_id == invite.invite_id(SECRET)


def test_a_known_peer_with_a_used_invitation_is_served_as_known() -> None:
    a = dialer(Terms(expected=ALICE, secret=SECRET))
    b = responder(Terms(BOB))
    meet(a, b)
    assert results(a, b)[1].invite_id is None


def test_both_sides_stay_within_their_bytes() -> None:
    have = tuple((bytes([n]) * 16, 0, limits.MAX_SEQ) for n in range(limits.MAX_HAVE + 5))
    a, b = dialer(Terms(expected=ALICE, have=have)), responder(Terms(BOB, have=have))
    flights = meet(a, b)
    assert len(results(a, b)[0].have) == limits.MAX_HAVE
    for mine in (flights[::2], flights[1::2]):
        assert sum(len(flight) + 4 for flight in mine) <= limits.MAX_HELLO_BYTES


def test_a_stranger_learns_nothing() -> None:
    a, b = dialer(), responder(Terms())
    first = b.receive(a.start())
    assert refused_at_second(dialer(), responder(Terms())) is Cause.STRANGER
    for secret in (ALICE.id.public, ALICE.ik.public, ALICE.local.statement.body):
        assert secret not in first


def test_unknown_used_and_forged_invitations_look_alike() -> None:
    holder = Terms(expected=ALICE, secret=SECRET)
    assert refused_at_second(dialer(holder), responder(Terms())) is Cause.INVITATION
    forged = b"S" * 16

    class Confused(Terms):
        def invite(self, invite_id: bytes) -> bytes | None:
            return forged

    assert refused_at_second(dialer(holder), responder(Confused())) is Cause.INVITATION


def test_an_invitation_proof_does_not_serve_on_another_connection() -> None:
    a = dialer(Terms(expected=ALICE, secret=SECRET))
    seen = wire.decode_proof(wire.decode_hello2(meet(a, responder(Terms(live=(SECRET,))))[2]).proof)

    class Replaying(Hello):
        def _proof(self, peer_id: bytes | None) -> wire.Proof:
            own = super()._proof(peer_id)
            return msgspec.structs.replace(
                own, invite_id=seen.invite_id, invite_mac=seen.invite_mac
            )

    thief = Replaying(
        role=Role.DIALER,
        me=EVE.local,
        peer_transport_public=ALICE.tk.public,
        nonce=EVE.nonce,
        epk=EVE.epk,
        policy=Terms(expected=ALICE),
    )
    at_alice = responder(Terms(live=(SECRET,)), peer=EVE)
    assert refused_at_second(thief, at_alice) is Cause.INVITATION


def test_with_all_of_bobs_keys_nobody_passes_as_alice_to_bob() -> None:
    """Key compromise impersonation: Eve holds Bob's keys, and has Alice's public statement."""
    bob_calls_alice = dialer(Terms(expected=ALICE))
    posing = LocalParty(
        identity=EVE.id, statement=ALICE.local.statement, transport_public=ALICE.tk.public
    )
    eve = responder(Terms(BOB), me=posing, nonce=EVE.nonce, epk=EVE.epk)
    second = eve.receive(bob_calls_alice.receive(eve.receive(bob_calls_alice.start())))
    said = wire.decode_hello2(second)
    by_bob = BOB.id.sign(labels.SIGN_HELLO, said.proof)
    for sig in (said.sig, by_bob):
        attempt = copy.deepcopy(bob_calls_alice)
        with pytest.raises(HelloUntrustedError) as caught:
            attempt.receive(wire.encode_hello2(wire.Hello2(proof=said.proof, sig=sig)))
        assert caught.value.cause is Cause.SIGNATURE
    assert bob_calls_alice.farewell == b""


def test_a_statement_shown_from_another_transport_key_is_refused() -> None:
    posing = replace(BOB.local, transport_public=EVE.tk.public)
    a = dialer(me=posing, nonce=EVE.nonce)
    assert refused_at_second(a, responder(peer=EVE)) is Cause.TRANSPORT_KEY


def test_a_man_in_the_middle_who_relays_flights_is_refused() -> None:
    """Bob dials Eve, who passes his flights on to Alice over a connection of her own."""
    a = end(Role.DIALER, BOB, EVE, Terms(EVE, expected=EVE))
    b = responder(Terms(BOB), peer=EVE)
    second = a.receive(b.receive(a.start()))
    with pytest.raises(HelloUntrustedError) as caught:
        b.receive(second)
    assert caught.value.cause is Cause.TRANSPORT_KEY

    # Even with a statement that lists her key for his, the signature names both ends.
    both = LocalParty(
        identity=BOB.id, statement=BOB.state(EVE.tk.public), transport_public=BOB.tk.public
    )
    a = end(Role.DIALER, BOB, EVE, Terms(expected=EVE), me=both)
    b = responder(Terms(BOB), peer=EVE)
    assert refused_at_second(a, b) is Cause.SIGNATURE


def test_replay_of_a_whole_hello_is_refused() -> None:
    flights = meet(dialer(), responder())
    fresh = responder(nonce=b"n" * 32)
    fresh.receive(flights[0])
    with pytest.raises(HelloUntrustedError) as caught:
        fresh.receive(flights[2])
    assert caught.value.cause is Cause.SIGNATURE
    again = dialer(nonce=b"m" * 32)
    again.start()
    again.receive(flights[1])
    with pytest.raises(HelloUntrustedError) as caught:
        again.receive(flights[3])
    assert caught.value.cause is Cause.SIGNATURE


def test_our_own_flights_sent_back_are_refused() -> None:
    a = dialer()
    first = a.start()
    with pytest.raises(HelloProtocolError) as caught:
        a.receive(first)
    assert caught.value.cause is Cause.REFLECTION
    a = dialer()
    a.start()
    other = wire.Hello1(version_min=1, version_max=1, nonce=b"x" * 32, epk=EVE.epk.public)
    second = a.receive(wire.encode_hello1(other))
    with pytest.raises(HelloUntrustedError) as caught_second:
        a.receive(second)
    assert caught_second.value.cause in (Cause.TRANSPORT_KEY, Cause.SIGNATURE)


def test_a_role_cannot_be_exchanged() -> None:
    """A signature made as the dialer does not serve as the responder's."""
    message = b"\1" + BOB.nonce + ALICE.tk.public + BOB.tk.public + ALICE.epk.public + b"t" * 32
    sig = ALICE.id.sign(labels.SIGN_HELLO, message)
    assert keys.verify(ALICE.id.public, labels.SIGN_HELLO, message, sig)
    assert not keys.verify(ALICE.id.public, labels.SIGN_HELLO, b"\2" + message[1:], sig)


def test_another_identity_than_expected() -> None:
    carol = Party("carol")
    a = dialer(Terms(expected=carol))
    b = responder()
    second = b.receive(a.receive(b.receive(a.start())))
    with pytest.raises(HelloUntrustedError) as caught:
        a.receive(second)
    assert caught.value.cause is Cause.IDENTITY


def test_a_dialer_without_expectation_needs_to_know_the_peer() -> None:
    a, b = dialer(Terms(ALICE)), responder()
    meet(a, b)
    a, b = dialer(Terms()), responder()
    second = b.receive(a.receive(b.receive(a.start())))
    with pytest.raises(HelloUntrustedError) as caught:
        a.receive(second)
    assert caught.value.cause is Cause.STRANGER


def test_the_tickets_transport_key_is_proof_enough_for_the_dialer_alone() -> None:
    moved = replace(ALICE.local, statement=ALICE.state(b"new transport key".ljust(32)))
    terms = Terms(expected=ALICE, secret=SECRET)
    a, b = dialer(terms), responder(Terms(live=(SECRET,)), me=moved)
    second = b.receive(a.receive(b.receive(a.start())))
    with pytest.raises(HelloUntrustedError) as caught:
        a.receive(second)
    assert caught.value.cause is Cause.TRANSPORT_KEY
    terms.ticket_transport = ALICE.tk.public
    a, b = dialer(terms), responder(Terms(live=(SECRET,)), me=moved)
    meet(a, b)


def test_ourselves_and_the_revoked_are_refused() -> None:
    me = end(Role.DIALER, ALICE, ALICE, Terms(expected=ALICE), nonce=b"x" * 32, epk=EVE.epk)
    assert refused_at_second(me, responder(Terms(ALICE), peer=ALICE)) is Cause.SELF
    gone = Party("gone", flags=FLAG_REVOKED)
    assert refused_at_second(dialer(None, gone), responder(Terms(gone), peer=gone)) is Cause.REVOKED


def test_a_statement_with_a_wrong_signature() -> None:
    forged = replace(BOB.local, statement=replace(BOB.local.statement, sig=bytes(64)))
    a = dialer(me=forged)
    assert refused_at_second(a, responder()) is Cause.STATEMENT


@pytest.mark.parametrize("versions", [(2, 9), (2, 2)])
def test_no_common_version(versions: tuple[int, int]) -> None:
    first = wire.Hello1(
        version_min=versions[0], version_max=versions[1], nonce=b"x" * 32, epk=EVE.epk.public
    )
    b = responder()
    with pytest.raises(HelloProtocolError) as caught:
        b.receive(wire.encode_hello1(first))
    assert caught.value.cause is Cause.VERSION
    assert b.farewell == b""


def test_a_weak_key_of_the_connection() -> None:
    first = wire.Hello1(version_min=1, version_max=1, nonce=b"x" * 32, epk=bytes(32))
    with pytest.raises(HelloProtocolError) as caught:
        responder().receive(wire.encode_hello1(first))
    assert caught.value.cause is Cause.WEAK_KEY


def test_a_range_of_versions_that_includes_ours_is_served() -> None:
    first = wire.Hello1(version_min=1, version_max=7, nonce=b"x" * 32, epk=EVE.epk.public)
    assert responder().receive(wire.encode_hello1(first))


def test_flights_out_of_turn() -> None:
    a, b = dialer(), responder()
    flights = meet(a, b)
    for hello, flight in ((a, flights[3]), (b, flights[2])):
        with pytest.raises(HelloProtocolError) as caught:
            hello.receive(flight)
        assert caught.value.cause is Cause.OUT_OF_TURN
    b = responder()
    with pytest.raises(HelloProtocolError) as caught:
        b.receive(flights[2])
    assert caught.value.cause is Cause.MALFORMED
    with pytest.raises(HelloProtocolError) as caught:
        b.receive(flights[0])
    assert caught.value.cause is Cause.OUT_OF_TURN
    with pytest.raises(ValueError, match="before"):
        b.start()


def test_a_responder_takes_no_refusal_and_a_dialer_no_invitation() -> None:
    with pytest.raises(HelloProtocolError):
        responder().receive(wire.REFUSED)

    class Inviting(Hello):
        def _proof(self, peer_id: bytes | None) -> wire.Proof:
            proof = super()._proof(peer_id)
            return msgspec.structs.replace(proof, invite_id=bytes(8), invite_mac=bytes(32))

    a = dialer()
    b = Inviting(
        role=Role.RESPONDER,
        me=ALICE.local,
        peer_transport_public=BOB.tk.public,
        nonce=ALICE.nonce,
        epk=ALICE.epk,
        policy=Terms(BOB),
    )
    b.start()
    second = b.receive(a.receive(b.receive(a.start())))
    with pytest.raises(HelloProtocolError) as caught:
        a.receive(second)
    assert caught.value.cause is Cause.MALFORMED


def test_more_bytes_than_hello_may_have() -> None:
    a, b = dialer(), responder()
    b.receive(a.start())
    with pytest.raises(HelloProtocolError) as caught:
        b.receive(bytes(limits.MAX_HELLO_BYTES - 70))
    assert caught.value.cause is Cause.TOO_LONG


def test_a_ticket_without_its_maker_is_a_mistake_of_ours() -> None:
    with pytest.raises(ValueError, match="ticket"):
        dialer(Terms(secret=SECRET))


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 3), st.data())
def test_any_flipped_bit_on_the_way_ends_hello(flight: int, data: st.DataObject) -> None:
    a, b = dialer(), responder()
    payload, ends = a.start(), (b, a)
    try:
        for number in range(4):
            if number == flight:
                bit = data.draw(st.integers(0, 8 * len(payload) - 1))
                changed = bytearray(payload)
                changed[bit // 8] ^= 1 << bit % 8
                payload = bytes(changed)
            payload = ends[number % 2].receive(payload)
    except (HelloProtocolError, HelloUntrustedError, HelloRefusedError):
        assert a.done is None
        return
    pytest.fail("a changed flight was taken")


@settings(deadline=None)
@given(st.binary(max_size=300), st.booleans())
def test_garbage_raises_one_of_three(data: bytes, second: bool) -> None:
    a, b = dialer(), responder()
    first = a.start()
    if second:
        a.receive(b.receive(first))
    for hello in (a, b):
        with pytest.raises((HelloProtocolError, HelloRefusedError, HelloUntrustedError)):
            hello.receive(data)


def test_nothing_is_known_by_default() -> None:
    policy = Policy()
    assert not policy.known(BOB.id.public)
    assert policy.invite(bytes(8)) is None
    assert policy.have(BOB.id.public) == ()
