"""`peerpost notify` between two nodes: what an alert says arrives as one text, each once."""

from __future__ import annotations

import json

import pytest

from tests.support.nodes import Friend, until

pytestmark = [pytest.mark.asyncio, pytest.mark.slow]


async def test_alerts_arrive_as_texts(pair: tuple[Friend, Friend]) -> None:
    alice, bob = pair
    await alice.cli("contacts", "edit", "bob", "--tag", "ops")
    alert = {"title": "web1", "body": "the disk is 95 % full ✓", "type": "warning"}
    lines = "\n".join(json.dumps(one) for one in (alert, {"body": "second"}))
    rows = (await alice.cli("notify", "--to-tag", "ops", "--wait", stdin=lines.encode())).rows
    assert [row["state"] for row in rows] == ["queued", "queued", "delivered", "delivered"]

    async def here() -> bool:
        return len(await bob.ask("inbox.list")) == 2

    await until(here)
    bodies = [
        (await bob.ask("inbox.show", {"id": row["id"]}))["body"]
        for row in await bob.ask("inbox.list", {"oldest": True})
    ]
    assert bodies == ["[warning] web1\nthe disk is 95 % full ✓", "second"]


async def test_a_key_sends_an_alert_once(pair: tuple[Friend, Friend]) -> None:
    alice, bob = pair
    for repeated in (False, True):
        row = (
            await alice.cli(
                "notify", "-c", "bob", "--title", "x", "--once", "k1", "--expires", "1h"
            )
        ).row
        assert row["repeated"] is repeated
    await alice.delivered(row["id"])
    assert await bob.texts() == ["x"]


async def test_nothing_goes_out_where_one_is_wrong(pair: tuple[Friend, Friend]) -> None:
    alice, _ = pair
    done = await alice.cli("notify", "-c", "bob", stdin=b'{"body": "x"}\n{"bdy": "y"}', code=65)
    assert "neither a title nor a body (number 2 of 2)" in done.error["message"]
    assert await alice.ask("sent.list") == []
    assert (await alice.cli("notify", "-c", "nobody", "--body", "x", code=67)).out == b""
