"""HELLO between people who follow the rules: who is served, who is not, and in which order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import msgspec
import pytest

from peerpost.crypto import invite, keys
from peerpost.protocol.hello import (
    Cause,
    Hello,
    HelloPolicy,
    HelloProtocolError,
    HelloRefusedError,
    HelloUntrustedError,
    Role,
    Watermark,
)
from peerpost.wire import hello as wire
from peerpost.wire import limits
from peerpost.wire.statement import FLAG_REVOKED
from tests.support.hello_rig import (
    ALICE,
    BOB,
    EVE,
    SECRET,
    Party,
    Terms,
    Willing,
    dialer,
    end,
    meet,
    refused_at_second,
    responder,
    results,
)


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


def asked_by_bob(secret: bytes | None = None) -> tuple[Hello, Hello]:
    """Run HELLO up to the verdict of the responder."""
    a = dialer(Terms(expected=ALICE, secret=secret))
    b = Hello(
        role=Role.RESPONDER,
        me=ALICE.local,
        peer_transport_public=BOB.tk.public,
        nonce=ALICE.nonce,
        epk=ALICE.epk,
        policy=Terms(live=(SECRET,)) if secret else Terms(BOB),
    )
    b.start()
    assert b.receive(a.receive(b.receive(a.start()))) == b""
    return a, b


def test_nothing_is_said_before_the_verdict() -> None:
    a, b = asked_by_bob(SECRET)
    assert b.asked is not None
    assert b.asked.invite_id == invite.invite_id(SECRET)
    assert a.done is b.done is None
    mark = (b"q" * 16, 1, 3)
    a.receive(b.answer([mark]))
    assert b.asked is None
    at_bob, at_alice = results(a, b)
    assert at_bob.have == (mark,)
    assert at_bob.transcript == at_alice.transcript
    for again in (b.answer, asked_by_bob()[0].answer):
        with pytest.raises(ValueError, match="nobody has asked"):
            again()


def test_whoever_proved_itself_is_told_why_it_is_refused() -> None:
    kept = BOB.local.statement
    refusal = wire.Refusal(
        code=wire.RefusalCode.ROLLBACK, reason="older", statement=kept.body, statement_sig=kept.sig
    )
    for told in (refusal, None):
        a, b = asked_by_bob()
        with pytest.raises(HelloRefusedError) as caught:
            a.receive(b.refuse(told))
        assert caught.value.refusal == told
        assert caught.value.is_final is (told is None)
        assert a.done is b.done is None


def test_a_dialer_may_refuse_once_it_knows_the_responder() -> None:
    a, b = asked_by_bob()
    a.receive(b.answer())
    refusal = wire.Refusal(code=wire.RefusalCode.EQUIVOCATION, reason="two of one number")
    said = a.refuse(refusal)
    assert a.done is None
    with pytest.raises(HelloRefusedError) as caught:
        b.receive(said)
    assert caught.value.refusal == refusal
    assert b.done is None
    with pytest.raises(ValueError, match="proved"):
        dialer().refuse(None)


def test_both_sides_stay_within_their_bytes() -> None:
    have = tuple((bytes([n]) * 16, 0, limits.MAX_SEQ) for n in range(limits.MAX_HAVE + 5))
    a, b = dialer(Terms(expected=ALICE, have=have)), responder(Terms(BOB, have=have))
    flights = meet(a, b)
    assert len(results(a, b)[0].have) == limits.MAX_HAVE
    for mine in (flights[::2], flights[1::2]):
        assert sum(len(flight) + 4 for flight in mine) <= limits.MAX_HELLO_BYTES


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


@pytest.mark.parametrize("versions", [(2, 9), (2, 2)])
def test_no_common_version(versions: tuple[int, int]) -> None:
    first = wire.Hello1(
        version_min=versions[0], version_max=versions[1], nonce=b"x" * 32, epk=EVE.epk.public
    )
    b = responder()
    with pytest.raises(HelloProtocolError) as caught:
        b.receive(wire.encode_hello1(first))
    assert caught.value.cause is Cause.VERSION
    a = dialer()
    a.start()
    with pytest.raises(HelloRefusedError) as told:
        a.receive(b.farewell)
    assert told.value.refusal is not None
    assert told.value.refusal.code == wire.RefusalCode.VERSION
    assert told.value.refusal.ext == {wire.VERSIONS: bytes([1, 1])}
    assert not told.value.is_final, "the other may be updated"


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

    class Inviting(Willing):
        def _proof(
            self, peer_id: bytes | None, have: Sequence[Watermark] | None = None
        ) -> wire.Proof:
            proof = super()._proof(peer_id, have)
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


def test_a_ticket_without_its_maker_is_a_mistake_of_ours() -> None:
    with pytest.raises(ValueError, match="ticket"):
        dialer(Terms(secret=SECRET))


def test_nothing_is_known_by_default() -> None:
    policy = HelloPolicy()
    assert not policy.known(BOB.id.public)
    assert policy.invite(bytes(8)) is None
    assert policy.have(BOB.id.public) == ()
