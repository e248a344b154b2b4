"""A home put back to an older copy: nothing that is still here is lost, nothing is shown twice, both are told."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest

from peerpost.node.contact.agreement import LaneMemory
from peerpost.store.tables import agreement, deletion, identity, inbox, outbox
from peerpost.store.tables import entries as store_entries
from peerpost.wire import history
from peerpost.wire import inner as wire
from tests.support.network_rig import Somebody, acquainted, until
from tests.support.virtual_time import on_virtual_time

TABLES = {
    "sender": ("outbox", "chains", "outbox_ids"),
    "receiver": ("inbox", "marks", "beyond", "seen", "deleted", "transfers"),
}


async def copy(who: Somebody, side: str) -> dict[str, list[Any]]:
    """Return the tables that a copy of the home made now would hold."""

    def work(db: Any) -> dict[str, list[Any]]:
        return {table: db.execute(f"SELECT * FROM {table}").fetchall() for table in TABLES[side]}

    # In one transaction: tables of two moments are a home that never was.
    return await who.store.write(work)


async def put_back(who: Somebody, tables: dict[str, list[Any]]) -> None:
    def work(db: Any) -> None:
        for table, rows in tables.items():
            db.execute(f"DELETE FROM {table}")
            for row in rows:
                db.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)

    await who.store.write(work)


async def shown(who: Somebody) -> list[str]:
    items = await who.store.read(
        inbox.list_items, contact_id=None, unread=False, limit=10**6, since_ms=None
    )
    return [(item.body or b"").decode() for item in reversed(items)]


async def all_delivered(who: Somebody) -> bool:
    waiting = await who.store.read(outbox.any_open)
    unsettled = await who.store.read(
        lambda db: db.execute("SELECT count(*) FROM outbox WHERE settled = 0").get
    )
    return not waiting and not unsettled


async def everything_arrives(who: Somebody) -> None:
    async def arrived() -> bool:
        if not who.peer.online:
            # Sessions that were short are followed by longer and longer waits, which are not what is looked at here.
            who.peer.retry_now()
        return await all_delivered(who)

    who.peer.retry_now()
    await until(arrived)


async def told(who: Somebody) -> dict[str, int]:
    return await who.store.read(agreement.put_back_at, who.peer.contact.id)


async def is_told(who: Somebody, side: str) -> bool:
    return side in await told(who)


async def send(who: Somebody, *texts: str) -> None:
    for text in texts:
        await who.queue(text)


@pytest.mark.parametrize("new", [1, 3, 5])
@pytest.mark.parametrize("waiting", [0, 2])
@on_virtual_time
async def test_a_sender_put_back_loses_nothing_and_says_nothing_twice(
    tmp_path: Path, new: int, waiting: int
) -> None:
    """With fewer, as many and more new messages than the numbers that were lost."""
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        await send(alice, "first", "second")
        await everything_arrives(alice)
        alice.peer._exchange = None  # What is queued now waits for the next session.
        kept = [f"kept {n}" for n in range(waiting)]
        await send(alice, *kept)
        old = await copy(alice, "sender")
        alice.peer.cut("to send what is to be lost")
        await everything_arrives(alice)
        await send(alice, *[f"lost {n}" for n in range(3)])
        await everything_arrives(alice)
        before = await shown(bob)
        assert len(before) == 5 + waiting

        alice.peer._exchange = None
        await put_back(alice, old)
        fresh = [f"new {n}" for n in range(new)]
        await send(alice, *fresh)
        alice.peer.cut("the home was put back")
        await everything_arrives(alice)
        assert await shown(bob) == before + fresh
        await until(lambda: alice.peer.online and bob.peer.online)
        assert "ours" in await told(alice)
        await until(lambda: is_told(bob, "theirs"))
        await send(alice, "and on")
        await everything_arrives(alice)
        assert await shown(bob) == [*before, *fresh, "and on"]


@pytest.mark.parametrize("between", ["nothing", "a text"])
@pytest.mark.parametrize("held", ["some", "nothing"])
@on_virtual_time
async def test_a_receiver_put_back_after_its_sender_gets_again_what_it_had_under_older_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, between: str, held: str
) -> None:
    """What it lacks was numbered under an outbox id that the sender has left since."""
    monkeypatch.setattr(agreement, "RENEW_AGAIN_MS", 100)
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        if held == "some":
            await send(alice, "one", "two")
            await everything_arrives(alice)
        bobs = await copy(bob, "receiver")
        await send(alice, "three", "four")
        await everything_arrives(alice)
        alices = await copy(alice, "sender")
        await send(alice, "lost by both")
        await everything_arrives(alice)

        await put_back(alice, alices)
        alice.peer.cut("the home was put back")
        await everything_arrives(alice)
        await until(lambda: is_told(alice, "ours"))
        if between == "a text":
            await send(alice, "between")
            await everything_arrives(alice)
        await asyncio.sleep(0.11)
        await put_back(bob, bobs)
        bob.peer.cut("the home was put back")
        await everything_arrives(alice)
        await send(alice, "after")
        await everything_arrives(alice)

        wanted = ["one", "two"] if held == "some" else []
        wanted += ["three", "four", *(["between"] if between == "a text" else []), "after"]
        assert await shown(bob) == wanted
        await until(lambda: is_told(bob, "ours"))
        await until(lambda: is_told(alice, "theirs"))
        # And that is the end of it: the older numbers are lacking in each HELLO that follows.
        before = await alice.store.read(identity.outbox_id_for, alice.peer.contact.id)
        await asyncio.sleep(0.11)
        alice.peer.cut("to hear HELLO again")
        await everything_arrives(alice)
        await until(lambda: alice.peer.online and bob.peer.online)
        assert await alice.store.read(identity.outbox_id_for, alice.peer.contact.id) == before
        assert await shown(bob) == wanted


@pytest.mark.parametrize("new", [0, 1, 5])
@pytest.mark.parametrize("again", ["sent", "queued"])
@on_virtual_time
async def test_what_was_deleted_is_not_shown_again_by_a_sender_put_back(
    tmp_path: Path, again: str, new: int
) -> None:
    """What its copy had queued comes again: with its number of then, or with another that names it."""
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        await send(alice, "first", "second")
        await everything_arrives(alice)
        alice.peer._exchange = None  # What is queued now waits for the next session.
        await send(alice, "queued 1", "queued 2")
        old = await copy(alice, "sender")
        alice.peer.cut("to send what is queued")
        await everything_arrives(alice)
        if again == "queued":
            # Of numbers beyond those of the copy all that waits gets others.
            await send(alice, *[f"lost {n}" for n in range(3)])
            await everything_arrives(alice)
        ids = [id_ for (id_,) in await bob.received()]
        assert len(await bob.store.write(deletion.delete, ids, None, 0)) == len(ids)
        assert await shown(bob) == []

        alice.peer._exchange = None
        await put_back(alice, old)
        fresh = [f"new {n}" for n in range(new)]
        await send(alice, *fresh)
        alice.peer.cut("the home was put back")
        await everything_arrives(alice)
        await send(alice, "and on")
        await everything_arrives(alice)
        assert await shown(bob) == [*fresh, "and on"]


@pytest.mark.parametrize("pruned", [False, True])
@pytest.mark.parametrize("had", [0, 2])
@on_virtual_time
async def test_a_receiver_put_back_gets_again_what_it_lacks(
    tmp_path: Path, had: int, pruned: bool
) -> None:
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        await send(alice, *[f"early {n}" for n in range(had)])
        await everything_arrives(alice)
        old = await copy(bob, "receiver")
        lacking = [f"late {n}" for n in range(4)]
        await send(alice, *lacking)
        await everything_arrives(alice)
        await put_back(bob, old)
        if pruned:
            lacking = lacking[1:]
            await alice.store.write(
                lambda db: db.execute("DELETE FROM outbox WHERE seq = ?", (had + 1,))
            )
        bob.peer.cut("the home was put back")
        await until(lambda: alice.peer.online and bob.peer.online)
        await send(alice, "and on")
        await everything_arrives(alice)
        assert (await shown(bob))[had:] == [*lacking, "and on"]
        items = await bob.store.read(
            inbox.list_items, contact_id=None, unread=False, limit=99, since_ms=None
        )
        assert [item.gap for item in reversed(items)].count(True) == int(pruned)
        await until(lambda: is_told(bob, "ours"))
        await until(lambda: is_told(alice, "theirs"))


@pytest.mark.parametrize("lost", [history.AGAIN, history.BACK, history.RENEWED, history.HEARD])
@on_virtual_time
async def test_both_are_told_although_sessions_end_before_it_is_heard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    """What is said is lost with its session, twice; nothing else is."""
    really, left = LaneMemory._say, [2]

    def say(memory: LaneMemory, *args: Any) -> None:
        if args[-1] == lost and left[0]:
            left[0] -= 1
            memory._session.abort("the session ends before it is heard")
            return
        really(memory, *args)

    monkeypatch.setattr(LaneMemory, "_say", say)
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        side = "receiver" if lost in (history.AGAIN, history.BACK) else "sender"
        who = bob if side == "receiver" else alice
        await send(alice, "first")
        await everything_arrives(alice)
        old = await copy(who, side)
        await send(alice, "second", "third")
        await everything_arrives(alice)
        await put_back(who, old)
        alice.peer.cut("the home was put back")
        await until(lambda: not left[0])
        await everything_arrives(alice)
        alice.peer.retry_now()
        mine, yours = ("theirs", "ours") if side == "receiver" else ("ours", "theirs")
        await until(lambda: is_told(alice, mine))
        await until(lambda: is_told(bob, yours))
        unheard = "SELECT count(*) FROM unheard"
        await until(lambda: nothing(alice, unheard))


async def nothing(who: Somebody, query: str) -> bool:
    return not await who.store.read(lambda db: db.execute(query).get)


@on_virtual_time
async def test_a_stranger_under_a_known_number_is_not_acknowledged(tmp_path: Path) -> None:
    """Where HELLO said nothing of it: the receiver sees it by the link, and the sender draws another outbox id."""
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        await send(alice, "first", "second")
        await everything_arrives(alice)
        entry = await alice.queue("third")
        await everything_arrives(alice)

        def other(db: Any) -> None:
            made = wire.decode(entry.inner)
            assert isinstance(made, wire.Message)
            fields = {name: getattr(made, name) for name in made.__struct_fields__}
            stranger = wire.Message(**{**fields, "seq": 2, "body": b"stranger"})
            inner = wire.encode(stranger)
            db.execute(
                "UPDATE outbox SET inner = ?, link = ?, settled = 0, state = 'queued' WHERE seq = 2",
                (inner, wire.link(inner, stranger)),
            )

        await alice.store.write(other)
        # In the running session: a receipt of the next would cover it.
        alice.peer._exchange._windows[wire.Lane.URGENT].cursor = 0  # type: ignore[union-attr]
        alice.peer.poke()
        await everything_arrives(alice)
        assert await shown(bob) == ["first", "second", "third", "stranger"]


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("side", ["sender", "receiver"])
@pytest.mark.asyncio
async def test_a_home_put_back_at_random_moments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, side: str, seed: int
) -> None:
    """What the sender has in the end is shown, and nothing twice, whatever was on its way."""
    # The home is put back under a node that runs, so that its numbers may be in doubt twice within seconds.
    monkeypatch.setattr(agreement, "RENEW_AGAIN_MS", 100)
    chance = random.Random(seed)
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        who = alice if side == "sender" else bob
        old = await copy(who, side)
        for step in range(40):
            await alice.queue(f"text {step}")
            if chance.random() < 0.3:
                await asyncio.sleep(chance.random() / 50)
            if chance.random() < 0.1:
                old = await copy(who, side)
            if chance.random() < 0.1:
                alice.peer.cut("a session ends")
            if step == 20 + seed:
                alice.peer.cut("the home is put back")
                await put_back(who, old)
                alice.peer.cut("and nothing of before is in memory")
        await everything_arrives(alice)
        entries = await alice.store.read(
            store_entries.list_entries, contact_id=None, pending=False, limit=999
        )
        texts = [wire.decode(entry.inner) for entry in entries]
        kept = {text.body.decode() for text in texts if isinstance(text, wire.Message)}
        found = await shown(bob)
        assert len(found) == len(set(found))
        assert kept <= set(found)
