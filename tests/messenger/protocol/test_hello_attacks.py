"""HELLO with somebody who breaks the rules: forgeries, relays, replays, garbage."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peerpost.crypto import keys, labels
from peerpost.protocol.hello import (
    Cause,
    Hello,
    HelloProtocolError,
    HelloRefusedError,
    HelloUntrustedError,
    LocalParty,
    Role,
    Watermark,
)
from peerpost.wire import hello as wire
from peerpost.wire import limits
from tests.support.hello_rig import (
    ALICE,
    BOB,
    EVE,
    SECRET,
    Terms,
    dialer,
    end,
    meet,
    refused_at_second,
    responder,
)


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
        def _proof(
            self, peer_id: bytes | None, have: Sequence[Watermark] | None = None
        ) -> wire.Proof:
            own = super()._proof(peer_id, have)
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


def test_a_statement_with_a_wrong_signature() -> None:
    forged = replace(BOB.local, statement=replace(BOB.local.statement, sig=bytes(64)))
    a = dialer(me=forged)
    assert refused_at_second(a, responder()) is Cause.STATEMENT


def test_a_weak_key_of_the_connection() -> None:
    first = wire.Hello1(version_min=1, version_max=1, nonce=b"x" * 32, epk=bytes(32))
    with pytest.raises(HelloProtocolError) as caught:
        responder().receive(wire.encode_hello1(first))
    assert caught.value.cause is Cause.WEAK_KEY


def test_more_bytes_than_hello_may_have() -> None:
    a, b = dialer(), responder()
    b.receive(a.start())
    with pytest.raises(HelloProtocolError) as caught:
        b.receive(bytes(limits.MAX_HELLO_BYTES - 70))
    assert caught.value.cause is Cause.TOO_LONG


@pytest.mark.slow
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
