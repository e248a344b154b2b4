"""Who has lost a friendship on one side gets it back by a new ticket, with all that was there; nobody else does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.nodes import Friend, content, meet, until

pytestmark = pytest.mark.asyncio

Pair = tuple[Friend, Friend]


async def _ticket(host: Friend, name: str) -> dict[str, Any]:
    return (await host.cli("contacts", "invite", name)).row


async def _arrives(sender: Friend, to: str, receiver: Friend, text: str) -> None:
    sent = (await sender.cli("send-net", "--contact", to, text)).row
    await sender.delivered(sent["id"])
    assert (await receiver.texts())[-1] == text


async def _state(one: Friend, name: str) -> str:
    return str((await one.ask("contacts.show", {"name": name}))["state"])


async def test_one_side_has_removed_the_other_and_invites_again(pair: Pair) -> None:
    alice, bob = pair
    await _arrives(alice, "bob", bob, "before")
    await alice.cli("contacts", "edit", "bob", "--note", "from work")
    await bob.cli("contacts", "remove", "alice", "--yes")
    waiting = (await alice.cli("send-net", "--contact", "bob", "meanwhile")).row
    made = await _ticket(bob, "alice")
    assert (made["renews"], made["others"]) == (False, [])
    added = (await alice.cli("contacts", "add", "bob", made["ticket"])).row
    assert (added["name"], added["state"]) == ("bob", "active")
    await alice.delivered(waiting["id"])
    assert (await bob.texts())[-1] == "meanwhile"
    await _arrives(bob, "alice", alice, "and back")
    assert (await alice.ask("contacts.show", {"name": "bob"}))["notes"] == "from work"
    assert {row["contact"] for row in await alice.ask("sent.list")} == {"bob"}
    # Of what came before they were removed the name is known again.
    assert {item["contact"] for item in await bob.ask("inbox.list")} == {"alice"}


async def test_one_side_has_removed_the_other_and_is_invited_again(pair: Pair) -> None:
    alice, bob = pair
    await bob.cli("contacts", "remove", "alice", "--yes")
    waiting = (await alice.cli("send-net", "--contact", "bob", "meanwhile")).row
    made = await _ticket(alice, "bob")
    assert made["renews"] is True
    (contact,) = (await alice.cli("contacts", "list")).rows
    assert contact["state"] in ("active", "removed")  # Whether it has been called since or not.
    (listed,) = (await alice.cli("contacts", "invites")).rows
    assert (listed["name"], listed["renews"], listed["state"]) == ("bob", True, "invited")
    added = (await bob.cli("contacts", "add", "alice", made["ticket"])).row
    assert added["state"] == "active"
    await alice.delivered(waiting["id"])
    await _arrives(bob, "alice", alice, "hello again")
    assert (await alice.cli("contacts", "invites")).rows == []


async def test_a_ticket_between_two_who_are_friends_changes_nothing(pair: Pair) -> None:
    alice, bob = pair
    number = (await alice.ask("contacts.verify", {"name": "bob"}))["safety_number"]
    await alice.cli("contacts", "verify", "bob", number)
    before = await alice.ask("contacts.show", {"name": "bob"})
    made = await _ticket(bob, "alice")
    assert made["renews"] is True
    added = (await alice.cli("contacts", "add", "bob", made["ticket"])).row
    assert added["state"] == "active"

    async def online() -> bool:
        return bool((await alice.ask("contacts.show", {"name": "bob"}))["online"])

    await until(online)
    after = await alice.ask("contacts.show", {"name": "bob"})
    for key in ("id", "peer_id", "verified_at", "added", "safety_number"):
        assert after[key] == before[key]
    await _arrives(alice, "bob", bob, "still here")


async def test_a_ticket_that_is_not_taken_leaves_the_contact_as_it_was(pair: Pair) -> None:
    alice, bob = pair
    made = await _ticket(bob, "alice")
    (row,) = (await bob.cli("contacts", "invites")).rows
    await bob.cli("contacts", "remove", "alice", "--yes")
    assert (await bob.cli("contacts", "invites", "--withdraw", row["id"][:6])).row["name"] == (
        "alice"
    )
    await bob.cli("contacts", "invites", "--withdraw", row["id"], code=67)
    refused = await alice.cli("contacts", "add", "bob", made["ticket"], code=76)
    assert refused.error["code"] == "ticket"
    assert await _state(alice, "bob") == "removed"
    # It is not tried with the old ticket again, and a new one still works.
    again = await _ticket(bob, "alice")
    assert (await alice.cli("contacts", "add", "bob", again["ticket"])).row["state"] == "active"
    await _arrives(alice, "bob", bob, "at last")


async def test_an_inviter_who_is_away_is_awaited(pair: Pair) -> None:
    alice, bob = pair
    await bob.cli("contacts", "remove", "alice", "--yes")
    made = await _ticket(bob, "alice")
    await bob.stop()
    added = (await alice.cli("contacts", "add", "bob", made["ticket"])).row
    assert added["state"] == "pending"
    await alice.cli("send-net", "--contact", "bob", "queued meanwhile")
    await bob.start()

    async def arrived() -> bool:
        return "queued meanwhile" in await bob.texts()

    await until(arrived)
    assert await _state(alice, "bob") == "active"


async def test_another_identity_never_becomes_the_contact(
    pair: Pair, friend: Callable[[str], Friend]
) -> None:
    alice, _ = pair
    mallory = friend("mallory")
    await mallory.start()
    await mallory.create()
    before = await alice.ask("contacts.show", {"name": "bob"})
    made = await _ticket(alice, "bob")
    refused = await mallory.cli("contacts", "add", "alice", made["ticket"], code=76)
    assert "another identity" in refused.error["message"]
    assert (await mallory.cli("contacts", "list")).rows == []
    # Alice is told, nobody became anything, and the ticket is of no use any more.
    await mallory.cli("contacts", "add", "alice", made["ticket"], code=76)
    assert [row["name"] for row in (await alice.cli("contacts", "list")).rows] == ["bob"]
    (row,) = (await alice.cli("contacts", "invites")).rows
    fingerprint = (await mallory.ask("identity.show"))["fingerprint"]
    assert (row["state"], fingerprint in row["why"]) == ("used", True)
    after = await alice.ask("contacts.show", {"name": "bob"})
    assert (after["id"], after["peer_id"]) == (before["id"], before["peer_id"])
    # The row goes when it was seen.
    await alice.cli("contacts", "invites", "--withdraw", row["id"])
    assert (await alice.cli("contacts", "invites")).rows == []


async def test_two_tickets_for_one_name_make_one_contact(
    friend: Callable[[str], Friend],
) -> None:
    alice, bob, carol = friend("alice"), friend("bob"), friend("carol")
    await asyncio.gather(alice.start(), bob.start(), carol.start())
    await asyncio.gather(alice.create(), bob.create(), carol.create())
    first, second = await _ticket(alice, "bob"), await _ticket(alice, "bob")
    assert (first["others"], second["others"]) == ([], [first["id"]])
    assert [row["state"] for row in (await alice.cli("contacts", "list")).rows] == ["invited"] * 2
    sent = await alice.cli("send-net", "--contact", "bob", "too early", code=67)
    assert "has not used the invitation yet" in sent.error["message"]
    await bob.cli("contacts", "add", "alice", second["ticket"])
    refused = await carol.cli("contacts", "add", "alice", first["ticket"], code=76)
    assert "another identity" in refused.error["message"]
    assert [row["name"] for row in (await alice.cli("contacts", "list")).rows] == ["bob"]
    (row,) = (await alice.cli("contacts", "invites")).rows
    assert "turned away" in row["why"]


async def test_blocked_and_changed_contacts_are_not_renewed(pair: Pair) -> None:
    alice, bob = pair
    made = await _ticket(bob, "alice")
    await alice.cli("contacts", "block", "bob")
    for arguments in (("contacts", "invite", "bob"), ("contacts", "add", "bob", made["ticket"])):
        refused = await alice.cli(*arguments, code=73)
        assert "who is blocked" in refused.error["message"]
        assert "contacts unblock bob" in refused.error["hint"]
    assert await _state(alice, "bob") == "blocked"


async def test_a_removed_contact_who_meets_again_by_another_name(pair: Pair) -> None:
    alice, bob = pair
    await _arrives(bob, "alice", alice, "from bob")
    await alice.cli("contacts", "remove", "bob", "--yes")
    assert (await alice.ask("inbox.list"))[0]["contact"] == "bob"
    await bob.cli("contacts", "remove", "alice", "--yes")
    await meet(bob, alice)
    assert (await alice.ask("inbox.list"))[0]["contact"] == "bob"


async def test_what_was_delivered_is_still_listed_when_the_contact_is_gone(pair: Pair) -> None:
    alice, bob = pair
    await _arrives(alice, "bob", bob, "delivered")
    await _arrives(bob, "alice", alice, "received")
    await alice.delivered(await alice.queue_file("bob", "report.pdf", b"x" * 1000))
    await bob.stop()
    await alice.cli("send-net", "--contact", "bob", "never arrives")
    refused = await alice.cli("contacts", "remove", "bob", code=2)
    assert "--yes" in refused.error["hint"]
    await alice.cli("contacts", "remove", "bob", "--yes")
    await alice.stop()
    await alice.start()
    for arguments in ((), ("--contact", "bob")):
        rows = (await alice.cli("sent", "list", *arguments)).rows
        assert [(row["contact"], row["state"], row["name"]) for row in rows] == [
            ("bob", "delivered", "report.pdf"),
            ("bob", "delivered", None),
        ]
        (item,) = (await alice.cli("inbox", "list", *arguments)).rows
        assert (item["contact"], item["preview"]) == ("bob", "received")
    shown = (await alice.cli("sent", "show", rows[0]["id"])).row
    assert (shown["contact"], shown["size"]) == ("bob", 1000)
    assert (await alice.cli("queue", "list")).rows == []
    await alice.cli("send-net", "--contact", "bob", "to nobody", code=67)


@pytest.mark.parametrize("removed", [True, False])
async def test_both_invite_and_add_each_other_at_once(pair: Pair, *, removed: bool) -> None:
    alice, bob = pair
    if removed:
        await bob.cli("contacts", "remove", "alice", "--yes")
    of_alice, of_bob = await asyncio.gather(_ticket(alice, "bob"), _ticket(bob, "alice"))
    await asyncio.gather(
        alice.cli("contacts", "add", "bob", of_bob["ticket"]),
        bob.cli("contacts", "add", "alice", of_alice["ticket"]),
    )

    async def active() -> bool:
        return await _state(alice, "bob") == await _state(bob, "alice") == "active"

    await until(active)
    await _arrives(alice, "bob", bob, "one way")
    await _arrives(bob, "alice", alice, "and the other")
    for one in (alice, bob):
        assert len(await one.ask("contacts.list")) == 1


async def test_the_same_ticket_added_twice_and_by_a_second_command_at_once(pair: Pair) -> None:
    alice, bob = pair
    await bob.cli("contacts", "remove", "alice", "--yes")
    made = await _ticket(bob, "alice")
    both = await asyncio.gather(
        *(alice.cli("contacts", "add", "bob", made["ticket"], code=None) for _ in range(2))
    )
    assert 0 in {one.code for one in both}
    await _arrives(alice, "bob", bob, "once")
    # Used up, and still no harm: Bob knows who comes.
    assert (await alice.cli("contacts", "add", "bob", made["ticket"])).row["state"] == "active"
    await _arrives(alice, "bob", bob, "again")


@pytest.mark.parametrize("invites", ["sender", "receiver"])
async def test_a_file_under_way_arrives_though_its_receiver_had_removed_the_sender(
    pair: Pair, invites: str
) -> None:
    alice, bob = pair
    await alice.cli("limits", "set", "--up", "2MB/s")
    sent = await alice.queue_file("bob", "f", content(8_000_000))
    asks = await alice.queue_file("bob", "g", content(300_000, 2))

    async def moves() -> bool:
        rows = await bob.ask("transfers.list")
        # Both are offered: otherwise only the first is offered again, which makes it the newer one.
        return len(rows) == 2 and any(row["done_bytes"] for row in rows)

    await until(moves)
    await bob.cli("contacts", "remove", "alice", "--yes")
    host, guest, name = (alice, bob, "bob") if invites == "sender" else (bob, alice, "alice")
    made = await _ticket(host, name)
    await guest.cli("contacts", "add", "alice" if guest is bob else "bob", made["ticket"])
    await alice.cli("limits", "set", "--up", "off")
    await alice.delivered(sent)
    await alice.delivered(asks)
    found = {row["name"]: row for row in await bob.ask("inbox.list")}
    assert (found["f"]["size"], found["g"]["size"]) == (8_000_000, 300_000)
    assert [row["id"] for row in await alice.ask("sent.list")] == [asks, sent]


async def test_a_file_of_a_sender_that_has_removed_us_says_so(pair: Pair) -> None:
    alice, bob = pair
    await alice.cli("limits", "set", "--up", "1MB/s")
    await alice.queue_file("bob", "f", content(8_000_000))

    async def moves() -> bool:
        return any(row["done_bytes"] for row in await bob.ask("transfers.list"))

    await until(moves)
    await alice.cli("contacts", "remove", "bob", "--yes")

    async def said() -> bool:
        return all("removed" in (r["error"] or "") for r in await bob.ask("transfers.list"))

    await until(said)
