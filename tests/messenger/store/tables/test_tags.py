"""Tags: added and taken away, bounded, and gone with their contact."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest

from peerpost.errors import UsageError
from peerpost.node.control.methods.contacts import edit, list_, show
from peerpost.store.tables import contacts, tags
from tests.support.network_rig import acquainted

pytestmark = pytest.mark.asyncio


async def test_added_and_taken_away(tmp_path: Path) -> None:
    async with acquainted(tmp_path, "alice", "bob") as (alice, _):

        async def change(**changes: object) -> list[str]:
            await edit(alice.home, alice.request("contacts.edit", name="bob", **changes))
            (listed,) = await list_(alice.home, alice.request("contacts.list"))
            shown = await show(alice.home, alice.request("contacts.show", name="bob"))
            assert shown["tags"] == listed["tags"]
            return list(shown["tags"])

        assert await change(note="x") == []
        assert await change(tags=["ops", " ops", "a-team"]) == ["a-team", "ops"]
        # One form of what looks the same.
        assert await change(tags=["u\u0308"]) == ["a-team", "ops", "\u00fc"]
        assert await change(untag=["\u00fc", "nobody"], tags=["ops"]) == ["a-team", "ops"]


@pytest.mark.parametrize("tag", ["", " ", "-ops", "two words", "a\x1b[31m", "\u202eops", "x" * 65])
async def test_what_is_no_tag_changes_nothing(tmp_path: Path, tag: str) -> None:
    async with acquainted(tmp_path, "alice", "bob") as (alice, _):
        request = alice.request("contacts.edit", name="bob", tags=["good", tag], note="x")
        with pytest.raises(UsageError, match="tag"):
            await edit(alice.home, request)
        shown = await show(alice.home, alice.request("contacts.show", name="bob"))
        assert (shown["tags"], shown["notes"]) == ([], "")


async def test_bounded_and_gone_with_the_contact(tmp_path: Path) -> None:
    async with acquainted(tmp_path, "alice", "bob") as (alice, _):
        many = [f"t{number}" for number in range(tags.MAX_TAGS)]
        await edit(alice.home, alice.request("contacts.edit", name="bob", tags=many))
        with pytest.raises(UsageError, match="at most 32"):
            await edit(alice.home, alice.request("contacts.edit", name="bob", tags=["more"]))
        swapped = alice.request("contacts.edit", name="bob", tags=["more"], untag=["t0"])
        await edit(alice.home, swapped)
        (contact_id,) = await alice.home.store.read(tags.all_tags)

        def remove(db: apsw.Connection) -> dict[str, list[str]]:
            contacts.remove(db, contact_id)
            return tags.all_tags(db)

        assert await alice.home.store.write(remove) == {}
