"""A ticket that is damaged, expired, used or one's own: exit code, message and hint, and no contact."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from tests.support.nodes import Friend

pytestmark = pytest.mark.asyncio


async def test_a_ticket_that_is_no_good_makes_no_contact(
    pair: tuple[Friend, Friend], friend: Callable[..., Friend]
) -> None:
    alice, bob = pair
    carol = friend("carol")
    await carol.start()
    await carol.create()

    async def ticket(*options: str, of: Friend = bob, name: str = "guest") -> str:
        return str((await of.cli("contacts", "invite", name, *options)).row["ticket"])

    brief = await ticket("--expires", "1s")
    whole = await ticket()
    middle = len(whole) // 2
    flipped = whole[:middle] + ("B" if whole[middle] == "A" else "A") + whole[middle + 1 :]
    own = await ticket(of=carol)
    used = await ticket(name="dave")
    dave = friend("dave")
    await dave.start()
    await dave.create()
    added = (await dave.cli("contacts", "add", "bob", used)).row
    assert added["state"] == "active"
    await asyncio.sleep(1.1)

    before = await carol.state()
    for bad, code, word, message, hint in (
        (flipped, 65, "bad_input", "the ticket is damaged", "copy it again, whole"),
        (whole[:-1], 65, "bad_input", "the ticket is damaged", "copy it again, whole"),
        ("PP1", 65, "bad_input", "the ticket is damaged", "copy it again, whole"),
        ("hello", 65, "bad_input", "not a ticket", "begins with PP1"),
        (brief, 76, "ticket", "the ticket expired at ", "contacts invite NAME"),
        (used, 76, "ticket", "it was used, or is no longer good", "contacts invite NAME"),
        (own, 2, "usage", "this ticket is your own", "give it to the person you invited"),
    ):
        done = await carol.cli("contacts", "add", "bob", bad, code=code)
        assert done.out == b""
        assert done.error["code"] == word
        assert message in done.error["message"], done.error
        assert hint in done.error["hint"], done.error
    assert await carol.state() == before

    # All that is said of a ticket that is refused holds for stdin and files as well.
    file = carol.home.parent / "ticket.txt"
    file.write_text(flipped)
    await carol.cli("contacts", "add", "bob", "--ticket-file", str(file), code=65)
    await carol.cli("contacts", "add", "bob", "-", stdin=used.encode(), code=76)
    empty = await carol.cli("contacts", "add", "bob", "-", stdin=b"", code=65)
    assert empty.error["message"] == "there is no ticket in stdin"
    assert await carol.state() == before

    # And a good one still works, in the form a mail program may have made of it.
    file.write_text(
        f'Bob wrote:\n> "{whole[:40].lower()}\n> {whole[40:]}"\n> Yours, Bob\n', encoding="utf-16"
    )
    added = (await carol.cli("contacts", "add", "bob", "--ticket-file", str(file))).row
    assert added["state"] == "active"
    # Who is a contact already is not another one by a ticket; nothing of the contact changes.
    before = await alice.state()
    done = await alice.cli("contacts", "add", "robert", await ticket(name="robert"), code=73)
    assert done.error["message"] == "this identity is your contact 'bob' already"
    assert await alice.state() == before
