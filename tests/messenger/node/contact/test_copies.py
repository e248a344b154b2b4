"""A home that was put back where no number shows it, and a copy that runs beside it: noticed by their runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from peerpost.node import me as my_own
from peerpost.node.contact import peer
from peerpost.node.control.methods import past
from peerpost.store.db import journal
from peerpost.store.tables import agreement, identity, lives
from peerpost.wire.life import Run
from tests.support.network_rig import Somebody, acquainted, until

pytestmark = pytest.mark.asyncio


async def meet_again(one: Somebody) -> None:
    """Have a session that begins now."""
    before = one.peer.session
    one.peer.cut("to hear HELLO again")
    one.peer.retry_now()

    def again() -> bool:
        if not one.peer.online:
            # Sessions that were short are followed by longer and longer waits.
            one.peer.retry_now()
        return one.peer.session not in (None, before)

    await until(again)


async def have_met(one: Somebody, other: Somebody) -> None:
    """Wait until each has kept the run of the other."""

    async def kept() -> bool:
        return (
            await one.store.read(lives.last_met, one.peer.contact.id) == other.home.me.run
            and await other.store.read(lives.last_met, other.peer.contact.id) == one.home.me.run
        )

    await until(kept)


async def copied(who: Somebody) -> dict[str, int]:
    return await who.store.read(lives.copied_at, who.peer.contact.id)


async def put_back(who: Somebody) -> dict[str, int]:
    return await who.store.read(agreement.put_back_at, who.peer.contact.id)


async def outbox_id(who: Somebody) -> bytes:
    return await who.store.read(identity.outbox_id_for, who.peer.contact.id)


def forget_runs(db: Any) -> None:
    """Have the store of before this run, and begin another one: a copy of then that is started now."""
    db.execute("DELETE FROM runs")
    db.execute("DELETE FROM lives")
    db.execute("INSERT INTO runs VALUES (1, ?, 0)", (os.urandom(16),))


async def become(who: Somebody, run: Run) -> None:
    """Be another home of the same identity, as far as its runs go."""
    who.home.me.run = run

    def work(db: Any) -> None:
        db.execute("DELETE FROM runs")
        db.execute("DELETE FROM lives")
        db.execute("INSERT INTO runs VALUES (?, ?, 0)", tuple(run))

    await who.store.write(work)


async def test_each_start_is_a_run_that_is_kept_before_it_is_said(tmp_path: Path) -> None:
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        first = alice.home.me.run
        second = (await my_own.load(alice.store)).run
        assert second.number == first.number + 1
        assert second.id != first.id
        kept = await alice.store.read(
            lambda db: db.execute("SELECT number, id FROM runs ORDER BY number").fetchall()
        )
        assert kept == [tuple(first), tuple(second)]
        await have_met(alice, bob)
        assert await bob.store.read(lives.last_met, bob.peer.contact.id) == first


async def test_nothing_is_said_of_a_home_that_goes_on(tmp_path: Path) -> None:
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        await have_met(alice, bob)
        for _ in range(3):
            alice.home.me.run = await alice.store.write(lives.begin, 0)
            await meet_again(alice)
            await have_met(alice, bob)
        for one in (alice, bob):
            assert await copied(one) == {}
            assert await put_back(one) == {}


async def test_a_home_put_back_without_traffic_is_noticed_by_its_runs(tmp_path: Path) -> None:
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        await have_met(alice, bob)
        before = await outbox_id(alice)
        await become(alice, Run(1, os.urandom(16)))
        await meet_again(alice)

        async def both_are_told() -> bool:
            return "ours" in await put_back(alice) and "theirs" in await put_back(bob)

        await until(both_are_told)
        assert await outbox_id(alice) != before
        assert await copied(alice) == {} == await copied(bob)
        # It is said once, and what is sent afterwards arrives once.
        renewed = await outbox_id(alice)
        await have_met(alice, bob)
        await meet_again(alice)
        entry = await alice.queue("after it was put back")
        await until(lambda: alice.delivered(entry))
        assert await outbox_id(alice) == renewed
        assert len(await bob.received()) == 1


async def test_a_run_that_comes_back_is_a_copy_and_both_are_told(tmp_path: Path) -> None:
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        await have_met(alice, bob)
        here, there = alice.home.me.run, Run(1, os.urandom(16))
        await become(alice, there)
        await meet_again(alice)
        await have_met(alice, bob)
        assert await copied(bob) == {}  # It may have been put back: nobody can tell yet.
        await become(alice, here)
        await meet_again(alice)

        async def both_are_told() -> bool:
            return "ours" in await copied(alice) and "theirs" in await copied(bob)

        await until(both_are_told)

        async def heard() -> bool:
            return await bob.store.read(lives.owed, bob.peer.contact.id) is None

        await until(heard)
        for one in (alice, bob):
            changes = await one.store.read(journal.after, 0)
            assert "copied" in [change.what for change in changes if change.kind == "contact"]


async def test_who_was_met_before_a_copy_finds_it_by_itself(tmp_path: Path) -> None:
    """A contact that keeps no order of runs, or whose note is lost, is not needed to notice it."""
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        await have_met(alice, bob)

        def another_was_here(db: Any) -> None:
            db.execute("DELETE FROM met_runs")
            db.execute(
                "INSERT INTO met_runs VALUES (?, 1, ?)",
                (bob.peer.contact.id, Run(9, os.urandom(16)).encode()),
            )

        await bob.store.write(another_was_here)
        before = await outbox_id(alice)
        await meet_again(alice)

        async def is_told() -> bool:
            return "ours" in await copied(alice)

        await until(is_told)
        assert await outbox_id(alice) != before
        assert await put_back(alice) == {}


async def test_the_warning_passes_once_a_session_shows_that_no_copy_is_there(
    tmp_path: Path,
) -> None:
    """Whoever has ended the other one need not be told of it for a day."""
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        await have_met(alice, bob)
        here, there = alice.home.me.run, Run(1, os.urandom(16))
        for run in (there, here):
            await become(alice, run)
            await meet_again(alice)
            await have_met(alice, bob)

        async def both_are_told() -> bool:
            return "ours" in await copied(alice) and "theirs" in await copied(bob)

        await until(both_are_told)
        for one in (alice, bob):
            assert (await told(one))[0] == (False, True)
            assert "at the same time" in (await told(one))[1]
            # A session that lasts says nothing if a copy was noticed since, nor does a time without a session.
            await until(lambda one=one: one.peer.session is not None)
            session = one.peer.session
            assert session is not None
            session.opened_s -= peer.QUIET_S + 1
            assert (await told(one))[0] == (False, True)
            await one.store.write(
                lambda db: db.execute(
                    "UPDATE copied SET at_ms = at_ms - ?", (1000 * (int(peer.QUIET_S) + 1),)
                )
            )
            ok, words = await told(one)
            assert ok == (True, False)
            assert "ran at the same time, last noticed at" in words
            session.opened_s += peer.QUIET_S
            assert (await told(one))[0] == (False, True)


async def told(who: Somebody) -> tuple[tuple[bool, bool], str]:
    """Return whether `doctor` finds it well and `contacts show` has a hint, and the words of `doctor`."""
    contact = who.peer.contact
    rows = await past.past(who.home, {contact.id: contact.name})
    (row,) = [row for row in rows if "two copies" in row["found"]]
    shown = await past.past_with(who.home, contact.id)
    return (row["ok"], shown["hint"] is not None), row["found"]
