"""The inbox as a stream, in the node: all that is not acknowledged, then what comes; bounded for who is slow."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from peerpost.client.rpc import InvalidParamsError
from peerpost.errors import BadInputError, StorageError, TransientError
from peerpost.node import events as events_of_node
from peerpost.node.control.methods import inbox as inbox_methods
from peerpost.node.control.methods import reading
from peerpost.node.control.methods import send as sending
from peerpost.node.files import arrived
from peerpost.store.tables import inbox as store_inbox
from peerpost.wire import inner as wire
from tests.support.network_rig import Somebody, acquainted, until
from tests.support.virtual_time import on_virtual_time

WAIT_S = 5.0


@asynccontextmanager
async def watching(
    who: Somebody, reader: str = "default", after: str | None = None
) -> AsyncIterator[AsyncIterator[Any]]:
    events = await reading.watch(
        who.home, who.request("inbox.watch", reader=reader, **({"after": after} if after else {}))
    )
    assert isinstance(events, AsyncIterator)
    try:
        yield events
    finally:
        await events.aclose()  # type: ignore[attr-defined]


async def take(events: AsyncIterator[Any], count: int) -> list[Any]:
    async with asyncio.timeout(WAIT_S):
        return [await anext(events) for _ in range(count)]


async def send(who: Somebody, *texts: str) -> None:
    for text in texts:
        entry = await who.queue(text)
        await until(lambda entry=entry: who.delivered(entry))


async def ack(who: Somebody, cursor: str | None, reader: str = "default") -> dict[str, Any]:
    given = {} if cursor is None else {"cursor": cursor}
    return await reading.acknowledge(who.home, who.request("inbox.ack", reader=reader, **given))


@on_virtual_time
async def test_first_what_is_there_then_what_comes(tmp_path: Path) -> None:
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        await send(alice, "one", "two")
        async with watching(bob) as events:
            begun, one, two = await take(events, 3)
            assert begun == {"after": "0"}
            assert [event["item"]["body"] for event in (one, two)] == ["one", "two"]
            listed = await inbox_methods.list_(bob.home, bob.request("inbox.list", oldest=True))
            assert [event["item"] for event in (one, two)] == [
                row | {"body": row["preview"], "error": None} for row in listed
            ]
            coming = asyncio.ensure_future(take(events, 1))
            await send(alice, "three")
            ((three,),) = (await coming,)
            assert three["item"]["body"] == "three"
        await ack(bob, two["item"]["cursor"])
        async with watching(bob) as events:
            begun, three = await take(events, 2)
            assert begun == {"after": two["item"]["cursor"]}
            assert three["item"]["body"] == "three"
        async with watching(bob, "another") as events:
            assert len(await take(events, 4)) == 4
        async with watching(bob, after=one["item"]["cursor"]) as events:
            assert (await take(events, 2))[1]["item"]["body"] == "two"


@on_virtual_time
async def test_what_is_sent_and_read_and_marked_wakes_nobody_and_what_comes_does_at_once(
    tmp_path: Path,
) -> None:
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        await send(alice, "one")
        async with watching(bob) as events:
            one = (await take(events, 2))[1]["item"]
            coming = asyncio.ensure_future(anext(events))
            await bob.queue("mine")
            await bob.store.write(store_inbox.mark, [one["id"]], unread=False)
            await asyncio.sleep(10 * events_of_node.LOOK_AGAIN_S)
            assert not coming.done()
            loop = asyncio.get_running_loop()
            began_s = loop.time()
            await send(alice, "two")
            assert (await coming)["item"]["body"] == "two"
            assert loop.time() - began_s < 1


@on_virtual_time
async def test_what_was_deleted_is_passed_over_and_counted_for_who_has_a_place(
    tmp_path: Path,
) -> None:
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        await send(alice, "one", "two", "three", "four")
        rows = await inbox_methods.list_(bob.home, bob.request("inbox.list", oldest=True))
        await ack(bob, rows[0]["cursor"])
        gone = [rows[0]["id"], rows[1]["id"], rows[2]["id"]]
        await inbox_methods.delete(bob.home, bob.request("inbox.delete", ids=gone))
        async with watching(bob) as events:
            _, deleted, four = await take(events, 3)
            assert (deleted, four["item"]["body"]) == ({"deleted": 2}, "four")
        await send(alice, "five", "six", "seven")
        async with watching(bob, "new") as events:
            _, four = await take(events, 2)
            assert four["item"]["body"] == "four", (
                "what was deleted before it began is no loss of its"
            )
            assert [one["item"]["body"] for one in await take(events, 3)] == [
                "five",
                "six",
                "seven",
            ]
            await send(alice, "eight", "nine")
            newest = await inbox_methods.list_(bob.home, bob.request("inbox.list", limit=2))
            ids = [newest[1]["id"]]
            await inbox_methods.delete(bob.home, bob.request("inbox.delete", ids=ids))
            deleted, nine = await take(events, 2)
            assert (deleted, nine["item"]["body"]) == ({"deleted": 1}, "nine")


@on_virtual_time
async def test_a_cursor_of_another_inbox_is_refused(tmp_path: Path) -> None:
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        await send(alice, "one")
        for call in (
            reading.watch(bob.home, bob.request("inbox.watch", reader="x", after="2")),
            ack(bob, "2", "x"),
        ):
            with pytest.raises(BadInputError, match="newest cursor of this inbox is 1"):
                await call
        request = bob.request("inbox.readers")
        assert await reading.list_(bob.home, request) == []


@pytest.mark.parametrize(
    "params",
    [
        {"reader": ""}, {"reader": "a b"}, {"reader": "-a"}, {"reader": "a\n"}, {"reader": "ä"},
        {"reader": "x" * 65}, {"reader": "x", "cursor": "1-a"}, {"reader": "x", "cursor": "-1"},
        {"reader": "x", "cursor": "9" * 19}, {"reader": "x", "cursor": 1}, {},
    ],
)  # fmt: skip
@on_virtual_time
async def test_what_is_no_name_and_no_cursor(tmp_path: Path, params: dict[str, Any]) -> None:
    async with acquainted(tmp_path, "alice", "bob") as (_, bob):
        with pytest.raises(InvalidParamsError):
            await reading.acknowledge(bob.home, bob.request("inbox.ack", **params))


@on_virtual_time
async def test_a_reader_that_is_slow_has_little_read_for_it_and_misses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_inbox, "FOLLOWED_ROWS", 5)
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob), watching(bob) as events:
        await take(events, 1)
        reads = 0
        really = store_inbox.following

        def following(*arguments: Any) -> Any:
            nonlocal reads
            reads += 1
            found = really(*arguments)
            assert len(found) <= 5
            return found

        monkeypatch.setattr(store_inbox, "following", following)
        texts = [f"text {number}" for number in range(30)]
        await send(alice, *texts)
        await asyncio.sleep(600)
        assert reads == 0, "nobody has asked for more"
        assert [event["item"]["body"] for event in await take(events, 30)] == texts


@on_virtual_time
async def test_what_is_deleted_while_a_slow_reader_takes_its_time_is_passed_over(
    tmp_path: Path,
) -> None:
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        await send(alice, "one", "two", "three")
        async with watching(bob, after="0") as events:
            one = (await take(events, 2))[1]["item"]
            await asyncio.sleep(60)
            rows = await inbox_methods.list_(bob.home, bob.request("inbox.list", oldest=True))
            assert rows[0]["id"] == one["id"]
            gone = bob.request("inbox.delete", ids=[rows[1]["id"]])
            await inbox_methods.delete(bob.home, gone)
            assert (await take(events, 1))[0]["item"]["body"] == "three"


async def send_long(who: Somebody, data: bytes) -> None:
    entry = await who.home.transfers.queue.put_text(
        who.peer.contact.id, data, lane=wire.Lane.BULK, expires_ms=None
    )
    who.home.network.queued(entry)
    await until(lambda: who.delivered(entry))


LONG = "ä long text ".encode() * 20_000


@on_virtual_time
async def test_a_long_text_comes_in_pieces(tmp_path: Path) -> None:
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        await send_long(alice, LONG)
        await send(alice, "after it")
        async with watching(bob) as events:
            _, long, *pieces = await take(events, 3)
            assert long["long"]["body"] is None
            while "text" in pieces[-1]:
                pieces += await take(events, 1)
            assert pieces[-1] == {"end": True}
            text = long["text"] + "".join(piece["text"] for piece in pieces[:-1])
            assert text.encode() == LONG
            assert (await take(events, 1))[0]["item"]["body"] == "after it"


@on_virtual_time
async def test_a_text_that_is_damaged_holds_nothing_up(tmp_path: Path) -> None:
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        await send_long(alice, LONG)
        await send(alice, "after it")
        (blob,) = (tmp_path / "bob").rglob("*.sealed")
        data = bytearray(blob.read_bytes())
        data[1000] ^= 1
        blob.write_bytes(data)
        async with watching(bob) as events:
            _, damaged, after = await take(events, 3)
            assert damaged["item"]["body"] is None
            assert "damaged" in damaged["item"]["error"]
            assert after["item"]["body"] == "after it"


@on_virtual_time
async def test_a_text_that_cannot_be_read_for_now_is_not_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        await send_long(alice, LONG)

        async def fails(*_: object) -> None:
            raise TransientError("no descriptor is left")

        monkeypatch.setattr(arrived.Arrived, "text", fails)
        async with watching(bob) as events:
            await take(events, 1)
            with pytest.raises(StorageError, match="descriptor"):
                await take(events, 1)


@on_virtual_time
async def test_a_key_sends_one_text(tmp_path: Path) -> None:
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):

        async def ask(text: str, **more: Any) -> Any:
            request = alice.request("send-net", contact="bob", text=text, **more)
            return await sending.send_net(alice.home, request)

        first, again = await ask("12:00", once="k"), await ask("12:01", once="k")
        assert (first["repeated"], again["repeated"]) == (False, True)
        assert first["id"] == again["id"]
        events = [event async for event in await ask("12:02", once="k", wait=True)]
        assert events[0]["id"] == events[-1].value["id"] == first["id"]
        assert events[-1].value["state"] == "delivered"
        assert "repeated" not in await ask("12:03")
        await until(lambda: _count(bob, 2))


async def _count(who: Somebody, count: int) -> bool:
    return len(await who.received()) == count
