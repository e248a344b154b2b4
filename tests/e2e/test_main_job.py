"""The main job by the command line alone: two homes, one ticket, a text, files, receipts.

No node is started by hand: each command finds one or starts it, as for somebody new.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable

import pytest
import pytest_asyncio

from tests.support.nodes import Friend, content, digest, until

pytestmark = pytest.mark.asyncio

TEN_MB = 10_000_000
TEXT = "Grüße — 👩‍🚀 and a\nsecond line"
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")

# The keys that shared scripts depend on; more may come, none of these may go.
IDENTITY = {
    *("id", "name", "peer_id", "fingerprint", "locked", "protected", "addresses"),
    *("created", "keys"),
}
CONTACT = {"id", "name", "peer_id", "verified", "last_seen", "online", "queued", "unread"}
CONTACT_SHOWN = CONTACT | {
    *("notes", "addresses", "safety_number", "verified_at", "added", "key_age", "path"),
    *("transport", "rtt_ms", "sent", "received", "limits", "last_error"),
}
SENT = {"id", "contact", "kind", "size", "lane", "state"}
QUEUED = SENT | {"attempts", "next_attempt", "last_error", "progress"}
RECEIVED = {"id", "contact", "kind", "size", "received_at", "sent_at", "unread", "preview"}


@pytest_asyncio.fixture
async def strangers(friend: Callable[..., Friend]) -> tuple[Friend, Friend]:
    """Alice and Bob, each with an identity."""
    alice, bob = friend("alice"), friend("bob")
    for one in (alice, bob):
        made = await one.cli("identity", "new", "--name", one.name, "--no-passphrase")
        assert set(made.row) >= IDENTITY
        assert made.row["name"] == one.name
    return alice, bob


@pytest_asyncio.fixture
async def couple(strangers: tuple[Friend, Friend]) -> tuple[Friend, Friend]:
    """Alice and Bob, who know each other."""
    alice, bob = strangers
    invited = (await bob.cli("contacts", "invite", "alice", "--expires", "1h")).row
    assert {"ticket", "expires"} <= set(invited)
    assert TIME.fullmatch(invited["expires"])
    added = (await alice.cli("contacts", "add", "bob", invited["ticket"])).row
    assert set(added) >= {"id", "name", "state"}
    assert added["name"] == "bob"
    assert added["state"] in {"pending", "active"}
    for one, other in ((alice, "bob"), (bob, "alice")):
        await active(one, other)
    return alice, bob


async def active(one: Friend, other: str) -> None:
    async def met() -> bool:
        rows = (await one.cli("contacts", "list")).rows
        return [row["state"] for row in rows if row["name"] == other] == ["active"]

    await until(met)


async def send(sender: Friend, *what: str, stdin: bytes | None = None) -> dict[str, object]:
    """Send to Bob, wait for the receipt, and return the entry as `sent show` has it."""
    done = await sender.cli(
        *("send-net", "--contact", "bob", "--wait", "--timeout", "60s", *what), stdin=stdin
    )
    queued, delivered = done.rows
    assert set(queued) >= SENT
    assert queued["state"] in {"queued", "sent"}
    assert (delivered["id"], delivered["state"]) == (queued["id"], "delivered")
    shown = (await sender.cli("sent", "show", queued["id"])).row
    assert set(shown) >= SENT
    assert shown["state"] == "delivered"
    return shown


async def newest(receiver: Friend) -> dict[str, object]:
    row = (await receiver.cli("inbox", "list", "--limit", "1")).row
    assert set(row) >= RECEIVED
    assert TIME.fullmatch(str(row["received_at"]))
    assert TIME.fullmatch(str(row["sent_at"]))
    return row


async def check_contacts(alice: Friend, bob: Friend) -> None:
    numbers = []
    for one, other in ((alice, bob), (bob, alice)):
        listed = (await one.cli("contacts", "list")).row
        assert set(listed) >= CONTACT
        shown = (await one.cli("contacts", "show", other.name)).row
        assert set(shown) >= CONTACT_SHOWN
        assert shown["id"] == listed["id"]
        assert shown["peer_id"] == (await other.cli("identity", "show")).row["peer_id"]
        assert 0 < shown["rtt_ms"] < 1000
        numbers.append(shown["safety_number"])
    assert numbers[0] == numbers[1]
    assert len(re.sub(r"\D", "", numbers[0])) >= 30


async def test_a_ticket_makes_two_contacts_and_a_text_arrives_with_its_receipt(
    couple: tuple[Friend, Friend],
) -> None:
    alice, bob = couple
    await check_contacts(alice, bob)
    sent = await send(alice, TEXT)
    assert (sent["kind"], sent["lane"], sent["size"]) == ("text", "urgent", len(TEXT.encode()))

    item = await newest(bob)
    assert (item["contact"], item["kind"], item["unread"]) == ("alice", "text", True)
    shown = (await bob.cli("inbox", "show", str(item["id"])[:4])).row
    assert shown["body"] == TEXT
    assert (await newest(bob))["unread"] is False
    saved = await bob.cli("inbox", "save", str(item["id"]), "--out", "-")
    assert saved.out == TEXT.encode()
    assert (await alice.cli("queue", "list")).rows == []

    # And the other way, without a word about where Alice is.
    await bob.cli("send-net", "--contact", "alice", "--wait", "--timeout", "60s", "answer")
    assert (await newest(alice))["preview"] == "answer"


async def test_files_and_stdin_arrive_byte_for_byte(couple: tuple[Friend, Friend]) -> None:
    alice, bob = couple
    files = {"ten.bin": content(TEN_MB), "empty": b"", "one byte": b"!"}
    for name, data in files.items():
        path = alice.home.parent / name
        path.write_bytes(data)
        sent = await send(alice, "--file", str(path))
        assert (sent["kind"], sent["lane"], sent["size"]) == ("file", "bulk", len(data))
        await check_file(bob, name, data)

    await send(alice, "-", stdin=b"typed\n")
    assert (await bob.cli("inbox", "show", str((await newest(bob))["id"]))).row["body"] == "typed\n"
    long = "ü" * 200_000
    await send(alice, "--name", "long.txt", "-", stdin=long.encode())
    await check_file(bob, "long.txt", long.encode())
    data = b"\xff\x00" + content(300_000)
    await send(alice, "-", stdin=data)
    await check_file(bob, "stdin", data)


async def check_file(bob: Friend, name: str, data: bytes) -> None:
    item = await newest(bob)
    assert (item["contact"], item["kind"], item["size"]) == ("alice", "file", len(data))
    shown = (await bob.cli("inbox", "show", str(item["id"]))).row
    assert set(shown) >= RECEIVED | {"name", "path", "blake2b"}
    assert (shown["name"], shown["blake2b"]) == (name, digest(data))
    out = bob.home.parent / f"saved-{name}"
    saved = (await bob.cli("inbox", "save", str(item["id"]), "--out", str(out))).row
    assert saved["blake2b"] == digest(data)
    assert out.read_bytes() == data
    # What is there is never replaced unasked.
    refused = await bob.cli("inbox", "save", str(item["id"]), "--out", str(out), code=73)
    assert refused.error["hint"] == "another name, or --force to replace it"


async def test_a_contact_added_while_its_maker_is_away_is_pending_until_it_is_back(
    strangers: tuple[Friend, Friend],
) -> None:
    alice, bob = strangers
    ticket = (await bob.cli("contacts", "invite", "alice")).row["ticket"]
    await bob.cli("node", "stop")
    added = (await alice.cli("contacts", "add", "bob", "-", stdin=ticket.encode())).row
    assert added["state"] == "pending"
    entry = (await alice.cli("send-net", "--contact", "bob", "before you knew me")).row
    assert entry["state"] == "queued"
    listed = (await alice.cli("queue", "list")).row
    assert set(listed) >= QUEUED
    assert listed["id"] == entry["id"]

    await bob.cli("node", "start")
    await asyncio.gather(active(alice, "bob"), active(bob, "alice"))

    async def arrived() -> bool:
        return await bob.texts() == ["before you knew me"]

    await until(arrived)


async def test_the_addresses_that_identity_show_prints_are_those_that_a_hint_asks_for(
    friend: Callable[..., Friend],
) -> None:
    alice, bob = friend("alice"), friend("bob")
    await asyncio.gather(alice.start(), bob.start())
    await asyncio.gather(alice.create(), bob.create())
    shown = {one.name: (await one.cli("identity", "show")).row for one in (alice, bob)}
    for one, other in ((alice, bob), (bob, alice)):
        mine = shown[one.name]
        # What is announced is the link; the node itself listens elsewhere.
        assert mine["announced"] == [f"{mine['addresses'][0]}/p2p/{mine['peer_id']}"]
        assert mine["listening"]
        assert set(mine["listening"]).isdisjoint(mine["addresses"])
        theirs = shown[other.name]
        where = ("--id", theirs["id"], "--address", theirs["announced"][0])
        await one.cli("contacts", "add", other.name, *where)
    sent = await alice.cli("send-net", "--contact", "bob", "--wait", "no ticket was needed")
    assert sent.rows[-1]["state"] == "delivered"
