"""How a contact is reached: where it is dialled, what it is shown, and what becomes of a connection that fails."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from peerpost.crypto import statement as statements
from peerpost.net.interface import Connection, DialError
from peerpost.node import me as my_own
from peerpost.node.contact import reach as reach_module
from peerpost.node.contact.reach import closed_where_it_fails
from peerpost.node.me import OVERTAKE_EVERY_S
from peerpost.protocol.hello import HelloDeniedError
from peerpost.store.tables import identity
from peerpost.wire.hello import Refusal, RefusalCode
from peerpost.wire.statement import decode_statement
from tests.support.network_rig import Somebody, acquainted, until
from tests.support.virtual_time import on_virtual_time, running

LOCAL, FAR = "/ip4/127.0.0.1/tcp/4001", "/ip4/192.0.2.7/tcp/4001"


@pytest.mark.parametrize(
    ("bound", "here_too"),
    [((LOCAL,), True), ((LOCAL, FAR), False), ((FAR,), False), ((), False)],
)
@on_virtual_time
async def test_who_listens_on_this_machine_alone_dials_on_it_too(
    tmp_path: Path, bound: tuple[str, ...], *, here_too: bool
) -> None:
    """A contact that says it is on this machine must not choose which of its ports we connect to."""
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        way = alice.home.network.reach
        real: Any = way.transport
        way.transport = SimpleNamespace(addresses=bound)  # type: ignore[assignment]
        contact = replace(alice.peer.contact, given_addresses=(FAR,))
        here = tuple(bob.transport.addresses) if here_too else ()
        assert set(way.where(contact)) == {FAR, *here}
        way.transport = real


@on_virtual_time
async def test_without_a_transport_or_a_key_it_says_why(tmp_path: Path) -> None:
    async with acquainted(tmp_path, "alice", "bob") as (alice, _bob):
        way, contact = alice.home.network.reach, alice.peer.contact
        nameless = replace(contact, signed=None, ticket_transport=None)
        with pytest.raises(DialError, match="no transport key of bob is known"):
            await way.dial(nameless)
        way.transport = None
        with pytest.raises(DialError, match="not listening yet"):
            await way.dial(contact)


@on_virtual_time
async def test_a_new_address_is_told_by_the_next_dial(tmp_path: Path) -> None:
    """And one that has not changed makes no new statement."""
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):

        def shown() -> tuple[int, tuple[str, ...]]:
            statement = bob.peer.contact.statement
            assert statement is not None
            return statement.seq, statement.tk[0].addresses

        bob.home.network.reach.transport = None
        before = shown()
        assert before[1] == tuple(alice.transport.addresses)
        await asyncio.sleep(5)
        session = bob.peer.session
        alice.peer.cut("to dial again")
        await until(lambda: bob.peer.session not in (None, session))
        assert shown() == before
        moved = alice.transport.network.new_address()
        alice.transport._bound.append(moved)  # type: ignore[attr-defined]
        alice.transport.network.listeners[moved] = alice.transport
        alice.peer.cut("to dial again")
        await until(lambda: shown() != before)
        seq, addresses = shown()
        assert moved in addresses
        # The number is the time, so that an older copy of the home makes another one.
        assert seq == pytest.approx(running().clock.now_ms(), abs=1000)


@on_virtual_time
async def test_a_statement_of_ours_that_is_newer_is_overtaken_once_a_minute(tmp_path: Path) -> None:
    """Two homes of one identity would else answer each other for ever."""
    async with acquainted(tmp_path, "alice", "bob") as (alice, _bob):
        way, me = alice.home.network.reach, alice.home.me
        row = await alice.store.read(identity.load)

        async def overtakes() -> bool:
            seq = decode_statement(me.signed.body).seq + 1000
            newer = my_own._sign(
                row,
                seq=seq,
                prev=statements.digest(me.signed.body),
                addresses=me.addresses,
                now_ms=alice.home.clock.now_ms(),
            )
            refusal = Refusal(
                code=RefusalCode.ROLLBACK,
                reason="it is old",
                statement=newer.body,
                statement_sig=newer.sig,
            )
            done = await way.overtake(refusal)
            assert (decode_statement(me.signed.body).seq > seq) is done
            return done

        assert await overtakes()
        await asyncio.sleep(OVERTAKE_EVERY_S - 1)
        assert not await overtakes()
        assert way.overtakes_in_s() == pytest.approx(1)
        await asyncio.sleep(1)
        assert way.overtakes_in_s() == 0
        assert await overtakes()
        assert not await overtakes()


async def dialled(alice: Somebody, bob: Somebody) -> Connection:
    return await alice.transport.dial(bob.transport.peer_id, bob.transport.addresses)


@pytest.mark.parametrize("error", [HelloDeniedError("not served"), ZeroDivisionError()])
@on_virtual_time
async def test_a_connection_that_fails_is_left_and_a_reason_is_sent_before(
    tmp_path: Path, error: Exception
) -> None:
    async with acquainted(tmp_path, "alice", "bob", latency_s=0.2) as (alice, bob):
        connection = await dialled(alice, bob)
        begun_s = running().time()
        with pytest.raises(type(error)):
            async with closed_where_it_fails(connection):
                raise error
        assert connection.closed  # type: ignore[attr-defined]
        waited_s = running().time() - begun_s
        # Closing waits until what was sent before has arrived.
        assert waited_s == pytest.approx(0.2 if isinstance(error, HelloDeniedError) else 0)


@on_virtual_time
async def test_a_dial_whose_hello_fails_leaves_no_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []

    async def greet(connection: Connection, **_more: Any) -> Any:
        made.append(connection)
        raise HelloDeniedError("not served")

    async with acquainted(tmp_path, "alice", "bob") as (alice, _bob):
        with monkeypatch.context() as patch:
            patch.setattr(reach_module, "greet", greet)
            with pytest.raises(HelloDeniedError):
                await alice.home.network.reach.dial(alice.peer.contact)
        assert made[0].closed
