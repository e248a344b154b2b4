"""`changes.watch`: each change of the journal once, in order, from wherever a program stopped; what is gone is told."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from peerpost.client.rpc import InvalidParamsError
from peerpost.errors import BadInputError
from peerpost.node import events as events_of_node
from peerpost.node.control.methods import changes
from peerpost.node.control.methods import contacts as contact_methods
from peerpost.store.db import follower, journal
from tests.support.network_rig import Somebody, acquainted, until
from tests.support.virtual_time import on_virtual_time

WAIT_S = 5.0


@asynccontextmanager
async def watching(who: Somebody, **params: Any) -> AsyncIterator[AsyncIterator[Any]]:
    events: Any = await changes.watch(who.home, who.request("changes.watch", **params))
    try:
        yield events
    finally:
        await events.aclose()


async def take(events: AsyncIterator[Any], count: int) -> list[Any]:
    async with asyncio.timeout(WAIT_S):
        return [await anext(events) for _ in range(count)]


async def all_there_is(who: Somebody, **params: Any) -> list[Any]:
    """Return what is told at once, from the beginning unless `after` says otherwise."""
    found = []
    async with watching(who, **{"after": "0", **params}) as events:
        while True:
            try:
                async with asyncio.timeout(1):
                    found.append(await anext(events))
            except TimeoutError:
                return found


async def note(who: Somebody, text: str) -> None:
    params = {"name": who.peer.contact.id, "note": text}
    await contact_methods.edit(who.home, who.request("contacts.edit", **params))


@on_virtual_time
async def test_the_states_of_a_message_come_as_they_change(tmp_path: Path) -> None:
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        async with watching(alice, kinds=["sent"]) as events:
            (begun,) = await take(events, 1)
            assert set(begun) == {"after"}
            entry = await alice.queue("hello")
            await until(lambda: alice.delivered(entry))
            told = []
            while not told or told[-1]["state"] != "delivered":
                told += [event["change"] for event in await take(events, 1)]
        states = [None, *(one["state"] for one in told)]
        assert states in ([None, "queued", "delivered"], [None, "queued", "sent", "delivered"])
        assert [one["was"] for one in told] == states[:-1]
        assert {(one["kind"], one["direction"], one["id"], one["contact"]) for one in told} == {
            ("sent", "out", entry.id, "bob")
        }
        received = [event["change"] for event in (await all_there_is(bob, kinds=["inbox"]))[1:]]
        assert [(one["state"], one["direction"], one["contact"]) for one in received] == [
            ("unread", "in", "alice")
        ]


@on_virtual_time
async def test_who_was_away_goes_on_where_it_stopped(tmp_path: Path) -> None:
    async with acquainted(tmp_path, "alice", "bob") as (alice, _):
        for text in "abc":
            await note(alice, text)
        every = [event["change"] for event in (await all_there_is(alice))[1:]]
        assert len({one["cursor"] for one in every}) == len(every) >= 3
        for place, one in enumerate(every):
            begun, *rest = await all_there_is(alice, after=one["cursor"])
            assert begun == {"after": one["cursor"]}
            assert [event["change"] for event in rest] == every[place + 1 :]
        async with watching(alice) as events:
            assert await take(events, 1) == [{"after": every[-1]["cursor"]}], "what comes, alone"
            await note(alice, "d")
            ((told,),) = (await take(events, 1),)
            assert (told["change"]["kind"], told["change"]["what"]) == ("contacts", "edited")


@on_virtual_time
async def test_more_than_a_page_comes_whole_and_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "PAGE_ROWS", 7)
    async with acquainted(tmp_path, "alice", "bob") as (alice, _):
        for number in range(30):
            await note(alice, f"{number}")
        told = [event["change"]["cursor"] for event in (await all_there_is(alice))[1:]]
        kept = await alice.store.read(journal.after, 0)
        assert [int(cursor.partition("-")[0]) for cursor in told] == [row.id for row in kept]


@on_virtual_time
async def test_what_is_not_kept_any_longer_is_told_and_never_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("KEPT_ROWS", 20), ("SPARE_ROWS", 5), ("PRUNED_ROWS", 50)):
        monkeypatch.setattr(journal, name, value)
    monkeypatch.setattr(follower, "PRUNE_COMMITS", 1)
    async with acquainted(tmp_path, "alice", "bob") as (alice, _):
        await note(alice, "first")
        kept = [event["change"] for event in (await all_there_is(alice))[1:]]
        away = kept[-1]["cursor"]
        # One that does not read while it is told, and one that is away.
        async with watching(alice, after=away) as slow:
            await take(slow, 1)
            for number in range(100):
                await note(alice, f"{number}")
            last = await alice.store.read(journal.newest)
            for events in (await take(slow, 2), (await all_there_is(alice, after=away))[1:]):
                gone, following = events[0]["gone"], events[1]["change"]["cursor"]
                assert int(following.partition("-")[0]) - int(away.partition("-")[0]) in (
                    gone, gone + 1,
                )  # fmt: skip
                assert gone > 50
            told = (await all_there_is(alice, after="0"))[1:]
            assert "gone" in told[0]
            assert int(told[-1]["change"]["cursor"].partition("-")[0]) == last
            # A kind that was not asked for may be among what is gone.
            told = (await all_there_is(alice, after=away, kinds=["limits"]))[1:]
            assert [set(event) for event in told] == [{"gone"}]


@on_virtual_time
async def test_a_cursor_whose_change_was_forgotten_is_told_that_something_is_gone(
    tmp_path: Path,
) -> None:
    """What stood there cannot be compared any more, so it may have been of another state of the home."""
    async with acquainted(tmp_path, "alice", "bob") as (alice, _):
        await note(alice, "first")
        await note(alice, "second")
        *_, before, last = (await all_there_is(alice))[1:]
        await alice.store.write(journal.forget, alice.peer.contact.id)
        told = (await all_there_is(alice, after=before["change"]["cursor"]))[1:]
        assert told == [{"gone": 1}, last], "the newest stays, for the sake of its number"


class Reads:
    """How often a watch has read the journal."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self._really = journal.after
        monkeypatch.setattr(journal, "after", self._counted)

    def _counted(self, *args: Any) -> Any:
        # The follower of the store reads too, for each commit.
        self.count += args[-1] == changes.PAGE_ROWS
        return self._really(*args)


@on_virtual_time
async def test_what_was_read_is_not_looked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with acquainted(tmp_path, "alice", "bob") as (alice, _), watching(alice) as events:
        await take(events, 1)
        for number in range(50):
            await note(alice, f"{number}")
        reads = Reads(monkeypatch)
        await take(events, 50)
        coming = asyncio.ensure_future(anext(events))
        await asyncio.sleep(events_of_node.LOOK_AGAIN_S / 2)
        assert reads.count <= 3
        await note(alice, "last")
        await coming


@on_virtual_time
async def test_nothing_is_asked_while_nothing_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with acquainted(tmp_path, "alice", "bob") as (alice, _), watching(alice) as events:
        await take(events, 1)
        reads = Reads(monkeypatch)
        coming = asyncio.ensure_future(anext(events))
        alice.home.services.events.presence(alice.peer.contact.id, "offline")
        await asyncio.sleep(10 * events_of_node.LOOK_AGAIN_S)
        assert not coming.done()
        assert 1 <= reads.count <= 12
        await note(alice, "x")
        assert (await coming)["change"]["what"] == "edited"


@on_virtual_time
async def test_a_cursor_that_is_none_is_refused(tmp_path: Path) -> None:
    async with acquainted(tmp_path, "alice", "bob") as (alice, _):
        for after in ("999999-00000000", "1-00000000"):
            with pytest.raises(BadInputError, match="never given the cursor"):
                await changes.watch(alice.home, alice.request("changes.watch", after=after))
        for params in (
            *({"after": bad} for bad in ("1", "", "-1", "1-xyz", "0\n", "1-0000000A", "9" * 40, 5)),
            *({"kinds": bad} for bad in ("sent", ["entry"], [1], [None])),
        ):
            with pytest.raises(InvalidParamsError):
                await changes.watch(alice.home, alice.request("changes.watch", **params))


def test_each_kind_of_the_journal_has_a_name() -> None:
    schema = Path(journal.__file__).parent / "schema"
    text = "\n".join(path.read_text(encoding="utf-8") for path in schema.glob("*.sql"))
    written = re.findall(r"INTEGER\)+,\s+(?:iif\(\w+\.incoming, )?'(\w+)'(?:, '(\w+)')?", text)
    assert len(written) == text.count("INSERT INTO changes")
    assert {kind for kinds in written for kind in kinds if kind} - {"set"} == set(changes.KINDS)
